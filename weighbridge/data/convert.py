"""Columns as they came become columns of their canonical Arrow type; a value that does not fit is named with its row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weighbridge.data.infer import Reading, as_dates, as_numbers
from weighbridge.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What it takes to read one column: its reading, where images and clips lie by split, what cuts a set, labels that are renamed."""

    reading: Reading
    bases: Mapping[str, str] = field(default_factory=dict)
    separator: str = ";"
    renamed: Mapping[str, str] = field(default_factory=dict)


def convert(values: Any, how: Conversion, *, row: int = 0, splits: Any = None) -> Any:
    """Return the Arrow array in the canonical type of `how.reading.type`.

    Args: row, the first row's number for messages; splits, the split of each row, for relative image paths.
    Raises DataError that names the value and its row.
    """
    kind = how.reading.type
    if kind == "number":
        return _numbers(values, how, row)
    if kind == "date":
        return _dates(values, how, row)
    if kind == "set":
        return _sets(values, how)
    if kind in ("image", "audio"):
        return _files(values, how, splits)
    return _texts(values, how)


def canonical_field(raw: Any, kind: str) -> Any:
    """Return the Arrow field that `convert` gives for a raw field read as `kind`."""
    import pyarrow as pa
    import pyarrow.types as pt

    if kind in ("image", "audio"):
        return raw
    types = {"number": pa.float64(), "date": pa.timestamp("us"), "set": pa.list_(pa.string()), "text": pa.large_string()}
    assert kind != "nested" or pt.is_null(raw.type)
    return pa.field(raw.name, types.get(kind, pa.string()))


def _numbers(values: Any, how: Conversion, row: int) -> Any:
    """Return float64 with NaN for missing and infinite values."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if pt.is_string(values.type):
        numbers = as_numbers(values)
        if numbers is None:
            raise _does_not_fit(values, how, row, "number", lambda part: as_numbers(part) is not None)
    elif pt.is_nested(values.type) or pt.is_binary(values.type):
        raise DataError(f"column '{how.reading.name}' of type {values.type} can not be read as number", do="change data.columns")
    else:
        numbers = (
            pc.cast(values, pa.float64(), safe=False)
            if not pt.is_timestamp(values.type)
            else pc.cast(values.cast(pa.int64()), pa.float64())
        )
    return pc.if_else(pc.fill_null(pc.is_finite(numbers), False), numbers, pa.scalar(float("nan")))


def _dates(values: Any, how: Conversion, row: int) -> Any:
    import pyarrow as pa
    import pyarrow.types as pt

    if pt.is_timestamp(values.type) or pt.is_null(values.type):
        return values.cast(pa.timestamp("us"))
    dates = as_dates(values, how.reading.pattern or "iso") if pt.is_string(values.type) else None
    if dates is None:
        raise _does_not_fit(
            values, how, row, "date", lambda part: pt.is_string(part.type) and as_dates(part, how.reading.pattern or "iso") is not None
        )
    return dates


def _texts(values: Any, how: Conversion) -> Any:
    """Return strings: true/false, whole numbers without a fraction, dates in ISO form."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if how.reading.numeric and pt.is_string(values.type):
        values = as_numbers(values)
    if pt.is_floating(values.type):
        values = pc.if_else(pc.fill_null(pc.is_finite(values), False), values, pa.scalar(None, values.type))
        texts = values.cast(pa.string())
        small = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**53))
        whole = pc.if_else(pc.fill_null(small, False), values, pa.scalar(None, values.type))
        texts = pc.if_else(pc.is_valid(whole), whole.cast(pa.int64()).cast(pa.string()), texts)
    elif pt.is_binary(values.type) or pt.is_nested(values.type):
        raise DataError(
            f"column '{how.reading.name}' of type {values.type} can not be read as {how.reading.type}", do="change data.columns"
        )
    else:
        texts = values.cast(pa.string())
    if how.renamed:
        encoded = texts.dictionary_encode()
        names = pa.array([how.renamed.get(value, value) for value in encoded.dictionary.to_pylist()], pa.string())
        texts = names.take(encoded.indices)
    return texts.cast(pa.large_string()) if how.reading.type == "text" else texts


def _sets(values: Any, how: Conversion) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if pt.is_list(values.type):
        return values
    if not pt.is_string(values.type):
        values = _texts(values, how)
    parts = pc.split_pattern(values, how.separator)
    inner = pc.utf8_trim_whitespace(parts.flatten())
    kept = [
        [item for item in items if item] if items is not None else None
        for items in pa.ListArray.from_arrays(_offsets(parts), inner, mask=pc.is_null(parts)).to_pylist()
    ]
    return pa.array(kept, pa.list_(pa.string()))


def _offsets(parts: Any) -> Any:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(parts), 0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _files(values: Any, how: Conversion, splits: Any) -> Any:
    """Return images and clips as they are; relative paths as paths from their source's folder."""
    import pyarrow as pa
    import pyarrow.types as pt

    if not pt.is_string(values.type):
        return values
    sides = splits.to_pylist() if splits is not None else [""] * len(values)
    return pa.array(
        [resolved(path, how.bases.get(side or "", how.bases.get("", ""))) for path, side in zip(values.to_pylist(), sides, strict=True)],
        pa.string(),
    )


def resolved(path: str | None, base: str) -> str | None:
    """Return a relative path as one from `base`; absolute ones and URLs as they are."""
    if path is None or not base or re.match(r"^(/|\w:[\\/]|\w+://)", path):
        return path
    return f"{base}/{path}"


def _does_not_fit(values: Any, how: Conversion, row: int, kind: str, fits: Any) -> DataError:
    """Return the error that names the first value that is not of the kind."""
    for position in range(len(values)):
        if values[position].is_valid and not fits(values[position : position + 1]):
            value = str(values[position].as_py())[:40]
            return DataError(
                f"column '{how.reading.name}' is read as {kind}, but row {row + position + 1} holds {value!r}",
                do=f"mend that value, add it to data.csv.missing, or set data.columns.{how.reading.name} to another type",
            )
    return DataError(f"column '{how.reading.name}' can not be read as {kind}", do=f"set data.columns.{how.reading.name} to another type")
