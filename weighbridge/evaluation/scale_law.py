"""What do more parameters, or more rows, buy? A law of the loss fitted to trainings of one architecture at several sizes of both.

`L(N, D) = E + A / N^a + B / D^b` (Hoffmann 2022, approach 3): Huber's loss of the logarithm's residuals, every term at least 0, L-BFGS
from the best of many starts. Starts come from a grid of both exponents, for each of which the three terms follow by non-negative least
squares, so that no start value has to be guessed. Huber's corner lies at 1.345 standard deviations of a run and not at Hoffmann's 0.001,
which on noisier runs is the sum of absolute residuals and costs a third of their information.
The band is a bootstrap over runs: residuals, widened for the five numbers fitted, are drawn again and everything is refitted.
Trap: beyond 4 times the largest point nothing supports the form.
N parameters, D rows, n runs, R refits, G starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import ParamSpec, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.predictions import Floats
from weighbridge.storage.seeds import rng

LEAST_SIZES = 3  # of parameters, and of rows: two leave each exponent to be guessed
LEAST_RUNS = 8  # three more than the law has numbers
FARTHEST = 4.0  # times the largest size up to which a law may be carried on without saying more
REFITS = 200
EXPONENTS = np.geomspace(0.05, 2.0, 9)
LOWEST, HIGHEST = 0.03, 2.5  # exponents
FAINT = 9.0  # a term may fall to exp(-9) of the smallest loss: 0 for all that can be seen
HUBER = 1.345
SHARPEST = 1e-3  # Hoffmann's corner
POLISHED = 4  # starts that are carried on from the grid

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class ScaleRun:
    """One training: its parameters, training rows, which repeat it was, its loss (above 0) on held-out rows, and the seconds it took."""

    parameters: int
    rows: int
    repeat: int
    loss: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Law:
    """`L(N, D) = floor + of_parameters / N^by_parameters + of_rows / D^by_rows`, with its refits and the time that trainings take.

    Attributes:
        terms: float64 [5]: logarithms of floor and of both terms at the largest sizes, and both exponents; refits [R, 5] the same.
        largest: (parameters, rows) of the largest sizes. noise: standard deviation of a run's logarithm around the law.
        times: a power law of the seconds: exponents of parameters and of rows, logarithm at the largest sizes; None without times.
        misfit: p-value of "points lie no farther from the law than their repeats from each other" (F test of lack of fit); None where
            nothing was repeated.
        freedom: runs less the five numbers fitted. seed: that of the refits.
    """

    terms: Floats
    refits: Floats
    largest: tuple[float, float]
    noise: float
    times: tuple[float, float, float] | None
    misfit: float | None
    level: float
    freedom: int
    seed: int

    @cached_property
    def constants(self) -> dict[str, float]:
        """The law's own five numbers: E, A, a, B, b."""
        floor, of_parameters, of_rows, by_parameters, by_rows = map(float, self.terms)
        return {
            "E": math.exp(floor),
            "A": math.exp(of_parameters + by_parameters * math.log(self.largest[0])),
            "a": by_parameters,
            "B": math.exp(of_rows + by_rows * math.log(self.largest[1])),
            "b": by_rows,
        }

    def loss(self, parameters: float, rows: float) -> float:
        """Return the fitted loss."""
        return float(self._at(self.terms[None], parameters, rows)[0])

    def predict(self, parameters: float, rows: float) -> tuple[float, Interval]:
        """Return the fitted loss with the interval of its mean over trainings."""
        value = self.loss(parameters, rows)
        low, high = self._interval(np.log(self._at(self.refits, parameters, rows)), math.log(value))
        return value, (math.exp(low), math.exp(high))

    def predict_runs(self, parameters: float, rows: float, runs: int) -> tuple[float, Interval]:
        """Return the fitted loss with the interval for the mean of so many trainings: their own noise is in it."""
        value = self.loss(parameters, rows)
        noise = rng(self.seed, "evaluation", "scale law", "noise").normal(size=len(self.refits)) * self.noise / math.sqrt(runs)
        low, high = self._interval(np.log(self._at(self.refits, parameters, rows)) + noise, math.log(value))
        return value, (math.exp(low), math.exp(high))

    def gain(self, start: tuple[float, float], end: tuple[float, float]) -> tuple[float, Interval]:
        """Return by how much the loss falls between two points (parameters, rows), with its interval."""
        value = self.loss(*start) - self.loss(*end)
        low, high = self._interval(self._at(self.refits, *start) - self._at(self.refits, *end), value)
        return value, ((max(low, 0.0), high) if value >= 0 else (low, high))  # the law never rises

    def seconds(self, parameters: float, rows: float) -> float | None:
        """Return the seconds that a training takes by the fitted power law; None where no times are known."""
        if self.times is None:
            return None
        by_parameters, by_rows, at_largest = self.times
        return math.exp(at_largest + by_parameters * math.log(parameters / self.largest[0]) + by_rows * math.log(rows / self.largest[1]))

    def _at(self, terms: Floats, parameters: float, rows: float) -> Floats:
        return _losses(terms, np.array([math.log(self.largest[0] / parameters)]), np.array([math.log(self.largest[1] / rows)]))[:, 0]

    def _interval(self, draws: Floats, value: float) -> Interval:
        """Return percentiles widened for few runs by Student's t, and as far to the other side of the estimate.

        Widened twice, and the wider taken: tails as in a learning curve (Hesterberg 2015), which end at the outermost refit where few
        degrees of freedom are left (3 of them: covered 0.92), and the reach, which falls short where the refits are skewed (0.92, too).
        """
        from scipy.special import ndtr, ndtri, stdtrit

        tail = (1 - self.level) / 2
        far = float(stdtrit(self.freedom, 1 - tail))
        plain, moved = (np.quantile(draws, [end, 1 - end], method="weibull") - value for end in (tail, float(ndtr(-far))))
        half = max(float(np.abs(plain).max()) * far / float(ndtri(1 - tail)), float(np.abs(moved).max()))
        return value - half, value + half


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """The largest point left out and predicted from the others, with the interval for its mean, and the mean that was seen there."""

    parameters: int
    rows: int
    predicted: float
    interval: Interval
    seen: float
    runs: int

    @property
    def error(self) -> float:
        """Predicted minus seen, as a share of what was seen."""
        return self.predicted / self.seen - 1

    @property
    def holds(self) -> bool:
        return self.interval[0] <= self.seen <= self.interval[1]


