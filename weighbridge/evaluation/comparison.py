"""Is A better than B on the same rows? Paired tests, corrections for many of them, and how many rows would decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from weighbridge.evaluation.intervals import NORMAL, Interval, standard_error, symmetric
from weighbridge.evaluation.metrics import HEADLINES, Headline
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.evaluation.resampling import Replicates, Resampling, Sampler, Statistic, replicate, unit_sums
from weighbridge.storage.seeds import rng

EXACT_BELOW = 25  # discordant pairs under which McNemar's test is exact
POWER = 0.80
MOST_ROWS = 10**9
STEP = 1e-5  # relative; the error of a slope is then about 1e-10 of it
Test = Literal["mcnemar_exact", "mcnemar", "permutation"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The paired difference of a headline metric, oriented so that a positive one means: the model is better.

    Attributes:
        p_value: two-sided; uncorrected.
        rows: rows that would show a difference of this size with a power of 80 %; None where none was seen, or beyond 10^9.
    """

    name: str
    difference: float
    interval: Interval
    p_value: float
    test: Test
    rows: int | None
    n: int


def compare(model: Predictions, other: Predictions, how: Resampling) -> Comparison:
    """Return how much better `model` is than `other` on the same rows.

    Classes of single rows: McNemar's test, Bonett and Price's interval (2012). Otherwise (errors, F1, grouped rows): a permutation
    test that swaps the two in each row or group, and the symmetric studentised interval of the paired bootstrap.
    Raises DataError when the rows are not the same.
    """
    other, headline = other.on_rows_of(model), HEADLINES[model.kind]
    ours, theirs = headline.features(model), headline.features(other)
    if model.kind == "category" and model.group is None:
        return _of_classes(other.model, ours[:, 0] > 0, theirs[:, 0] > 0, how.level)
    pair = np.concatenate([unit_sums(ours, model.group), unit_sums(theirs, model.group)], axis=1)
    return _of_sums(other.model, headline, pair, len(model), how)


def mcnemar(only_ours: int, only_theirs: int) -> tuple[float, Test]:
    """Return the two-sided p-value from the rows that only one of the two gets right (McNemar 1947); exact under 25 of them.

    From 25 on the mid-p form: the chi-square form is wrong too often at n = 100 (5.3 % measured; Fagerland 2013).
    """
    from scipy.stats import binom

    discordant, fewer = only_ours + only_theirs, min(only_ours, only_theirs)
    tail = float(binom.cdf(fewer, discordant, 0.5))
    if discordant < EXACT_BELOW:
        return min(1.0, 2 * tail), "mcnemar_exact"
    return min(1.0, 2 * tail - float(binom.pmf(fewer, discordant, 0.5))), "mcnemar"


def paired_rate_interval(only_ours: int, only_theirs: int, n: int, level: float = 0.95) -> Interval:
    """Return the interval of a difference of two rates of the same rows (Bonett and Price 2012: one added to each cell)."""
    ours, theirs = (only_ours + 1) / (n + 2), (only_theirs + 1) / (n + 2)
    half = NORMAL.inv_cdf((1 + level) / 2) * math.sqrt((ours + theirs - (ours - theirs) ** 2) / (n + 2))
    seen = (only_ours - only_theirs) / n
    return max(-1.0, min(seen, ours - theirs - half)), min(1.0, max(seen, ours - theirs + half))


def swap_test(headline: Headline, pair: Floats, how: Resampling) -> float:
    """Return the p-value of the permutation test that swaps the two models in random units; valid whatever the distribution.

    pair [U, 4]: sums of the headline's features, ours then theirs. The seen order counts as one permutation, so p > 0 (Phipson 2010).
    """
    ours, theirs = np.split(pair, 2, axis=1)
    seen = abs(_difference(headline, ours.sum(axis=0), theirs.sum(axis=0)))
    swaps = rng(how.seed, "evaluation", "permutation").integers(0, 2, size=(how.resamples, len(pair)), dtype=np.int8).astype(np.float64)
    moved = swaps @ (theirs - ours)
    drawn = np.abs(_difference(headline, ours.sum(axis=0) + moved, theirs.sum(axis=0) - moved))
    return float((1 + (drawn >= seen * (1 - 1e-9)).sum()) / (1 + how.resamples))


