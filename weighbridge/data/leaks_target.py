"""How well one column alone answers: cross-validated score of a shallow tree, and its permutation p-value (Phipson and Smyth 2010).

A column is cut into bins once; a fold's tree is grown on the sums of the bins, so a score costs milliseconds and no library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from weighbridge.storage.progress import Progress, silent
from weighbridge.storage.seeds import rng

Kind = Literal["class", "number"]
GIVES_AWAY: dict[str, float] = {"class": 0.99, "number": 0.995}
SUSPECT = 0.97
FOLDS, MOST_BINS, LEAVES, LEAVES_NUMBER = 5, 1024, 8, 24
PERMUTATIONS, MOST_TESTED, MOST_CLASSES, TIE = 99, 5, 16, 0.02
MOST_SUMS = 2_000_000  # folds times bins times classes held at once; the rarest values of a category share an answer beyond it
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
    bins, centres = _binned(column, truth, kind)
    score = float(_cross_validated(bins[None, :], centres, truth, folds, kind)[0])
    copy = kind == "class" and len(np.unique(bins)) == len(np.unique(truth))
    certain = False
    if score >= SUSPECT:
        certain = len(truth) >= CERTAIN_ROWS if kind == "number" else _is_certain(score, truth, *(CERTAIN_COPY if copy else CERTAIN))
    groups = column.category and column.distinct >= GROUP_VALUES and len(truth) < GROUP_ROWS * column.distinct
    return Score(column=column.name, score=score, certain=certain, names_groups=groups, distinct=column.distinct, missing=column.missing)


def _p_value(score: float, column: Column, truth: np.ndarray, folds: np.ndarray, kind: Kind, seed: int) -> float:
    """Return the share of shuffled columns, this one among them, that score as well; on the rows of MOST_CLASSES classes at most."""
    if kind == "class" and truth.max() >= MOST_CLASSES:
        few = truth < MOST_CLASSES
        column, truth, folds = replace(column, values=column.values[few]), truth[few], folds[few]
        score = _score(column, truth, folds, kind).score
    bins, centres = _binned(column, truth, kind)
    random = rng(seed, "data.leaks.permutations", column.name)
    size = FOLDS * len(centres) * (int(truth.max()) + 1 if kind == "class" else 1)
    at_once = max(1, min(PERMUTATIONS, MOST_SUMS // size))
    better = 0
    for start in range(0, PERMUTATIONS, at_once):
        shuffled = np.stack([random.permutation(bins) for _ in range(min(at_once, PERMUTATIONS - start))])
        better += int((_cross_validated(shuffled, centres, truth, folds, kind) >= score).sum())
    return (1 + better) / (PERMUTATIONS + 1)


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


def _binned(column: Column, truth: np.ndarray, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Return (bin of each row int64 [n], value in each bin float64 [B]): a number's values or quantiles, the missing ones in bin 0; for a
    category its codes, and NaN for the values, which have no order.
    """
    if column.category:
        counts = np.bincount(column.values)
        most = MOST_SUMS // FOLDS // (int(truth.max()) + 1 if kind == "class" else 1)
        if len(counts) <= most:
            return column.values, np.full(len(counts), np.nan)
        code = np.full(len(counts), most, dtype=np.int64)
        code[np.argsort(-counts, kind="stable")[:most]] = np.arange(most)
        return code[column.values], np.full(most + 1, np.nan)
    present = np.isfinite(column.values)
    known = np.unique(column.values[present])
    most = max(MOST_BINS, 2 * int(truth.max() + 1)) if kind == "class" else MOST_BINS
    if len(known) > most:
        edges = np.quantile(column.values[present], np.arange(1, most) / most, method="lower")
        known = np.unique(np.append(edges, known[-1]))
    bins = np.zeros(len(column.values), dtype=np.int64)
    bins[present] = np.searchsorted(known, column.values[present]) + 1
    low, high = (known[0], known[-1]) if len(known) else (0.0, 0.0)
    return bins, np.append(2 * low - high - 1, known)


def _folds(truth: np.ndarray, kind: Kind, seed: int) -> np.ndarray:
    """Return the fold of each row, within each class by turns."""
    random = rng(seed, "data.leaks.folds").permutation(len(truth))
    ordered = random[np.argsort(truth[random], kind="stable")] if kind == "class" else random
    folds = np.empty(len(truth), dtype=np.int64)
    folds[ordered] = np.arange(len(truth)) % FOLDS
    return folds


def _cross_validated(bins: np.ndarray, centres: np.ndarray, truth: np.ndarray, folds: np.ndarray, kind: Kind) -> np.ndarray:
    """Return the score of each of P columns (bins int64 [P, n]); every row is answered by a tree that has not seen it. float64 [P]."""
    many, n_bins = len(bins), len(centres)
    classes = int(truth.max()) + 1 if kind == "class" else 1
    place = (np.arange(many)[:, None] * FOLDS + folds) * n_bins + bins
    size, shape = many * FOLDS * n_bins, (many, FOLDS, n_bins)
    sums: np.ndarray
    if kind == "class":
        counts = np.bincount((place * classes + truth).ravel(), minlength=size * classes).reshape(*shape, classes)
        sums = np.asarray(counts / np.bincount(truth, minlength=classes), dtype=np.float64)
        mass = np.asarray(sums.sum(axis=3))
    else:
        sums = np.bincount(place.ravel(), weights=np.tile(truth, many), minlength=size).reshape(*shape, 1)
        mass = np.bincount(place.ravel(), minlength=size).reshape(shape).astype(np.float64)
    seen = (sums.sum(axis=1, keepdims=True) - sums).reshape(-1, n_bins, classes)
    weight = np.maximum(mass.sum(axis=1, keepdims=True) - mass, 0.0).reshape(-1, n_bins)
    answer = _answers(seen, np.where(weight < 1e-9, 0.0, weight), centres, kind).reshape(-1)[place]
    if kind == "number":
        return np.asarray(np.maximum(0.0, 1 - ((truth - answer) ** 2).sum(axis=1) / ((truth - truth.mean()) ** 2).sum()))
    right = np.asarray(answer == truth, dtype=np.float64) / np.bincount(truth, minlength=classes)[truth]
    return np.asarray(np.maximum(0.0, (right.sum(axis=1) / classes - 1 / classes) / (1 - 1 / classes)))


