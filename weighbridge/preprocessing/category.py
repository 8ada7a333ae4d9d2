"""Categories: one code a value; rare and unseen values share code 0, a missing one has code 1."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from weighbridge.preprocessing.feature import BlockKind, objects

OTHER, MISSING, FIRST_KNOWN = 0, 1, 2
OTHER_TEXT = "(other)"


@dataclass(frozen=True, kw_only=True)
class CategoryFeature:
    """A fitted category column: value k of `values` (natural order) has code k + 2."""

    type: ClassVar[str] = "category"
    kind: ClassVar[BlockKind] = "category"

    column: str
    values: tuple[str, ...]
    counts: tuple[int, ...]
    rows: int
    missing: int
    rare_values: int
    rare_rows: int

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def cardinality(self) -> int:
        """How many codes there are, with those of rare and missing values."""
        return len(self.values) + FIRST_KNOWN

    def encode(self, column: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return int32 [n, 1] of codes in [0, cardinality)."""
        code = self._codes.get
        return np.fromiter((code(value, OTHER) for value in column.tolist()), dtype=np.int32, count=len(column))[:, None]

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Return object [n]: the value, `(other)` for code 0, None for code 1."""
        values: np.ndarray = objects([OTHER_TEXT, None, *self.values])[np.asarray(array)[:, 0]]
        return values

    def to_json(self) -> dict[str, Any]:
        return {
            "type": self.type, "column": self.column, "values": list(self.values), "counts": list(self.counts), "rows": self.rows,
            "missing": self.missing, "rare_values": self.rare_values, "rare_rows": self.rare_rows,
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Return the feature. Raises ValueError, TypeError or KeyError for a state that is not one."""
        known = {**state, "values": tuple(state["values"]), "counts": tuple(state["counts"])}
        known.pop("type")
        if len(set(known["values"])) != len(known["values"]) or not all(isinstance(value, str) for value in known["values"]):
            raise ValueError(f"the values of category column {state['column']!r} are not different texts")
        return cls(**known)

    @cached_property
    def _codes(self) -> dict[str | None, int]:
        return {None: MISSING, **{value: code for code, value in enumerate(self.values, FIRST_KNOWN)}}


class CategoryFit:
    """Streams a category column; memory grows with the number of different values."""

    def __init__(self, column: str, *, rare: int, most: int) -> None:
        self._column, self._rare, self._most = column, rare, most
        self._counts: Counter[str | None] = Counter()

    def add(self, column: np.ndarray, rows: np.ndarray | None = None) -> None:
        self._counts.update(column.tolist())

    def finish(self) -> CategoryFeature:
        """Return the feature: the `most` most frequent values that are not rare; ties go by natural order."""
        rows, missing = self._counts.total(), self._counts.pop(None, 0)
        ranked = frequent(self._counts, self._rare)[: self._most]
        values = tuple(sorted(ranked, key=natural))
        kept = sum(self._counts[value] for value in values)
        return CategoryFeature(
            column=self._column, values=values, counts=tuple(self._counts[value] for value in values), rows=rows, missing=missing,
            rare_values=len(self._counts) - len(values), rare_rows=rows - missing - kept,
        )  # fmt: skip


def frequent(counts: Counter[Any], rare: int) -> list[str]:
    """Return the values seen at least `rare` times, most frequent first, ties by natural order."""
    kept = [value for value, count in counts.items() if count >= rare]
    return sorted(kept, key=lambda value: (-counts[value], natural(value)))


def natural(text: str) -> tuple[Any, ...]:
    """Return a sort key that puts numbers before words and 2 before 10, also inside a text; total (ties end with the text)."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number == number:
        return (0, number, text)
    pieces = re.split(r"([0-9]+)", text.casefold())
    key = tuple((1, int(piece[:4000]), "") if place % 2 else (0, 0, piece) for place, piece in enumerate(pieces))
    return (1, key, text)
