"""What every column type promises: fitted on training rows only, the same code for training and for serving."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BlockKind = Literal["number", "category", "image", "present", "text"]
Columns = Mapping[str, np.ndarray]
FEW = 16  # rows that are not worth a pool of threads


class Feature(Protocol):
    """A fitted column. `encode` treats each row alone, so a row gives the same numbers in any batch."""

    type: ClassVar[str]
    kind: ClassVar[BlockKind]

    @property
    def column(self) -> str: ...
    @property
    def missing(self) -> int: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    def encode(self, column: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray: ...
    def decode(self, array: np.ndarray) -> np.ndarray: ...
    def to_json(self) -> dict[str, Any]: ...


class Fit(Protocol):
    """Fitting as a stream: `add` sees each batch of training rows once, `finish` gives the feature."""

    def add(self, column: np.ndarray, rows: np.ndarray | None = None) -> None: ...
    def finish(self) -> Feature: ...


class ColumnLike(Protocol):
    """A column of data.table.Schema."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def pattern(self) -> str: ...
    @property
    def step(self) -> Any: ...


class SchemaLike(Protocol):
    """data.table.Schema as far as preprocessing reads it; `classes`: rows of all splits by the target's class or label."""

    @property
    def inputs(self) -> Sequence[ColumnLike]: ...
    @property
    def target(self) -> Any: ...
    @property
    def classes(self) -> Mapping[str, int]: ...


class BatchLike(Protocol):
    """data.table.Batch."""

    @property
    def row_ids(self) -> np.ndarray: ...
    @property
    def columns(self) -> dict[str, np.ndarray]: ...


class TableLike(Protocol):
    """data.table.Table as far as preprocessing reads it."""

    @property
    def row_ids(self) -> np.ndarray: ...
    def batches(self, size: int = 4096) -> Iterator[Any]: ...
    def __len__(self) -> int: ...


class SplitsLike(Protocol):
    """data.Splits without its test rows: preprocessing can not reach them."""

    @property
    def schema(self) -> Any: ...
    @property
    def train(self) -> Any: ...
    @property
    def validation(self) -> Any: ...


def objects(values: Any) -> np.ndarray:
    """Return a one-dimensional object array of the values, whatever they are (arrays of equal shape included)."""
    return np.fromiter(iter(values), dtype=object, count=len(values))


def each_row(work: Callable[[int], None], count: int) -> None:
    """Do `work` for each place of `count` rows, in threads where there are many: decoders run outside the GIL."""
    if count < FEW:
        for place in range(count):
            work(place)
        return
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(work, range(count), chunksize=8):
            pass