def _answers(sums: np.ndarray, mass: np.ndarray, centres: np.ndarray, kind: Kind) -> np.ndarray:
    """Return the answer of each bin [T, B] of T trees, from the sums [T, B, C] and masses [T, B] of their training rows.

    A bin without training rows answers as the nearest one that has some; a category's, as all rows together.
    """
    trees, bins, width = sums.shape
    ordered = not np.isnan(centres).any()
    leaf = np.arange(trees * bins)
    if ordered:
        leaf = _leaves(sums, mass, max(LEAVES, 2 * width) if kind == "class" else LEAVES_NUMBER)
    total, weight = np.zeros((trees * bins, width)), np.bincount(leaf, weights=mass.ravel(), minlength=trees * bins)
    for column in range(width):
        total[:, column] = np.bincount(leaf, weights=sums[:, :, column].ravel(), minlength=trees * bins)
    whole = np.repeat(sums.sum(axis=1), bins, axis=0)
    empty = weight <= 0
    total[empty], weight[empty] = whole[empty], np.repeat(mass.sum(axis=1), bins)[empty]
    answer = total.argmax(axis=1).astype(np.float64) if kind == "class" else total[:, 0] / np.maximum(weight, 1e-12)
    answer = answer[leaf].reshape(trees, bins)
    return np.asarray(np.take_along_axis(answer, _nearest(mass > 0, centres), axis=1) if ordered else answer)


def _nearest(held: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return for each bin of each tree the nearest one by value that is held (bool [T, B]). int64 [T, B]."""
    place = np.arange(held.shape[1])
    before = np.maximum.accumulate(np.where(held, place, -1), axis=1)
    after = np.minimum.accumulate(np.where(held, place, held.shape[1])[:, ::-1], axis=1)[:, ::-1]
    far = np.append(centres, np.inf)
    lower = np.where(before < 0, np.inf, centres - centres[np.maximum(before, 0)])
    upper = far[after] - centres
    return np.where(lower <= upper, np.maximum(before, 0), np.minimum(after, held.shape[1] - 1))


def _leaves(sums: np.ndarray, mass: np.ndarray, most: int) -> np.ndarray:
    """Return the leaf of each bin of T trees, as the place of the leaf's first bin among all T * B. int64 [T * B].

    Each tree halves all its leaves, until there are about `most`, where the squared error falls most (for weighted classes that is the
    Gini impurity; Breiman 1984), at the middle of such places: a row of many equal classes is cut in half, not peeled one by one. All
    trees grow at once on running sums.
    """
    trees, bins, width = sums.shape
    edges, weights = np.zeros((trees, bins + 1, width)), np.zeros((trees, bins + 1))
    np.cumsum(sums, axis=1, out=edges[:, 1:])
    np.cumsum(mass, axis=1, out=weights[:, 1:])
    place = np.arange(trees * bins)
    own = place + place // bins  # of the bin's lower edge among the T * (B + 1)
    flat, heavy = edges.reshape(-1, width), weights.reshape(-1)
    first = np.zeros(trees * bins, dtype=bool)
    first[::bins] = True
    for _ in range(math.ceil(1.5 * math.log2(most))):
        starts = np.flatnonzero(first)
        which = np.cumsum(first) - 1
        low, high = own[starts], own[np.append(starts[1:], trees * bins) - 1] + 1
        gain = _gains(flat, heavy, own, low[which], high[which])
        gain[starts] = 0.0
        best = np.maximum.reduceat(gain, starts)
        hits = np.flatnonzero((gain >= best[which] * (1 - TIE)) & (gain > 1e-12))
        if not len(hits):
            break
        _, begin, count = np.unique(which[hits], return_index=True, return_counts=True)
        first[hits[begin + count // 2]] = True
    return np.asarray(np.flatnonzero(first)[np.cumsum(first) - 1])


def _gains(sums: np.ndarray, mass: np.ndarray, cut: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return what a cut at each of N edges takes off the squared error, from running sums [E, C] and masses [E]. float64 [N]."""
    gain = np.zeros(len(cut))
    left, right = mass[cut] - mass[low], mass[high] - mass[cut]
    for column in range(sums.shape[1]):
        value = sums[:, column]
        ours, theirs = value[cut] - value[low], value[high] - value[cut]
        gain += ours * ours / np.maximum(left, 1e-12) + theirs * theirs / np.maximum(right, 1e-12)
        gain -= (ours + theirs) ** 2 / np.maximum(left + right, 1e-12)
    return np.asarray(np.where((left > 1e-9) & (right > 1e-9), gain, 0.0))
