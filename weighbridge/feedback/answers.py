"""Answers as journals hold them become rows of the database."""

from __future__ import annotations

import array
import binascii
import datetime
import json
import math
import sys
from base64 import b64decode
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from weighbridge.feedback.database import Database
from weighbridge.feedback.tables import inputs, models, predictions

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MICROSECOND = datetime.timedelta(microseconds=1)
MOST_ID, MOST_CLASSES = 200, 100_000
Record = dict[str, Any]


class BadRecordError(Exception):
    """A sound line that is no answer of a model."""


def take_answers(database: Database, connection: Connection, records: Sequence[Record]) -> Counter[str]:
    """The records are rows of the database; return counts of `new` ones, those that are there already (`repeated`) and `invalid` ones."""
    answers, told = [], Counter[str]()
    for record in records:
        try:
            answers.append(_answer(record))
        except BadRecordError:
            told["invalid"] += 1
    told["new"] = _insert(database, connection, answers)
    told["repeated"] = len(answers) - told["new"]
    return told


def describe(database: Database, connection: Connection, about: dict[str, Any]) -> None:
    """The table of models holds what this says: model, package, kind, classes. What says something else is not believed."""
    names = ("model", "package", "kind")
    if not all(isinstance(about.get(name), str) for name in names) or not isinstance(about.get("classes"), list):
        return
    row = {"model": about["model"], "package": about["package"]}
    database.add_new(connection, models, [row])
    columns = models.c
    unknown = (columns.model == row["model"]) & (columns.package == row["package"]) & columns.kind.is_(None)
    values = {"kind": about["kind"], "classes": json.dumps([str(one) for one in about["classes"][:MOST_CLASSES]], ensure_ascii=False)}
    connection.execute(update(models).where(unknown).values(**values))


def _insert(database: Database, connection: Connection, answers: list[dict[str, Any]]) -> int:
    """Return how many of the answers are new."""
    if not answers:
        return 0
    pairs = sorted({(one["model"], one["package"]) for one in answers})
    database.add_new(connection, models, [{"model": model, "package": package} for model, package in pairs])
    known = connection.execute(select(models.c.model, models.c.package, models.c.number))
    numbers = {(model, package): number for model, package, number in known}
    rows = [{**one, "model": numbers[one["model"], one["package"]]} for one in answers]
    names = ("id", "time_us", "model", "key", "output", "latency_s", "fingerprint")
    new = database.add_new(connection, predictions, [{name: one[name] for name in names} for one in rows])
    kept = [{"of": one["id"], "content": one["content"], "sealed": one["sealed"]} for one in rows if one["content"] is not None]
    if kept:
        connection.execute(_beside(database), kept)
    return new


def _beside(database: Database) -> Any:
    """The statement that puts inputs beside the answer of their id, unless some are there already."""
    place = select(
        predictions.c.sequence, bindparam("content", type_=inputs.c.content.type), bindparam("sealed", type_=inputs.c.sealed.type)
    ).where(predictions.c.id == bindparam("of"))
    return database.insert(inputs).from_select(["sequence", "content", "sealed"], place).on_conflict_do_nothing()


def _answer(record: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a record. Raises BadRecordError."""
    import orjson

    id_, latency, inputs_ = record.get("id"), record.get("latency_s"), record.get("inputs")
    sealed, fingerprint = record.get("sealed"), record.get("fingerprint")
    if not isinstance(id_, str) or not 0 < len(id_) <= MOST_ID:
        raise BadRecordError
    try:
        content = b64decode(sealed, validate=True) if isinstance(sealed, str) else None if inputs_ is None else orjson.dumps(inputs_)
    except binascii.Error:
        raise BadRecordError from None
    return {
        "id": id_, "time_us": microseconds(record.get("time")), "model": str(record.get("model", "")),
        "package": str(record.get("package", "")), "key": str(record.get("key") or ""), "output": packed(record.get("output")),
        "latency_s": float(latency) if isinstance(latency, int | float) else None,
        "fingerprint": fingerprint if isinstance(fingerprint, str) else None, "content": content, "sealed": isinstance(sealed, str),
    }  # fmt: skip


def microseconds(time: Any) -> int:
    """Return an ISO 8601 time (UTC where it names no zone) in microseconds since 1970. Raises BadRecordError."""
    try:
        read = datetime.datetime.fromisoformat(time)
    except (TypeError, ValueError):
        raise BadRecordError from None
    return ((read if read.tzinfo else read.replace(tzinfo=datetime.UTC)) - EPOCH) // MICROSECOND


def packed(output: Any) -> bytes:
    """Return the float64 of an output, little-endian. Raises BadRecordError for what is no number, or not finite."""
    values = output if isinstance(output, list) else [output]
    try:
        found = array.array("d", values)
    except (TypeError, OverflowError):
        raise BadRecordError from None
    if not found or not all(map(math.isfinite, found)):
        raise BadRecordError
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()
