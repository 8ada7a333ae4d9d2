"""Would more training rows help, and how much? Held-out error against the number of training rows, `e(n) = a + b n^-c`.

The error is 1 - accuracy, 1 - F1, or the RMSE, of trainings on nested random subsets, judged on validation rows. The fit is robust
(Huber weights on relative residuals); for each exponent c of a grid a and b follow from weighted least squares with both at least 0,
so there is one solution and no start value. The interval is a bootstrap over runs: at each size runs are drawn, their deviations
widened because few repeats show too little of their spread, and the curve is refitted. Viering and Loog 2022 review such curves.
Trap: beyond 4 times the largest size nothing supports the form. N runs, B refits, G exponents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.predictions import Floats
from weighbridge.storage.seeds import rng

LEAST_SIZES, LEAST_REPEATS = 5, 3
FARTHEST = 4.0  # times the largest size up to which a curve may be carried on without saying more
EXPONENTS = np.geomspace(0.1, 2.0, 48)
ROUNDS = 4  # of re-weighting
HUBER = 1.345
POINTS = 40  # of the drawn curve
REFITS = 1000


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training on a subset: how many rows it had, which repeat it was, and its error on validation rows."""

    rows: int
    repeat: int
    error: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """`e(n) = a + b n^-c` with refits [B, 3] of the bootstrap; n in rows."""

    a: float
    b: float
    c: float
    refits: Floats
    level: float
    freedom: int

    def error(self, rows: float) -> float:
        """Return the fitted error at a number of rows."""
        return float(self.a + self.b * rows**-self.c)

    def band(self, rows: float) -> Interval:
        """Return the interval of the error at a number of rows."""
        return self._interval(_at(self.refits, rows), self.error(rows))

    def change(self, start: float, end: float) -> Interval:
        """Return the interval of the error's fall from `start` to `end` rows (positive: it falls)."""
        return self._interval(_at(self.refits, start) - _at(self.refits, end), self.error(start) - self.error(end))

    def _interval(self, draws: Floats, value: float) -> Interval:
        """Return percentiles, tails widened by Student's t for few runs (Hesterberg 2015), and as far to the other side of the estimate.

        Bounds on a and b make the draws lopsided: percentiles alone covered 0.85 of the time where the true a is 0 (docs/spread.md).
        """
        from scipy.special import ndtr, stdtrit

        tail = float(ndtr(-stdtrit(self.freedom, (1 + self.level) / 2)))
        low, high = map(float, np.quantile(draws, [tail, 1 - tail]))
        return max(0.0, min(low, value, 2 * value - high)), max(high, value, 2 * value - low)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The largest size left out and predicted: what was predicted with its interval, and the mean that was seen there."""

    rows: int
    predicted: float
    interval: Interval
    seen: float

    @property
    def error(self) -> float:
        """Predicted minus seen."""
        return self.predicted - self.seen

    @property
    def holds(self) -> bool:
        return self.interval[0] <= self.seen <= self.interval[1]


def fit_curve(runs: Sequence[Run], *, seed: int, level: float = 0.95, refits: int = REFITS) -> Curve:
    """Return the curve with its bootstrap. Raises ValueError with fewer than 4 sizes."""
    rows, errors = np.array([run.rows for run in runs], float), np.array([run.error for run in runs])
    sizes, places = np.unique(rows, return_inverse=True)
    if len(sizes) < LEAST_SIZES - 1:  # one less than asked for: the largest is left out once
        raise ValueError(f"{len(sizes)} sizes do not show a curve")
    a, b, c = _fit(rows, errors[None])[0]
    drawn = _fit(rows, _resampled(errors, places, rng(seed, "evaluation", "learning curve"), refits))
    return Curve(a=float(a), b=float(b), c=float(c), refits=drawn, level=level, freedom=max(len(runs) - len(sizes), 1))


def held_out(runs: Sequence[Run], *, seed: int, level: float = 0.95) -> HeldOut:
    """Return how well the smaller sizes foretell the largest; the interval is that of the mean of as many runs as were seen."""
    largest = max(run.rows for run in runs)
    seen = [run.error for run in runs if run.rows == largest]
    curve = fit_curve([run for run in runs if run.rows < largest], seed=seed, level=level)
    noise = rng(seed, "evaluation", "learning curve", "noise").normal(size=len(curve.refits)) * _noise(runs) / math.sqrt(len(seen))
    at = _at(curve.refits, largest)
    predicted = curve.error(largest)
    interval = curve._interval(at * (1 + noise), predicted)
    return HeldOut(rows=largest, predicted=predicted, interval=interval, seen=float(np.mean(seen)))


def curve_json(curve: Curve, runs: Sequence[Run], *, metric: str, times: float, all_rows: int) -> dict[str, Any]:
    """Return the content of learning_curve.json: the runs, and the curve with its band up to `times` the rows, as the metric itself."""
    sizes = np.geomspace(min(run.rows for run in runs), all_rows * max(times, 2.0), POINTS)
    bands = [curve.band(size) for size in sizes]
    turned = metric != "rmse"
    return {
        "metric": metric,
        "runs": [{"rows": run.rows, "repeat": run.repeat, "value": shown(run.error, metric)} for run in runs],
        "rows": all_rows,
        "fit": {"a": curve.a, "b": curve.b, "c": curve.c},
        "curve": [
            {
                "rows": float(size),
                "value": shown(curve.error(size), metric),
                "low": shown(band[1] if turned else band[0], metric),
                "high": shown(band[0] if turned else band[1], metric),
            }
            for size, band in zip(sizes, bands, strict=True)
        ],
    }


def shown(error: float, metric: str) -> float:
    """Return the metric that an error stands for, and back: 1 - error for shares, the error itself for the RMSE."""
    return error if metric == "rmse" else 1 - error


def _at(refits: Floats, rows: float) -> Floats:
    return np.asarray(refits[:, 0] + refits[:, 1] * rows ** -refits[:, 2])


def _resampled(errors: Floats, places: Any, random: np.random.Generator, count: int) -> Floats:
    """Return [B, N] errors: at each size as many runs drawn as there are, deviations from the size's mean widened by R / (R - 1)."""
    drawn = np.empty((count, len(errors)))
    for place in range(int(places.max()) + 1):
        here = np.flatnonzero(places == place)
        repeats, middle = len(here), errors[here].mean()
        widened = math.sqrt(repeats / (repeats - 1)) if repeats > 1 else 1.0
        picks = random.integers(0, repeats, size=(count, repeats))
        drawn[:, here] = np.maximum(middle + widened * (errors[here][picks] - middle), 0)
    return drawn


