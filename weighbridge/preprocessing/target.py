"""The column to predict: classes in natural order, a standardised number, or a set of labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from weighbridge.errors import DataError
from weighbridge.preprocessing.category import natural
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.number import NumberFit
from weighbridge.preprocessing.set import mark, sets_of

TargetKind = Literal["category", "number", "set"]
KINDS = ("category", "number", "set")


@dataclass(frozen=True, kw_only=True)
class TargetFeature:
    """A fitted target; `mean`, `std` are of a number, and 0 and 1 otherwise.

    `classes` (category, set) are those of all splits, `counts` their training rows: a class that only validation or test rows hold
    counts 0. It has an output that no row teaches, so that such rows can be judged, and count as errors.
    """

    kind: TargetKind
    column: str
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    separator: str = ";"
    rows: int = 0

    def encode(self, column: np.ndarray, *, unseen: Literal["refuse", "mark"] = "refuse") -> np.ndarray:
        """Return int64 [n] codes, float32 [n] in deviations from the mean, or float32 [n, L] of 0 and 1.

        Raises:
            DataError: a missing target; a class that is not among `classes` (`mark` gives it code -1 instead; a label
                of a set that is not among them is left out, since no output can stand for it).
        """
        if self.kind == "number":
            scaled: np.ndarray = (self._numbers(column) - self.mean) / self.std
            return scaled.astype(np.float32)
        self._refuse_missing(np.fromiter((value is None for value in column), dtype=bool, count=len(column)))
        if self.kind == "set":
            out = np.zeros((len(column), len(self.classes)), dtype=np.float32)
            mark(out, column, self._codes)
            return out
        codes = np.fromiter((self._codes.get(value, -1) for value in column.tolist()), dtype=np.int64, count=len(column))
        if unseen == "refuse" and (codes < 0).any():
            value = column[int(np.argmin(codes))]
            raise DataError(
                f"target '{self.column}' has the class {value!r}, which no training row has",
                do="merge rare classes, or run the recipe again with all rows",
            )
        return codes

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Return the target's own values: object [n] of classes or of tuples of labels, or float64 [n]."""
        if self.kind == "number":
            values: np.ndarray = np.asarray(array, dtype=np.float64) * self.std + self.mean
            return values
        if self.kind == "set":
            return objects(sets_of(array, self.classes))
        names: np.ndarray = objects(self.classes)[np.asarray(array)]
        return names

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "column": self.column, "classes": list(self.classes), "counts": list(self.counts), "mean": self.mean,
            "std": self.std, "separator": self.separator, "rows": self.rows,
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Return the target. Raises ValueError, TypeError or KeyError for a state that is not one."""
        if state["kind"] not in KINDS or not all(isinstance(name, str) for name in state["classes"]):
            raise ValueError(f"target kind {state['kind']!r} is not known or its classes are not texts")
        return cls(**{**state, "classes": tuple(state["classes"]), "counts": tuple(state["counts"])})

    @property
    def untrained(self) -> tuple[str, ...]:
        """The classes that no training row has."""
        return tuple(name for name, count in zip(self.classes, self.counts, strict=True) if not count)

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.classes)}

    def _numbers(self, column: np.ndarray) -> np.ndarray:
        values = np.asarray(column, dtype=np.float64)
        self._refuse_missing(~np.isfinite(values))
        return values

    def _refuse_missing(self, lost: np.ndarray) -> None:
        if lost.any():
            raise DataError(
                f"target '{self.column}' is missing or not finite in {int(lost.sum())} of {len(lost)} rows",
                do="fill it in, or drop these rows with data.clean.missing_target: drop",
            )


class TargetFit:
    """Streams the target's column of training rows; `known` are the classes that any row of the source has."""

    def __init__(
        self, column: str, *, kind: TargetKind, separator: str, generator: np.random.Generator, known: tuple[str, ...] = ()
    ) -> None:
        self._known = known
        self._bare = TargetFeature(kind=kind, column=column, separator=separator)
        self._number = NumberFit(column, scale="standard", generator=generator)
        self._counts: Counter[str] = Counter()
        self._rows = 0

    def add(self, column: np.ndarray) -> None:
        self._rows += len(column)
        if self._bare.kind == "number":
            self._number.add(self._bare._numbers(column))
            return
        self._bare._refuse_missing(np.fromiter((value is None for value in column), dtype=bool, count=len(column)))
        if self._bare.kind == "category":
            self._counts.update(column.tolist())
        else:
            for value in column:
                self._counts.update(set(value))

    def finish(self) -> TargetFeature:
        """Return the target. Raises DataError when training rows hold one class, one number or no label."""
        if self._bare.kind == "number":
            return self._finish_number()
        least = 2 if self._bare.kind == "category" else 1
        if len(self._counts) < least:
            found = f"only the class {next(iter(self._counts))!r}" if self._counts else "no class"
            what = f"target '{self._bare.column}' has {found} in {self._rows} training rows"
            raise DataError(what, do="a model needs at least two to tell apart")
        classes = tuple(sorted({*self._counts, *self._known}, key=natural))
        return TargetFeature(
            kind=self._bare.kind, column=self._bare.column, classes=classes, counts=tuple(self._counts[name] for name in classes),
            separator=self._bare.separator, rows=self._rows,
        )  # fmt: skip

    def _finish_number(self) -> TargetFeature:
        number = self._number.finish()
        if number.least == number.largest:
            what = f"target '{self._bare.column}' is {number.least:g} in all {self._rows} training rows"
            raise DataError(what, do="a model needs a target that varies")
        return TargetFeature(kind="number", column=self._bare.column, mean=number.center, std=number.spread, rows=self._rows)
