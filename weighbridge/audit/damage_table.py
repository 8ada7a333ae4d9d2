"""Damage to columns: cells that are missing, noise, values that no training row had, and columns in the wrong unit.

Cells are hit completely at random. Noise is in units of a column's own spread among the undamaged rows, and whole numbers stay whole.
A wrong unit is no matter of degree: one column at a time, in all rows, is times 10, times 100 or times 0.001, as a feed that changes its
unit would send it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from weighbridge.audit.damage import Columns, Kind, copied
from weighbridge.findings import Message

FACTORS = (10.0, 100.0, 0.001)
UNSEEN = "\u2021 never seen"  # no data writes a category so


def missing(columns: Columns, share: float, random: np.random.Generator) -> Columns:
    """Take this share of the cells of all columns out."""
    changed = copied(columns)
    for name in sorted(changed):
        hit = random.random(len(changed[name])) < share
        changed[name][hit] = nothing(changed[name])
    return changed


def nothing(values: np.ndarray) -> float | np.datetime64 | None:
    """Return what stands for a missing value in a column of this form."""
    if values.dtype.kind == "f":
        return float("nan")
    return np.datetime64("NaT") if values.dtype.kind == "M" else None


def noise(columns: Columns, deviations: float, random: np.random.Generator) -> Columns:
    """Add Gaussian noise of so many of a column's own standard deviations to every number."""
    changed = copied(columns)
    for name in sorted(changed):
        values = changed[name]
        spread = float(np.std(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
        drawn = values + deviations * spread * random.standard_normal(len(values))
        changed[name] = np.rint(drawn) if whole(values) else drawn
    return changed


def whole(values: np.ndarray) -> bool:
    """Whether a column holds whole numbers only."""
    known = values[np.isfinite(values)]
    return bool((known == np.rint(known)).all())


def unseen(columns: Columns, share: float, random: np.random.Generator) -> Columns:
    """Write a value that no training row has into this share of the cells of all categories; missing ones stay missing."""
    changed = copied(columns)
    for name in sorted(changed):
        hit = random.random(len(changed[name])) < share
        changed[name][hit] = np.array([None if value is None else UNSEEN for value in changed[name][hit]], dtype=object)
    return changed


def wrong_units(columns: Mapping[str, np.ndarray], names: list[str]) -> Iterator[tuple[str, float, Columns]]:
    """Yield (column, factor, all columns) for each of these number columns and each factor."""
    for name in names:
        for factor in FACTORS:
            yield name, factor, dict(columns) | {name: columns[name] * factor}


CELLS = (0.05, 0.1, 0.2, 0.3, 0.5)
_OF_CELLS = Message("share of the cells")
MISSING = Kind(of="table", name="missing", title=Message("missing values"), levels=CELLS, apply=missing, unit=_OF_CELLS)
NOISE = Kind(
    of="table", name="noise", title=Message("noise in numbers"), levels=(0.1, 0.2, 0.3, 0.5, 1.0), apply=noise,
    unit=Message("deviation of the noise, in deviations of the column"),
)  # fmt: skip
UNSEEN_VALUES = Kind(of="table", name="unseen", title=Message("values never seen"), levels=CELLS, apply=unseen, unit=_OF_CELLS)
