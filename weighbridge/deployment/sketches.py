"""Sketches of the input columns for a contract: edges and names from training rows, counts from validation rows, no figure of a single row.

The edges do not depend on the rows that are counted, so a new row's rank among those is uniform while nothing has changed. There is one
exception: a bin or a name that was given room for 10 rows or more and got 1 to 4 is merged into another. It is seldom, and it hides a
difference inside the merged bin only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.runtime.contract import ColumnSketch
from weighbridge.runtime.histograms import frequencies, frequent, histogram
from weighbridge.runtime.traits import is_known, names_in, traits_of

if TYPE_CHECKING:
    from weighbridge.data.table import Table
    from weighbridge.preprocessing import Encoder
    from weighbridge.preprocessing.feature import Feature

MOST_ROWS = 100_000  # that are looked at, evenly spaced
MOST_COSTLY_ROWS = 5_000  # of images, clips and texts, which are decoded for it
COSTLY = ("image", "audio", "text")
BATCH_ROWS = 1024


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
    """Return the sketch of each column that the encoder reads, in its order. Raises DataError for an unreadable image or clip."""
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
