"""Whether an explanation holds: numbers from attributions and answers alone, without a model.

n rows, R repeats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Interval = tuple[float, float]
Status = Literal["holds", "fails", "open"]
LEAST_LEAD = 0.01  # mean of the two areas: a point of probability (or 0.01 deviations of the target), below which no reader gains anything
SAME = 0.5  # rank correlation from which half of a ranking or more is owed to the input alone
APART = 0.3  # rank correlation below which one method's ranking says less than a tenth of the other's (0.3 squared)
INCOMPLETE = 0.05  # share of the answer that an explanation may leave out (Sundararajan 2017)
FEWEST_PARTS = 5  # of a row that is ranked: below, chance alone gives correlations of 1


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over n rows with its 95 % interval."""

    value: float
    interval: Interval
    n: int


def mean_over(values: np.ndarray, groups: np.ndarray | None = None, level: float = 0.95) -> Mean:
    """Return the mean of values [n] over rows, or [n, R] over rows and repeats that all rows share (weights drawn anew, shuffles).

    Student's t. Rows (or groups of them) and repeats are drawn from many, crossed: what repeats add beyond what rows and chance do is added
    to the variance between rows (Searle 1971), the degrees of freedom are Satterthwaite's (1946).
    """
    from scipy.special import stdtrit

    table = values[:, None] if values.ndim == 1 else values
    rows, repeats = table.shape
    value, by_row, by_repeat = float(table.mean()), table.mean(axis=1), table.mean(axis=0)
    codes = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(codes, by_row - value)
    sources = [(float((sums**2).sum()) / rows**2 * len(sums) / max(len(sums) - 1, 1), len(sums) - 1)]
    if repeats > 1 and rows > 1:
        chance = float(((table - by_row[:, None] - by_repeat + value) ** 2).sum()) / ((rows - 1) * (repeats - 1))
        sources.append((max(float(by_repeat.var(ddof=1)) - chance / rows, 0.0) / repeats, repeats - 1))
    variance = sum(part for part, _ in sources)
    if not variance > 0:
        return Mean(value=value, interval=(value, value), n=len(table))
    freedom = 1 / sum((part / variance) ** 2 / max(free, 1) for part, free in sources)
    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
    return Mean(value=value, interval=(value - half, value + half), n=len(table))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's correlation of two attributions of a row; NaN where it has fewer than 5 parts or one of them ranks nothing."""
    from scipy.stats import rankdata

    if len(one) < FEWEST_PARTS or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    first, second = rankdata(one), rankdata(other)
    return float(np.corrcoef(first, second)[0, 1])


def faithful(found: Mean) -> Status:
    """Say whether a lead is above that of a random order, is too small to be of use, or can not be told from it."""
    return "holds" if found.interval[0] > 0 else "fails" if found.interval[1] < LEAST_LEAD else "open"


def follows_weights(found: Mean) -> Status:
    """Say whether explanations change when weights are drawn anew; one that stays the same explains the input and not the model."""
    return "holds" if found.interval[1] < SAME else "fails" if found.interval[0] > SAME else "open"


def agrees(found: Mean) -> Status:
    """Say whether two methods rank the parts of a row alike."""
    return "holds" if found.interval[0] > APART else "fails" if found.interval[1] < APART else "open"


def complete(found: Mean) -> Status:
    """Say whether attributions sum to what they share out; `found` is the share that is left out."""
    return "holds" if found.interval[1] < INCOMPLETE else "fails" if found.interval[0] > INCOMPLETE else "open"
