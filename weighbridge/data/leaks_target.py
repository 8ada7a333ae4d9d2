"""How well one column alone answers: cross-validated score of a shallow tree, and its permutation p-value (Phipson and Smyth 2010).

A column is cut into bins once; a fold's tree is grown on the sums of the bins, so a score costs milliseconds and no library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from weighbridge.storage.progress import Progress, silent
from weighbridge.storage.seeds import rng

Kind = Literal["class", "number"]
GIVES_AWAY: dict[str, float] = {"class": 0.99, "number": 0.995}
SUSPECT = 0.97
FOLDS, MOST_BINS, LEAVES, LEAVES_NUMBER = 5, 256, 16, 32
PERMUTATIONS, MOST_TESTED = 99, 5
MOST_SUMS = 1_000_000  # values of a category times classes that are kept apart; rarer values share one answer
FEWEST_ROWS, FEWEST_OF_CLASS = 20, 5
CERTAIN_ROWS = 50  # for a number: residuals of a fourth of the honest size do not come by chance (chi-square, 50 degrees)
CERTAIN, CERTAIN_COPY = (0.97, 0.001), (0.95, 0.05)  # (accuracy that is surpassed, at this error): 228 rows without a mistake, and 59
GROUP_VALUES, GROUP_ROWS = 20, 20


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column at n rows: numbers float64 [n] (NaN: missing), or codes int64 [n] of `distinct` values where it is a category.

    `missing`: it only says in which rows the column of this name has no value.
    """

    name: str
    values: np.ndarray
    category: bool = False
    distinct: int = 0
    missing: bool = False


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well a column alone answers unseen rows: 0 as well as a constant, 1 without a mistake.

    Attributes: score, for classes the mean recall, for a number the share of the variance of its ranks; p_value, the share of shuffled
    columns that do as well (None: not tested); certain, whether the rows are enough to tell; names_groups, a
    category of many values that come again: it may name persons as well as the answer.
    """

    column: str
    score: float
    p_value: float | None = None
    certain: bool = False
    names_groups: bool = False
    distinct: int = 0
    missing: bool = False

    @property
    def name(self) -> str:
        return f"missing({self.column})" if self.missing else self.column

    def gives_away(self, kind: str) -> bool:
        return self.score >= GIVES_AWAY[kind] and self.certain and not self.names_groups and self.is_no_chance

    def suspect(self) -> bool:
        return self.score >= SUSPECT and not self.names_groups and self.is_no_chance

    @property
    def is_no_chance(self) -> bool:
        return self.p_value is None or self.p_value <= 1 / (PERMUTATIONS + 1)


def sample_rows(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return at most `most` of the row numbers, ascending, by chance."""
    if len(rows) <= most:
        return rows
    return np.sort(rng(seed, "data.leaks.sample").choice(rows, most, replace=False))


