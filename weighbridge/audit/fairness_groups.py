"""Which rows belong to which group: the values of a protected column, or quarters of its numbers, and what two columns make together.

A missing value is a group of its own. Numbers and dates of more than ten values are cut where the quarters of the training rows end; of a
column of very many values the most frequent stand alone and the rest together. n rows.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.data import Table
from weighbridge.evaluation.predictions import Array, Ints
from weighbridge.findings import Message
from weighbridge.report.words import plain

MISSING = "NA"
OTHERS = "…"
MOST_VALUES = 10  # of numbers, that are groups as they are
MOST_GROUPS = 12  # of a column
MOST_COLUMNS = 3  # that are taken together
LONGEST = 40  # characters of a group's name
DAY_US = 86_400_000_000
TYPES = ("category", "number", "date")


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Rows by group: `codes` int64 [n] point into `names`; `columns` are the protected columns that it is made of."""

    columns: tuple[str, ...]
    names: tuple[str, ...]
    codes: Ints

    @property
    def title(self) -> str:
        """The columns as they are named in words."""
        return " x ".join(self.columns)

    @property
    def key(self) -> str:
        """The columns as a word of a finding's key."""
        return key_of(*self.columns)

    def rows(self, group: int) -> Array:
        """Return bool [n]: the rows of a group."""
        return np.asarray(self.codes == group)

    @property
    def sizes(self) -> Ints:
        """Rows of each group."""
        return np.bincount(self.codes, minlength=len(self.names))


def key_of(*columns: str) -> str:
    """Return columns as a word of a finding's key."""
    return "+".join("".join(c if c.isalnum() or c in "-_" else "_" for c in column) for column in columns)


def grouped(column: str, table: Table, train: Table, order: Ints) -> Grouping | Message:
    """Return the groups of a protected column among the rows `order` of a table, or why there are none."""
    if column not in table.names:
        return Message("the rows hold no column {column}", column=column)
    kind = table.schema[column].type
    if kind not in TYPES:
        return Message("{column} is read as {kind}: its values form no groups; see data.columns", column=column, kind=kind)
    values = table.column(column)[order]
    names = _of_values(values) if kind == "category" else _of_numbers(_numbers(values, kind), _numbers(train.column(column), kind), kind)
    known, codes = np.unique(names, return_inverse=True)
    if len(known) < 2:
        return Message("all {n} test rows hold one value of it ({value})", n=len(values), value=str(known[0]))
    return Grouping(columns=(column,), names=tuple(map(str, known)), codes=codes.astype(np.int64))


def together(single: Sequence[Grouping]) -> list[Grouping]:
    """Return the groups that every two of the columns make together, and all three where there are three."""
    few = single[:MOST_COLUMNS]
    return [_crossed(part) for size in range(2, len(few) + 1) for part in itertools.combinations(few, size)]


def _crossed(parts: Sequence[Grouping]) -> Grouping:
    """Return the groups that rows form by all of these columns; a group that no row has is left out."""
    codes = np.ravel_multi_index([part.codes for part in parts], [len(part.names) for part in parts])
    known, dense = np.unique(codes, return_inverse=True)
    places = np.stack(np.unravel_index(known, [len(part.names) for part in parts]), axis=1)
    names = tuple(", ".join(part.names[place] for part, place in zip(parts, row, strict=True)) for row in places)
    return Grouping(columns=tuple(part.columns[0] for part in parts), names=names, codes=dense.astype(np.int64))


def _of_values(values: Array) -> Array:
    names = [MISSING if value is None else plain(str(value), LONGEST) for value in values]
    kept = {name for name, _ in Counter(names).most_common(MOST_GROUPS)}
    return np.array([name if name in kept else OTHERS for name in names], dtype=object)


def _numbers(values: Array, kind: str) -> Array:
    """Return float64 [n], dates as days since 1970, NaN where missing."""
    if kind == "date":
        return np.where(np.isnat(values), np.nan, values.astype("datetime64[us]").astype(np.int64) / DAY_US)
    return np.asarray(values, np.float64)


def _of_numbers(values: Array, train: Array, kind: str) -> Array:
    """Return each number's own name, or that of its quarter of the training rows."""
    known = np.unique(values[~np.isnan(values)])
    if len(known) <= MOST_VALUES:
        return np.array([MISSING if np.isnan(value) else _said(value, kind) for value in values], dtype=object)
    edges = np.unique(np.nanquantile(train, [0.25, 0.5, 0.75], method="lower"))
    ends = [_said(edge, kind) for edge in edges]
    names = [f"≤ {ends[0]}", *(f"{low} < … ≤ {high}" for low, high in itertools.pairwise(ends)), f"> {ends[-1]}"]
    quarter = np.searchsorted(edges, np.nan_to_num(values), side="left")
    return np.array([MISSING if lost else names[place] for place, lost in zip(quarter, np.isnan(values), strict=True)], dtype=object)


def _said(value: float, kind: str) -> str:
    if kind == "date":
        return str(np.datetime64(0, "D") + np.timedelta64(int(value), "D"))
    return f"{value:.4g}"