def _noise(runs: Sequence[Run]) -> float:
    """Return the relative standard deviation of a run around the mean of its size, pooled over sizes."""
    rows = np.array([run.rows for run in runs])
    errors = np.array([run.error for run in runs])
    parts = [errors[rows == size] / max(float(errors[rows == size].mean()), 1e-12) for size in np.unique(rows)]
    freedom = sum(len(part) - 1 for part in parts)
    return math.sqrt(sum(float(((part - part.mean()) ** 2).sum()) for part in parts) / max(freedom, 1))


def _fit(rows: Floats, errors: Floats) -> Floats:
    """Return [B, 3]: a, b and c for each line of errors [B, N]."""
    largest = rows.max()
    powers = (rows[:, None] / largest) ** -EXPONENTS  # [N, G]: 1 at the largest size, so that a and b are of one scale
    lines = np.arange(len(errors))
    scale = np.maximum(errors, 1e-3 * np.maximum(errors.max(axis=1, keepdims=True), 1e-12))
    huber = np.ones_like(errors)
    a = b = chosen = np.zeros(len(errors))
    for _ in range(ROUNDS):
        every_a, every_b, loss = _solved(huber / scale**2, powers, errors)
        best = loss.argmin(axis=1)
        a, b, chosen = every_a[lines, best], every_b[lines, best], EXPONENTS[best]
        fitted = a[:, None] + b[:, None] * powers[:, best].T
        scale = np.maximum(fitted, 1e-3 * np.maximum(errors.max(axis=1, keepdims=True), 1e-12))
        off = np.abs(errors - fitted) / scale
        spread = np.maximum(1.4826 * np.median(off, axis=1, keepdims=True), 1e-9)
        huber = np.minimum(1.0, HUBER * spread / np.maximum(off, 1e-12))
    return np.stack([a, b * largest**chosen, chosen], axis=1)


def _solved(weights: Floats, powers: Floats, errors: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a, b >= 0 and the weighted squared loss [B, G] of least squares for every exponent."""
    total, first, second = weights.sum(axis=1, keepdims=True), weights @ powers, weights @ powers**2
    level, slope = (weights * errors).sum(axis=1, keepdims=True), (weights * errors) @ powers
    det = np.maximum(total * second - first**2, 1e-300)
    a, b = (second * level - first * slope) / det, (total * slope - first * level) / det
    b = np.where(a < 0, slope / second, b)
    a = np.where(a < 0, 0.0, a)
    a = np.where(b < 0, level / total, a)
    b = np.where(b < 0, 0.0, b)
    square = (weights * errors**2).sum(axis=1, keepdims=True)
    loss = square - 2 * (a * level + b * slope) + a**2 * total + 2 * a * b * first + b**2 * second
    return a, b, loss
