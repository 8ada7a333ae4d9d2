"""The dialect `predict`: rows as people send them (JSON, a form with files, CSV) in, one JSON object with a prediction a row out.

    {"rows": [{"age": 41, "photo": {"bytes": "<base64>"}}]}        one object a row; a bare list of rows is the same
    {"columns": {"age": [41, 39]}}                                 one list a column

Images: a data: URI, {"bytes": base64 of a file}, {"uint8": base64 of pixels, "shape": [H, W] or [H, W, C]}, nested lists of pixels, or a
file of a form. Nothing is looked up for a caller: a path or an address of an image is refused.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from weighbridge.errors import InputError, UsageError, did_you_mean
from weighbridge.runtime import Model, to_columns
from weighbridge.runtime.columns import Reading
from weighbridge.runtime.files import CSV, csv_parts
from weighbridge.runtime.model import SET_THRESHOLD
from weighbridge.serving.dialects import DIALECTS, Rows
from weighbridge.serving.limits import Limits, TooLarge, UnknownMedia
from weighbridge.serving.multipart import Part, read_multipart
from weighbridge.serving.pixels import refuse_clips, refuse_pixels
from weighbridge.serving.strict_json import read_json

JSON, FORM, TABLE = "application/json", "multipart/form-data", "text/csv"
SHAPES = 'send {"rows": [{column: value, ...}, ...]}, {"columns": {column: [value, ...]}}, or a list of rows'
Given = tuple[Any, Reading]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an answer needs to know of its request: its id, and how many classes a row names (None: all)."""

    request_id: str
    top: int | None


class Plain:
    """The dialect `predict`; `head` holds `content_type`, `id` and, where asked for, `top`."""

    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        """Return the rows. Raises UsageError (400, 413, 415), InputError (422) that names row, column and value."""
        kind = str(head.get("content_type", JSON)).partition(";")[0].strip().lower() or JSON
        if kind not in READ:
            raise UnknownMedia(f"a body of type {kind[:60]!r} is not read", do=f"send {', '.join(READ)}")
        top = read_top(head.get("top"))
        rows, reading = READ[kind](model, body, str(head.get("content_type", "")), limits)
        columns, count = checked(model, rows, reading, limits)
        return Rows(columns=columns, count=count, context=Asked(request_id=str(head.get("id", "")), top=top))

    def write(self, model: Model, context: Asked, output: np.ndarray) -> tuple[str, dict[str, str], bytes]:
        """Return the answers as JSON."""
        predictions = PREDICTIONS[model.info.kind](model.classes, output, context.top)
        return JSON, {}, orjson.dumps({"id": context.request_id, "model": model.hash, "predictions": predictions})


def checked(model: Model, rows: Any, reading: Reading, limits: Limits) -> tuple[dict[str, np.ndarray], int]:
    """Return the canonical columns of rows from outside. Raises InputError: no rows, a value that does not fit; TooLarge: too many."""
    refuse_many(_count(rows), limits)
    try:
        columns, count, _ = to_columns(rows, model.inputs, reading)
    except RecursionError:
        raise InputError("a value nests too deep", do="give None where a value is missing") from None
    if not count:
        raise InputError("the body holds no rows", do="send at least one")
    refuse_infinite(model, columns)
    refuse_pixels(model, columns, limits)
    refuse_clips(model, columns)
    return columns, count


def refuse_many(count: int, limits: Limits) -> None:
    """Raise TooLarge for more rows than one request may have."""
    if count > limits.rows:
        raise TooLarge(f"the body holds {count:,} rows, at most {limits.rows:,} are answered at once", do="send fewer rows at once")


def refuse_infinite(model: Model, columns: Mapping[str, np.ndarray]) -> None:
    """Raise InputError for an infinite number: no training row had one, and a network answers it with nonsense."""
    for one in model.inputs:
        if one.type == "number" and np.isinf(columns[one.name]).any():
            row = int(np.argmax(np.isinf(columns[one.name]))) + 1
            raise InputError(f"row {row}: column '{one.name}' is infinite", do="give None where a value is missing")


