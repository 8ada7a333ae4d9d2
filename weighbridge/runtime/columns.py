"""Rows as people have them become canonical numpy columns, or one line that names row, column and value.

Accepted: a list of dicts, a dict of lists or arrays, a pandas, polars or pyarrow table (recognised by their methods, not imported).
"""

from __future__ import annotations

import binascii
import datetime
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.errors import InputError, did_you_mean
from weighbridge.preprocessing.date import read_date
from weighbridge.preprocessing.feature import objects
from weighbridge.sound import write_wav

MISSING_TYPES = ("NAType", "NaTType")  # of pandas, which is not imported here
EPOCH = datetime.datetime(1970, 1, 1)
RULES = {
    "number": "a number", "category": "a text, whole number or truth value", "date": "a date such as 2026-11-23 or 2026-11-23T08:30:00",
    "image": "an image: a path, the bytes of a file, a data: URI, or uint8 [H, W] or [H, W, C]",
    "audio": 'a clip: a path, the bytes of a file, a data: URI, or {"array": samples, "sampling_rate": hertz}',
    "text": "a text", "set": "a list of texts",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Input:
    """A column that a row must have. `known` values help to read a category from text, `separator` a set, `pattern` a date."""

    name: str
    type: str
    separator: str = ";"
    known: frozenset[str] = frozenset()
    pattern: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How values are read: `text` where a text may stand for any value (CSV), `paths` where an image or a clip may be named by a path.

    `missing` texts mean that there is no value; `strip`: spaces around a text do not belong to it.
    """

    text: bool = False
    paths: bool = True
    first_row: int = 1
    missing: frozenset[str] = frozenset()
    strip: bool = False

    def tidy(self, value: Any) -> Any:
        """Return the value without what only its file's form added; None for a text that means a missing value."""
        if not isinstance(value, str):
            return value
        value = value.strip() if self.strip else value
        return None if value in self.missing else value


class UnfitError(Exception):
    """The value is not of the column's type."""


def to_columns(rows: Any, inputs: Sequence[Input], reading: Reading | None = None) -> tuple[dict[str, np.ndarray], int, tuple[str, ...]]:
    """Return the canonical columns, the number of rows, and the names of columns that the model does not read.

    Raises InputError: a missing column (with the nearest name that was given), columns of different lengths, a value of a wrong
    type (names row, counted from 1, column and value).
    """
    reading = reading or Reading()
    raw, count, names = _raw(rows, inputs, reading)
    columns = {}
    for one in inputs:
        if len(raw[one.name]) != count:
            raise InputError(f"column '{one.name}' has {len(raw[one.name])} rows, others have {count}", do="give columns of one length")
        columns[one.name] = _canonical(raw[one.name], one, reading)
    known = {one.name for one in inputs}
    return columns, count, tuple(name for name in names if name not in known)


def _raw(rows: Any, inputs: Sequence[Input], reading: Reading) -> tuple[dict[str, Any], int, list[str]]:
    """Return the values of each input column, the number of rows and all names."""
    if isinstance(rows, list):
        return _from_dicts(rows, inputs, reading)
    if isinstance(rows, Mapping):
        return _from_mapping(rows, inputs)
    if hasattr(rows, "column_names") and hasattr(rows, "column"):  # pyarrow
        return _from_mapping({name: rows.column(name) for name in rows.column_names}, inputs)
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):  # pandas, polars
        return _from_mapping({str(name): rows[name] for name in rows.columns}, inputs)
    if isinstance(rows, Iterable) and not isinstance(rows, str | bytes | np.ndarray):
        return _from_dicts(list(rows), inputs, reading)
    raise InputError(f"rows are a {type(rows).__name__}", do="give a list of dicts, a dict of lists, or a pandas or pyarrow table")


def _from_mapping(columns: Mapping[Any, Any], inputs: Sequence[Input]) -> tuple[dict[str, Any], int, list[str]]:
    names = [str(name) for name in columns]
    for one in inputs:
        if one.name not in columns:
            raise _no_column(one.name, names, inputs, "")
    raw = {one.name: _sequence(columns[one.name], one.name) for one in inputs}
    return raw, len(next(iter(raw.values()))) if raw else 0, names


