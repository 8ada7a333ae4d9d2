"""What a label may be: a class, a number or a set of labels, as a person, a file or a program gives it, in one canonical form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weighbridge.errors import did_you_mean
from weighbridge.storage.hashes import canonical_json

MOST_ID, MOST_LABEL, MOST_LABELS = 200, 1000, 1000
SEPARATOR = ";"


class UnfitLabelError(Exception):
    """`why` the label is refused and what to `do`."""

    def __init__(self, why: str, do: str) -> None:
        super().__init__(why)
        self.why, self.do = why, do


@dataclass(frozen=True, kw_only=True)
class Said:
    """A label as it came: the id of an answer and its value, of a plain type, not yet held against a model."""

    id: str
    value: Any


def said(record: Any) -> Said:
    """Return the id and label of a record. Raises UnfitLabelError."""
    if not isinstance(record, Mapping):
        raise UnfitLabelError(f"a label is a {type(record).__name__}", "give each label as an object with id and label")
    id_ = record.get("id")
    if not isinstance(id_, str) or not 0 < len(id_) <= MOST_ID or not id_.isprintable():
        raise UnfitLabelError("it has no usable id", f"give the id that the answer had, a text of 1 to {MOST_ID} characters")
    if "label" not in record or record["label"] is None or record["label"] == "":
        raise UnfitLabelError("it has no label", "give what proved to be true, or leave the row out")
    return Said(id=id_, value=_plain(record["label"]))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | set):
        if len(value) > MOST_LABELS or any(isinstance(one, list | tuple | set) for one in value):
            raise UnfitLabelError(f"the label is a list of {len(value)}", f"give a plain list of at most {MOST_LABELS} labels")
        return [_plain(one) for one in value]
    if isinstance(value, str):
        if len(value) > MOST_LABEL:
            raise UnfitLabelError(f"the label has {len(value):,} characters", f"give at most {MOST_LABEL}")
        return value
    if isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value)):
        return value
    raise UnfitLabelError(f"the label is {_shown(value)}", "give a class, a finite number or a list of labels")


def canonical(value: Any, kind: str, classes: tuple[str, ...]) -> str:
    """Return the JSON of a label that fits the model; equal labels have equal JSON. Raises UnfitLabelError.

    A number may be a class (7 for "7") and a text a number ("4.5"), because files know only texts; a set may be one text, parted by ";".
    """
    if kind == "number":
        return canonical_json(_number(value))
    if kind == "category":
        return canonical_json(_class(value, classes))
    values = [one.strip() for one in value.split(SEPARATOR) if one.strip()] if isinstance(value, str) else value
    if not isinstance(values, list):
        raise UnfitLabelError(f"the label is {_shown(value)}, not a list of labels", 'give a list, or one text such as "red;green"')
    return canonical_json(sorted({_class(one, classes) for one in values}))


def loose(value: Any) -> str:
    """Return a form in which labels of answers that are not known yet are compared: 7, 7.0 and "7" are one."""
    if isinstance(value, list):
        return canonical_json(sorted(loose(one) for one in value))
    try:
        return canonical_json(_number(value))
    except UnfitLabelError:
        return canonical_json(str(value))


def _number(value: Any) -> float:
    try:
        read = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) and "_" not in str(value) else math.nan
    except (ValueError, OverflowError):
        read = math.nan
    if not math.isfinite(read):
        raise UnfitLabelError(f"the label is {_shown(value)}, and the model predicts a number", "give a finite number")
    return read


def _class(value: Any, classes: tuple[str, ...]) -> str:
    """Return the class that is meant."""
    text = _spelled(value)
    for spelling in (text, text.strip(), text.strip().lower(), text.strip().removesuffix(".0")):
        if spelling in classes:
            return spelling
    known = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    raise UnfitLabelError(f"the label is {_shown(value)}, no class of the model{did_you_mean(text, classes)}", f"give one of {known}")


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if isinstance(value, list) else str(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
