"""Dates: a trend in days, and the parts that come round again as points on a circle."""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np

from weighbridge.preprocessing.feature import BlockKind
from weighbridge.preprocessing.number import NumberFeature, NumberFit

PERIODS = {"month": 12, "weekday": 7, "day": 31, "hour": 24}
LINEAR = ("trend", "year")
ISO = ("", "iso", "iso-utc")
PATTERN = re.compile(r"(?:%[YmdHMS]|[^%]){1,40}")
US_PER_HOUR, US_PER_DAY = 3_600_000_000, 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class DateFeature:
    """A fitted date column; `parts` are those of the recipe that vary in training rows.

    A missing date stands at the middle of the trend and in the centre of each circle, and is marked by `indicator`.
    `pattern`: how dates were written as text where training rows were read: "", "iso", "iso-utc" or a strptime format.
    """

    type: ClassVar[str] = "date"
    kind: ClassVar[BlockKind] = "number"

    column: str
    parts: tuple[str, ...]
    trend: NumberFeature
    year: NumberFeature
    indicator: bool
    rows: int
    missing: int
    pattern: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        names = []
        for part in self.parts:
            names += [f"{self.column} {part}"] if part in LINEAR else [f"{self.column} {part} sin", f"{self.column} {part} cos"]
        return (*names, f"{self.column} is missing") if self.indicator else tuple(names)

    def encode(self, column: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return float32 [n, D]: the parts in order, and 1 where the date was missing. Always finite."""
        dates = np.asarray(column, dtype="datetime64[us]")
        lost = np.isnat(dates)
        out = np.empty((len(dates), len(self.names)), dtype=np.float32)
        at = 0
        for part in self.parts:
            if part in LINEAR:
                feature = self.trend if part == "trend" else self.year
                out[:, at] = feature.encode(linear_part(dates, part))[:, 0]
                at += 1
            else:
                points = _circle(PERIODS[part])[np.where(lost, 0, cyclic_part(dates, part))]
                out[:, at : at + 2] = np.where(lost[:, None], 0, points)
                at += 2
        if self.indicator:
            out[:, at] = lost
        return out

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Return datetime64[us] [n] from the trend, to float32's precision of it; NaT where there is none."""
        if "trend" not in self.parts:
            return np.full(len(array), "NaT", dtype="datetime64[us]")
        days = self.trend.decode(array[:, [self._at("trend")]])
        lost = array[:, -1] > 0.5 if self.indicator else np.zeros(len(array), dtype=bool)
        dates = (days * US_PER_DAY).astype(np.int64).astype("datetime64[us]")
        return np.where(lost, np.datetime64("NaT", "us"), dates)

    def _at(self, part: str) -> int:
        before = self.parts[: self.parts.index(part)]
        return sum(1 if name in LINEAR else 2 for name in before)

    def to_json(self) -> dict[str, Any]:
        return {
            "type": self.type, "column": self.column, "parts": list(self.parts), "trend": self.trend.to_json(),
            "year": self.year.to_json(), "indicator": self.indicator, "rows": self.rows, "missing": self.missing,
            "pattern": self.pattern,
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Return the feature. Raises ValueError, TypeError or KeyError for a state that is not one."""
        unknown = set(state["parts"]) - {*PERIODS, *LINEAR}
        if unknown:
            raise ValueError(f"date column {state['column']!r} has unknown parts {sorted(unknown)}")
        return cls(
            column=state["column"], parts=tuple(state["parts"]), trend=NumberFeature.from_json(state["trend"]),
            year=NumberFeature.from_json(state["year"]), indicator=state["indicator"], rows=state["rows"], missing=state["missing"],
            pattern=_checked(state.get("pattern", "")),
        )  # fmt: skip


class DateFit:
    """Streams a date column and notes which parts vary."""

    def __init__(self, column: str, *, parts: tuple[str, ...], generator: np.random.Generator, pattern: str = "") -> None:
        self._column, self._parts, self._pattern = column, parts, pattern
        self._linear = {part: NumberFit(f"{column} {part}", scale="standard", indicator=False, generator=generator) for part in LINEAR}
        self._seen = {part: np.zeros(period, dtype=bool) for part, period in PERIODS.items()}
        self._rows, self._missing = 0, 0

    def add(self, column: np.ndarray, rows: np.ndarray | None = None) -> None:
        dates = np.asarray(column, dtype="datetime64[us]")
        known = dates[~np.isnat(dates)]
        self._rows += len(dates)
        self._missing += len(dates) - len(known)
        for part, fit in self._linear.items():
            fit.add(linear_part(known, part))
        for part, seen in self._seen.items():
            seen[cyclic_part(known, part)] = True

    def finish(self) -> DateFeature:
        trend, year = self._linear["trend"].finish(), self._linear["year"].finish()
        varies = {part: int(seen.sum()) > 1 for part, seen in self._seen.items()}
        varies |= {"trend": trend.least < trend.largest, "year": year.least < year.largest}
        parts = tuple(part for part in self._parts if varies[part]) or ("trend",)
        return DateFeature(
            column=self._column, parts=parts, trend=trend, year=year, indicator=self._missing > 0, rows=self._rows, missing=self._missing,
            pattern=self._pattern,
        )  # fmt: skip


def read_date(text: str, pattern: str) -> datetime.datetime:
    """Return the date that a text means: as training rows were written (`pattern`), else in ISO form. Raises ValueError."""
    text = text.strip()
    if pattern not in ISO:
        try:
            return datetime.datetime.strptime(text, pattern)
        except ValueError:
            pass
    return datetime.datetime.fromisoformat(text)


def _checked(pattern: str) -> str:
    """Return the pattern. Raises ValueError for one that the data stage does not write: a package is not trusted with strptime."""
    parts = re.findall("%.", pattern)
    if pattern not in ISO and (not PATTERN.fullmatch(pattern) or len(set(parts)) < len(parts)):
        raise ValueError(f"{pattern[:60]!r} is no pattern of dates")
    return pattern


def linear_part(dates: np.ndarray, part: str) -> np.ndarray:
    """Return float64 [n]: days since 1970 (`trend`) or the year, NaN for NaT."""
    lost = np.isnat(dates)
    unit = dates.astype(np.int64) / US_PER_DAY if part == "trend" else dates.astype("datetime64[Y]").astype(np.int64) + 1970.0
    return np.asarray(np.where(lost, np.nan, unit), dtype=np.float64)


def cyclic_part(dates: np.ndarray, part: str) -> np.ndarray:
    """Return int64 [n]: month 0..11, weekday 0..6 (Monday 0), day of the month 0..30 or hour 0..23; NaT gives any of them."""
    if part == "month":
        return dates.astype("datetime64[M]").astype(np.int64) % 12
    if part == "weekday":
        return (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7
    if part == "hour":
        return dates.astype(np.int64) // US_PER_HOUR % 24
    months = dates.astype("datetime64[M]").astype("datetime64[D]")
    return np.asarray((dates.astype("datetime64[D]") - months).astype(np.int64) % 31)


@cache
def _circle(period: int) -> np.ndarray:
    """Return float64 [period, 2]: sine and cosine by table, so that no vector instruction rounds a row by its place in a batch."""
    angles = [2 * math.pi * step / period for step in range(period)]
    return np.array([[math.sin(angle), math.cos(angle)] for angle in angles])