def _from_dicts(rows: list[Any], inputs: Sequence[Input], reading: Reading) -> tuple[dict[str, Any], int, list[str]]:
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InputError(f"row {place + reading.first_row} is a {type(row).__name__}", do="give each row as a dict of column and value")
    raw = {}
    for one in inputs:
        try:
            raw[one.name] = [row[one.name] for row in rows]
        except KeyError:
            place = next(place for place, row in enumerate(rows) if one.name not in row)
            raise _no_column(one.name, list(map(str, rows[place])), inputs, f"row {place + reading.first_row}: ") from None
    names: dict[str, None] = {}
    for row in rows:
        if row.keys() != names.keys():
            names |= dict.fromkeys(map(str, row))
    return raw, len(rows), list(names)


def _no_column(name: str, given: list[str], inputs: Sequence[Input], where: str) -> InputError:
    needed = {one.name for one in inputs}
    near = did_you_mean(name, [other for other in given if other not in needed])
    shown = ", ".join(one.name for one in list(inputs)[:20])
    return InputError(f"{where}column '{name}' is missing{near}", do=f"a row needs {shown}")


def _sequence(values: Any, name: str) -> Any:
    if hasattr(values, "to_pylist"):
        return values.to_pylist()
    if hasattr(values, "to_numpy"):
        return values.to_numpy()
    if isinstance(values, np.ndarray | list | tuple) and np.ndim(values if isinstance(values, np.ndarray) else [0]) >= 1:
        return values
    what = f"column '{name}' is {_shown(values)}, not a list of values"
    raise InputError(what, do="give rows as a list of dicts, or each column as a list")


def _canonical(values: Any, one: Input, reading: Reading) -> np.ndarray:
    if isinstance(values, np.ndarray):
        ready = _ready(values, one.type)
        if ready is not None:
            return ready
        values = list(values)
    elif one.type == "number" and set(map(type, values)) <= {int, float}:
        values = _floats(values)
        if isinstance(values, np.ndarray):
            return values
    read = READ[one.type]
    out = []
    for place, value in enumerate(values):
        try:
            tidy = reading.tidy(value)
            out.append(None if is_missing(tidy) else read(tidy, one, reading))
        except (UnfitError, ValueError, TypeError, OverflowError):
            raise InputError(
                f"row {place + reading.first_row}: column '{one.name}' is {_shown(value)}, not {RULES[one.type]}",
                do="give None where a value is missing",
            ) from None
    return _packed(out, one.type)


def _ready(values: np.ndarray, kind: str) -> np.ndarray | None:
    """Return an array that needs no look at each value, or None."""
    if kind == "number" and values.dtype.kind in "iuf" and values.ndim == 1:
        return values.astype(np.float64)
    if kind == "date" and values.dtype.kind == "M" and values.ndim == 1:
        return values.astype("datetime64[us]")
    if kind == "image" and values.dtype == np.uint8 and values.ndim in (3, 4):
        return values
    return None


def _floats(values: Any) -> Any:
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        return values


def _packed(values: list[Any], kind: str) -> np.ndarray:
    if kind == "number":
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    if kind == "date":
        return np.array([np.datetime64("NaT", "us") if value is None else value for value in values], dtype="datetime64[us]")
    return objects(values)


def is_missing(value: Any) -> bool:
    """Whether the value stands for nothing: None, NaN, NaT, pandas' NA."""
    if value is None or type(value).__name__ in MISSING_TYPES:
        return True
    if isinstance(value, float | np.floating):
        return bool(value != value)
    return isinstance(value, np.datetime64) and bool(np.isnat(value))


def _read_number(value: Any, one: Input, reading: Reading) -> float:
    if reading.text and isinstance(value, str) and "_" not in value:
        return float(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating | Decimal):
        raise UnfitError
    return float(value)


