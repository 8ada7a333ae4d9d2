"""Tensors of the Open Inference Protocol v2, as JSON and as its binary extension: what arrives becomes the values of one column each.

Sources: "Open Inference Protocol (V2)", kserve.github.io/open-inference-protocol; binary tensor data extension as in Triton's
protocol/extension_binary_data.md: numbers little-endian without gaps, BYTES as a 4-byte little-endian length before each element.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from weighbridge.errors import InputError, UsageError
from weighbridge.runtime.columns import Input

NUMBERS = {
    "FP32": "<f4", "FP64": "<f8", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
}  # fmt: skip
WHOLE = tuple(name for name in NUMBERS if not name.startswith("FP"))
DATATYPES = {
    "number": tuple(NUMBERS), "category": ("BYTES", "BOOL", *WHOLE), "text": ("BYTES",), "date": ("BYTES",), "set": ("BYTES",),
    "image": ("UINT8", "BYTES"), "audio": ("BYTES",),
}  # fmt: skip
HALVES = ("FP16", "BF16")


def read_shape(tensor: Mapping[str, Any], one: Input) -> tuple[int, ...]:
    """Return a tensor's shape: rows first, each with one value, or with an image's pixels. Raises UsageError, InputError."""
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(side) is int and 0 <= side < 2**31 for side in shape):
        raise UsageError(f"input '{one.name}' has no shape of whole numbers", do="send shape as a list, rows first")
    pixels = one.type == "image" and tensor["datatype"] == "UINT8"
    fits = len(shape) in (3, 4) if pixels else len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not fits:
        expected = "[rows, height, width] or [rows, height, width, channels]" if pixels else "[rows] or [rows, 1]"
        raise InputError(f"input '{one.name}' has the shape {shape[:8]}, not {expected}", do="send one tensor a column, rows first")
    return tuple(shape)


def read_datatype(tensor: Mapping[str, Any], one: Input) -> str:
    """Return a tensor's data type. Raises UsageError for one that the column is not read from."""
    datatype = tensor.get("datatype")
    if datatype in HALVES:
        raise UsageError(f"input '{one.name}' is {datatype}, which is not read: it holds 3 digits or less", do="send FP32")
    if datatype not in DATATYPES[one.type]:
        what = f"input '{one.name}' is {str(datatype)[:40]!r}, a column of type {one.type} is read from {', '.join(DATATYPES[one.type])}"
        raise UsageError(what, do="see the model's metadata, /v2/models/NAME")
    return str(datatype)


def from_json(data: Any, datatype: str, shape: tuple[int, ...], one: Input) -> Any:
    """Return the values of a tensor sent as JSON, flat or nested. Raises UsageError: not as many as its shape says; InputError."""
    if not isinstance(data, list):
        raise UsageError(f"input '{one.name}' has no data", do="send data as a list, or binary data with binary_data_size")
    if datatype == "UINT8" and one.type == "image":
        return _pixels(data, shape, one)
    flat = [part for value in data for part in (value if isinstance(value, list) else [value])]
    if len(flat) != math.prod(shape):
        raise _other_size(one, shape, f"{len(flat):,} values")
    _check_kinds(flat, datatype, one)
    return flat


def from_bytes(raw: memoryview, datatype: str, shape: tuple[int, ...], one: Input) -> Any:
    """Return the values of a tensor sent as binary data. Raises UsageError: not as many bytes as its shape says; no UTF-8."""
    count = math.prod(shape)
    if datatype == "BYTES":
        return _elements(raw, count, shape, one)
    kind = np.dtype("?" if datatype == "BOOL" else NUMBERS[datatype])
    if len(raw) != count * kind.itemsize:
        raise _other_size(one, shape, f"{len(raw):,} bytes of {datatype}")
    array = np.frombuffer(raw, dtype=np.uint8 if datatype == "BOOL" else kind).reshape(shape)
    array = array.astype(bool) if datatype == "BOOL" else array
    return array if one.type == "image" else array.reshape(shape[0])


def to_bytes(values: np.ndarray, datatype: str) -> bytes:
    """Return a tensor as binary data; of BYTES the values are an object array of texts."""
    if datatype != "BYTES":
        return np.ascontiguousarray(values, dtype=NUMBERS[datatype]).tobytes()
    encoded = [text.encode() for text in values.tolist()]
    return b"".join(part for text in encoded for part in (struct.pack("<I", len(text)), text))


def _check_kinds(values: list[Any], datatype: str, one: Input) -> None:
    """Raise UsageError for a JSON value that is not of the data type; null is a missing value of any."""
    allowed: set[type] = {str} if datatype == "BYTES" else {bool} if datatype == "BOOL" else {int} if datatype in WHOLE else {int, float}
    wrong = set(map(type, values)) - allowed - {type(None)}
    if wrong:
        place = next(place for place, value in enumerate(values) if type(value) in wrong)
        raise InputError(f"row {place + 1}: input '{one.name}' is not {datatype}", do="send values of the tensor's data type, or null")


def _pixels(data: list[Any], shape: tuple[int, ...], one: Input) -> np.ndarray:
    try:
        array = np.asarray(data)
    except (ValueError, OverflowError):
        array = np.empty(0)
    if array.size != math.prod(shape):
        raise _other_size(one, shape, f"{array.size:,} values in lists of one length")
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255):
        raise InputError(f"input '{one.name}' is not UINT8", do="send whole numbers from 0 to 255")
    return array.astype(np.uint8).reshape(shape)


def _elements(raw: memoryview, count: int, shape: tuple[int, ...], one: Input) -> list[Any]:
    """Return the elements of a BYTES tensor: of an image or a clip its file's bytes (none: a missing one), of other columns texts."""
    out: list[Any] = []
    at = 0
    while at + 4 <= len(raw) and len(out) < count:
        size = int.from_bytes(raw[at : at + 4], "little")
        at += 4
        if at + size > len(raw):
            break
        out.append(_element(bytes(raw[at : at + size]), len(out) + 1, one))
        at += size
    if len(out) != count or at != len(raw):
        raise _other_size(one, shape, f"{len(raw):,} bytes of BYTES that hold {len(out):,} elements")
    return out


def _element(content: bytes, row: int, one: Input) -> Any:
    if one.type in ("image", "audio"):
        return content or None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"row {row}: input '{one.name}' is not UTF-8 text", do="send texts as UTF-8") from None


def _other_size(one: Input, shape: tuple[int, ...], found: str) -> UsageError:
    return UsageError(f"input '{one.name}' has the shape {list(shape)} and {found}", do="send as much as the shape says")