def rows_for_power(difference: float, error: float, n: int, level: float = 0.95) -> int | None:
    """Return the rows at which a true difference of this size is found with a power of 80 % (normal approximation).

    `error` is the standard error of the difference at n rows. None when there is no difference, or beyond 10^9 rows.
    """
    if difference == 0 or error == 0:
        return None
    reach = NORMAL.inv_cdf((1 + level) / 2) + NORMAL.inv_cdf(POWER)
    rows = n * (reach * error / difference) ** 2
    return math.ceil(rows) if rows <= MOST_ROWS else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected so that the chance of any false claim stays at the level (Holm 1979)."""
    order, worst = np.argsort(p_values), 0.0
    corrected = [0.0] * len(p_values)
    for place, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = worst
    return corrected


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected so that the expected share of false ones among the claims stays at the level (1995)."""
    count, best = len(p_values), 1.0
    corrected = [0.0] * count
    for place, index in reversed(list(enumerate(np.argsort(p_values)))):
        best = min(best, p_values[index] * count / (place + 1))
        corrected[index] = best
    return corrected


def _of_classes(name: str, ours: Array, theirs: Array, level: float) -> Comparison:
    n, better, worse = len(ours), int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    p_value, test = mcnemar(better, worse)
    difference = (better - worse) / n
    error = math.sqrt(max((better + worse) / n - difference**2, 0) / n)
    return Comparison(
        name=name,
        difference=difference,
        interval=paired_rate_interval(better, worse, n, level),
        p_value=p_value,
        test=test,
        rows=rows_for_power(difference, error, n, level),
        n=n,
    )


def _of_sums(name: str, headline: Headline, pair: Floats, n: int, how: Resampling) -> Comparison:
    drawn, errors = difference_replicates(headline, pair, how)
    most = 1.0 if headline.sign > 0 else math.inf  # differences of shares are shares
    return Comparison(
        name=name,
        difference=drawn.value,
        interval=symmetric(drawn, errors, how.level, low=-most, high=most),
        test="permutation",
        p_value=swap_test(headline, pair, how),
        rows=rows_for_power(drawn.value, standard_error(drawn), n, how.level),
        n=n,
    )


def difference_replicates(headline: Headline, pair: Floats, how: Resampling) -> tuple[Replicates, Replicates]:
    """Return the paired bootstrap of the oriented difference and of its standard error; pair [U, 4] as in `swap_test`."""
    places = np.triu_indices(pair.shape[1])
    products = pair[:, places[0]] * pair[:, places[1]]
    twice = np.where(places[0] == places[1], 1.0, 2.0)
    small = len(pair) / max(len(pair) - 1, 1)

    def of(weights: Floats) -> Floats:
        sums = weights @ pair
        slopes = _slopes(headline, sums)  # the metric is a ratio, so slopes times sums is 0: what a unit adds is centred already
        variance = (weights @ products * twice * slopes[:, places[0]] * slopes[:, places[1]]).sum(axis=1) * small
        difference = _difference(headline, *np.split(sums, 2, axis=1))
        return np.stack([difference, np.sqrt(np.maximum(variance, 0.0))], axis=1)

    drawn = replicate([Statistic(names=("difference", "error"), of=of)], Sampler(n=len(pair), resamples=how.resamples, seed=how.seed))
    return drawn["difference"], drawn["error"]


def _slopes(headline: Headline, sums: Floats) -> Floats:
    """Return the derivatives [R, 4] of the difference by each sum, from central differences; 0 where the sum is 0."""
    slopes = np.zeros_like(sums)
    for place in range(sums.shape[1]):
        step = np.zeros_like(sums)
        step[:, place] = STEP * sums[:, place]
        rise = _difference(headline, *np.split(sums + step, 2, axis=1)) - _difference(headline, *np.split(sums - step, 2, axis=1))
        np.divide(rise, 2 * step[:, place], out=slopes[:, place], where=step[:, place] != 0)
    return slopes


def _difference(headline: Headline, ours: Floats, theirs: Floats) -> Floats:
    return headline.sign * (headline.of_sums(ours) - headline.of_sums(theirs))
