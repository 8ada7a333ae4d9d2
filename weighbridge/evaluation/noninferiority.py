"""Is a cheaper form of a model not worse by more than a margin, on the same rows? One-sided tests that keep their level on few rows.

Classes of single rows: the exact unconditional test that orders outcomes by Tango's score (1998; Hsueh, Liu and Chen 2001), the nuisance
rate over a confidence set (Berger and Boos 1994). The score's own normal tail passes a form exactly at the margin in 6.4 % where all rows
that differ are losses (n = 275). Otherwise (errors, F1, grouped rows): a studentised bootstrap drawn from the rows re-weighted until the
hypothesis holds (empirical likelihood, Owen 1988; tilting, Efron 1981). A plain paired bootstrap draws from the rows as seen and takes
rows that do not differ for rows that can not: it passed 49 % at 30 rows of which 3 % differ.
"Rows" are units here: groups where rows belong together. U units, R resamples, K distinct differences, G nuisance rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from weighbridge.errors import UsageError
from weighbridge.evaluation.comparison import compare
from weighbridge.evaluation.intervals import NORMAL, Interval
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Floats, Kind, Predictions
from weighbridge.evaluation.resampling import CHUNK_WEIGHTS, Resampling, unit_sums
from weighbridge.evaluation.results import LEAST_UNITS
from weighbridge.storage.seeds import rng

OUTSIDE = 1e-5  # chance that the confidence set misses the nuisance rate; it is added to the p-value (Berger and Boos 1994)
NUISANCES = 40  # rates of that set at which the p-value is computed: a fifth of a standard error apart
UNSEEN = 20  # the worst loss held possible is 1 + UNSEEN / U times the largest that was seen
POOL = 2**18  # places that stand for the weights; a mean is off by at most 2 / POOL of the worst loss
FARTHEST = 30  # doublings of a step of half a standard error, after which there is no lower bound
Test = Literal["exact", "tilted", "none"]
Pvalue = Callable[[float], float]  # margin -> one-sided p-value


@dataclass(frozen=True, kw_only=True)
class NonInferiority:
    """A form against the original on the same n rows, in the unit of the headline metric; positive: the form is better.

    Attributes:
        margin: the loss that is accepted, absolute.
        lower: one-sided lower bound of the difference; above -margin exactly where p_value is below 1 - the bound's level.
        interval: two-sided, as `compare` has it, and never shorter than the one-sided bound.
        p_value: of "the form is worse by the margin or more". p_worse: of "it is not worse by more than the margin". Uncorrected.
        test: "none" with fewer than 8 units whose spread would have to be estimated: both p-values are then 1, and `lower` says nothing.
    """

    name: str
    margin: float
    difference: float
    lower: float
    interval: Interval
    p_value: float
    p_worse: float
    test: Test
    n: int


@dataclass(frozen=True, kw_only=True)
class Units:
    """Paired ratios of sums over units: what a test other than that of classes sees.

    Attributes:
        form, original: float64 [U], each unit's share of the ratio, so that their means are accuracy, F1 or the mean squared error.
        kind: `number` compares mean squares on the scale of the root; the margin is then a share of the original's root.
        rows: rows a unit stands for, on average.
    """

    form: Floats
    original: Floats
    kind: Kind
    rows: float

    def differences(self, margin: float) -> Floats:
        """float64 [U]: differences whose mean is 0 where the form is worse by exactly the margin; a larger mean is better."""
        if self.kind != "number":
            return self.form - self.original + margin
        middle = math.sqrt(max(float(self.original.mean()), 0.0))
        if middle == 0:
            return margin**2 - self.form
        return max(1 + margin / middle, 0.0) ** 2 * self.original - self.form  # both scaled, so the original's own error is in the test

    @property
    def row(self) -> float:
        """What one row that is lost whole takes from a unit's difference; 0 for numbers, whose errors have no bound."""
        return 0.0 if self.kind == "number" else 1 / self.rows


