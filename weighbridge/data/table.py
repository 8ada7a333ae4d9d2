"""Rows with typed columns and a stable row id, mapped from an Arrow file: nothing is read before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np

from weighbridge.errors import DataError, RunError, did_you_mean
from weighbridge.findings import EMPTY, Message
from weighbridge.privacy.steps import Step, read_step
from weighbridge.storage import read_json, write_json

Role = Literal["input", "target", "id", "group", "time", "weight", "split", "left_out"]
ROW_ID = "__row_id__"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Column:
    """A named column: its type (number, category, date, image, text, set or id), what it is for, and what that was inferred from.

    `pattern`: how dates are written as text ("iso", "iso-utc" or strptime), "" where the source holds no such text; `step`: how its values
    were made coarser or masked before they were stored, None where they are as they came.
    """

    name: str
    type: str
    role: Role = "input"
    why: Message = EMPTY
    pattern: str = ""
    step: Step | None = None

    def to_json(self) -> dict[str, Any]:
        known = {"name": self.name, "type": self.type, "role": self.role, "why": self.why.to_json(), "pattern": self.pattern}
        return known if self.step is None else {**known, "step": self.step.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        if value["role"] not in get_args(Role):
            raise ValueError(f"unknown role {value['role']!r}")
        why, pattern = Message.from_json(value["why"]), value.get("pattern", "")
        step = read_step(value["step"]) if "step" in value else None
        return cls(name=value["name"], type=value["type"], role=value["role"], why=why, pattern=pattern, step=step)


@dataclass(frozen=True, kw_only=True)
class Texts:
    """How the texts of a CSV source were read: those that mean a missing value, and whether spaces around values were removed."""

    missing: tuple[str, ...]
    strip: bool

    def to_json(self) -> dict[str, Any]:
        return {"missing": list(self.missing), "strip": self.strip}


@dataclass(frozen=True)
class Schema:
    """The columns of a source in their order; exactly one is the target.

    Attributes: texts, None where the source is no CSV, whose texts are values as they stand; classes, how many rows of all splits
    hold each class (or label) of the target, {} for a number.
    """

    columns: tuple[Column, ...]
    texts: Texts | None = None
    classes: Mapping[str, int] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role == "input")

    @property
    def target(self) -> Column:
        return next(column for column in self.columns if column.role == "target")

    def __getitem__(self, name: str) -> Column:
        """Return the column of this name. Raises DataError with the nearest known name."""
        if name in self._by_name:
            return self._by_name[name]
        raise unknown_column(name, [column.name for column in self.columns])

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in reversed(self.columns)}  # the first of a name, as a walk would find

    def to_json(self) -> dict[str, Any]:
        texts = self.texts.to_json() if self.texts else None
        return {"format": FORMAT, "columns": [column.to_json() for column in self.columns], "texts": texts, "classes": dict(self.classes)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        texts = value.get("texts")
        known = Texts(missing=tuple(texts["missing"]), strip=texts["strip"]) if texts else None
        return cls(tuple(Column.from_json(column) for column in value["columns"]), known, dict(value.get("classes", {})))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Consecutive rows: their ids, and each stored column in its canonical numpy form."""

    row_ids: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row_ids)


class Table:
    """The rows of one split, mapped from an Arrow IPC file.

    Canonical form of a column: number float64 (NaN missing); date datetime64[us] (NaT); category and text object of str or
    None; set object of tuple[str, ...] or None; image object of str (path), bytes (encoded file), uint8 [H, W] or [H, W, C], None;
    audio object of str (path), bytes (encoded file), None.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path = path
        self.schema = schema

    @cached_property
    def _arrow(self) -> Any:
        import pyarrow as pa

        try:
            return pa.ipc.open_file(pa.memory_map(str(self.path))).read_all()
        except FileNotFoundError:
            raise RunError(f"{self.path} is missing", do="run the recipe again") from None
        except pa.ArrowInvalid as error:
            raise RunError(f"{self.path} is damaged ({error})", do="remove it and run the recipe again") from None

    def __len__(self) -> int:
        return int(self._arrow.num_rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stored columns (those left out are not stored, except the protected ones)."""
        return tuple(name for name in self._arrow.schema.names if name != ROW_ID)

    @cached_property
    def row_ids(self) -> np.ndarray:
        """Row ids as a fixed-width unicode array [n]."""
        return _texts(self._arrow.column(ROW_ID))

    def places(self, row_ids: np.ndarray) -> np.ndarray:
        """Return where the rows of these ids stand in this table, int64 [m]; each must be one of it."""
        order = np.argsort(self.row_ids, kind="stable")
        return np.asarray(order[np.searchsorted(self.row_ids, row_ids, sorter=order)])

    def column(self, name: str) -> np.ndarray:
        """Return a stored column in its canonical form [n]. Raises DataError with the nearest known name."""
        if name not in self.names:
            raise unknown_column(name, self.names)
        return canonical(self._arrow.column(name), self._arrow.schema.field(name), self.schema[name].type)

    def rows(self, places: np.ndarray) -> Batch:
        """Return the rows at these places, with each stored column in its canonical form."""
        part = self._arrow.take(places)
        columns = {name: canonical(part.column(name), part.schema.field(name), self.schema[name].type) for name in self.names}
        return Batch(row_ids=_texts(part.column(ROW_ID)), columns=columns)

    def spread(self, name: str, most: int) -> np.ndarray:
        """Return at most so many values of a stored column, evenly spaced over the rows, in its canonical form; only they are read."""
        rows = np.unique(np.linspace(0, max(len(self) - 1, 0), min(most, len(self))).astype(np.int64))
        return canonical(self._arrow.column(name).take(rows), self._arrow.schema.field(name), self.schema[name].type)

    def batches(self, size: int = 4096) -> Iterator[Batch]:
        """Yield all rows in their order, at most `size` a batch; only one batch is in memory at a time."""
        names = self.names
        for part in self._arrow.to_batches(max_chunksize=size):
            fields = {name: part.schema.field(name) for name in names}
            columns = {name: canonical(part.column(name), fields[name], self.schema[name].type) for name in names}
            yield Batch(row_ids=_texts(part.column(ROW_ID)), columns=columns)


