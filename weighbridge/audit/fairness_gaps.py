"""How far apart groups are, and how sure that is: figures of single groups, and the largest difference between any two of them.

Each figure has an interval of its own kind (Wilson's for a rate, Student's for a mean, the same on the logarithmic scale for a root mean
square); two of them are joined by the method of variance estimates recovery (Newcombe 1998 for rates; Zou and Donner 2008; Donner and Zou
2012 for ratios). The largest of m differences is bounded by intervals that are m times as sure (Bonferroni), so that it is neither claimed
because one of many pairs looked far apart, nor hidden because one pair looked close. k groups, m pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from weighbridge.evaluation.intervals import NORMAL, Interval
from weighbridge.evaluation.predictions import Array, Floats

LEVEL = 0.95
LEAST = 30  # rows that a figure of a group needs: with fewer its interval is half as wide as a rate can be, and nothing is told by it
SUREST = 8.0  # standard errors beyond which a difference is as sure as float64 can say
HALVINGS = 40

Scale = Literal["rate", "mean", "root"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A figure of one group.

    Attributes:
        group, part: which group, and of which class or label (0 where there is one only); only cells of a part are compared.
        n: rows that the figure is over.
        error: standard error; of the logarithm for a root.
        rows: as how many independent rows the n count; less than n where rows come in groups that are alike.
        units: independent rows or groups, of which the spread was estimated.
    """

    group: int
    part: int
    scale: Scale
    n: int
    value: float
    error: float
    rows: float
    units: int

    def ends(self, z: float) -> Interval:
        """Return the interval that reaches z standard errors of a normal distribution, as sure where few units told the spread."""
        if self.scale == "rate":
            return _wilson(self.value, self.rows, z if self.rows == self.n else _reach(z, self.units))
        half = _reach(z, self.units) * self.error
        if self.scale == "mean":
            return self.value - half, self.value + half
        return self.value * math.exp(-half), self.value * math.exp(half)

    @property
    def interval(self) -> Interval:
        """The 95 % interval of this figure alone."""
        return self.ends(NORMAL.inv_cdf((1 + LEVEL) / 2))


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The largest difference (or smallest ratio) between two comparable groups.

    Attributes:
        interval: holds the true largest difference (smallest ratio) of the comparable groups in at least 95 % of samples.
        high, low: the cells that are farthest apart.
        p_value: of "no two groups are farther apart than `tolerance`", corrected over the pairs.
        pairs: how many were compared; `cells` all cells that were.
    """

    value: float
    interval: Interval
    high: Cell
    low: Cell
    tolerance: float
    p_value: float
    pairs: int
    cells: tuple[Cell, ...]

    @property
    def n(self) -> int:
        """Rows that the compared figures are over; of several parts those of the farthest pair."""
        return sum(cell.n for cell in self.cells if cell.part == self.high.part)


def rate_cell(hits: Array, group: int, *, part: int = 0, units: Array | None = None) -> Cell:
    """Return the share of true rows; `units` [n] names what rows belong together to. Raises ValueError without rows."""
    values = np.asarray(hits, np.float64)
    n, rate = len(values), float(values.mean())
    count, error = _spread(values, units)
    rows = float(n)
    if units is not None:
        rows = float(min(n, rate * (1 - rate) / error**2)) if error > 0 else float(count)
    return Cell(group=group, part=part, scale="rate", n=n, value=rate, error=error, rows=rows, units=count)


def mean_cell(values: Array, group: int, *, part: int = 0, units: Array | None = None) -> Cell:
    """Return the mean of values with its standard error."""
    values = np.asarray(values, np.float64)
    count, error = _spread(values, units)
    return Cell(
        group=group, part=part, scale="mean", n=len(values), value=float(values.mean()), error=error, rows=float(len(values)), units=count
    )


def root_cell(errors: Array, group: int, *, part: int = 0, units: Array | None = None) -> Cell:
    """Return the root mean square of errors, with the standard error of its logarithm by the delta method."""
    squares = np.asarray(errors, np.float64) ** 2
    count, error = _spread(squares, units)
    mean = float(squares.mean())
    return Cell(
        group=group, part=part, scale="root", n=len(squares), value=math.sqrt(mean), error=error / (2 * mean) if mean > 0 else 0.0,
        rows=float(len(squares)), units=count,
    )  # fmt: skip


def comparable(cells: Iterable[Cell], least: int = LEAST) -> list[Cell]:
    """Return the cells over at least so many rows, of parts that two groups have."""
    large = [cell for cell in cells if cell.n >= least and cell.units > 1]
    return [cell for cell in large if sum(other.part == cell.part for other in large) > 1]


def largest_difference(cells: Sequence[Cell], tolerance: float) -> Gap | None:
    """Return the largest difference between two groups in one part; None where no two are comparable."""
    return _gap(cells, tolerance, difference, sign=1.0)


def smallest_ratio(cells: Sequence[Cell], tolerance: float) -> Gap | None:
    """Return the smallest ratio of one group's figure to another's; None where no two are comparable, or all figures are 0."""
    if not any(cell.value > 0 for cell in comparable(cells)):
        return None
    return _gap(cells, tolerance, ratio, sign=-1.0)


def difference(high: Cell, low: Cell, z: float) -> Interval:
    """Return the interval of the first figure less the second."""
    (low_1, high_1), (low_2, high_2) = high.ends(z), low.ends(z)
    seen = high.value - low.value
    return seen - math.hypot(high.value - low_1, high_2 - low.value), seen + math.hypot(high_1 - high.value, low.value - low_2)


def ratio(high: Cell, low: Cell, z: float) -> Interval:
    """Return the interval of the second figure over the first (Donner and Zou 2012)."""
    return _ratio_low(low, high, z), _ratio_high(low, high, z)


def _ratio_low(over: Cell, under: Cell, z: float) -> float:
    (low, _), (_, most) = over.ends(z), under.ends(z)
    product = over.value * under.value
    root = product**2 - low * most * (2 * over.value - low) * (2 * under.value - most)
    below = most * (2 * under.value - most)
    return max(0.0, (product - math.sqrt(max(root, 0.0))) / below) if below > 0 else 0.0


def _ratio_high(over: Cell, under: Cell, z: float) -> float:
    (_, high), (least, _) = over.ends(z), under.ends(z)
    product = over.value * under.value
    root = product**2 - high * least * (2 * over.value - high) * (2 * under.value - least)
    below = least * (2 * under.value - least)
    return (product + math.sqrt(max(root, 0.0))) / below if below > 0 else math.inf


def _gap(cells: Sequence[Cell], tolerance: float, ends: Callable[[Cell, Cell, float], Interval], *, sign: float) -> Gap | None:
    """Return the gap farthest out: `sign` 1 where a larger one is worse, -1 where a smaller one is."""
    known = comparable(cells)
    pairs = [_ordered(pair) for pair in itertools.combinations(known, 2) if pair[0].part == pair[1].part]
    if not pairs:
        return None
    z = NORMAL.inv_cdf(1 - (1 - LEVEL) / (2 * len(pairs)))
    found = [ends(*pair, z) for pair in pairs]
    values = [pair[0].value - pair[1].value if sign > 0 else _part_of(pair) for pair in pairs]
    worst = int(np.argmax(np.multiply(sign, values)))
    if sign > 0:
        interval = max(0.0, *(low for low, _ in found)), max(max(high, -low) for low, high in found)
    else:  # either of two groups may be the one with the smaller true figure
        interval = min(min(low, 1 / high) for low, high in found), min(1.0, *(high for _, high in found))
    p_value = min(1.0, len(pairs) * min(_p_value(pair, tolerance, ends, sign) for pair in pairs))
    low, high = min(interval[0], values[worst]), max(interval[1], values[worst])
    return Gap(
        value=values[worst], interval=(low, high), high=pairs[worst][0], low=pairs[worst][1], tolerance=tolerance, p_value=p_value,
        pairs=len(pairs), cells=tuple(known),
    )  # fmt: skip


def _ordered(pair: tuple[Cell, Cell]) -> tuple[Cell, Cell]:
    return pair if pair[0].value >= pair[1].value else (pair[1], pair[0])


def _part_of(pair: tuple[Cell, Cell]) -> float:
    return pair[1].value / pair[0].value if pair[0].value > 0 else 1.0


def _p_value(pair: tuple[Cell, Cell], tolerance: float, ends: Callable[[Cell, Cell, float], Interval], sign: float) -> float:
    """Return the p-value whose interval just reaches the tolerance: test and interval say the same."""

    def beyond(z: float) -> bool:
        low, high = ends(*pair, z)
        return low > tolerance if sign > 0 else high < tolerance

    if not beyond(0.0):
        return 1.0
    low, high = 0.0, SUREST
    if beyond(high):
        return 2 * NORMAL.cdf(-SUREST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) else (low, middle)
    return 2 * NORMAL.cdf(-low)


def _spread(values: Floats, units: Array | None) -> tuple[int, float]:
    """Return the number of independent units and the standard error of the mean; rows of a unit vary together."""
    n = len(values)
    sums = values - values.mean()
    if units is not None:
        sums = np.bincount(np.unique(units, return_inverse=True)[1], sums)
    count = len(sums)
    return count, math.sqrt(float((sums**2).sum()) * count / max(count - 1, 1)) / n


def _wilson(rate: float, n: float, z: float) -> Interval:
    scale = 1 + z * z / n
    middle, half = (rate + z * z / (2 * n)) / scale, z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, min(rate, middle - half)), min(1.0, max(rate, middle + half))


def _reach(z: float, units: int) -> float:
    """Return Student's quantile that is as far out as z is in a normal distribution."""
    from scipy.special import stdtrit

    return float(-stdtrit(max(units - 1, 1), NORMAL.cdf(-z))) if z > 0 else 0.0