def margin_of(kind: Kind, original_value: float, margin: float) -> float:
    """Return the absolute margin in the headline's unit: points of a share as they are; for numbers a share of the original's RMSE.

    Raises UsageError outside (0, 1).
    """
    if not 0 < margin < 1:
        what = f"a margin of {margin:g} does not say how much worse a cheaper form may be; it must lie between 0 and 1"
        raise UsageError(what, do="give 0.01 for one point (or one hundredth of the error)")
    return margin * original_value if kind == "number" else margin


def noninferior(form: Predictions, original: Predictions, how: Resampling, *, margin: float, level: float = 0.95) -> NonInferiority:
    """Return whether `form` is worse than `original` by less than an absolute margin; `level` is that of the one-sided bound.

    Raises DataError when the rows are not the same, UsageError for a margin below 0 or, for shares, of 1 or more.
    """
    if not 0 <= margin < (math.inf if form.kind == "number" else 1):
        raise UsageError(f"a margin of {margin:g} can not be tested", do="give one of at least 0, and below 1 for a share")
    original = original.on_rows_of(form)
    found = compare(form, original, how)
    test, p_of, p_worse = _tests(form, original, how)
    p_value = p_of(margin)
    low = -math.inf if form.kind == "number" else -1.0
    lower = low if test == "none" else _bound(p_of, found.difference, found.interval, (margin, p_value), 1 - level, low)
    ends = found.interval if test == "none" or not math.isfinite(lower) else (min(found.interval[0], lower), found.interval[1])
    return NonInferiority(
        name=form.model,
        margin=margin,
        difference=found.difference + 0.0,
        lower=lower,
        interval=(ends[0] + 0.0, ends[1] + 0.0),
        p_value=p_value,
        p_worse=p_worse(margin),
        test=test,
        n=len(form),
    )


def units_of(form: Predictions, original: Predictions) -> Units:
    """Return the units of two models on the same rows."""
    headline = HEADLINES[form.kind]
    sides = [_shares_of_ratio(unit_sums(headline.features(one), form.group)) for one in (form, original)]
    return Units(form=sides[0], original=sides[1], kind=form.kind, rows=len(form) / len(sides[0]))


def is_of_classes(form: Predictions) -> bool:
    """Return whether the test is that of classes of single rows."""
    return form.kind == "category" and form.group is None


def discordant(form: Predictions, original: Predictions) -> tuple[int, int]:
    """Return how many rows only the form gets right, and only the original."""
    ours, theirs = form.chosen == form.target, original.chosen == original.target
    return int((ours & ~theirs).sum()), int((theirs & ~ours).sum())


def tango_score(only_form: Any, only_original: Any, n: int, margin: float) -> Floats:
    """Return Tango's score (1998): standard errors by which the difference of two rates of the same rows lies above -margin.

    The error is that of the most likely rates at which the difference is -margin, so it is not 0 where no row differs.
    only_form, only_original: counts of the rows that only one of the two gets right, of any one shape.
    """
    b, c = np.asarray(only_form, dtype=np.float64), np.asarray(only_original, dtype=np.float64)
    linear = -(b + c) - (2 * n - b + c) * margin
    lost = (np.sqrt(np.maximum(linear**2 - 8 * n * c * margin * (1 + margin), 0)) - linear) / (4 * n)
    variance = np.maximum(n * (2 * lost - margin * (1 + margin)), 0)
    above = b - c + n * margin
    return np.asarray(np.divide(above, np.sqrt(variance), out=np.zeros_like(above), where=variance > 1e-12))


