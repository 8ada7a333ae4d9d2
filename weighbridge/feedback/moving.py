"""Move what journals hold into the database: once each, whenever and however often the mover or the database dies.

The rows of a batch and how far the file was read are one transaction; a file is removed only when all of it is in the database and no
living process appends to it. A record that comes again (a writer whose disk refused writes its batch anew) is known by its id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, select

from weighbridge.feedback import journal_reading as reading
from weighbridge.feedback.answers import BadRecordError, describe, microseconds, take_answers
from weighbridge.feedback.database import Database
from weighbridge.feedback.tables import cursors
from weighbridge.storage.files import make_folder

BATCH_LINES = 2000
CLOCK_SLACK_US = 1_000_000  # answers of one process may be written in another order than their requests came
KEPT_COUNTS = ("damaged", "missing", "torn", "lost", "invalid", "clock_back")
Take = Callable[[Database, Connection, Sequence[dict[str, Any]]], Counter[str]]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What one pass over a journal folder did.

    Attributes:
        rows: new in the database. repeated: records that were there already. files: that are finished and gone.
        busy: another process moves this folder; nothing was done.
        found: lines by what was wrong: damaged, missing, torn, lost (by a full disk, as the writer counted), invalid, clock_back.
    """

    rows: int = 0
    repeated: int = 0
    files: int = 0
    busy: bool = False
    found: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: Moved) -> Moved:
        found = Counter(self.found) + Counter(other.found)
        rows, repeated, files = self.rows + other.rows, self.repeated + other.repeated, self.files + other.files
        return Moved(rows=rows, repeated=repeated, files=files, busy=self.busy or other.busy, found=dict(found))


def move_journals(database: Database, folder: Path, *, take: Take = take_answers, batch_lines: int = BATCH_LINES) -> Moved:
    """All that the journals of `folder` held when this began is in the database; finished files are gone. Raises StorageError."""
    from filelock import FileLock, Timeout

    make_folder(folder)
    lock = FileLock(folder / ".moving.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return Moved(busy=True)
    try:
        total = Moved()
        for path in reading.journal_files(folder):
            total += _move_file(database, path, take, batch_lines)
        reading.sweep_unborn(folder)
    finally:
        lock.release()
    return total


@dataclass(frozen=True, kw_only=True)
class _Cursor:
    """How far a file was read, and what was wrong so far (with the newest time in it)."""

    place: reading.Place
    found: Counter[str]
    finished: bool = False


def _move_file(database: Database, path: Path, take: Take, batch_lines: int) -> Moved:
    finished = reading.is_finished(path)  # asked first: what it holds now is then all that it will ever hold
    cursor, before, told = _cursor(database, path), Counter[str](), Counter[str]()
    if not cursor.finished:
        before = Counter(cursor.found)
        for batch in _batches(reading.read_lines(path, cursor.place), batch_lines):
            new, cursor = _move_batch(database, path, cursor, batch, take)
            told += new
        if finished:
            cursor = _finish(database, path, cursor)
    if finished:
        reading.put_away(path, damaged=bool(cursor.found["damaged"]))
        with database.writing() as connection:
            connection.execute(delete(cursors).where(cursors.c.file == path.name))
    found = {name: cursor.found[name] - before[name] for name in KEPT_COUNTS if cursor.found[name] > before[name]}
    return Moved(rows=told["new"], repeated=told["repeated"], files=int(finished), found=found)


def _cursor(database: Database, path: Path) -> _Cursor:
    with database.reading() as connection:
        row = connection.execute(select(cursors).where(cursors.c.file == path.name)).one_or_none()
    if row is None:
        return _Cursor(place=reading.Place(), found=Counter())
    return _Cursor(place=reading.Place(offset=row.offset, number=row.number), found=Counter(json.loads(row.found)), finished=row.finished)


def _batches(lines: Iterator[reading.Line], size: int) -> Iterator[list[reading.Line]]:
    while batch := list(islice(lines, size)):
        yield batch


def _move_batch(database: Database, path: Path, cursor: _Cursor, batch: list[reading.Line], take: Take) -> tuple[Counter[str], _Cursor]:
    """Return what was taken and the cursor after the batch; both are in the database, or nothing of it."""
    again = batch[0].after.offset <= cursor.place.offset  # the file was cut back and is read from its start
    found = Counter[str]() if again else Counter(cursor.found)
    found["missing"] += sum(line.missing for line in batch)
    found["damaged"] += sum(line.record is None for line in batch)
    records = [line.record for line in batch if line.record is not None]
    abouts, answers = [one for one in records if "about" in one], [one for one in records if "about" not in one]
    found["lost"] += sum(_whole(one.get("lost")) for one in abouts if one["about"] == "gap")
    _look_at_clock(found, answers)
    with database.writing() as connection:
        for about in abouts:
            if about["about"] == "model":
                describe(database, connection, about)
        told = take(database, connection, answers)
        found["invalid"] += told["invalid"]
        after = replace(cursor, place=batch[-1].after, found=found)
        _note(database, connection, path, after)
    return told, after


def _look_at_clock(found: Counter[str], answers: Sequence[dict[str, Any]]) -> None:
    """Count the records that are older than one before them."""
    newest = found["newest_us"]
    for one in answers:
        try:
            time_us = microseconds(one.get("time"))
        except BadRecordError:
            continue
        found["clock_back"] += time_us < newest - CLOCK_SLACK_US
        newest = max(newest, time_us)
    found["newest_us"] = newest


def _note(database: Database, connection: Connection, path: Path, cursor: _Cursor) -> None:
    row = {
        "file": path.name, "offset": cursor.place.offset, "number": cursor.place.number,
        "found": json.dumps(cursor.found), "finished": cursor.finished,
    }  # fmt: skip
    database.put(connection, cursors, [row])


def _finish(database: Database, path: Path, cursor: _Cursor) -> _Cursor:
    """What was wrong in a file outlives it, as counts; a torn end counts once."""
    found = cursor.found + Counter(torn=int(reading.torn_bytes(path, cursor.place) > 0))
    ended = replace(cursor, found=found, finished=True)
    with database.writing() as connection:
        _note(database, connection, path, ended)
        database.count(connection, **{f"journal_{name}": found[name] for name in KEPT_COUNTS})
    return ended


def _whole(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
