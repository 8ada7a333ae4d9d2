"""How much of a score is kept when inputs change: the score on changed rows as a share of that on the same rows as they are.

1 is no loss. For errors (RMSE) the share is clean over changed, so that less is worse for every kind of target. U units (rows, or groups
where rows belong together), M changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from weighbridge.errors import DataError
from weighbridge.evaluation.intervals import NORMAL, Interval, symmetric
from weighbridge.evaluation.metrics import HEADLINES, Headline, correct
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.evaluation.resampling import Resampling, Sampler, Statistic, replicate, unit_sums
from weighbridge.findings import Message
from weighbridge.storage.seeds import rng

PAIRED = Message("Bonett and Price's interval of a ratio of two rates of the same rows (2006)")
Answers = Mapping[str, Sequence[Predictions]]  # by what was changed, a set of answers for each strength


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of the clean score, its interval, and how that was made; n rows."""

    value: float
    interval: Interval
    n: int
    method: Message


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The change that costs most: found on `chosen_on` rows, `share` stated on the others."""

    name: str
    share: Share
    chosen_on: int


def kept_each(clean: Predictions, changed: Sequence[Predictions], how: Resampling) -> list[Share]:
    """Return the share of the clean score that is kept under each change, paired by row.

    Classes of single rows: Bonett and Price's interval, which also has a length where no row changed. Otherwise the paired bootstrap.
    Raises DataError where there is no clean score to keep, or rows differ.
    """
    if clean.kind == "category" and clean.group is None:
        return [_of_classes(correct(clean), correct(one.on_rows_of(clean)), how.level) for one in changed]
    return kept_means(clean, [[one] for one in changed], how)


def kept_mean(clean: Predictions, changed: Sequence[Predictions], how: Resampling) -> Share:
    """Return the mean of the shares kept over several changes of the same rows."""
    return kept_means(clean, [changed], how)[0]


def kept_means(clean: Predictions, changed: Sequence[Sequence[Predictions]], how: Resampling) -> list[Share]:
    """Return the mean share kept of each group of changes: symmetric studentised interval of the paired bootstrap (Hall 1988).

    Raises DataError where there is no clean score to keep, or rows differ.
    """
    sides = [unit_sums(_features(clean, part), clean.group) for part in changed]
    return _bootstrapped(clean, [[side] for side in sides], how, least=0.0)


def kept_apart(one: tuple[Predictions, Sequence[Predictions]], other: tuple[Predictions, Sequence[Predictions]], how: Resampling) -> Share:
    """Return the mean share that the first model keeps minus that of the second: (clean, changed) answers of both on the same rows."""
    mine = one[0]
    theirs = [answers.on_rows_of(mine) for answers in (other[0], *other[1])]
    sides = [unit_sums(_features(clean, changed), mine.group) for clean, changed in (one, (theirs[0], theirs[1:]))]
    return _bootstrapped(mine, [sides], how, least=-math.inf)[0]


def worst_kept(clean: Predictions, changed: Answers, how: Resampling) -> Worst:
    """Return the change that keeps least, its share averaged over strengths: found on half of the units, stated on the other half.

    The least of many shares, stated on the rows that it was picked by, is too low: of eleven equal changes on 300 rows by 0.02 on average.
    """
    first, second = _halves(clean, how.seed)
    headline = _headline(clean)
    features = {name: _features(clean, answers) for name, answers in changed.items()}
    found = {name: float(_shares(headline, values[first].sum(axis=0, keepdims=True)).mean()) for name, values in features.items()}
    if not all(map(math.isfinite, found.values())):
        raise DataError("half of the rows hold no score to keep", do="give more rows")
    name = min(found, key=lambda one: (found[one], one))
    part = [_part(one, second) for one in (clean, *changed[name])]
    return Worst(name=name, share=kept_mean(part[0], part[1:], how), chosen_on=int(first.sum()))


def paired_ratio_interval(both: float, only_changed: float, only_clean: float, level: float = 0.95) -> Interval:
    """Return the interval of P(right when changed) / P(right when clean) from rows right both times, only then, only clean.

    Bonett and Price 2006: of the rows that are right at least once the two rates, each with Wilson's interval at a level so chosen that
    the ratio of their ends has the wanted one.
    """
    changed, clean = both + only_changed, both + only_clean
    n = both + only_changed + only_clean
    joint = math.sqrt((only_changed + only_clean + 2) / ((changed + 1) * (clean + 1)))
    single = sum(math.sqrt((1 - (hits + 1) / (n + 2)) / (hits + 1)) for hits in (changed, clean))
    z = NORMAL.inv_cdf((1 + level) / 2) * joint / single
    (low, high), (clean_low, clean_high) = (_wilson(hits, n, z) for hits in (changed, clean))
    value = changed / clean
    return min(value, low / clean_high), max(value, high / clean_low)


def _wilson(hits: float, n: float, z: float) -> Interval:
    rate, middle = hits / n, (hits + z * z / 2) / (n + z * z)
    half = z * math.sqrt(n) / (n + z * z) * math.sqrt(rate * (1 - rate) + z * z / (4 * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def _of_classes(clean: Array, changed: Array, level: float) -> Share:
    if not clean.any():
        raise _nothing()
    both, only_changed, only_clean = (float(rows.sum()) for rows in (clean & changed, changed & ~clean, clean & ~changed))
    interval = paired_ratio_interval(both, only_changed, only_clean, level)
    return Share(value=float(changed.sum() / clean.sum()), interval=interval, n=len(clean), method=PAIRED)


def _bootstrapped(clean: Predictions, wanted: Sequence[Sequence[Floats]], how: Resampling, *, least: float) -> list[Share]:
    """Return a share for each of `wanted`: the mean share kept of its one side [U, 2 (M + 1)], or that of its first minus its second."""
    units, statistics = len(wanted[0][0]), list[Statistic]()
    for place, sides in enumerate(wanted):
        names = (f"{place}", f"{place}.error")
        statistics.append(Statistic(names=names, of=partial(_value_and_error, _headline(clean), sides)))
    drawn = replicate(statistics, Sampler(n=units, resamples=how.resamples, seed=how.seed, name="kept"))
    found = [(drawn[f"{place}"], drawn[f"{place}.error"]) for place in range(len(wanted))]
    if not all(math.isfinite(one.value) for one, _ in found):
        raise _nothing()
    return [
        Share(value=one.value, interval=symmetric(one, error, how.level, low=least), n=len(clean), method=_words(clean, how))
        for one, error in found
    ]


def _value_and_error(headline: Headline, sides: Sequence[Floats], weights: Floats) -> Floats:
    """Return [R, 2]: the mean share kept, one side minus the other where there are two, and its standard error by the delta method."""
    value, influence = np.zeros(len(weights)), np.zeros_like(weights)
    for sign, side in zip((1.0, -1.0), sides, strict=False):
        sums = weights @ side
        value += sign * _shares(headline, sums).mean(axis=1)
        influence += sign * (_slopes(headline, sums) @ side.T)
    units = weights.shape[1]
    variance = (weights * influence**2).sum(axis=1) * units / max(units - 1, 1)
    return np.stack([value, np.sqrt(variance)], axis=1)


def _slopes(headline: Headline, sums: Floats) -> Floats:
    """Return the derivatives [R, 2 (M + 1)] of the mean share by each sum; what a unit adds by them is centred already."""
    shares, pairs = _shares(headline, sums), sums.reshape(len(sums), -1, 2)
    power = 1.0 if headline.sign > 0 else -0.5  # RMSE is a root, and its share is turned over
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(pairs > 0, 1 / pairs, 0.0)
        rising = np.where(pairs[:, 1:, 0] > 0, shares * inverse[:, 1:, 0], inverse[:, 1:, 1] * (pairs[:, 0, 1] / pairs[:, 0, 0])[:, None])
    by_changed = np.stack([rising, -shares * inverse[:, 1:, 1]], axis=2) / shares.shape[1]
    by_clean = np.stack([-inverse[:, 0, 0], inverse[:, 0, 1]], axis=1) * shares.mean(axis=1, keepdims=True)
    return np.concatenate([by_clean[:, None], by_changed], axis=1).reshape(len(sums), -1) * power


def _shares(headline: Headline, sums: Floats) -> Floats:
    """Return shares kept [R, M] from sums [R, 2 (M + 1)] of the headline's features, clean first; NaN where there is nothing to keep."""
    values = headline.of_sums(sums.reshape(len(sums), -1, 2))
    clean, changed = values[:, :1], values[:, 1:]
    over, under = (changed, clean) if headline.sign > 0 else (clean, changed)
    return np.asarray(np.divide(over, under, out=np.full(changed.shape, np.nan), where=(under > 0) & (clean > 0)))