def exact_p_value(only_form: int, only_original: int, n: int, margin: float, *, worse: bool = False) -> float:
    """Return the exact p-value of "worse by the margin or more", or of "not worse by more than it" when `worse`; at least 1e-5.

    The largest, over rates of "only the form is right" that its count allows, of the probability of a score as extreme as the seen one.
    The score rises with one count and falls with the other, so that the edge of the hypothesis is its worst case (a test checks both).
    """
    from scipy.special import betainc

    won = _nuisance(only_form, n, margin)
    lost = np.clip(won + margin, 0.0, 1 - won)
    counts = np.arange(_count(n, lost.min(), -1), _count(n, lost.max(), 1) + 1, dtype=np.float64)
    seen = float(tango_score(only_form, only_original, n, margin))
    least, rest = _least_won(seen, counts, n, margin, strict=worse), n - counts
    share = np.minimum(won / np.maximum(1 - lost, 1e-300), 1.0)[:, None]
    tail = np.where(least > rest, 0.0, betainc(np.maximum(least, 1), np.maximum(rest - least + 1, 1e-9), share))
    tail = np.where(least <= 0, 1.0, tail)
    chance = (_binomial(counts, n, lost[:, None]) * (1 - tail if worse else tail)).sum(axis=1)
    return min(1.0, float(chance.max()) + OUTSIDE)


def tilted_p_value(differences: Floats, row: float, resamples: int, generator: np.random.Generator) -> float:
    """Return the one-sided p-value of "their mean is 0 or less" by a studentised bootstrap from weights under which it is 0.

    differences [U]; the worst loss held possible is 1 + UNSEEN / U times the largest seen, or `row` where less was seen. It is an outcome
    of its own where the weights need it: the likeliest of all distributions of mean 0, as in Tango's score. Below 0 the mirrored test
    gives 1 - p.
    """
    if differences.mean() < 0:
        return 1 - tilted_p_value(-differences, row, resamples, generator)
    units, largest = len(differences), max(float(np.abs(differences).max()), row)
    if differences.mean() < 1e-12 * largest or largest == 0:
        return 0.5 if differences.any() else 1.0
    values, counts = np.unique(np.round(differences / (largest * (1 + UNSEEN / units)), 10), return_counts=True)
    seen = studentised(counts @ values / units, counts @ values**2 / units, units)
    reached = 0
    for drawn in draws(*null_weights(values, counts / units), units, resamples, generator):
        reached += int((studentised(*drawn, units) >= seen - 1e-9).sum())
    return (1 + reached) / (1 + resamples)


