"""Sets: one input for each value that is not rare, 1 where the row has it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np

from weighbridge.preprocessing.category import frequent, natural
from weighbridge.preprocessing.feature import BlockKind, objects

MOST_VALUES = 1000  # a dense input for each; more belong into an embedding


@dataclass(frozen=True, kw_only=True)
class SetFeature:
    """A fitted column of sets, `values` in natural order. Values that are not among them are left out."""

    type: ClassVar[str] = "set"
    kind: ClassVar[BlockKind] = "number"

    column: str
    values: tuple[str, ...]
    separator: str
    indicator: bool
    rows: int
    missing: int
    rare_values: int

    @property
    def names(self) -> tuple[str, ...]:
        names = tuple(f"{self.column} has {value}" for value in self.values)
        return (*names, f"{self.column} is missing") if self.indicator else names

    def encode(self, column: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return float32 [n, D] of 0 and 1; a missing set is empty and marked by `indicator`."""
        out = np.zeros((len(column), len(self.names)), dtype=np.float32)
        mark(out, column, self._codes)
        if self.indicator:
            out[:, -1] = [value is None for value in column]
        return out

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Return object [n] of tuples in natural order, None where missing."""
        sets = sets_of(array[:, : len(self.values)], self.values)
        lost = array[:, -1] > 0.5 if self.indicator else np.zeros(len(array), dtype=bool)
        return objects([None if gone else value for value, gone in zip(sets, lost, strict=True)])

    def to_json(self) -> dict[str, Any]:
        return {
            "type": self.type, "column": self.column, "values": list(self.values), "separator": self.separator,
            "indicator": self.indicator, "rows": self.rows, "missing": self.missing, "rare_values": self.rare_values,
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Return the feature. Raises ValueError, TypeError or KeyError for a state that is not one."""
        known = {**state, "values": tuple(state["values"])}
        known.pop("type")
        if not all(isinstance(value, str) for value in known["values"]):
            raise ValueError(f"the values of set column {state['column']!r} are not texts")
        return cls(**known)

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {value: code for code, value in enumerate(self.values)}


class SetFit:
    """Streams a column of sets."""

    def __init__(self, column: str, *, separator: str, rare: int, most: int | None = MOST_VALUES) -> None:
        self._column, self._separator, self._rare, self._most = column, separator, rare, most
        self._counts: Counter[str] = Counter()
        self._rows, self._missing = 0, 0

    def add(self, column: np.ndarray, rows: np.ndarray | None = None) -> None:
        known = [set(value) for value in column if value is not None]
        self._rows += len(column)
        self._missing += len(column) - len(known)
        self._counts.update(chain.from_iterable(known))

    def finish(self) -> SetFeature:
        values = tuple(sorted(frequent(self._counts, self._rare)[: self._most], key=natural))
        return SetFeature(
            column=self._column, values=values, separator=self._separator, indicator=self._missing > 0, rows=self._rows,
            missing=self._missing, rare_values=len(self._counts) - len(values),
        )  # fmt: skip


def mark(out: np.ndarray, column: np.ndarray, codes: dict[str, int]) -> int:
    """Set `out[row, code]` to 1 for each known value of each row's set; return how many values had no code."""
    sets = [value or () for value in column]
    sizes = np.fromiter(map(len, sets), dtype=np.int64, count=len(sets))
    found = np.fromiter((codes.get(value, -1) for value in chain.from_iterable(sets)), dtype=np.int64, count=int(sizes.sum()))
    rows = np.repeat(np.arange(len(sets)), sizes)
    out[rows[found >= 0], found[found >= 0]] = 1
    return int((found < 0).sum())


def sets_of(marks: np.ndarray, values: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return for each row the values whose mark is above one half."""
    return [tuple(values[code] for code in np.flatnonzero(row > 0.5)) for row in np.asarray(marks)]
