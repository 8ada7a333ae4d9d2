"""A threshold of its own for each group, so that groups fare alike (Hardt 2016): fitted on validation rows, without a coin.

Hardt's rule mixes two thresholds by chance where one can not meet the constraint; here equal rows get equal answers, so equalized odds is
met as nearly as single thresholds allow. The target has two classes; the second is what is selected. Shapes: n rows, G codes, S selections
that a group's thresholds allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats, Ints

Constraint = Literal["demographic_parity", "equalized_odds", "equal_opportunity"]
RATES: dict[Constraint, tuple[str, ...]] = {  # what is to be alike
    "demographic_parity": ("selected",),
    "equal_opportunity": ("true_positive",),
    "equalized_odds": ("true_positive", "false_positive"),
}
LEAST_ROWS = 30  # of a group, and a third of them of each class where its rates need them: fewer share one threshold
ALLOWED = 0.01  # a gap that is not held against a set of thresholds
WEIGHT = 2.0  # what a gap beyond that weighs against accuracy
STEPS = {1: 201, 2: 41}  # common rates that are tried, by how many rates are to be alike


@dataclass(frozen=True, kw_only=True)
class Group:
    """Codes that share a threshold, and what each threshold would do with their rows.

    Attributes:
        codes: of the category column; several where their rows are few.
        thresholds: [S] log-odds above which a row is selected, falling.
        selected, true_positive, false_positive: [S] shares of the rows, of those of the second and of the first class.
        right: [S] rows that are right.
        now: which of the thresholds selects what the model selects by itself.
        judged: whether the rows are the group's own; else they are all rows, since its own are too few, and only lend it a threshold.
    """

    codes: tuple[int, ...]
    rows: int
    thresholds: Floats
    selected: Floats
    true_positive: Floats
    false_positive: Floats
    right: Floats
    now: int
    judged: bool = True

    def rates(self, constraint: Constraint) -> Floats:
        """Return [S, R] the rates that are to be alike."""
        return np.stack([getattr(self, name) for name in RATES[constraint]], axis=1)


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The chosen offsets [G], and what they do to the rows that fitted them: gap of the rates and accuracy, before and after."""

    offsets: Floats
    groups: tuple[Group, ...]
    gap_before: float
    gap: float
    accuracy_before: float
    accuracy: float
    n: int


def fit_thresholds(score: Floats, positive: Array, codes: Ints, count: int, constraint: Constraint) -> Thresholds:
    """Return the offset of each of `count` codes: the most accurate thresholds whose rates are alike in all groups.

    Of each common rate that is tried every group takes its nearest threshold; kept is the set with the best accuracy less twice the gap
    beyond 0.01. Codes of few rows, and codes that no row has, share the threshold of their rows together, or of all rows where these are
    few, too. score: float [n] log-odds of the second class; positive: bool [n]; codes: int [n]. Raises ValueError without two groups.
    """
    groups = groups_of(score, positive, codes, count, constraint)
    judged = [place for place, group in enumerate(groups) if group.judged]
    if len(judged) < 2:
        raise ValueError("thresholds by group need two groups of enough rows")
    now = np.array([group.now for group in groups])
    picks = np.concatenate([now[None], _candidates([group.rates(constraint) for group in groups])])  # a change wins where it is better
    best = picks[int(np.argmax(_accuracy(groups, picks) - WEIGHT * np.maximum(_gap(groups, picks, constraint) - ALLOWED, 0)))]
    offsets = np.empty(count)
    for group, pick in zip(groups, best, strict=True):
        offsets[list(group.codes)] = -group.thresholds[pick]
    before, after = now[None], best[None]
    return Thresholds(
        offsets=offsets, groups=groups, n=len(score), gap_before=float(_gap(groups, before, constraint)[0]),
        gap=float(_gap(groups, after, constraint)[0]), accuracy_before=float(_accuracy(groups, before)[0]),
        accuracy=float(_accuracy(groups, after)[0]),
    )  # fmt: skip


def groups_of(score: Floats, positive: Array, codes: Ints, count: int, constraint: Constraint) -> tuple[Group, ...]:
    """Return the groups that get a threshold of their own; the codes of few rows, if any, are the last group."""
    large = [code for code in range(count) if _is_enough(positive[codes == code], constraint)]
    groups = [_group((code,), score, positive, codes == code) for code in large]
    small = tuple(code for code in range(count) if code not in large)
    rows = np.isin(codes, small)
    if _is_enough(positive[rows], constraint):
        groups.append(_group(small, score, positive, rows))
    elif small:
        groups.append(replace(_group(small, score, positive, np.ones(len(codes), dtype=bool)), judged=False))
    return tuple(groups)


def _is_enough(positive: Array, constraint: Constraint) -> bool:
    of_class = {"demographic_parity": LEAST_ROWS, "equal_opportunity": int(positive.sum())}
    least = of_class.get(constraint, min(int(positive.sum()), int((~positive).sum())))
    return len(positive) >= LEAST_ROWS and 3 * least >= LEAST_ROWS


def _group(codes: tuple[int, ...], score: Floats, positive: Array, rows: Array) -> Group:
    """Return what the thresholds between the scores of these rows would do, from that which selects none to that which selects all."""
    places, inverse = np.unique(-score[rows], return_inverse=True)
    falling, hit = -places, positive[rows].astype(np.float64)
    ones = np.concatenate([[0.0], np.cumsum(np.bincount(inverse, hit))])
    zeros = np.concatenate([[0.0], np.cumsum(np.bincount(inverse, 1 - hit))])
    thresholds = np.concatenate([[falling[0] + 1], (falling[:-1] + falling[1:]) / 2, [falling[-1] - 1]])
    now = int((falling > 0).sum())
    thresholds[now] = 0.0  # the model's own
    return Group(
        codes=codes, rows=len(hit), thresholds=thresholds, selected=(ones + zeros) / len(hit), true_positive=ones / max(ones[-1], 1.0),
        false_positive=zeros / max(zeros[-1], 1.0), right=ones + zeros[-1] - zeros, now=now,
    )  # fmt: skip


def _candidates(rates: Sequence[Floats]) -> Ints:
    """Return [T, groups] which selection each group takes for each common rate that is tried."""
    one = rates[0].shape[1] == 1
    grid = np.linspace(0, 1, STEPS[rates[0].shape[1]])
    targets = grid[:, None] if one else np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.stack([_nearest(reached, targets) for reached in rates], axis=1)


def _nearest(reached: Floats, targets: Floats) -> Ints:
    """Return for each target [T, R] the selection whose largest distance of a rate is least."""
    parts = np.array_split(targets, max(1, len(targets) // 50))
    return np.concatenate([np.abs(reached[None] - part[:, None]).max(axis=2).argmin(axis=1) for part in parts])


def _gap(groups: Sequence[Group], picks: Ints, constraint: Constraint) -> Floats:
    """Return [T] the largest gap of a rate between judged groups; picks: [T, groups]."""
    rates = [group.rates(constraint)[pick] for group, pick in zip(groups, picks.T, strict=True) if group.judged]
    return np.asarray(np.ptp(np.stack(rates), axis=0).max(axis=1))


def _accuracy(groups: Sequence[Group], picks: Ints) -> Floats:
    """Return [T] the share of right rows of the judged groups."""
    right = [group.right[pick] for group, pick in zip(groups, picks.T, strict=True) if group.judged]
    return np.asarray(np.sum(right, axis=0) / sum(group.rows for group in groups if group.judged))
