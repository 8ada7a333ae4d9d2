"""The scale of a whisker: a range with round ends in which a value, its interval and what it is compared with all fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from weighbridge.findings import Finding

NARROWEST = 1e-9  # of the values' size: what is narrower has no width in float64 to draw


@dataclass(frozen=True, kw_only=True)
class Whisker:
    """Positions from 0 (left end, `low`) to 1 (right end, `high`); an absent part is None."""

    low: float
    high: float
    value: float
    left: float | None
    right: float | None
    reference: float | None


def whisker(finding: Finding) -> Whisker | None:
    """Return where to draw the finding, or None when it has no number or nothing to set beside it."""
    value = as_number(finding.value)
    if value is None:
        return None
    reference = reference_value(finding)
    if finding.interval is None and reference is None:
        return None
    parts = [value, *(finding.interval or ()), *([reference] if reference is not None else [])]
    low, high = _round_range(min(parts), max(parts), finding.unit)
    at = [(part - low) / (high - low) for part in parts]
    left, right = (at[1], at[2]) if finding.interval else (None, None)
    return Whisker(low=low, high=high, value=at[0], left=left, right=right, reference=None if reference is None else at[-1])


def reference_value(finding: Finding) -> float | None:
    """Return the number that the value is compared with, on the value's own scale.

    Where the value is itself the paired difference, that is 0: the reference's own score lies on another scale.
    """
    if finding.reference is None:
        return None
    value, difference = as_number(finding.value), finding.reference.difference
    if value is not None and difference is not None and math.isclose(value, difference, rel_tol=1e-9, abs_tol=1e-12):
        return 0.0
    return as_number(finding.reference.value)


def as_number(value: object) -> float | None:
    """Return a finite number as float, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _round_range(low: float, high: float, unit: str) -> tuple[float, float]:
    """Return round ends with some air around; a share stays within 0 and 1, what is not negative starts at 0 or above."""
    size = max(abs(low), abs(high))
    air = (high - low) * 0.12 if high - low > size * NARROWEST else size * 0.05 or 1.0
    step = _step((high - low + 2 * air) / 4)
    first, last = math.floor((low - air) / step) * step, math.ceil((high + air) / step) * step
    if low >= 0:
        first = max(first, 0.0)
    if unit == "share" and low >= 0 and high <= 1:
        last = min(last, 1.0)
    return (first, last) if last > first else (first - step, last + step)


def _step(size: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above `size`."""
    power = 10.0 ** math.floor(math.log10(size)) if size > 0 else 1.0
    return next((factor * power for factor in (5.0, 2.0) if factor * power <= size), power)