def _one_thread(work: Callable[Asked, Answer]) -> Callable[Asked, Answer]:
    """Refits are small: threads that wait for a busy core made them 10 to 60 times slower."""

    @wraps(work)
    def alone(*args: Asked.args, **options: Asked.kwargs) -> Answer:
        with threadpool_limits(1):
            return work(*args, **options)

    return alone


def too_few(runs: Sequence[ScaleRun]) -> tuple[int, int] | None:
    """Return the number of sizes (of parameters, of rows) where these are too few for a law; None where they suffice."""
    sizes = len({run.parameters for run in runs}), len({run.rows for run in runs})
    return sizes if min(sizes) < LEAST_SIZES or len({(run.parameters, run.rows) for run in runs}) < LEAST_RUNS else None


@_one_thread
def fit_law(runs: Sequence[ScaleRun], *, seed: int, level: float = 0.95, resamples: int = REFITS) -> Law | None:
    """Return the law with its bootstrap; None where there are fewer than 3 sizes of parameters or of rows, or fewer than 8 points.

    The order of the runs does not matter. Raises ValueError for a loss that is not above 0.
    """
    if too_few(runs) is not None:
        return None
    if not all(run.loss > 0 and math.isfinite(run.loss) for run in runs):
        raise ValueError("a power law is of losses above 0")
    ordered = sorted(runs, key=lambda run: (run.parameters, run.rows, run.repeat, run.loss))
    largest = float(max(run.parameters for run in runs)), float(max(run.rows for run in runs))
    smaller = np.array([[math.log(largest[0] / run.parameters), math.log(largest[1] / run.rows)] for run in ordered])
    seen = np.log([run.loss for run in ordered])
    corner = max(SHARPEST, HUBER * _noise_of_repeats(ordered, seen))
    terms = _fit(smaller, seen, corner)
    fitted = np.log(_losses(terms[None], *smaller.T)[0])
    freedom = len(runs) - len(terms)
    residuals = (seen - fitted) * math.sqrt(len(runs) / freedom)
    random = rng(seed, "evaluation", "scale law")
    residuals -= residuals.mean()
    drawn = [fitted + residuals[random.integers(0, len(runs), len(runs))] for _ in range(resamples)]
    return Law(
        terms=terms,
        refits=np.stack([_fit(smaller, one, corner, start=terms) for one in drawn]),  # from the grid, too, they came out the same
        largest=largest,
        noise=float(np.sqrt(np.mean(residuals**2))),
        times=_times(ordered, smaller),
        misfit=_misfit(ordered, seen, fitted),
        level=level,
        freedom=freedom,
        seed=seed,
    )


@_one_thread
def predict_held_out(runs: Sequence[ScaleRun], *, seed: int, level: float = 0.95, resamples: int = REFITS) -> Foretold | None:
    """Return how the others foretell the largest point (the most parameters times rows); None where they are too few for a law."""
    point = max(((run.parameters, run.rows) for run in runs), key=lambda one: (one[0] * one[1], one), default=None)
    there = [run.loss for run in runs if (run.parameters, run.rows) == point]
    law = fit_law([run for run in runs if (run.parameters, run.rows) != point], seed=seed, level=level, resamples=resamples)
    if law is None or point is None:
        return None
    predicted, interval = law.predict_runs(*point, len(there))
    seen = math.exp(float(np.mean(np.log(there))))
    return Foretold(parameters=point[0], rows=point[1], predicted=predicted, interval=interval, seen=seen, runs=len(there))


