"""Which columns hold personal data: what has a form and passes its check, held against what numbers without meaning would pass.

One in ten numbers that look like a bank card's passes its check digit. So for each column and kind the share of different numbers that pass
is tested against the share that chance gives (exact binomial, Holm over columns and kinds). Where the form alone says what it is (an e-mail
address), one is enough, unless so many fail their rules that the column holds something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.evaluation.intervals import clopper_pearson
from weighbridge.privacy import Kind, Seen, search
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.data import Table

LEVEL = 0.05
GENUINE = 0.95  # of what has a telling form; where the interval of the share that fits its rules ends below it, it is something else
MOST_ROWS = 20_000
MOST_CHARACTERS = 4_000_000  # about 3 s
LEAST_ROWS = 200  # are looked at however long their texts are
EXACT = float(1 << 53)  # from here on float64 does not hold every whole number
LONG_NUMBERS = 0.5  # of the values that are whole and beyond EXACT, from which a column's digits are said to be lost
SEARCHED = ("category", "text", "set", "number")


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a column holds of a pattern.

    Attributes:
        n: rows that were looked at.
        found: whether it is more than chance gives.
        p: of as many or more passing by chance; None where the form alone tells.
    """

    column: str
    seen: Seen
    n: int
    found: bool
    p: float | None

    @property
    def kind(self) -> Kind:
        return self.seen.kind

    def to_json(self) -> dict[str, Any]:
        """Return what was counted, no value."""
        seen = self.seen
        return {
            "forms": seen.forms, "valid": seen.valid, "rows": len(seen.rows), "whole": seen.whole, "shape": seen.shape, "n": self.n,
            "found": self.found, "p": self.p,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen of a table's stored columns.

    Attributes:
        types: by column.
        texts: columns as texts [n], those that were searched.
        rows: the rows that were looked at; none where there is nothing to search.
        held: what they hold.
        lost: columns of numbers of which the last digits are lost.
    """

    types: Mapping[str, str]
    texts: Mapping[str, list[str | None]]
    rows: np.ndarray
    held: Sequence[Held]
    lost: Sequence[str]


def look(table: Table, seed: int) -> Look:
    """Return what the stored columns of a table hold of personal data."""
    types = {name: table.schema[name].type for name in table.names}
    columns = {name: table.column(name) for name, kind in types.items() if kind in SEARCHED}
    texts = {name: words_of(column, types[name]) for name, column in columns.items()}
    rows = looked_at(texts, seed) if texts and len(table) else np.empty(0, dtype=np.int64)
    held = held_by({name: [column[row] for row in rows.tolist()] for name, column in texts.items()}) if len(rows) else []
    lost = [name for name, column in columns.items() if types[name] == "number" and loses_digits(column)]
    return Look(types=types, texts=texts, rows=rows, held=held, lost=lost)


def words_of(column: np.ndarray, kind: str) -> list[str | None]:
    """Return a canonical column as texts [n]: whole numbers by their digits, the labels of a set after each other; None for the rest."""
    if kind == "number":
        whole = np.isfinite(column) & (column == np.floor(column)) & (np.abs(column) < EXACT)
        return [f"{value:.0f}" if there else None for value, there in zip(column.tolist(), whole.tolist(), strict=True)]
    if kind == "set":
        return [None if value is None else ", ".join(value) for value in column.tolist()]
    return list(column.tolist())


def loses_digits(column: np.ndarray) -> bool:
    """Say whether a column of numbers is mostly whole ones that float64 does not hold: cards and identity numbers of 16 digits and more."""
    known = column[np.isfinite(column)]
    return bool(len(known)) and float((np.abs(known) >= EXACT).mean()) > LONG_NUMBERS


def looked_at(texts: Mapping[str, Sequence[str | None]], seed: int) -> np.ndarray:
    """Return the rows that are looked at, ascending: all, or at random as many as MOST_ROWS and MOST_CHARACTERS let."""
    n = len(next(iter(texts.values())))
    order = rng(seed, "audit.privacy.personal").permutation(n)[:MOST_ROWS]
    lengths = np.zeros(len(order), dtype=np.int64)
    for column in texts.values():
        lengths += np.fromiter((len(column[row] or "") for row in order.tolist()), dtype=np.int64, count=len(order))
    enough = int(np.searchsorted(np.cumsum(lengths), MOST_CHARACTERS, side="right"))
    return np.sort(order[: max(enough, LEAST_ROWS)])


def held_by(texts: Mapping[str, Sequence[str | None]]) -> list[Held]:
    """Return what each column holds of each pattern of which anything has the form, found or not."""
    seen = [(name, one, len(column)) for name, column in texts.items() for one in search(column).values() if one.forms]
    tested = [place for place, (_, one, _) in enumerate(seen) if one.kind.chance > 0 and one.valid]
    p = {place: by_chance(seen[place][1]) for place in tested}
    sure = set(_holm(p))
    return [
        Held(column=name, seen=one, n=n, p=p.get(place), found=place in sure if one.kind.chance > 0 else _tells(one))
        for place, (name, one, n) in enumerate(seen)
    ]


def by_chance(seen: Seen) -> float:
    """Return how often so many of these numbers, or more, would pass their check if they meant nothing (exact binomial)."""
    from scipy.stats import binom

    return float(binom.sf(seen.valid - 1, seen.forms, seen.kind.chance))


def _tells(seen: Seen) -> bool:
    return seen.valid > 0 and clopper_pearson(seen.valid, seen.forms)[1] >= GENUINE


def _holm(p: Mapping[int, float]) -> Iterator[int]:
    """Yield the tests that hold at LEVEL for all of them together (Holm 1979)."""
    for left, place in zip(range(len(p), 0, -1), sorted(p, key=lambda place: p[place]), strict=True):
        if p[place] * left > LEVEL:
            return
        yield place


def rows_with(held: Sequence[Held]) -> int:
    """Return in how many rows at least one of them stands."""
    return len({row for one in held for row in one.seen.rows})