def _read_category(value: Any, one: Input, reading: Reading) -> str:
    if isinstance(value, str):
        return _spelling(str(value), one.known) if reading.text else str(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    raise UnfitError


def _spelling(text: str, known: frozenset[str]) -> str:
    """Return the known value that a text in a file stands for: True is true and 3.0 is 3 where only those are known."""
    if text in known:
        return text
    if text.lower() in ("true", "false"):
        return text.lower()
    whole = text.removesuffix(".0")
    return whole if whole in known else text


def _read_date(value: Any, one: Input, reading: Reading) -> Any:
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]")
    if isinstance(value, str):
        value = read_date(value, one.pattern)
    if not isinstance(value, datetime.datetime):
        if not isinstance(value, datetime.date):
            raise UnfitError
        value = datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64((value - EPOCH) // datetime.timedelta(microseconds=1), "us")


def _read_file(value: Any, one: Input, reading: Reading) -> str | bytes | None:
    """Return the path or the bytes of a file, None where the value is neither."""
    if isinstance(value, str) and value.startswith("data:"):
        return _decoded(value.partition(",")[2])
    if isinstance(value, str | Path):
        if not reading.paths or "://" in str(value):
            what = f"column '{one.name}' names a file or URL ({_shown(value)}), which is not read here"
            raise InputError(what, do=f"send the {'image' if one.type == 'image' else 'clip'} itself, for example as a data: URI")
        return str(value)
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


def _read_image(value: Any, one: Input, reading: Reading) -> Any:
    if isinstance(value, dict):
        return image_from_json(value)
    if (file := _read_file(value, one, reading)) is not None:
        return file
    if isinstance(value, Mapping):
        return image_from_json(value)
    if hasattr(value, "getexif"):  # a Pillow image
        return value
    return _pixels(value)


def _read_audio(value: Any, one: Input, reading: Reading) -> str | bytes:
    if (file := _read_file(value, one, reading)) is not None:
        return file
    if not isinstance(value, Mapping):
        raise UnfitError
    if isinstance(value.get("bytes"), bytes):  # as the hub's Audio feature has it: {"bytes", "path"}
        return bytes(value["bytes"])
    if value.get("bytes") is not None:
        return _decoded(value["bytes"])
    if value.get("path") is not None:
        return _read_audio(value["path"], one, reading)
    return write_wav(np.asarray(value.get("array")), int(value.get("sampling_rate") or 0))


def _pixels(value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray | list | tuple):
        raise UnfitError
    array = np.asarray(value)
    whole = array.dtype.kind in "iu" and array.ndim in (2, 3) and array.size and array.min() >= 0 and array.max() <= 255
    if not whole:
        raise UnfitError
    return array.astype(np.uint8)


def image_from_json(value: Mapping[str, Any]) -> bytes | np.ndarray:
    """Return the image of {"bytes": base64} or {"uint8": base64, "shape": [H, W(, C)]}. Raises ValueError."""
    if "bytes" in value:
        return _decoded(value["bytes"])
    raw, shape = _decoded(value.get("uint8")), value.get("shape")
    if not isinstance(shape, list) or len(shape) not in (2, 3) or not all([type(side) is int and side > 0 for side in shape]):
        raise ValueError("shape")
    if math.prod(shape) != len(raw):
        raise ValueError("size")
    return np.ndarray(shape, np.uint8, raw)


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not base64")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def _read_text(value: Any, one: Input, reading: Reading) -> str:
    if not isinstance(value, str):
        raise UnfitError
    return str(value)


def _read_set(value: Any, one: Input, reading: Reading) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(one.separator) if part.strip())
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if not isinstance(value, list | tuple | np.ndarray):
        raise UnfitError
    return tuple(_read_category(part, one, Reading()) for part in value)


READ: dict[str, Callable[[Any, Input, Reading], Any]] = {
    "number": _read_number,
    "category": _read_category,
    "date": _read_date,
    "image": _read_image,
    "audio": _read_audio,
    "text": _read_text,
    "set": _read_set,
}


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {list(value.shape)}"
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else text[:57] + "..."
