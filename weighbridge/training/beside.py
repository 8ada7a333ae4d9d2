"""Columns that stand beside the training rows: weights and groups, which steer a training and which no network reads.

They are read from the run's stored rows by row id, so that a training on a part of the rows, on a fold or on another encoding of them
finds its own. Shape: n training rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.errors import DataError, RecipeError

if TYPE_CHECKING:
    from pathlib import Path

MOST_VALUES = 10  # a column of numbers with more is cut at its quartiles: groups of a handful of rows have no rates
MISSING = "(missing)"


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Which group each row is in: int64 codes [n], and the name of each code."""

    codes: np.ndarray
    names: tuple[str, ...]


def column_beside(folder: Path | None, name: str, row_ids: np.ndarray) -> np.ndarray:
    """Return a stored column for rows of these ids, of the training or validation split of a run's data folder.

    Raises RecipeError where the training has no such folder, DataError for a column that is not stored, or for a row that is not there.
    """
    from weighbridge.data import open_data

    if folder is None:
        raise RecipeError(f"column '{name}' is not at hand in a training without stored rows", do="leave it out of the section training")
    splits = open_data(folder)
    known = np.concatenate([splits.train.row_ids, splits.validation.row_ids])
    values = np.concatenate([splits.train.column(name), splits.validation.column(name)])
    order = np.argsort(known, kind="stable")
    places = np.minimum(np.searchsorted(known, row_ids, sorter=order), len(known) - 1)
    found = order[places]
    if not np.array_equal(known[found], row_ids):
        raise DataError(f"column '{name}' is not known for every training row", do="run the recipe again from the stage data")
    return np.asarray(values[found])


def groups_beside(folder: Path | None, name: str, row_ids: np.ndarray) -> Groups:
    """Return the groups of a column: its values, of numbers with over ten of them their quarters; rows without a value are one more.

    Raises DataError for a column that is not stored, and for one whose values are no groups (pictures, texts, sets).
    """
    values = column_beside(folder, name, row_ids)
    if values.dtype == object:
        if not all(value is None or isinstance(value, str) for value in values):
            raise DataError(f"column '{name}' has no groups: its values are neither words nor numbers", do="name a category or a number")
        texts = np.array([MISSING if value is None else value for value in values], dtype=np.str_)
        names, codes = np.unique(texts, return_inverse=True)
        return Groups(codes=codes.astype(np.int64), names=tuple(map(str, names)))
    numbers = values.astype("datetime64[us]").astype(np.int64).astype(np.float64) if values.dtype.kind == "M" else values.astype(np.float64)
    return _number_groups(np.where(np.isnat(values), np.nan, numbers) if values.dtype.kind == "M" else numbers)


def crossed(groups: list[Groups]) -> Groups:
    """Return the groups of several columns at once; those that no row is in are left out."""
    codes, names = groups[0].codes, groups[0].names
    for one in groups[1:]:
        codes = codes * len(one.names) + one.codes
        names = tuple(f"{name} {other}" for name in names for other in one.names)
    there, codes = np.unique(codes, return_inverse=True)
    return Groups(codes=codes.astype(np.int64), names=tuple(names[code] for code in there))


def _number_groups(values: np.ndarray) -> Groups:
    lost = np.isnan(values)
    there = np.unique(values[~lost])
    if len(there) <= MOST_VALUES:
        codes, names = np.searchsorted(there, values), [f"{value:g}" for value in there]
    else:
        cuts = np.unique(np.quantile(values[~lost], (0.25, 0.5, 0.75)))
        codes = np.searchsorted(cuts, values, side="left")
        names = [f"<= {cuts[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(cuts)), f"> {cuts[-1]:g}"]
    codes = np.where(lost, len(names), codes)
    found, codes = np.unique(codes, return_inverse=True)
    return Groups(codes=codes.astype(np.int64), names=tuple([*names, MISSING][code] for code in found))