def read_top(value: Any) -> int | None:
    """Return how many classes each row names; None for all. Raises UsageError for what is not a whole number of at least 1."""
    if value is None:
        return None
    text = str(value)
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9 and int(text)):
        raise UsageError(f"top is {text[:40]!r}", do="give a whole number of at least 1")
    return int(text)


def _count(rows: Any) -> int:
    """Return how many rows were given; of columns the longest."""
    if isinstance(rows, Mapping):
        return max((len(values) for values in rows.values() if hasattr(values, "__len__")), default=0)
    return len(rows)


def _read_json(model: Model, body: bytes, content_type: str, limits: Limits) -> Given:
    value = read_json(body)
    return _rows_of(value), model.reading_outside


def _rows_of(value: Any) -> Any:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise UsageError("the body is neither an object nor a list", do=SHAPES)
    if value.keys() == {"rows"} and isinstance(value["rows"], list):
        return value["rows"]
    if value.keys() == {"columns"} and isinstance(value["columns"], dict):
        return value["columns"]
    unknown = next((name for name in value if name not in ("rows", "columns")), "")
    near = did_you_mean(unknown, ("rows", "columns"))
    raise UsageError(f"the body has the key {unknown[:60]!r}{near}" if unknown else "the body holds no rows of this form", do=SHAPES)


def _read_csv(model: Model, body: bytes, content_type: str, limits: Limits) -> Given:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"the body is not UTF-8 text (byte {error.start})", do="send it as UTF-8") from None
    columns: dict[str, list[str]] = {}
    for part, _ in csv_parts(io.StringIO(text, newline=""), "the body"):
        for name, values in part.items():
            columns.setdefault(name, []).extend(values)
        refuse_many(_count(columns), limits)
    return columns, replace(model.reading if model.reading.text else CSV, paths=False)


def _read_form(model: Model, body: bytes, content_type: str, limits: Limits) -> Given:
    """Return the columns of a form. All of its values are texts, so an empty one is a missing value, but for a text's column."""
    fields = read_multipart(body, content_type, limits.rows * max(1, len(model.inputs)))
    types = model.signature
    columns = {name: [_form_value(part, types.get(name, "text")) for part in parts] for name, parts in fields.items()}
    return columns, replace(model.reading, text=True, paths=False)


def _form_value(part: Part, kind: str) -> Any:
    if not part.content and kind != "text":
        return None
    if kind in ("image", "audio") and part.is_file:
        return bytes(part.content)
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"field '{part.name[:60]}' is not UTF-8 text", do="send images and clips as files, with a filename") from None


def _classes(classes: Sequence[str], output: np.ndarray, top: int | None) -> list[dict[str, Any]]:
    best = output.argmax(axis=1).tolist()
    return [
        {"prediction": classes[code], "probabilities": shares}
        for code, shares in zip(best, _shares(classes, output, top), strict=True)
    ]  # fmt: skip


def _sets(classes: Sequence[str], output: np.ndarray, top: int | None) -> list[dict[str, Any]]:
    labels = [[classes[code] for code in np.flatnonzero(row > SET_THRESHOLD).tolist()] for row in output]
    return [{"prediction": label, "probabilities": row} for label, row in zip(labels, _shares(classes, output, top), strict=True)]


def _values(classes: Sequence[str], output: np.ndarray, top: int | None) -> list[dict[str, Any]]:
    return [{"prediction": value} for value in output.tolist()]


def _shares(classes: Sequence[str], output: np.ndarray, top: int | None) -> list[dict[str, float]]:
    """Return each row's probabilities by class; the `top` most probable, highest first."""
    if top is None or top >= len(classes):
        return [dict(zip(classes, row, strict=True)) for row in output.tolist()]
    order = np.argsort(-output, axis=1, kind="stable")[:, :top]
    values = np.take_along_axis(output, order, axis=1).tolist()
    return [dict(zip((classes[code] for code in codes), row, strict=True)) for codes, row in zip(order.tolist(), values, strict=True)]


READ: dict[str, Callable[[Model, bytes, str, Limits], Given]] = {JSON: _read_json, FORM: _read_form, TABLE: _read_csv}
PREDICTIONS = {"category": _classes, "set": _sets, "number": _values}
DIALECTS["predict"] = Plain()