def null_weights(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return support and probabilities of the likeliest distribution whose mean is 0 (Owen 1988), from values [K] of mean above 0.

    Values are in units of the worst loss, which is -1 in the support that is returned.
    """
    free = weights / (1 + values)  # the multiplier at which the worst loss takes what is missing
    if free.sum() < 1 or values.min() >= 0:
        return np.append(-1.0, values), np.append(max(1 - free.sum(), 0.0), free) / max(free.sum(), 1.0)
    low, high = 0.0, min(1.0, 1 / -float(values.min()))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (weights * values / (1 + middle * values)).sum() > 0 else (low, middle)
    tilted = weights / (1 + low * values)
    return values, tilted / tilted.sum()


def draws(values: Floats, weights: Floats, units: int, resamples: int, generator: np.random.Generator) -> Iterator[tuple[Floats, Floats]]:
    """Give means and mean squares [c] of `units` values drawn with these weights, until there were `resamples` of them.

    Equal generators give draws that rise with the weights of large values, so that a p-value is smooth in the margin.
    """
    ends = np.round(np.cumsum(weights / weights.sum()) * POOL)
    pool = np.repeat(values, np.diff(ends, prepend=0.0).astype(np.int64))
    most = max(1, CHUNK_WEIGHTS // units)
    for start in range(0, resamples, most):
        drawn = pool[generator.integers(0, POOL, size=(min(most, resamples - start), units), dtype=np.uint32)]
        yield drawn.mean(axis=1), np.einsum("ru,ru->r", drawn, drawn) / units


def studentised(mean: Floats, squares: Floats, units: int) -> Floats:
    """Return means over their standard errors, a worst loss (1) and an equal gain added so that no error is 0 (Bonett and Price 2012)."""
    variance = (units * squares + 2) / (units + 2) - (units * mean / (units + 2)) ** 2
    return np.asarray(mean / np.sqrt(np.maximum(variance, 1e-300) / units))


def _tests(form: Predictions, original: Predictions, how: Resampling) -> tuple[Test, Pvalue, Pvalue]:
    """Return the test's name and its p-values of both hypotheses as functions of the margin."""
    if is_of_classes(form):
        counts, n = discordant(form, original), len(form)
        return "exact", lambda margin: exact_p_value(*counts, n, margin), lambda margin: exact_p_value(*counts, n, margin, worse=True)
    units = units_of(form, original)
    if len(units.form) < LEAST_UNITS:
        return "none", lambda margin: 1.0, lambda margin: 1.0

    def p_value(margin: float) -> float:  # equal draws for every margin and form
        return tilted_p_value(units.differences(margin), units.row, how.resamples, rng(how.seed, "evaluation", "tilted"))

    return "tilted", p_value, lambda margin: 1 - p_value(margin)


def _shares_of_ratio(sums: Floats) -> Floats:
    """Return values [U] whose mean is the ratio of sums [U, 2] and whose spread is that of the ratio (its influence function)."""
    total = sums.sum(axis=0)
    ratio = total[0] / total[1] if total[1] > 0 else 0.0
    return np.asarray(ratio + (sums[:, 0] - ratio * sums[:, 1]) * len(sums) / max(total[1], 1e-300))


def _bound(p_of: Pvalue, difference: float, interval: Interval, known: tuple[float, float], tail: float, low: float) -> float:
    """Return the loss at which the p-value is `tail`, on that side of the margin which its own p-value (`known`) tells; at least `low`."""
    from scipy.optimize import brentq

    end, passed = -known[0], known[1] < tail
    least = end if passed else low * (1 - 1e-9)
    step = max((interval[1] - interval[0]) / 4, known[0] / 20, 1e-9)
    top = difference if passed else min(difference, end)
    bottom = max(least, top - 2 * step)
    for _ in range(FARTHEST):
        if bottom == least or p_of(-bottom) < tail:
            break
        top, step = bottom, 2 * step
        bottom = max(least, top - step)
    if not passed and p_of(-bottom) >= tail:
        return low

    def apart(loss: float) -> float:
        return NORMAL.inv_cdf(min(max(p_of(-loss), 1e-9), 1 - 1e-9)) - NORMAL.inv_cdf(tail)

    if apart(top) <= 0:  # the estimate itself is refuted: every loss below it is, too
        return top
    return min(float(brentq(apart, bottom, top, xtol=step / 500, rtol=1e-9)), difference)


def _nuisance(only_form: int, n: int, margin: float) -> Floats:
    """Return rates [G] of "only the form is right" that its count allows (Clopper and Pearson) at a difference of -margin."""
    from weighbridge.evaluation.intervals import clopper_pearson

    least, most = max(0.0, -margin), (1 - margin) / 2
    low, high = (min(max(end, least), most) for end in clopper_pearson(only_form, n, 1 - OUTSIDE))
    return np.linspace(math.sqrt(low), math.sqrt(high), NUISANCES) ** 2


def _least_won(score: float, lost: Floats, n: int, margin: float, *, strict: bool) -> Floats:
    """Return for each count of `lost` rows the least count of won ones with at least this score (above it when `strict`)."""
    near = 1e-9 * (1 + abs(score))
    below, reached = np.full(len(lost), -1.0), n - lost + 1
    for _ in range(math.ceil(math.log2(n + 2)) + 1):
        middle = np.floor((below + reached) / 2)
        scores = tango_score(middle, lost, n, margin)
        enough = scores > score + near if strict else scores >= score - near
        open_ = reached - below > 1
        below, reached = np.where(open_ & ~enough, middle, below), np.where(open_ & enough, middle, reached)
    return reached


def _count(n: int, rate: float, side: int) -> int:
    """Return a count that a binomial passes with a probability under 1e-10, on one side."""
    spread = math.sqrt(n * rate * (1 - rate))
    return int(min(max(n * rate + side * (7 * spread + 25), 0), n))


def _binomial(counts: Floats, n: int, rate: Floats) -> Floats:
    from scipy.special import gammaln, xlog1py, xlogy

    chosen = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    return np.asarray(np.exp(chosen + xlogy(counts, rate) + xlog1py(n - counts, -rate)))
