"""How a value is made coarser, so that many rows share it: numbers to bins, dates to periods, categories to parents, texts to masked ones.

A step works on a canonical column, treats each row alone, and gives the same for what it gave itself: rows that were stored after it and
raw rows in service meet one encoder. Its state is JSON that rides in the package, and holds no value of a single row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from weighbridge.privacy.personal import mask

OTHER = "(other)"
ANY = "*"
PERIODS = ("day", "month", "quarter", "year", "decade", "any")
EPOCH = np.datetime64("2000-01-01", "us")  # the one date that stands for all
MOST_PREFIX = 64


class Step(Protocol):
    """What is done to a column before anything is written or encoded."""

    way: ClassVar[str]
    type: ClassVar[str]

    def apply(self, column: np.ndarray) -> np.ndarray: ...
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Bins:
    """A number becomes its bin's middle: bin j holds [cuts[j - 1], cuts[j]). Without cuts all rows, missing ones too, are 0.

    The two outer bins are as wide as their neighbours for this purpose, so that the least and the largest value do not show.
    """

    way: ClassVar[str] = "bins"
    type: ClassVar[str] = "number"
    cuts: tuple[float, ...]

    def apply(self, column: np.ndarray) -> np.ndarray:
        """Return float64 [n]; NaN stays NaN where there are cuts."""
        values = np.asarray(column, dtype=np.float64)
        if not self.cuts:
            return np.zeros(len(values))
        codes = np.searchsorted(self._edges, values, side="right")
        return np.where(np.isnan(values), np.nan, self.middles[codes])

    @cached_property
    def _edges(self) -> np.ndarray:
        return np.array(self.cuts, dtype=np.float64)

    @cached_property
    def middles(self) -> np.ndarray:
        """float64 [cuts + 1], each within its bin."""
        edges = self._edges
        if len(edges) == 1:
            width = max(abs(float(edges[0])), 1.0)
            return np.array([edges[0] - width / 2, edges[0] + width / 2])
        inner = (edges[:-1] + edges[1:]) / 2
        return np.concatenate([[2 * edges[0] - inner[0]], inner, [2 * edges[-1] - inner[-1]]])

    def to_json(self) -> dict[str, Any]:
        return {"way": self.way, "cuts": list(self.cuts)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Return the step. Raises ValueError, TypeError or KeyError for a state that is not one."""
        cuts = tuple(float(cut) for cut in state["cuts"])
        if not all(np.isfinite(cuts)) or any(low >= high for low, high in pairwise(cuts)):
            raise ValueError("cuts are not rising numbers")
        return cls(cuts=cuts)


@dataclass(frozen=True, kw_only=True)
class Period:
    """A date becomes the first moment of its day, month, quarter, year or decade, or one date for all rows, missing ones too (`any`)."""

    way: ClassVar[str] = "period"
    type: ClassVar[str] = "date"
    period: str

    def apply(self, column: np.ndarray) -> np.ndarray:
        """Return datetime64[us] [n]."""
        dates = np.asarray(column, dtype="datetime64[us]")
        if self.period == "any":
            return np.full(len(dates), EPOCH)
        lost, floored = np.isnat(dates), np.where(np.isnat(dates), EPOCH, dates)
        if self.period == "day":
            floored = floored.astype("datetime64[D]").astype("datetime64[us]")
        elif self.period in ("month", "quarter"):
            months = floored.astype("datetime64[M]").astype(np.int64)
            size = 3 if self.period == "quarter" else 1
            floored = (months // size * size).astype("datetime64[M]").astype("datetime64[us]")
        else:
            years = floored.astype("datetime64[Y]").astype(np.int64)
            size = 10 if self.period == "decade" else 1
            floored = (years // size * size).astype("datetime64[Y]").astype("datetime64[us]")
        return np.where(lost, np.datetime64("NaT", "us"), floored)

    def to_json(self) -> dict[str, Any]:
        return {"way": self.way, "period": self.period}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Return the step. Raises ValueError or KeyError for a state that is not one."""
        if state["period"] not in PERIODS:
            raise ValueError(f"{state['period']!r} is no period")
        return cls(period=state["period"])


@dataclass(frozen=True, kw_only=True)
class Parents:
    """A category becomes its parent, or its first characters and a star, where those are known; every other value is `(other)`.

    Attributes:
        parents: parent by value; a parent stands for itself.
        prefix: where above 0, a value becomes so many of its first characters and `*`.
        kept: the results that stay as they are; None: all of them. Empty: every row, missing ones too, is `*`.
    """

    way: ClassVar[str] = "parents"
    type: ClassVar[str] = "category"
    parents: Mapping[str, str]
    prefix: int = 0
    kept: frozenset[str] | None = None

    def apply(self, column: np.ndarray) -> np.ndarray:
        """Return object [n] of str or None."""
        if self.kept is not None and not self.kept:
            return np.full(len(column), ANY, dtype=object)
        known: dict[Any, Any] = {None: None}
        out = np.empty(len(column), dtype=object)
        for place, value in enumerate(column.tolist()):
            if value not in known:
                known[value] = self._of(value)
            out[place] = known[value]
        return out

    def _of(self, value: str) -> str:
        value = self.parents.get(value, value)
        if self.prefix and not (value.endswith(ANY) and len(value) <= self.prefix + 1) and value != OTHER:
            value = value[: self.prefix] + ANY
        return value if self.kept is None or value in self.kept else OTHER

    def to_json(self) -> dict[str, Any]:
        kept = None if self.kept is None else sorted(self.kept)
        return {"way": self.way, "parents": dict(sorted(self.parents.items())), "prefix": self.prefix, "kept": kept}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Return the step. Raises ValueError, TypeError, AttributeError or KeyError for a state that is not one."""
        parents, kept, prefix = state["parents"], state["kept"], state["prefix"]
        texts = [*parents.items(), *((name, "") for name in kept or ())]
        if not all(isinstance(text, str) for pair in texts for text in pair) or type(prefix) is not int or not 0 <= prefix <= MOST_PREFIX:
            raise ValueError("parents and kept values are texts, the prefix a small number")
        return cls(parents=dict(parents), prefix=prefix, kept=None if kept is None else frozenset(kept))


@dataclass(frozen=True, kw_only=True)
class Masked:
    """A text or category without the personal data that has a form (personal.mask)."""

    way: ClassVar[str] = "masked"
    type: ClassVar[str] = "text"

    def apply(self, column: np.ndarray) -> np.ndarray:
        """Return object [n] of str or None."""
        return np.array([None if value is None else mask(value) for value in column.tolist()] + [None], dtype=object)[:-1]

    def to_json(self) -> dict[str, Any]:
        return {"way": self.way}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        return cls()


READ: dict[str, Any] = {step.way: step.from_json for step in (Bins, Period, Parents, Masked)}


def read_step(state: Mapping[str, Any]) -> Step:
    """Return the step of a state. Raises ValueError, TypeError, AttributeError or KeyError for one that is none."""
    if state["way"] not in READ:
        raise ValueError(f"{state['way']!r} is no step")
    step: Step = READ[state["way"]](state)
    return step
