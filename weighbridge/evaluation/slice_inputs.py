"""The inputs as slices see them: numbers, dates, categories and sets with conditions on them that can be said and asked again.

A condition is said in signs, which need no translation: `hours ≤ 20`, `sex = Female`, `workclass ≠ NA` (NA: missing), `tags ∋ hot`.
A missing number goes with the median; where that counts missing rows in, the words say so: `hours ≤ 40 | NA`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats

MISSING = "NA"
LEAST_OF_VALUE = 30  # rows of a category's value, for a question of its own
MOST_VALUES = 20  # a column
LONGEST = 30  # characters of a value or a name in words
FeatureKind = Literal["number", "date", "category", "set"]
Question = Callable[[float, bool], "Condition"]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What must hold for a column of a row.

    Attributes:
        relation: "<=" or ">" a bound, "=" or "!=" a value (None: missing), "in" or "not in": the set holds the value or not.
        with_missing: for a bound: missing values are counted in, since their stand-in lies on this side.
    """

    name: str
    relation: Literal["<=", ">", "=", "!=", "in", "not in"]
    bound: float | None = None
    value: str | None = None
    with_missing: bool = False
    date: bool = False

    @property
    def words(self) -> str:
        name = _short(self.name)
        if self.bound is not None:
            shown = _date(self.bound) if self.date else f"{self.bound:.4g}"
            return f"{name} {'≤' if self.relation == '<=' else '>'} {shown}{f' | {MISSING}' if self.with_missing else ''}"
        sign = {"=": "=", "!=": "≠", "in": "∋", "not in": "∌"}[self.relation]
        return f"{name} {sign} {MISSING if self.value is None else _short(self.value)}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Feature:
    """One input column in the order of the predictions' rows.

    `values`: float64 [n] (dates as days, NaN missing), object [n] of str or None, or object [n] of tuples. `middle`: what a missing number
    counts as; the same on both splits.
    """

    name: str
    kind: FeatureKind
    values: Array
    middle: float = 0.0

    def columns(self) -> list[tuple[Question, Floats]]:
        """Return what a tree may split: (question of a threshold and side, values [n])."""
        if self.kind in ("number", "date"):
            return self._bounds()
        return self._values()

    def _bounds(self) -> list[tuple[Question, Floats]]:
        missing = np.isnan(self.values)
        filled = np.where(missing, self.middle, self.values)
        found: list[tuple[Question, Floats]] = []
        if missing.all():
            return found
        if len(np.unique(filled)) > 1:
            found.append((self._bound(filled, bool(missing.any())), filled))
        if LEAST_OF_VALUE <= missing.sum() <= len(missing) - LEAST_OF_VALUE:
            found.append((self._is(None, "=", "!="), missing.astype(np.float64)))
        return found

    def _bound(self, filled: Floats, any_missing: bool) -> Question:
        def question(threshold: float, below: bool) -> Condition:
            bound = _readable(filled, threshold)
            with_missing = any_missing and (self.middle <= bound) == below
            return Condition(
                name=self.name, relation="<=" if below else ">", bound=bound, with_missing=with_missing, date=self.kind == "date"
            )

        return question

    def _values(self) -> list[tuple[Question, Floats]]:
        of_set, n = self.kind == "set", len(self.values)
        counts = Counter(value for row in self.values for value in row or ()) if of_set else Counter(self.values.tolist())
        frequent = sorted((-count, str(value), value) for value, count in counts.items() if LEAST_OF_VALUE <= count <= n - LEAST_OF_VALUE)
        relations: tuple[Literal["in", "="], Literal["not in", "!="]] = ("in", "not in") if of_set else ("=", "!=")
        return [(self._is(value, *relations), self.equal(value).astype(np.float64)) for _, _, value in frequent[:MOST_VALUES]]

    def equal(self, value: str | None) -> Array:
        """Return bool [n]: the column is this value, or the set holds it; None asks for what is missing."""
        if self.kind in ("number", "date"):
            return np.isnan(self.values)
        if self.kind == "set":
            return np.array([value in (row or ()) for row in self.values], dtype=bool)
        return np.asarray(self.values == value, dtype=bool)  # of objects: element by element, None too

    def _is(self, value: str | None, yes: Literal["=", "in"], no: Literal["!=", "not in"]) -> Question:
        return lambda threshold, below: Condition(name=self.name, relation=no if below else yes, value=value)


def holds(condition: Condition, feature: Feature) -> Array:
    """Return bool [n]: the rows for which the condition holds; read from its words' meaning, not from the tree."""
    values = feature.values
    if condition.bound is not None:
        missing = np.isnan(values)
        with np.errstate(invalid="ignore"):
            inside = values <= condition.bound if condition.relation == "<=" else values > condition.bound
        return np.where(missing, condition.with_missing, inside).astype(bool)
    equal = feature.equal(condition.value)
    return equal if condition.relation in ("=", "in") else ~equal


def _readable(values: Floats, threshold: float) -> float:
    """Return the shortest number that cuts these values as the threshold does: 20.5 between 20 and 21 becomes 20."""
    below, above = values[values <= threshold], values[values > threshold]
    if not len(below) or not len(above):
        return threshold
    low, high = float(below.max()), float(above.min())
    for digits in range(1, 16):
        for candidate in (float(f"{low:.{digits}g}"), float(f"{threshold:.{digits}g}")):
            if low <= candidate < high:
                return candidate
    return low


def _date(days: float) -> str:
    moment = str(np.datetime64(0, "s") + np.timedelta64(math.floor(days * 86400), "s"))
    return moment[:10] if float(days).is_integer() else moment[:16].replace("T", " ")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