def canonical(values: Any, arrow_field: Any, kind: str) -> np.ndarray:
    """Return an Arrow (chunked) array of a canonical type as the canonical numpy array of `kind`."""
    if kind == "number":
        return np.asarray(values.to_numpy(zero_copy_only=False) if hasattr(values, "offset") else values.to_numpy(), dtype=np.float64)
    if kind == "date":
        return np.asarray(values.to_numpy(zero_copy_only=False) if hasattr(values, "offset") else values.to_numpy(), dtype="datetime64[us]")
    if kind == "set":
        return _objects([None if value is None else tuple(value) for value in values.to_pylist()])
    if kind == "image" and b"shape" in (arrow_field.metadata or {}):
        height, width, depth = map(int, arrow_field.metadata[b"shape"].split(b","))
        shape = (height, width) if depth == 1 else (height, width, depth)
        chunks = values.chunks if hasattr(values, "chunks") else [values]
        return _objects([image for chunk in chunks for image in _images(chunk, shape)])
    return _shared_objects(values)


def save_schema(path: Path, schema: Schema) -> None:
    """`path` holds the schema as JSON; atomic."""
    write_json(path, schema.to_json())


def load_schema(path: Path) -> Schema:
    """Return the schema of `save_schema`. Raises RunError when it is missing, damaged or of a newer version."""
    value = read_json(path)
    try:
        if value["format"] > FORMAT:
            raise RunError(f"{path} has format {value['format']}, this Weighbridge reads up to {FORMAT}", do="install a newer weighbridge")
        return Schema.from_json(value)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error})", do="remove it and run the recipe again") from None


def unknown_column(name: str, known: Iterator[str] | list[str] | tuple[str, ...]) -> DataError:
    """Return the error for a column that is not there, with the nearest known one."""
    names = list(known)
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return DataError(f"there is no column '{name}'{did_you_mean(name, names)}", do=f"columns: {shown}")


def _images(chunk: Any, shape: tuple[int, ...]) -> list[np.ndarray | None]:
    """Return views of uint8 images, without copying their pixels."""
    size = chunk.type.list_size
    pixels = chunk.values.to_numpy(zero_copy_only=False)[chunk.offset * size : (chunk.offset + len(chunk)) * size]
    images: list[np.ndarray | None] = list(pixels.reshape(len(chunk), *shape))
    if chunk.null_count:
        valid = chunk.is_valid().to_pylist()
        images = [image if there else None for image, there in zip(images, valid, strict=True)]
    return images


def _objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values if not values or not isinstance(values[0], np.ndarray | tuple) else None
    for index, value in enumerate(values if array.size and array[0] is None else ()):
        array[index] = value
    return array


def _shared_objects(values: Any) -> np.ndarray:
    """Return strings or bytes as objects; equal values share one object, so a million rows of few values stay small."""
    if len(values) == 0:
        return np.empty(0, dtype=object)
    encoded = values.dictionary_encode()
    encoded = encoded.combine_chunks() if hasattr(encoded, "chunks") else encoded
    known = _objects([*encoded.dictionary.to_pylist(), None])
    codes = encoded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
    return np.asarray(known[codes], dtype=object)


def _texts(values: Any) -> np.ndarray:
    return np.array(values.to_pylist(), dtype=np.str_)
