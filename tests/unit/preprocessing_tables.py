"""Small tables in memory, with the face of data.table.Table, for the tests of preprocessing and runtime."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weighbridge.data.table import Batch, Column, Schema
from weighbridge.preprocessing.feature import objects
from weighbridge.recipe.schema import PreprocessingSection

SECTION = PreprocessingSection()
DAY = np.datetime64("2026-03-01T06:30:00", "us")


@dataclass(frozen=True)
class MemoryTable:
    columns: dict[str, np.ndarray]
    row_ids: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=str))

    def __len__(self) -> int:
        return len(self.row_ids)

    def batches(self, size: int = 4096) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            stop = start + size
            yield Batch(row_ids=self.row_ids[start:stop], columns={name: values[start:stop] for name, values in self.columns.items()})


@dataclass(frozen=True)
class MemorySplits:
    schema: Schema
    train: MemoryTable
    validation: MemoryTable


def table(columns: dict[str, np.ndarray]) -> MemoryTable:
    rows = len(next(iter(columns.values())))
    return MemoryTable(columns, np.array([f"row-{number}" for number in range(rows)], dtype=np.str_))


def schema(types: dict[str, str], target: str | None = None) -> Schema:
    return Schema(tuple(Column(name=name, type=kind, role="target" if name == target else "input") for name, kind in types.items()))


TYPES = {"age": "number", "city": "category", "seen": "date", "tags": "set", "photo": "image", "label": "category"}


def mixed(rows: int = 60, *, photos: bool = True) -> tuple[MemoryTable, Schema]:
    """A table with a column of every type, missing values in each input, and the target `label` of two classes."""
    random = np.random.default_rng(3)
    columns: dict[str, np.ndarray] = {
        "age": np.where(random.random(rows) < 0.1, np.nan, random.normal(40, 12, rows)),
        "city": objects([("Rom", "Oslo", "Kyiv", None)[code] for code in random.integers(0, 4, rows)]),
        "seen": DAY + random.integers(0, 400 * 86400, rows).astype("timedelta64[s]").astype("timedelta64[us]"),
        "tags": objects([(("a", "b"), ("b",), (), None, None)[code] for code in random.integers(0, 5, rows)]),
        "label": objects([("no", "yes")[code] for code in random.integers(0, 2, rows)]),
    }
    columns["seen"][1] = np.datetime64("NaT")
    if photos:
        columns["photo"] = objects([*random.integers(0, 256, (rows - 1, 4, 5, 3), dtype=np.uint8), None])
    return table(columns), schema({name: kind for name, kind in TYPES.items() if name in columns}, "label")


def picture(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of an image file."""
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(pixels).save(held, kind, **options)
    return held.getvalue()
