"""What each key's labels do to the challenger: it is trained without each of them in turn, and looked at twice.

- Do models that never saw a key's labels disagree with it more often than with others? The screen of keys (screen.py), against models that
  the key could not teach: against the champion, every key disagrees once the world has moved.
- Is the challenger without some of a key's labels better on trusted rows than one without as many labels of other keys? Paired, one-sided,
  corrected over keys by Holm. Against other keys' labels, because in a world that moved true labels, too, cost something on old rows.

A key that fails either is to be put into quarantine. n new rows, K keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.comparison import holm
from weighbridge.evaluation.noninferiority import discordant, exact_p_value, is_of_classes, noninferior
from weighbridge.evaluation.predictions import Array, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.feedback import screen
from weighbridge.storage.seeds import rng

LEVEL = 0.05
LEAST_LABELS = screen.LEAST_LABELS
MOST_KEYS = 12  # trainings; the keys with the most labels
Train = Callable[[Array], tuple[Predictions, Predictions]]  # bool [n] rows to learn from -> answers of (all new rows, trusted rows)


@dataclass(frozen=True, kw_only=True)
class Influence:
    """What a key's labels do. p_worse: corrected, of "they cost no more on trusted rows than those of others"; suspected: by the screen."""

    key: str
    n: int
    p_worse: float
    suspected: bool

    @property
    def harms(self) -> bool:
        return self.suspected or self.p_worse <= LEVEL

    @property
    def why(self) -> str:
        if self.suspected:
            return "models that did not learn from its labels disagree with it more often than with other keys"
        return "its labels make the challenger worse on trusted rows than as many labels of other keys" if self.harms else ""


def influence(new_ids: Sequence[str], who: Array, train: Train, how: Resampling) -> list[Influence]:
    """Return what each key's labels do, for keys with labels enough, at most MOST_KEYS; [] where fewer than two keys gave labels.

    new_ids, who: str [n], the rows that would be learnt from and who labelled them.
    """
    keys, counts = np.unique(who.astype(str), return_counts=True)
    order = [place for place in np.argsort(-counts, kind="stable") if counts[place] >= LEAST_LABELS][:MOST_KEYS]
    if len(keys) < 2 or not order:
        return []
    ids = np.asarray(new_ids).astype(str)
    hits, strata, chances = np.zeros(len(who), dtype=bool), np.zeros(len(who), dtype=np.int64), []
    for place in order:
        own = who == keys[place]
        new, _ = train(~own)
        hit, stratum = _by_id(new, screen.against_model(new), ids), _by_id(new, screen.strata_of(new), ids)
        hits[own], strata[own] = hit[own], stratum[own]
        chances.append(_p_worse(own, train, how))
    judged = np.isin(who, keys[order])
    verdicts = {one.key: one for one in screen.disagreeing_keys(who[judged], hits[judged], strata[judged])}
    return [
        Influence(key=str(keys[place]), n=int(counts[place]), p_worse=chance, suspected=verdicts[str(keys[place])].suspected)
        for place, chance in zip(order, holm(chances), strict=True)
    ]


def _by_id(rows: Predictions, values: Array, ids: Array) -> Array:
    return np.asarray(values[np.searchsorted(rows.row_id, ids)])


def _p_worse(own: Array, train: Train, how: Resampling) -> float:
    """Return the p-value of "without some of its labels it is not better than without as many of others"; 1 where they are too few."""
    mine, others = np.flatnonzero(own), np.flatnonzero(~own)
    count = min(len(mine), len(others) // 2)
    if count < LEAST_LABELS:
        return 1.0
    random = rng(how.seed, "feedback", "influence")
    answers = []
    for rows in (mine, others):
        left = np.ones(len(own), dtype=bool)
        left[random.choice(rows, size=count, replace=False)] = False
        answers.append(train(left)[1])
    without, other = answers
    if is_of_classes(without):
        return exact_p_value(*discordant(without, other.on_rows_of(without)), len(without), 0.0)
    return noninferior(without, other, how, margin=0.0).p_value
