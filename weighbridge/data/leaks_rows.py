"""The values that the leak checks look at: some rows of some columns, read from the spool without the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from weighbridge.data.convert import convert
from weighbridge.data.identity import cells, row_digests
from weighbridge.data.leaks_images import SIDE, image_rows, thumbnail_of, thumbnails_of_files
from weighbridge.data.leaks_target import Column
from weighbridge.data.leaks_text import mixed
from weighbridge.data.plan import Plan
from weighbridge.data.spool import SPLIT, Spool, has
from weighbridge.storage.progress import Progress

IMAGES = 2048
TEXTS = 256
MIXER = np.uint64(0x9E3779B97F4A7C15)


def values_at(raw: Spool, plan: Plan, names: Sequence[str], rows: np.ndarray) -> dict[str, Any]:
    """Return the Arrow array in canonical type of each named column at the rows (ascending numbers, at least one)."""
    import pyarrow as pa

    parts: dict[str, list[Any]] = {name: [] for name in names}
    for batch, first in _taken(raw, names, rows):
        for name in names:
            parts[name].append(_converted(batch, plan, name, first))
    return {name: pa.chunked_array(arrays).combine_chunks() for name, arrays in parts.items() if arrays}


class SpooledTexts:
    """The texts of one column at the rows (ascending), read from the spool when they are asked for."""

    def __init__(self, raw: Spool, plan: Plan, name: str, rows: np.ndarray) -> None:
        self.raw, self.plan, self.name, self.rows = raw, plan, name, rows

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, rows: np.ndarray) -> list[str | None]:
        """Return the texts of these places among the rows (ascending)."""
        found: list[str | None] = values_at(self.raw, self.plan, [self.name], self.rows[rows])[self.name].to_pylist() if len(rows) else []
        return found

    def pieces(self) -> Iterator[list[str | None]]:
        """Yield all of them in their order, TEXTS at a time."""
        for batch, first in _taken(self.raw, [self.name], self.rows):
            for start in range(0, len(batch), TEXTS):
                yield _converted(batch.slice(start, TEXTS), self.plan, self.name, first).to_pylist()


def thumbnails_at(raw: Spool, plan: Plan, name: str, rows: np.ndarray, progress: Progress) -> np.ndarray:
    """Return a thumbnail of the image of each row (leaks_images), kept in a mapped file beside the spool. uint8 [n, pixels]."""
    thumbnails = np.lib.format.open_memmap(raw.folder / "thumbnails.npy", mode="w+", dtype=np.uint8, shape=(len(rows), SIDE * SIDE))
    done = 0
    for batch, first in _taken(raw, [name], rows):
        for start in range(0, len(batch), IMAGES):
            part = batch.slice(start, IMAGES)
            pixels = image_rows(part.column(name), raw.schema.field(name))
            thumbnails[done : done + len(part)] = (
                thumbnails_of_files(_converted(part, plan, name, first).to_pylist()) if pixels is None else thumbnail_of(pixels)
            )
            done += len(part)
            progress("thumbnails made", done, len(rows))
    return thumbnails


def digests_at(raw: Spool, names: Sequence[str], rows: np.ndarray) -> np.ndarray:
    """Return uint64 [n, 2]: the hash of the named columns at each of the rows."""
    parts = [row_digests(batch, names) for batch, _ in _taken(raw, names, rows)]
    return np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)


def rounded_at(raw: Spool, plan: Plan, names: Sequence[str], rows: np.ndarray, steps: Mapping[str, float]) -> np.ndarray:
    """Return uint64 [n, 2]: a hash of the named columns at each of the rows, those of `steps` rounded down to a multiple of their step
    (first column), or of that shifted by half a step (second): what is nearer than half a step agrees in one of them.
    """
    parts = []
    for batch, first in _taken(raw, names, rows):
        hashes = np.zeros((len(batch), 2), dtype=np.uint64)
        for name in names:
            values = _converted(batch, plan, name, first)
            for grid in (0, 1):
                cell = _cell(_numbers(values), steps[name], grid) if name in steps else cells(values)
                hashes[:, grid] = mixed(hashes[:, grid] * MIXER + cell)
        parts.append(hashes)
    return np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)


def single_columns(raw: Spool, plan: Plan, rows: np.ndarray) -> tuple[list[Column], Any]:
    """Return (the number, date and category columns among the inputs, and ids that come again, at the rows; the target's Arrow array).

    A column with missing values brings a second one that says only where they are.
    """
    kinds = {column.name: column.type for column in plan.schema.inputs if column.type in ("number", "category", "date")}
    ids = [column.name for column in plan.schema.columns if column.role == "id" and not plan.readings[column.name].unique]
    target = plan.schema.target.name
    values = values_at(raw, plan, [*kinds, *ids, target], rows)
    found: list[Column] = []
    for name in [*kinds, *ids]:
        found.append(_column(name, values[name], kinds.get(name, "category")))
        missing = _is_missing(values[name])
        if missing.any() and not missing.all() and name in kinds:
            found.append(Column(name=name, values=missing.astype(np.int64), category=True, distinct=2, missing=True))
    return found, values[target]


def numbers_at(raw: Spool, plan: Plan, names: Sequence[str], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the named columns of numbers or dates at the rows as float64 [n], dates in microseconds, NaN where missing."""
    return {name: _numbers(values) for name, values in values_at(raw, plan, names, rows).items()}


def _column(name: str, values: Any, kind: str) -> Column:
    if kind == "category":
        known, codes = np.unique(cells(values), return_inverse=True)
        return Column(name=name, values=codes.astype(np.int64), category=True, distinct=len(known))
    return Column(name=name, values=_numbers(values))


def _numbers(values: Any) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.types as pt

    if pt.is_timestamp(values.type):
        values = values.cast(pa.int64()).cast(pa.float64(), safe=False)
    numbers = np.array(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _cell(numbers: np.ndarray, step: float, grid: int) -> np.ndarray:
    """Return which multiple of the step each number is above, shifted by half a step for grid 1; equal numbers alone for step 0."""
    if step > 0:
        numbers = np.floor(numbers / step + grid / 2)
    return np.asarray(np.where(np.isnan(numbers), np.uint64(0x6E6F), (numbers + 0.0).view(np.uint64)))


def _is_missing(values: Any) -> np.ndarray:
    import pyarrow.compute as pc

    return np.asarray(pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False), dtype=bool)


def _converted(batch: Any, plan: Plan, name: str, row: int) -> Any:
    splits = batch.column(SPLIT) if has(batch.schema, SPLIT) else None
    return convert(batch.column(name), plan.conversions[name], row=row, splits=splits)


def _taken(raw: Spool, names: Sequence[str], rows: np.ndarray) -> Iterator[tuple[Any, int]]:
    """Yield (the named columns, and the split given, of the rows that are asked for in each batch of the spool; the batch's first row)."""
    import pyarrow as pa

    first = 0
    asked = {*names, SPLIT}
    wanted = [name for name in raw.schema.names if name in asked]
    for batch in raw.batches():
        inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(batch))] - first
        if len(inside) == len(batch):
            yield batch.select(wanted), first
        elif len(inside):
            yield batch.select(wanted).take(pa.array(inside)), first
        first += len(batch)
