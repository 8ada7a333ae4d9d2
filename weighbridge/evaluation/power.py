"""How many rows would show that a form is not inferior? Power by simulation from the paired differences seen."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from weighbridge.evaluation.comparison import MOST_ROWS, POWER
from weighbridge.evaluation.intervals import NORMAL
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.noninferiority import (
    UNSEEN,
    discordant,
    draws,
    exact_p_value,
    is_of_classes,
    null_weights,
    studentised,
    tango_score,
    units_of,
)
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.results import LEAST_UNITS
from weighbridge.storage.seeds import rng

SIMULATIONS = 4000  # a power of 0.8 is then known to 0.006
AIM = POWER + 0.02  # a search ends where draws were kind: aimed at 0.81, tests passed in 0.791 to 0.804 of 2,000 at the rows found
FEW = 2000  # differing rows, expected, up to which the exact test is asked; its score's normal tail agrees to 0.0001 from there on
TAIL = 2_000_000  # values drawn for one simulated power
NEAR = 1.005  # the number of rows is found to half a percent


def rows_to_decide(form: Predictions, original: Predictions, how: Resampling, margin: float, level: float) -> int | None:
    """Return the rows at which differences like those seen show with a power of 80 % that the form is not worse by the margin or more.

    margin is absolute; level is the one-sided level of the test, 0.95 or what a correction asks for. It may be fewer rows than there are:
    then chance was against it. None where the difference seen is at the margin or beyond, which no number of rows would turn; with fewer
    than 8 groups; or beyond 10^9 rows.
    """
    original, headline = original.on_rows_of(form), HEADLINES[form.kind]
    if headline.sign * (headline.value(form) - headline.value(original)) <= -margin * (1 - 1e-9):
        return None
    if is_of_classes(form):
        won, lost = (count / len(form) for count in discordant(form, original))
        return rows_of_classes(won, lost, margin, level, how.seed)
    units = units_of(form, original)
    if len(units.form) < LEAST_UNITS:
        return None
    found = rows_of_units(units.differences(margin), units.row, level, how.seed)
    return None if found is None or found * units.rows > MOST_ROWS else math.ceil(found * units.rows)


def rows_of_classes(won: float, lost: float, margin: float, level: float, seed: int) -> int | None:
    """Return the rows for 80 % when a share `won` of rows is right by the form only, and `lost` by the original only."""
    above = won - lost + margin

    def power(n: int) -> float:
        counts = rng(seed, "evaluation", "power", n).multinomial(n, [won, lost, 1 - won - lost], size=SIMULATIONS)
        return float(_refuted(counts[:, 0], counts[:, 1], n, margin, 1 - level).mean())

    spread = max(won + lost - (won - lost) ** 2, margin / 4)  # without a differing row the margin alone counts
    return _least(power, spread / above**2 * _reach(level) ** 2)


def rows_of_units(differences: Floats, row: float, level: float, seed: int) -> int | None:
    """Return the units for 80 % from differences [U] whose mean is 0 at the margin; their null is that of the test."""
    largest = max(float(np.abs(differences).max()), row)
    variance, mean = float(differences.var()), float(differences.mean())

    def power(units: int) -> float:
        scaled = differences / (largest * (1 + UNSEEN / units))
        count = int(min(SIMULATIONS, max(200, TAIL // units)))
        shares = np.full(len(scaled), 1 / len(scaled))
        null, seen = (
            _statistics(values, weights, units, count, rng(seed, "evaluation", "power", name, units))
            for name, values, weights in (("null", *null_weights(scaled, shares)), ("seen", scaled, shares))
        )
        return float((seen > np.quantile(null, level, method="weibull")).mean())

    return _least(power, max(variance / mean**2, largest / mean / 4) * _reach(level) ** 2)


def _statistics(values: Floats, weights: Floats, units: int, count: int, generator: np.random.Generator) -> Floats:
    """Return studentised means [count] of `units` draws; of counts of each value where there are more units than are worth drawing."""
    if units <= TAIL // 200:
        return np.concatenate([studentised(*drawn, units) for drawn in draws(values, weights, units, count, generator)])
    counts = generator.multinomial(units, weights / weights.sum(), size=count)
    return studentised(counts @ values / units, counts @ values**2 / units, units)


def _refuted(won: Array, lost: Array, n: int, margin: float, tail: float) -> Array:
    """bool [R]: the test of classes passes with these counts. Its p-value falls with the score, so one score parts them."""
    scores = tango_score(won, lost, n, margin)
    if (won + lost).mean() + n * margin > FEW:
        return np.asarray(scores >= NORMAL.inv_cdf(1 - tail))
    order = np.unique(np.stack([scores, won, lost], axis=1).round(9), axis=0)
    first, last = 0, len(order)
    while first < last:
        middle = (first + last) // 2
        _, form, original = order[middle]
        first, last = (first, middle) if exact_p_value(int(form), int(original), n, margin) < tail else (middle + 1, last)
    return np.asarray(scores.round(9) >= order[first, 0]) if first < len(order) else np.zeros(len(scores), dtype=bool)


def _least(power: Callable[[int], float], start: float) -> int | None:
    """Return the least n with a power of 80 %, near enough; None beyond 10^9."""
    if not start <= 4 * MOST_ROWS:
        return None
    low, high = LEAST_UNITS, max(LEAST_UNITS, math.ceil(start))
    while power(high) < AIM:
        low, high = high, 2 * high
        if high > 2 * MOST_ROWS:
            return None
    while high > low * NEAR and high - low > 1:
        middle = math.ceil(math.sqrt(low * high))
        low, high = (low, middle) if middle < high and power(middle) >= AIM else (middle, high)
    return high if high <= MOST_ROWS else None


def _reach(level: float) -> float:
    return NORMAL.inv_cdf(level) + NORMAL.inv_cdf(POWER)