def _headline(predictions: Predictions) -> Headline:
    return HEADLINES[predictions.kind]


def _features(clean: Predictions, changed: Sequence[Predictions]) -> Floats:
    """Return [n, 2 (M + 1)] the summands of the headline, clean first."""
    return np.concatenate([_headline(clean).features(one.on_rows_of(clean)) for one in (clean, *changed)], axis=1)


def _halves(clean: Predictions, seed: int) -> tuple[Array, Array]:
    """Return bool [n] twice: half of the rows, or of the groups, drawn at random, and the other half."""
    units = clean.row_id if clean.group is None else clean.group
    names, place = np.unique(units, return_inverse=True)
    chosen = rng(seed, "evaluation", "kept", "halves").permutation(len(names)) < len(names) // 2
    return chosen[place], ~chosen[place]


def _part(predictions: Predictions, rows: Array) -> Predictions:
    group = None if predictions.group is None else predictions.group[rows]
    return replace(
        predictions, row_id=predictions.row_id[rows], target=predictions.target[rows], output=predictions.output[rows], group=group
    )


def _words(predictions: Predictions, how: Resampling) -> Message:
    if predictions.group is None:
        return Message("symmetric studentised interval of the paired bootstrap over rows, {resamples} resamples", resamples=how.resamples)
    return Message("symmetric studentised interval of the paired bootstrap over groups, {resamples} resamples", resamples=how.resamples)


def _nothing() -> DataError:
    return DataError("there is no clean score of which a share could be kept", do="give more rows, or train a better model")
