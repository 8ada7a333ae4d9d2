"""What damage costs: the headline on undamaged rows minus that on the same rows damaged, with intervals, alone, on average and at worst.

Positive: the damage costs something. One paired bootstrap (BCa) over rows, or groups, serves every condition and their means; a share of
single rows has the closed interval of a paired difference instead (Bonett and Price 2012), and so has any share where no row changed.
R resamples, U units, n rows, K conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.comparison import paired_rate_interval
from weighbridge.evaluation.intervals import Interval, bca
from weighbridge.evaluation.metrics import HEADLINES, correct
from weighbridge.evaluation.predictions import Floats, Predictions
from weighbridge.evaluation.resampling import Replicates, Resampling, Sampler, Statistic, replicate, unit_sums


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What one damage, or a mean of several, costs.

    Attributes:
        clean, damaged: the headline before and after (the mean of it over conditions).
        value: how much worse it has become, in the headline's unit.
        interval: two-sided 95 %; `corrected` holds for all that are judged together (Bonferroni).
    """

    clean: float
    damaged: float
    value: float
    interval: Interval
    corrected: Interval


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Of each condition, of each family of conditions (a kind at all its strengths), and of all conditions."""

    each: tuple[Loss, ...]
    families: tuple[Loss, ...]
    mean: Loss

    @property
    def worst(self) -> int:
        """The place of the condition that costs most."""
        return max(range(len(self.each)), key=lambda place: self.each[place].value)


def losses(clean: Predictions, damaged: Sequence[Predictions], family: Sequence[int], how: Resampling) -> Losses:
    """Return what each of K damages costs; `family` gives the number of the kind that each belongs to, from 0, in rising order.

    Each condition's `corrected` interval holds for all K together, each family's for all families. Raises DataError when rows differ.
    """
    headline, codes = HEADLINES[clean.kind], np.asarray(family)
    damaged = [one.on_rows_of(clean) for one in damaged]
    sums = np.concatenate([unit_sums(headline.features(one), clean.group) for one in (clean, *damaged)], axis=1)
    members = [codes == number for number in range(int(codes.max()) + 1)]

    def of(weights: Floats) -> Floats:
        scores = headline.of_sums((weights @ sums).reshape(len(weights), -1, 2))
        lost = headline.sign * (scores[:, :1] - scores[:, 1:])
        means = [lost[:, inside].mean(axis=1, keepdims=True) for inside in members]
        return np.concatenate([lost, *means, lost.mean(axis=1, keepdims=True)], axis=1)

    count, kinds = len(damaged), len(members)
    names = tuple(str(place) for place in range(count + kinds + 1))
    drawn = replicate([Statistic(names=names, of=of)], Sampler(n=len(sums), resamples=how.resamples, seed=how.seed))
    scores = headline.of_sums(sums.sum(axis=0).reshape(-1, 2))
    before, after = float(scores[0]), scores[1:]
    rows = _Rows(clean, damaged, how.level)
    each = [rows.loss(drawn[str(k)], [k], before, float(after[k]), count) for k in range(count)]
    means = [
        rows.loss(drawn[str(count + k)], np.flatnonzero(inside).tolist(), before, float(after[inside].mean()), kinds)
        for k, inside in enumerate(members)
    ]
    every = rows.loss(drawn[str(count + kinds)], list(range(count)), before, float(after.mean()), 1)
    return Losses(each=tuple(each), families=tuple(means), mean=every)


@dataclass(frozen=True)
class _Rows:
    """The same rows undamaged and damaged, to make intervals of."""

    clean: Predictions
    damaged: Sequence[Predictions]
    level: float

    def loss(self, drawn: Replicates, places: list[int], clean: float, damaged: float, together: int) -> Loss:
        """Return the loss of these conditions' mean; its corrected interval is for `together` of its like."""
        own, corrected = (self._interval(drawn, places, level) for level in (self.level, 1 - (1 - self.level) / together))
        return Loss(clean=clean, damaged=damaged, value=drawn.value, interval=own, corrected=corrected)

    def _interval(self, drawn: Replicates, places: list[int], level: float) -> Interval:
        most = float("inf") if self.clean.kind == "number" else 1.0
        single = self.clean.kind == "category" and self.clean.group is None
        if single and (len(places) == 1 or not np.ptp(drawn.draws)):
            right, still = correct(self.clean), correct(self.damaged[places[0]])
            return paired_rate_interval(int((right & ~still).sum()), int((still & ~right).sum()), len(right), level)
        if self.clean.kind != "number" and not np.ptp(drawn.draws) and not drawn.value:
            return paired_rate_interval(0, 0, drawn.units, level)  # nothing changed: a bootstrap of zeros would be sure that nothing can
        return bca(drawn, level, low=-most, high=most)
