"""What each key's labels do to the challenger: it is trained without each of them in turn, and looked at twice.

- Do models that never saw a key's labels disagree with it more often than with others? The screen of keys (screen.py), against models that
  the key could not teach: against the champion, every key disagrees once the world has moved.
- Is the challenger with a key's labels worse on trusted rows than the one without them? Paired, one-sided, corrected over keys by Holm.

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

LEVEL = 0.05
LEAST_LABELS = screen.LEAST_LABELS
MOST_KEYS = 12  # trainings; the keys with the most labels
Train = Callable[[Array], tuple[Predictions, Predictions]]  # bool [n] rows to learn from -> answers of (all new rows, trusted rows)


@dataclass(frozen=True, kw_only=True)
class Influence:
    """What a key's labels do. p_worse: corrected, of "the challenger is not worse with them"; suspected: by the screen; why: in words."""

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
        return "with its labels the challenger is worse on trusted rows" if self.harms else ""


def influence(new_ids: Sequence[str], who: Array, train: Train, how: Resampling) -> list[Influence]:
    """Return what each key's labels do, for keys with labels enough, at most MOST_KEYS; [] where fewer than two keys gave labels.

    new_ids, who: str [n], the rows that would be learnt from and who labelled them.
    """
    keys, counts = np.unique(who.astype(str), return_counts=True)
    order = [place for place in np.argsort(-counts, kind="stable") if counts[place] >= LEAST_LABELS][:MOST_KEYS]
    if len(keys) < 2 or not order:
        return []
    ids = np.asarray(new_ids).astype(str)
    _, whole = train(np.ones(len(who), dtype=bool))
    hits, strata, chances = np.zeros(len(who), dtype=bool), np.zeros(len(who), dtype=np.int64), []
    for place in order:
        own = who == keys[place]
        new, trusted = train(~own)
        hit, stratum = _by_id(new, screen.against_model(new), ids), _by_id(new, screen.strata_of(new), ids)
        hits[own], strata[own] = hit[own], stratum[own]
        chances.append(_p_worse(whole, trusted, how))
    judged = np.isin(who, keys[order])
    verdicts = {one.key: one for one in screen.disagreeing_keys(who[judged], hits[judged], strata[judged])}
    return [
        Influence(key=str(keys[place]), n=int(counts[place]), p_worse=chance, suspected=verdicts[str(keys[place])].suspected)
        for place, chance in zip(order, holm(chances), strict=True)
    ]


def _by_id(rows: Predictions, values: Array, ids: Array) -> Array:
    return np.asarray(values[np.searchsorted(rows.row_id, ids)])


def _p_worse(whole: Predictions, without: Predictions, how: Resampling) -> float:
    """Return the p-value of "without the key it is not better"."""
    if is_of_classes(without):
        return exact_p_value(*discordant(without, whole.on_rows_of(without)), len(without), 0.0)
    return noninferior(without, whole, how, margin=0.0).p_value
