"""Sketches of the input columns for a contract: edges and names from training rows, counts from validation rows, no figure of a single row.

The edges do not depend on the rows that are counted, so a new row's rank among those is uniform while nothing has changed. There is one
exception: a bin or a name that was given room for 10 rows or more and got 1 to 4 is merged into another. It is seldom, and it hides a
difference inside the merged bin only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.runtime.contract import FEWEST, ColumnSketch, Frequencies, Histogram
from weighbridge.runtime.traits import is_known, names_in, traits_of

if TYPE_CHECKING:
    from weighbridge.data.table import Table
    from weighbridge.preprocessing import Encoder
    from weighbridge.preprocessing.feature import Feature

BINS = 64
ROWS_PER_BIN = 10  # of the counted rows, on average
NAMES = 50
LEAST_EXPECTED = 15  # counted rows that a name must be expected to have: fewer than 5 then come with a chance of 1 in 1,000
MOST_ROWS = 100_000  # that are looked at, evenly spaced
MOST_COSTLY_ROWS = 5_000  # of images and texts, which are decoded for it
COSTLY = ("image", "text")
BATCH_ROWS = 1024
BESIDE = 1e-9  # beside a value that many rows share: its own bin ends there


@dataclass(kw_only=True)
class Seen:
    """What was seen of one column: numbers by trait, counts by name, rows and how many of them had no value."""

    traits: dict[str, list[np.ndarray]] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    missing: int = 0

    def add(self, feature: Feature, column: np.ndarray) -> None:
        known = is_known(column)
        self.rows, self.missing = self.rows + len(column), self.missing + int((~known).sum())
        for name, values in traits_of(feature, column).items():
            self.traits.setdefault(name, []).append(values[known])
        if feature.type in ("category", "set"):
            self.names.update(names_in(feature, column))

    def values(self, trait: str) -> np.ndarray:
        return np.concatenate(self.traits.get(trait) or [np.empty(0)])


def sketches(encoder: Encoder, train: Table, validation: Table) -> tuple[ColumnSketch, ...]:
    """Return the sketch of each column that the encoder reads, in its order. Raises DataError for an unreadable image."""
    laid, counted = look(encoder, train), look(encoder, validation)
    return tuple(_sketch(feature, laid[feature.column], counted[feature.column]) for feature in encoder.features)


def look(encoder: Encoder, table: Table) -> dict[str, Seen]:
    """Return what was seen of each column in one pass over the rows, evenly spaced ones where there are many."""
    seen = {feature.column: Seen() for feature in encoder.features}
    steps = {feature.column: -(-len(table) // (MOST_COSTLY_ROWS if feature.type in COSTLY else MOST_ROWS)) for feature in encoder.features}
    start = 0
    for batch in table.batches(BATCH_ROWS):
        places = np.arange(start, start + len(batch))
        for feature in encoder.features:
            column = batch.columns[feature.column][places % max(steps[feature.column], 1) == 0]
            if len(column):
                step = encoder.steps.get(feature.column)
                seen[feature.column].add(feature, column if step is None else step.apply(column))
        start += len(batch)
    return seen


def _sketch(feature: Feature, laid: Seen, counted: Seen) -> ColumnSketch:
    traits = {name: histogram(laid.values(name), counted.values(name)) for name in sorted(laid.traits)}
    values = None
    if feature.type in ("category", "set"):
        values = frequencies(counted.names, named=frequent(laid.names, share=counted.rows / max(laid.rows, 1)))
    return ColumnSketch(name=feature.column, type=feature.type, rows=counted.rows, missing=counted.missing, traits=traits, values=values)


def histogram(laid: np.ndarray, counted: np.ndarray) -> Histogram:
    """Return the counts of some rows' numbers between edges laid by other rows'."""
    edges = edges_of(laid, len(counted))
    counts = np.bincount(Histogram(edges=edges).places(counted), minlength=len(edges) + 1)
    return merged(edges, counts.tolist())


def edges_of(laid: np.ndarray, counted: int) -> tuple[float, ...]:
    """Return rising edges between numbers, for at most 64 bins of at least 5 laid rows and about 10 counted ones.

    An edge lies half way between two neighbours and shows neither. The smallest and the largest number get an edge outside them where at
    least 5 rows share them (a column of zeros, a scale that ends): a later value beyond is then in a bin of its own.
    """
    values = np.sort(laid[np.isfinite(laid)])
    n = len(values)
    bins = int(np.clip(min(n // FEWEST, counted // ROWS_PER_BIN), 1, BINS))
    edges, last = [], 0
    for wanted in (np.arange(1, bins) * n) // bins:
        place = int(np.searchsorted(values, values[wanted - 1], side="right")) if values[wanted - 1] == values[wanted] else int(wanted)
        if place - last >= FEWEST and n - place >= FEWEST:
            edges.append(float(values[place - 1] / 2 + values[place] / 2))
            last = place
    return tuple(sorted({*edges, *_ends(values)}))


def _ends(values: np.ndarray) -> list[float]:
    if len(values) < FEWEST:
        return []
    low, high = float(values[0]), float(values[-1])
    below = [low - BESIDE * max(1.0, abs(low))] if values[FEWEST - 1] == low else []
    above = [high + BESIDE * max(1.0, abs(high))] if values[-FEWEST] == high else []
    return below + above


def merged(edges: Sequence[float], counts: Sequence[int]) -> Histogram:
    """Return the histogram without bins of 1 to 4 rows: each is merged with the smaller neighbour that has rows."""
    bounds, held = list(edges), list(counts)
    while len(held) > 1 and any(0 < count < FEWEST for count in held):
        at = min((place for place, count in enumerate(held) if 0 < count < FEWEST), key=held.__getitem__)
        beside = [place for place in (at - 1, at + 1) if 0 <= place < len(held)]
        other = min(beside, key=lambda place: (held[place] == 0, held[place]))
        low = min(at, other)
        held[low : low + 2] = [held[low] + held[low + 1]]
        del bounds[low]
    return Histogram(edges=tuple(bounds), counts=tuple(held))


def frequent(names: Mapping[str, int], *, share: float) -> list[str]:
    """Return at most 50 names, the most frequent of some rows first, that a further `share` of as many rows will hold 15 times."""
    often = sorted((-count, name) for name, count in names.items() if count >= FEWEST and count * share >= LEAST_EXPECTED)
    return [name for _, name in often[:NAMES]]


def frequencies(counts: Mapping[str, int], *, named: Sequence[str] | None = None) -> Frequencies:
    """Return the counts of the named values (all, where none are named) that at least 5 rows have; the rest together."""
    kept = {name: counts[name] for name in (counts if named is None else named) if counts.get(name, 0) >= FEWEST}
    return Frequencies(counts=kept, other=sum(counts.values()) - sum(kept.values()))
