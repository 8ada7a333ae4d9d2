"""The rows that the quality audit looks at: some training and test rows, encoded, as points, and as they came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.quality_rows import Points, alike_images, alike_points, alike_texts, nearest, points_of
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.models.baseline_inputs import Inputs, fit_inputs
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject
    from weighbridge.data import Table
    from weighbridge.preprocessing import Arrays

ROWS, TEST_ROWS = 4000, 2000
MOST_COLUMNS = 6  # of a table that are shown of a row
MOST_TEXT = 300


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Training rows at random with the flat form of all encoded columns, fitted on them, and test rows. n training, m test rows."""

    subject: Subject
    train: Arrays
    test: Arrays
    inputs: Inputs

    @classmethod
    def of(cls, subject: Subject) -> Sample:
        """Return up to ROWS training and TEST_ROWS test rows."""
        train, test = (some(subject.arrays[split], most, subject.seed, split) for split, most in (("train", ROWS), ("test", TEST_ROWS)))
        return cls(
            subject=subject, train=train, test=test, inputs=fit_inputs(subject.encoder, train, np.arange(len(train)), seed=subject.seed)
        )

    @cached_property
    def points(self) -> Points:
        return points_of(self.inputs, self.train, self.test)

    @cached_property
    def near(self) -> tuple[Floats, Array]:
        """Distances and places of the nearest training rows of each training row."""
        return nearest(self.points.train, self.points.train, itself=True)

    @cached_property
    def group(self) -> Array | None:
        """What each training row belongs to, where the recipe names a group."""
        return groups_of(self.subject, self.train)

    @property
    def parts(self) -> list[Any]:
        """The training rows as a linear model and trees read them."""
        return flat_parts(self.inputs, self.train, self.points.train)

    @property
    def tested(self) -> Array:
        """Places of the test rows among the predictions of all test rows."""
        return np.searchsorted(self.subject.said["test"].row_id, self.test.row_ids)

    def alike(self) -> tuple[Callable[[Array], Array], str]:
        """Return what says of pairs of training rows whether they are near copies, and of what: text, image or table."""
        texts, images = self.subject.blocks("text"), [*self.subject.blocks("image"), *self.subject.blocks("audio")]
        if texts:
            column = texts[0].removeprefix("text.")
            raw = dict(self.raw([column]))
            return alike_texts([str(raw[row][column]) if raw.get(row, {}).get(column) else None for row in self.train.row_ids]), "text"
        if images:
            return alike_images(np.asarray(self.train.blocks[images[0]])), "image"
        return alike_points(self.points.train, len(self.inputs.encoder.columns)), "table"

    def raw(self, names: list[str], wanted: Array | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield row id and the named columns as they came, of the wanted training rows (default: all of the sample)."""
        yield from raw_rows(self.subject.splits.train, names, self.train.row_ids if wanted is None else wanted)


def raw_rows(table: Table, names: list[str], wanted: Array) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield row id and the named columns of the wanted rows of a table."""
    asked = np.asarray(wanted).astype(str)
    for batch in table.batches():
        ids = batch.row_ids.astype(str)
        for place in np.flatnonzero(np.isin(ids, asked)):
            yield str(ids[place]), {name: batch.columns[name][place] for name in names}


def flat_parts(inputs: Inputs, arrays: Arrays, points: np.ndarray) -> list[Any]:
    """Return the rows as a linear model reads them and as trees do; rows with texts as TF-IDF alone: trees gain little there."""
    return [inputs.linear(arrays)] if inputs.texts else [points, points]


def groups_of(subject: Subject, arrays: Arrays) -> Array | None:
    """Return what each training row belongs to, where the recipe names a group."""
    if subject.recipe.data.group is None:
        return None
    table = subject.splits.train
    return np.asarray(np.asarray(table.column(subject.recipe.data.group)).astype(str)[table.places(arrays.row_ids)])


def some(arrays: Arrays, most: int, seed: int, name: str) -> Arrays:
    """Return at most so many rows, at random, in their order."""
    rows = np.sort(rng(seed, "audit", "quality", name).permutation(len(arrays))[:most])
    return arrays.subset(rows)


def in_words(values: dict[str, Any]) -> str:
    """Return a row of a table as one line of text, or its text."""
    if len(values) == 1:
        return str(next(iter(values.values())))[:MOST_TEXT]
    return ", ".join(f"{name}: {value}" for name, value in list(values.items())[:MOST_COLUMNS])[:MOST_TEXT]