def _losses(terms: Floats, of_parameters: Floats, of_rows: Floats) -> Floats:
    """Return the losses [R, n] of terms [R, 5] at points, given as logarithms [n] of how much smaller than the largest they are."""
    floor, first, second, by_parameters, by_rows = (terms[:, place, None] for place in range(5))
    return np.asarray(np.exp(floor) + np.exp(first + by_parameters * of_parameters) + np.exp(second + by_rows * of_rows))


def _fit(smaller: Floats, seen: Floats, corner: float, start: Floats | None = None) -> Floats:
    """Return the terms [5] of least Huber loss of the logarithm's residuals, from many starts or the one given."""
    from scipy.optimize import minimize

    low, high = float(seen.min()) - FAINT, float(seen.max()) + 1
    bounds = [(low, high)] * 3 + [(LOWEST, HIGHEST)] * 2

    of_parameters, of_rows = np.ascontiguousarray(smaller.T)

    def loss(terms: Floats) -> tuple[float, Floats]:
        floor, first, second = math.exp(terms[0]), np.exp(terms[1] + terms[3] * of_parameters), np.exp(terms[2] + terms[4] * of_rows)
        total = floor + first + second
        off = (np.log(total) - seen) / corner
        pull = np.minimum(np.maximum(off, -1.0), 1.0)
        value = (pull * off).sum() - (pull @ pull) / 2  # Huber's: half a square within the corner, a straight line beyond
        pull /= total * corner
        first *= pull
        second *= pull
        return float(value), np.array([floor * pull.sum(), first.sum(), second.sum(), first @ of_parameters, second @ of_rows])

    starts = _starts(smaller, seen, low, high)[:POLISHED] if start is None else [start]
    box = np.array(bounds).T
    ends = [minimize(loss, np.clip(one, *box), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 400}) for one in starts]
    return np.asarray(min(ends, key=lambda end: float(end.fun)).x, dtype=np.float64)


def _starts(smaller: Floats, seen: Floats, low: float, high: float) -> list[Floats]:
    """Return starts, best first: for each pair of exponents the terms by non-negative least squares of relative residuals."""
    from scipy.optimize import nnls

    found = []
    ones = np.ones(len(seen))
    weight = np.exp(-seen)
    for by_parameters in EXPONENTS:
        for by_rows in EXPONENTS:
            table = np.stack([ones, np.exp(by_parameters * smaller[:, 0]), np.exp(by_rows * smaller[:, 1])], axis=1) * weight[:, None]
            terms, off = nnls(table, ones)
            found.append((off, np.append(np.log(np.clip(terms, math.exp(low), math.exp(high))), [by_parameters, by_rows])))
    return [terms for _, terms in sorted(found, key=lambda one: one[0])]


def _noise_of_repeats(runs: Sequence[ScaleRun], seen: Floats) -> float:
    """Return the standard deviation of a run's logarithm around the mean of its point, pooled; 0.02 where nothing was repeated."""
    squares, freedom = _within(runs, seen)
    return math.sqrt(squares / freedom) if freedom else 0.02


def _misfit(runs: Sequence[ScaleRun], seen: Floats, fitted: Floats) -> float | None:
    from scipy.special import fdtrc

    squares, freedom = _within(runs, seen)
    beyond = len(runs) - freedom - 5  # points less the numbers fitted
    if not (freedom and beyond > 0 and squares > 0):
        return None
    lack = max(float(((seen - fitted) ** 2).sum()) - squares, 0.0)
    return float(fdtrc(beyond, freedom, lack / beyond / (squares / freedom)))


def _within(runs: Sequence[ScaleRun], seen: Floats) -> tuple[float, int]:
    """Return the sum of squares of repeats around the mean of their point, and its degrees of freedom."""
    points: dict[tuple[int, int], list[float]] = {}
    for run, value in zip(runs, seen, strict=True):
        points.setdefault((run.parameters, run.rows), []).append(float(value))
    squares = sum(float(((np.array(values) - np.mean(values)) ** 2).sum()) for values in points.values())
    return squares, len(runs) - len(points)


def _times(runs: Sequence[ScaleRun], smaller: Floats) -> tuple[float, float, float] | None:
    """Return the power law of the seconds: exponents of parameters and of rows, logarithm at the largest sizes."""
    seconds = np.array([run.seconds for run in runs], dtype=np.float64)
    if not (np.isfinite(seconds) & (seconds > 0)).all():
        return None
    table = np.concatenate([-smaller, np.ones((len(runs), 1))], axis=1)
    found = np.linalg.lstsq(table, np.log(seconds), rcond=None)[0]
    return float(found[0]), float(found[1]), float(found[2])
