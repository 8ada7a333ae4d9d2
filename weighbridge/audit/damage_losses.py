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
from weighbridge.evaluation.intervals import Interval, bca, rate_interval, wilson
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
        scored: that of `damaged` itself.
    """

    clean: float
    damaged: float
    value: float
    interval: Interval
    corrected: Interval
    scored: Interval


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
        after = scores[:, 1:]
        after = np.concatenate(
            [after, *(after[:, inside].mean(axis=1, keepdims=True) for inside in members), after.mean(axis=1)[:, None]], axis=1
        )
        return np.round(
            np.concatenate([headline.sign * (scores[:, :1] - after), after], axis=1), 12
        )  # ties are ties, whatever the order of sums

    count, kinds = len(damaged), len(members)
    places = [*([k] for k in range(count)), *(np.flatnonzero(inside).tolist() for inside in members), list(range(count))]
    names = tuple(f"{what}{place}" for what in ("lost", "score") for place in range(len(places)))
    drawn = replicate([Statistic(names=names, of=of)], Sampler(n=len(sums), resamples=how.resamples, seed=how.seed))
    before, rows = float(headline.of_sums(sums[:, :2].sum(axis=0))), _Rows(clean, damaged, how.level)
    together = [count] * count + [kinds] * kinds + [1]
    made = [
        rows.loss(drawn[f"lost{place}"], drawn[f"score{place}"], inside, before, together[place]) for place, inside in enumerate(places)
    ]
    return Losses(each=tuple(made[:count]), families=tuple(made[count:-1]), mean=made[-1])


@dataclass(frozen=True)
class _Rows:
    """The same rows undamaged and damaged, to make intervals of."""

    clean: Predictions
    damaged: Sequence[Predictions]
    level: float

    def loss(self, lost: Replicates, score: Replicates, places: list[int], clean: float, together: int) -> Loss:
        """Return the loss of these conditions' mean; its corrected interval is for `together` of its like."""
        own, corrected = (self._lost(lost, places, level) for level in (self.level, 1 - (1 - self.level) / together))
        scored = self._scored(score, places)
        return Loss(clean=clean, damaged=score.value, value=lost.value, interval=own, corrected=corrected, scored=scored)

    @property
    def _single(self) -> bool:
        """Whether the headline is a share of single rows."""
        return self.clean.kind == "category" and self.clean.group is None

    def _lost(self, drawn: Replicates, places: list[int], level: float) -> Interval:
        if self._single and (len(places) == 1 or not np.ptp(drawn.draws)):
            right, still = correct(self.clean), correct(self.damaged[places[0]])
            return paired_rate_interval(int((right & ~still).sum()), int((still & ~right).sum()), len(right), level)
        if self.clean.kind != "number" and not np.ptp(drawn.draws) and not drawn.value:
            return paired_rate_interval(0, 0, drawn.units, level)  # nothing changed: a bootstrap of zeros would be sure that nothing can
        most = float("inf") if self.clean.kind == "number" else 1.0
        return bca(drawn, level, low=-most, high=most)

    def _scored(self, drawn: Replicates, places: list[int]) -> Interval:
        if self._single and len(places) == 1:
            hits = correct(self.damaged[places[0]])
            return rate_interval(int(hits.sum()), len(hits), self.level)
        if self.clean.kind != "number" and not np.ptp(drawn.draws):
            return wilson(drawn.value * drawn.units, drawn.units, self.level)
        return bca(drawn, self.level, low=0.0, high=float("inf") if self.clean.kind == "number" else 1.0)