def sample_of_classes(rows: np.ndarray, targets: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return at most `most` of the row numbers, ascending: all rows of rare classes, as many of the others as there is room for.

    Classes with under FEWEST_OF_CLASS rows are left out: no fold could learn them.
    """
    _, codes, counts = np.unique(targets[rows], return_inverse=True, return_counts=True)
    rows, codes = rows[counts[codes] >= FEWEST_OF_CLASS], codes[counts[codes] >= FEWEST_OF_CLASS]
    random = rng(seed, "data.leaks.classes").permutation(len(rows))
    place = np.empty(len(rows), dtype=np.int64)
    ordered = random[np.argsort(codes[random], kind="stable")]
    starts = np.searchsorted(codes[ordered], codes[ordered])
    place[ordered] = np.arange(len(rows)) - starts
    return np.sort(rows[np.lexsort((random, place))[:most]])  # the first of every class, then the second, ...


def too_few(truth: np.ndarray, kind: Kind) -> bool:
    """Say whether the rows tell nothing: too few, one value only, or too few outside of the largest class."""
    if len(truth) < FEWEST_ROWS or len(np.unique(truth)) < 2:
        return True
    return kind == "class" and _weight_of_rows(truth) < FEWEST_ROWS


def ranks(values: np.ndarray) -> np.ndarray:
    """Return mean ranks scaled to [0, 1]. float64 [n]."""
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray(((last - counts + last - 1) / 2)[code] / max(len(values) - 1, 1))


def score_columns(columns: Sequence[Column], truth: np.ndarray, kind: Kind, seed: int, progress: Progress = silent) -> list[Score]:
    """Return the scores, best first; of those that are suspicious the MOST_TESTED best have a p-value.

    truth [n]: int64 classes from 0 on, or float64 in [0, 1] (`ranks`).
    """
    folds = _folds(truth, kind, seed)
    scores = []
    for done, column in enumerate(columns, 1):
        scores.append((_score(column, truth, folds, kind), column))
        progress("columns tried alone", done, len(columns))
    scores.sort(key=lambda pair: -pair[0].score)
    suspicious = [pair for pair in scores if pair[0].score >= SUSPECT]
    tested = []
    for done, (score, column) in enumerate(suspicious[:MOST_TESTED], 1):
        tested.append(replace(score, p_value=_p_value(score.score, column, truth, folds, kind, seed)))
        progress("columns shuffled", done, min(len(suspicious), MOST_TESTED))
    return tested + [score for score, _ in scores[len(tested) :]]


def _score(column: Column, truth: np.ndarray, folds: np.ndarray, kind: Kind) -> Score:
    bins, n_bins = _binned(column, truth, kind)
    score = _cross_validated(bins, n_bins, truth, folds, kind, category=column.category)
    copy = kind == "class" and len(np.unique(bins)) == len(np.unique(truth))
    certain = False
    if score >= SUSPECT:
        certain = len(truth) >= CERTAIN_ROWS if kind == "number" else _is_certain(score, truth, *(CERTAIN_COPY if copy else CERTAIN))
    groups = column.category and column.distinct >= GROUP_VALUES and len(truth) < GROUP_ROWS * column.distinct
    return Score(column=column.name, score=score, certain=certain, names_groups=groups, distinct=column.distinct, missing=column.missing)


def _p_value(score: float, column: Column, truth: np.ndarray, folds: np.ndarray, kind: Kind, seed: int) -> float:
    """Return the share of shuffled columns, this one among them, that score as well."""
    bins, n_bins = _binned(column, truth, kind)
    random = rng(seed, "data.leaks.permutations", column.name)
    others = (_cross_validated(random.permutation(bins), n_bins, truth, folds, kind, category=column.category) for _ in range(PERMUTATIONS))
    return (1 + sum(other >= score for other in others)) / (PERMUTATIONS + 1)


def _is_certain(score: float, truth: np.ndarray, accuracy: float, error: float) -> bool:
    """Say whether the exact lower bound (Clopper and Pearson 1934) of the mean recall is above `accuracy`.

    Rows of a class larger than all others together count as many as those: a thousand easy rows prove nothing about ten hard ones.
    """
    from scipy.special import betaincinv

    classes, n = len(np.unique(truth)), _weight_of_rows(truth)
    wrong = round(n * (1 - score) * (1 - 1 / classes))
    return bool(betaincinv(n - wrong, wrong + 1, error) >= accuracy) if wrong < n else False


def _weight_of_rows(truth: np.ndarray) -> int:
    counts = np.unique(truth, return_counts=True)[1]
    rest = int(counts.sum() - counts.max())
    return rest + min(int(counts.max()), rest)


def _binned(column: Column, truth: np.ndarray, kind: Kind) -> tuple[np.ndarray, int]:
    """Return (bin of each row int64 [n], how many bins): a category's codes; a number's values or quantiles, the missing ones in bin 0."""
    if column.category:
        counts = np.bincount(column.values)
        most = MOST_SUMS // (int(truth.max()) + 1 if kind == "class" else 1)
        if len(counts) <= most:
            return column.values, len(counts)
        code = np.full(len(counts), most, dtype=np.int64)
        code[np.argsort(-counts, kind="stable")[:most]] = np.arange(most)
        return code[column.values], most + 1
    present = np.isfinite(column.values)
    known = np.unique(column.values[present])
    if len(known) > MOST_BINS:
        known = np.unique(np.quantile(column.values[present], np.arange(1, MOST_BINS) / MOST_BINS, method="lower"))
    bins = np.zeros(len(column.values), dtype=np.int64)
    bins[present] = np.searchsorted(known, column.values[present]) + 1
    return bins, len(known) + 2


def _folds(truth: np.ndarray, kind: Kind, seed: int) -> np.ndarray:
    """Return the fold of each row, within each class by turns."""
    random = rng(seed, "data.leaks.folds").permutation(len(truth))
    ordered = random[np.argsort(truth[random], kind="stable")] if kind == "class" else random
    folds = np.empty(len(truth), dtype=np.int64)
    folds[ordered] = np.arange(len(truth)) % FOLDS
    return folds


def _cross_validated(bins: np.ndarray, n_bins: int, truth: np.ndarray, folds: np.ndarray, kind: Kind, *, category: bool) -> float:
    """Return the score over all folds together; every row is answered by a tree that has not seen it."""
    classes = int(truth.max()) + 1 if kind == "class" else 1
    sums: np.ndarray
    if kind == "class":
        weight = 1 / np.bincount(truth, minlength=classes)
        counts = np.bincount((folds * n_bins + bins) * classes + truth, minlength=FOLDS * n_bins * classes)
        sums = np.asarray(counts.reshape(FOLDS, n_bins, classes) * weight, dtype=np.float64)
        mass = sums.sum(axis=2)
    else:
        totals = np.bincount(folds * n_bins + bins, weights=truth, minlength=FOLDS * n_bins)
        sums = totals.reshape(FOLDS, n_bins, 1)
        mass = np.bincount(folds * n_bins + bins, minlength=FOLDS * n_bins).reshape(FOLDS, n_bins).astype(np.float64)
    all_sums, all_mass = sums.sum(axis=0), mass.sum(axis=0)
    answers = np.empty((FOLDS, n_bins))
    for fold in range(FOLDS):
        answers[fold] = _answers(all_sums - sums[fold], all_mass - mass[fold], kind, category=category)
    answer = answers[folds, bins]
    if kind == "number":
        return max(0.0, 1 - float(((truth - answer) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()))
    recall = np.bincount(truth, weights=answer == truth, minlength=classes) / np.bincount(truth, minlength=classes)
    return max(0.0, (float(recall.mean()) - 1 / classes) / (1 - 1 / classes))


def _answers(sums: np.ndarray, mass: np.ndarray, kind: Kind, *, category: bool) -> np.ndarray:
    """Return the answer of each bin [B] from the sums [B, C] and masses [B] of the training folds; empty bins answer as their leaf."""
    bins, width = sums.shape
    leaf = np.arange(bins) if category else _leaves(sums, mass, max(LEAVES, 2 * width) if kind == "class" else LEAVES_NUMBER)
    total, weight = np.zeros((int(leaf.max()) + 1, width)), np.zeros(int(leaf.max()) + 1)
    np.add.at(total, leaf, sums)
    np.add.at(weight, leaf, mass)
    empty = weight <= 1e-12
    total[empty], weight[empty] = sums.sum(axis=0), mass.sum()
    answer = total.argmax(axis=1).astype(np.float64) if kind == "class" else total[:, 0] / weight
    return np.asarray(answer[leaf])


def _leaves(sums: np.ndarray, mass: np.ndarray, most: int) -> np.ndarray:
    """Return the leaf of each bin of a tree of at most `most` leaves, grown best first by what a cut takes off the squared error
    (for weighted classes the Gini impurity; Breiman 1984). int64 [B].
    """
    edges = np.vstack([np.zeros((1, sums.shape[1])), np.cumsum(sums, axis=0)])
    weights = np.concatenate([[0.0], np.cumsum(mass)])
    open_cuts = [_best_cut(edges, weights, 0, len(mass))]
    cuts: list[int] = []
    while len(cuts) < most - 1 and open_cuts:
        best = max(range(len(open_cuts)), key=lambda number: open_cuts[number][0])
        gain, low, cut, high = open_cuts.pop(best)
        if gain <= 1e-12:
            break
        cuts.append(cut)
        open_cuts += [_best_cut(edges, weights, low, cut), _best_cut(edges, weights, cut, high)]
    return np.searchsorted(np.sort(np.array(cuts, dtype=np.int64)), np.arange(len(mass)), side="right")


def _best_cut(edges: np.ndarray, weights: np.ndarray, low: int, high: int) -> tuple[float, int, int, int]:
    """Return (gain, low, cut, high) of the best cut of the bins [low, high); gain 0 where there is none."""
    if high - low < 2:
        return 0.0, low, low, high
    left, right = edges[low + 1 : high] - edges[low], edges[high] - edges[low + 1 : high]
    heavy, light = weights[low + 1 : high] - weights[low], weights[high] - weights[low + 1 : high]
    whole, all_of = edges[high] - edges[low], weights[high] - weights[low]
    told = (heavy > 1e-12) & (light > 1e-12)
    if not told.any():
        return 0.0, low, low, high
    gain = (left * left).sum(axis=1) / np.maximum(heavy, 1e-12) + (right * right).sum(axis=1) / np.maximum(light, 1e-12)
    gain = np.where(told, gain - (whole * whole).sum() / all_of, 0.0)
    best = int(gain.argmax())
    return float(gain[best]), low, low + 1 + best, high
