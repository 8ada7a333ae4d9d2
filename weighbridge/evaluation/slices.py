"""Where is the model weak? Slices of the inputs found by shallow trees on one split's mistakes, judged on another split's rows.

Found on validation rows: a tree of depth 3 over all inputs, one of depth 2 over each input alone, and one of depth 3 over each pair of
the likeliest inputs; every node that is worse than the rest is a candidate, the surest 40 are judged. Judged on test rows, which had no
part in the choice: one-sided test of the slice against the rest, corrected over all slices tested (Benjamini and Hochberg 1995); the
intervals of those that are listed allow for the choice (Benjamini and Yekutieli 2005). Judging on the rows that found the slice would
make every clean model look weak somewhere (control `evaluation.slices`). n rows, m slices tested.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.evaluation.comparison import benjamini_hochberg
from weighbridge.evaluation.intervals import NORMAL, Interval, rate_interval
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.evaluation.slice_inputs import Condition, Feature, holds
from weighbridge.storage.seeds import seed31

LEAST_ROWS = 30  # in a slice and in the rest, on both splits
LEAST_SHARE, MOST_SHARE = 0.02, 0.5  # of the validation rows; of either split's: more than half is no slice, the rest is
MOST_TESTED = 40  # candidates kept, the worst on validation rows: each further test costs power
DEPTH, DEPTH_ALONE = 3, 2
PAIRED = 7  # inputs, the likeliest, that are also tried two by two: one greedy tree misses weak pairs (0.80 found instead of 0.9)
LEVEL = 0.05  # of the false-discovery rate
LISTED = 5
SAME = 0.5  # share of rows in common (of both together) from which two slices are told once


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Rows for which all conditions hold, and how the model does there against the rest (test rows).

    `score` is what is shown: the share right, or for numbers the mean absolute error; `gap` is how much worse than the rest (positive:
    worse), `p_value` one-sided, `corrected` after Benjamini and Hochberg.
    """

    conditions: tuple[Condition, ...]
    n: int
    score: float
    rest: float
    gap: float
    gap_interval: Interval
    interval: Interval
    p_value: float
    corrected: float

    @property
    def where(self) -> tuple[str, ...]:
        return tuple(condition.words for condition in self.conditions)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Weak slices, worst first, of `tested` that were judged on `n` rows; `groups` says whether rows belong together."""

    slices: tuple[Slice, ...]
    tested: int
    weak: int
    n: int
    grouped: bool


def losses(predictions: Predictions) -> Floats:
    """Return float [n]: 1 where the class is wrong, the share of labels that are wrong, or the absolute error."""
    if predictions.kind == "number":
        return np.asarray(np.abs(predictions.output - predictions.target), dtype=np.float64)
    wrong = np.asarray(predictions.chosen != predictions.target, dtype=np.float64)
    return wrong if wrong.ndim == 1 else np.asarray(wrong.mean(axis=1))


def find_slices(
    chooser: Predictions, chooser_inputs: Sequence[Feature], judge: Predictions, judge_inputs: Sequence[Feature], *, seed: int
) -> Found:
    """Return the weak slices of a model: found on `chooser` rows, judged on `judge` rows.

    Inputs are in the order of the rows of their predictions. Fewer than 4 x LEAST_ROWS rows on a side give no slice to test.
    """
    nothing = Found(slices=(), tested=0, weak=0, n=len(judge), grouped=judge.group is not None)
    if min(len(chooser), len(judge)) < 4 * LEAST_ROWS or not chooser_inputs:
        return nothing
    candidates = _candidates(losses(chooser), chooser_inputs, seed)
    loss, inputs = losses(judge), {feature.name: feature for feature in judge_inputs}
    tested: list[tuple[tuple[Condition, ...], Array]] = []
    for conditions in candidates:
        mask = _mask(conditions, inputs, len(loss))
        if LEAST_ROWS <= mask.sum() <= MOST_SHARE * len(mask) and not any(np.array_equal(mask, other) for _, other in tested):
            tested.append((conditions, mask))
    if not tested:
        return nothing
    p_values = [one_sided(loss, mask, judge.group) for _, mask in tested]
    corrected = benjamini_hochberg(p_values)
    weak = [place for place, p in enumerate(corrected) if p < LEVEL]
    level = 1 - LEVEL * max(len(weak), 1) / len(tested)
    made = [(_slice(*tested[place], judge, loss, p_values[place], corrected[place], level), tested[place][1]) for place in weak]
    told = _told_once(made)
    return Found(slices=tuple(told[:LISTED]), tested=len(tested), weak=len(weak), n=len(judge), grouped=judge.group is not None)


def one_sided(loss: Floats, mask: Array, group: Array | None) -> float:
    """Return the p-value of "the mean loss in the slice is not above the rest's".

    0 and 1 of single rows: Fisher's exact test. Otherwise Welch's test, over groups where rows belong together.
    """
    from scipy.stats import hypergeom, t

    if group is None and np.isin(loss, (0.0, 1.0)).all():
        return float(hypergeom.sf(loss[mask].sum() - 1, len(loss), loss.sum(), mask.sum()))
    gap, error, freedom = _gap(loss, mask, group)
    if error == 0:
        return 1.0 if gap <= 0 else 0.0
    return float(t.sf(gap / error, freedom))


def _gap(loss: Floats, mask: Array, group: Array | None) -> tuple[float, float, float]:
    """Return how much higher the mean loss in the slice is, its standard error (robust to groups), and degrees of freedom."""
    inside, rest = int(mask.sum()), int((~mask).sum())
    means = float(loss[mask].mean()), float(loss[~mask].mean())
    influence = np.where(mask, (loss - means[0]) / inside, -(loss - means[1]) / rest)
    sums, units = influence, min(inside, rest)
    if group is not None:
        codes = np.unique(group, return_inverse=True)[1]
        sums, units = np.bincount(codes, influence), min(len(np.unique(codes[mask])), len(np.unique(codes[~mask])))
    error = math.sqrt(float((sums**2).sum()) * units / max(units - 1, 1))
    return means[0] - means[1], error, max(units - 1, 1)


def _slice(
    conditions: tuple[Condition, ...], mask: Array, judge: Predictions, loss: Floats, p_value: float, corrected: float, level: float
) -> Slice:
    from scipy.special import stdtrit

    gap, error, freedom = _gap(loss, mask, judge.group)
    reach = float(stdtrit(freedom, (1 + level) / 2)) if freedom < 200 else NORMAL.inv_cdf((1 + level) / 2)
    inside, rest = float(loss[mask].mean()), float(loss[~mask].mean())
    number = judge.kind == "number"
    own = _own_interval(loss[mask], None if judge.group is None else judge.group[mask], level, number=number)
    return Slice(
        conditions=conditions,
        n=int(mask.sum()),
        score=inside if number else 1 - inside,
        rest=rest if number else 1 - rest,
        gap=gap,
        gap_interval=(gap - reach * error, gap + reach * error),
        interval=own,
        p_value=p_value,
        corrected=corrected,
    )


def _own_interval(loss: Floats, group: Array | None, level: float, *, number: bool) -> Interval:
    """Return the interval of the slice's own score: exact or Wilson for single rows right or wrong, else Student's t over units."""
    from scipy.special import stdtrit

    if group is None and not number and np.isin(loss, (0.0, 1.0)).all():
        return rate_interval(int((1 - loss).sum()), len(loss), level)
    codes = np.arange(len(loss)) if group is None else np.unique(group, return_inverse=True)[1]
    sums = np.bincount(codes, loss - loss.mean()) / len(loss)
    units = len(sums)
    half = float(stdtrit(max(units - 1, 1), (1 + level) / 2)) * math.sqrt(float((sums**2).sum()) * units / max(units - 1, 1))
    middle = float(loss.mean()) if number else 1 - float(loss.mean())
    return max(0.0, middle - half), middle + half if number else min(1.0, middle + half)


def _told_once(made: list[tuple[Slice, Array]]) -> list[Slice]:
    """Return slices, the largest sure gap first; one that shares most of its rows with a worse one is not told again."""
    told: list[tuple[Slice, Array]] = []
    for one, mask in sorted(made, key=lambda pair: -pair[0].gap_interval[0]):
        if all((mask & other).sum() <= SAME * (mask | other).sum() for _, other in told):
            told.append((one, mask))
    return [one for one, _ in told]


def _mask(conditions: Sequence[Condition], inputs: dict[str, Feature], n: int) -> Array:
    mask = np.ones(n, dtype=bool)
    for condition in conditions:
        mask &= holds(condition, inputs[condition.name])
    return mask


def _candidates(loss: Floats, inputs: Sequence[Feature], seed: int) -> list[tuple[Condition, ...]]:
    """Return the conditions of every node that is worse than the rest, the surest first."""
    least = max(LEAST_ROWS, math.ceil(LEAST_SHARE * len(loss)))
    capped = np.minimum(loss, np.quantile(loss, 0.99)) if len(np.unique(loss)) > 2 else loss  # one outlier must not make a slice
    paths: dict[frozenset[Condition], float] = {}

    def grow(features: Sequence[Feature], depth: int) -> float:
        """Keep the weak nodes of one tree; return how sure the surest is, in standard errors."""
        surest = 0.0
        for conditions, mask in _nodes(capped, features, depth, least, seed31(seed, "evaluation", "slices")):
            gap, error, _ = _gap(capped, mask, None)
            if gap > 0 and error > 0 and mask.mean() <= MOST_SHARE:
                paths.setdefault(frozenset(conditions), gap / error)
                surest = max(surest, gap / error)
        return surest

    grow(inputs, DEPTH)
    alone = [grow([feature], DEPTH_ALONE) for feature in inputs]
    likely = [inputs[place] for place in sorted(range(len(inputs)), key=lambda place: (-alone[place], place))[:PAIRED]]
    for pair in itertools.combinations(likely, 2):
        grow(pair, DEPTH)
    best = sorted(paths, key=lambda path: (-paths[path], sorted(condition.words for condition in path)))[:MOST_TESTED]
    order = {feature.name: place for place, feature in enumerate(inputs)}
    return [tuple(sorted(path, key=lambda condition: (order[condition.name], condition.words))) for path in best]


def _nodes(loss: Floats, features: Sequence[Feature], depth: int, least: int, seed: int) -> list[tuple[tuple[Condition, ...], Array]]:
    """Return (conditions, rows) of each node but the root of a regression tree on the losses."""
    from sklearn.tree import DecisionTreeRegressor

    splits = [split for feature in features for split in feature.columns()]
    if not splits:
        return []
    table = np.stack([values for _, values in splits], axis=1)
    tree = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=least, random_state=seed).fit(table, loss).tree_
    found: list[tuple[tuple[Condition, ...], Array]] = []

    def visit(node: int, path: tuple[Condition, ...], mask: Array) -> None:
        if path:
            found.append((_merged(path), mask))
        if tree.children_left[node] < 0:
            return
        question, values = splits[tree.feature[node]][0], table[:, tree.feature[node]]
        left = values <= tree.threshold[node]
        for child, side, below in ((tree.children_left[node], left, True), (tree.children_right[node], ~left, False)):
            visit(child, (*path, question(float(tree.threshold[node]), below)), mask & side)

    visit(0, (), np.ones(len(loss), dtype=bool))
    return found


def _merged(path: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Return the path with only the tightest of several bounds of one kind on one column."""
    kept: dict[tuple[str, str], Condition] = {}
    for condition in path:
        key = (condition.name, condition.relation if condition.value is None else f"{condition.relation} {condition.value}")
        kept[key] = condition  # deeper in the tree is tighter
    return tuple(kept.values())


def slices_json(found: Found, kind: str) -> dict[str, Any]:
    """Return the content of slices.json."""
    return {
        "metric": "mean absolute error" if kind == "number" else HEADLINES["category"].name,
        "tested": found.tested,
        "weak": found.weak,
        "n": found.n,
        "slices": [
            {
                "where": list(one.where), "n": one.n, "value": one.score, "low": one.interval[0], "high": one.interval[1],
                "rest": one.rest, "gap": one.gap, "gap_interval": list(one.gap_interval), "p": one.p_value, "corrected": one.corrected,
            }
            for one in found.slices
        ],
    }  # fmt: skip
