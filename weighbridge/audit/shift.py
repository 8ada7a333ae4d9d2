"""Does the model do worse on rows of a later time, or on some groups of rows? The score of each test row against when, and of whom, it is.

Time: test rows in order are cut into blocks of neighbours, and a line is laid through the blocks' mean scores. Neighbours in time are
alike, so blocks are the units and not rows; Student's t on the slope. Groups: each against all other rows, intervals as sure as their
number asks for (Bonferroni), so that none looks worse because it was the worst of many. n rows, U blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.audit.fairness_gaps import Cell, difference, mean_cell, rate_cell
from weighbridge.evaluation.intervals import NORMAL, Interval
from weighbridge.evaluation.metrics import correct
from weighbridge.evaluation.predictions import Array, Floats, Predictions

LEVEL = 0.95
MOST_BLOCKS, BLOCK_ROWS = 40, 10  # blocks of at least so many rows
LEAST_ROWS = 120  # twelve blocks: with fewer the slope's interval says nothing
LEAST_OF_A_GROUP, MOST_GROUPS = 20, 50


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How the mean score changes from the oldest to the newest row, on a straight line.

    Attributes:
        blocks: Floats [U, 3]: place in the order (0 oldest, 1 newest), mean score and its standard error.
        start: the line's score at the oldest row.
    """

    value: float
    interval: Interval
    n: int
    start: float
    blocks: Floats


@dataclass(frozen=True, kw_only=True)
class Apart:
    """The group whose score lies lowest under that of all other rows, relative to what its rows leave open; of `groups` that were compared.

    `interval` holds the difference for each of the groups at once.
    """

    name: str
    value: float
    interval: Interval
    n: int
    groups: int
    worse: tuple[str, ...]


def scores_of(predictions: Predictions) -> Floats:
    """Return each row's score [n]: 1 where a class is right, twice the common labels over all labels of a set, minus the absolute error."""
    if predictions.kind == "category":
        return np.asarray(correct(predictions), np.float64)
    if predictions.kind == "number":
        return np.asarray(-np.abs(predictions.output - predictions.target))
    both = (predictions.chosen & predictions.target).sum(axis=1)
    all_labels = predictions.chosen.sum(axis=1) + predictions.target.sum(axis=1)
    return np.asarray(np.divide(2 * both, all_labels, out=np.ones(len(both)), where=all_labels > 0))


def trend(score: Floats, when: Floats, level: float = LEVEL) -> Trend:
    """Return the trend of scores [n] over times [n]. Raises ValueError with fewer than LEAST_ROWS rows or one time only."""
    from scipy.special import stdtrit
    from scipy.stats import rankdata

    if len(score) < LEAST_ROWS or when.min() == when.max():
        raise ValueError("too few rows or times for a trend")
    place = (rankdata(when) - 1) / (len(when) - 1)
    parts = np.array_split(np.lexsort((np.arange(len(when)), when)), min(MOST_BLOCKS, len(when) // BLOCK_ROWS))
    x, y = (np.array([values[part].mean() for part in parts]) for values in (place, score))
    errors = np.array([score[part].std(ddof=1) / math.sqrt(len(part)) for part in parts])
    centred, freedom = x - x.mean(), len(parts) - 2
    square = float((centred**2).sum())
    slope = float((centred * y).sum() / square)
    left = y - y.mean() - slope * centred
    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(float((left**2).sum()) / freedom / square)
    start = float(y.mean() - slope * x.mean())
    return Trend(
        value=slope, interval=(slope - half, slope + half), n=len(score), start=start, blocks=np.stack([x, y, errors], axis=1)
    )  # fmt: skip


def lowest_group(score: Floats, group: Array, *, shares: bool, level: float = LEVEL) -> Apart | None:
    """Return the group that does worst against all other rows; None where fewer than two groups have LEAST_OF_A_GROUP rows.

    Of more than MOST_GROUPS groups the largest are looked at. `shares`: scores are 0 or 1.
    """
    names, codes, counts = np.unique(group, return_inverse=True, return_counts=True)
    large = [int(code) for code in np.argsort(-counts, kind="stable")[:MOST_GROUPS] if counts[code] >= LEAST_OF_A_GROUP]
    if len(large) < 2 or len(score) - counts[large].min() < LEAST_OF_A_GROUP:
        return None
    z = NORMAL.inv_cdf(1 - (1 - level) / (2 * len(large)))
    found = [(code, *_against(score, codes == code, z, shares=shares)) for code in large]
    code, value, interval = min(found, key=lambda one: (one[2][1], one[1]))
    worse = tuple(str(names[one]) for one, _, ends in found if ends[1] < 0)
    return Apart(name=str(names[code]), value=value, interval=interval, n=int(counts[code]), groups=len(large), worse=worse)


def unseen_against_seen(
    score: Floats, group: Array, known: Sequence[str] | Array, level: float = LEVEL
) -> tuple[float, Interval, int] | None:
    """Return how much better rows of groups that no training row has are scored than rows of known groups, its interval, and their number.

    Groups are the units. None where either side has fewer than 5 groups or LEAST_OF_A_GROUP rows.
    """
    unseen = ~np.isin(group, np.asarray(known))
    sides = [(score[side], group[side]) for side in (unseen, ~unseen)]
    if any(len(values) < LEAST_OF_A_GROUP or len(np.unique(of)) < 5 for values, of in sides):
        return None
    ours, theirs = (mean_cell(values, place, units=of) for place, (values, of) in enumerate(sides))
    return ours.value - theirs.value, difference(ours, theirs, NORMAL.inv_cdf((1 + level) / 2)), int(unseen.sum())


def _against(score: Floats, inside: Array, z: float, *, shares: bool) -> tuple[float, Interval]:
    ours, theirs = _cell(score[inside], 0, shares), _cell(score[~inside], 1, shares)
    return ours.value - theirs.value, difference(ours, theirs, z)


def _cell(score: Floats, place: int, shares: bool) -> Cell:
    return rate_cell(score == 1, place) if shares else mean_cell(score, place)
