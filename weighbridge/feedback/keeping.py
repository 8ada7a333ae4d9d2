"""How long the log is kept, how it leaves (Parquet), and how a row is erased so that its bytes are nowhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, delete, func, select, text

from weighbridge.errors import StorageError
from weighbridge.feedback.journal_reading import blank
from weighbridge.feedback.labels import chunks, forget_waiting
from weighbridge.feedback.log import LABEL_JOURNAL, Log
from weighbridge.feedback.tables import inputs, label_events, labels, predictions
from weighbridge.feedback.watching import erase_from_files
from weighbridge.feedback.windows import Window
from weighbridge.storage.files import atomic_path

DAY_US = 86_400_000_000
DELETED_TOGETHER = 5000  # rows of one transaction: writers wait a moment, not minutes
EXPORT_ROWS = 50_000
CHECKPOINT_TRIES, CHECKPOINT_WAIT_S = 50, 0.1
BULK_PAGES = 2000


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How much is kept; what is None has no bound. The oldest answers go first, with their labels and inputs.

    Attributes:
        days: of answers, and of labels that wait for an answer. input_days: of their inputs alone.
        rows: answers. size_bytes: of the database; the room of deleted rows counts as free.
    """

    days: float | None = None
    input_days: float | None = None
    rows: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What an erasure took away, by number, and where bytes may remain that it can not reach."""

    ids: int
    answers: int
    labels: int
    journal_lines: int
    file_rows: int
    remains: tuple[str, ...] = ()


def retain(log: Log, keep: Retention) -> int:
    """Not more is kept than `keep` says; return how many answers went. Killed between, the next call goes on. Raises StorageError."""
    now, answers, gone = log.clock(), predictions.c, 0
    if keep.days is not None:
        gone += _delete_while(log, answers.time_us < now - int(keep.days * DAY_US), None)
        forget_waiting(log.database, now - int(keep.days * DAY_US))
    if keep.rows is not None:
        gone += _delete_while(log, None, max(0, _answers(log) - keep.rows))
    if keep.size_bytes is not None and (size := used_bytes(log)) > keep.size_bytes:
        count = _answers(log)
        gone += _delete_while(log, None, min(count, 1 + int(count * (1 - keep.size_bytes / size))))
    if keep.input_days is not None:
        _delete_inputs(log, now - int(keep.input_days * DAY_US))
    if gone:
        with log.database.writing() as connection:
            log.database.count(connection, answers_expired=gone)
        _give_back(log)
    return gone


def used_bytes(log: Log) -> int:
    """Return the bytes of the database in use: of SQLite without free pages, of PostgreSQL the rows without indices and dead ones."""
    with log.database.reading() as connection:
        if log.database.is_sqlite:
            pages, free, size = (
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "freelist_count", "page_size")
            )
            return int((pages - free) * size)
        return sum(
            int(connection.execute(text(f"SELECT coalesce(sum(pg_column_size({name}.*)), 0) FROM {name}")).scalar_one())
            for name in ("predictions", "inputs", "labels", "label_events")
        )


def _answers(log: Log) -> int:
    with log.database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(predictions)).scalar_one())


def _delete_while(log: Log, condition: ColumnElement[bool] | None, most: int | None) -> int:
    """The oldest answers, of those that meet the condition, are gone, at most so many."""
    gone = 0
    while most is None or gone < most:
        size = DELETED_TOGETHER if most is None else min(DELETED_TOGETHER, most - gone)
        asked = select(predictions.c.sequence, predictions.c.id).order_by(predictions.c.sequence).limit(size)
        with log.database.writing() as connection:
            rows = connection.execute(asked if condition is None else asked.where(condition)).all()
            _delete(connection, [row.sequence for row in rows], [row.id for row in rows])
        gone += len(rows)
        if len(rows) < size:
            break
    return gone


def _delete(connection: Connection, sequences: Sequence[int], ids: Sequence[str]) -> tuple[int, int]:
    """Return how many answers and labels went."""
    for start in range(0, len(sequences), 500):
        connection.execute(delete(inputs).where(inputs.c.sequence.in_(sequences[start : start + 500])))
    answers = said = 0
    for part in chunks(ids):
        answers += connection.execute(delete(predictions).where(predictions.c.id.in_(part))).rowcount
        said += connection.execute(delete(labels).where(labels.c.id.in_(part))).rowcount
        connection.execute(delete(label_events).where(label_events.c.id.in_(part)))
    return answers, said


def _delete_inputs(log: Log, before_us: int) -> None:
    old = select(predictions.c.sequence).where(predictions.c.time_us < before_us)
    while True:
        with log.database.writing() as connection:
            part = connection.execute(
                select(inputs.c.sequence).where(inputs.c.sequence.in_(old)).order_by(inputs.c.sequence).limit(DELETED_TOGETHER)
            ).scalars()
            rows = list(part)
            connection.execute(delete(inputs).where(inputs.c.sequence.in_(rows)))
        if len(rows) < DELETED_TOGETHER:
            return


def _give_back(log: Log) -> None:
    """The disk has the room of deleted rows back (PostgreSQL keeps it for new ones)."""
    if not log.database.is_sqlite:
        return
    with log.database.alone() as connection:
        while (free := connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()) > BULK_PAGES:
            script = connection.connection.driver_connection  # `execute` takes one step, which frees one page
            assert script is not None
            script.executescript(f"PRAGMA incremental_vacuum({min(free, BULK_PAGES)})")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()


def erase(log: Log, ids: Sequence[str]) -> Erased:
    """The answers with these ids, their inputs and labels are nowhere in the state folder, as bytes.

    Journals are overwritten in place, the database is rebuilt (VACUUM) and its write-ahead log cut to nothing.
    Raises StorageError; then run it again.
    """
    lines = blank(log.journals, ids) + blank(log.folder / LABEL_JOURNAL, ids, field="of")
    rows = erase_from_files(log, ids)
    log.ingest()  # what was read before it was blanked is in the database now, and goes from there
    answers = said = 0
    with log.database.writing() as connection:
        for part in chunks(ids):
            sequences = connection.execute(select(predictions.c.sequence).where(predictions.c.id.in_(part))).scalars().all()
            deleted = _delete(connection, sequences, part)
            answers, said = answers + deleted[0], said + deleted[1]
    return Erased(ids=len(set(ids)), answers=answers, labels=said, journal_lines=lines, file_rows=rows, remains=scrub(log))


def scrub(log: Log) -> tuple[str, ...]:
    """What was deleted or changed is in no byte of the database's files; return where it may remain. Raises StorageError."""
    return _scrub_sqlite(log) if log.database.is_sqlite else _scrub_postgresql(log)


def _scrub_sqlite(log: Log) -> tuple[str, ...]:
    """Deleted bytes were overwritten with zeros; copies that moved rows left on their old pages go with VACUUM."""
    with log.database.alone() as connection:
        connection.exec_driver_sql("VACUUM")
        for _ in range(CHECKPOINT_TRIES):
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
            if not busy:
                return ("copies that were made of the database, and blocks that the disk itself keeps",)
            time.sleep(CHECKPOINT_WAIT_S)
    raise StorageError(
        f"a reader holds the write-ahead log of {log.database.name}, which still has erased bytes", do="end it and run the erasure again"
    )


def _scrub_postgresql(log: Log) -> tuple[str, ...]:
    with log.database.alone() as connection:
        for table in (predictions, inputs, labels, label_events):
            connection.exec_driver_sql(f"VACUUM FULL {table.name}")
    return ("the write-ahead log of the PostgreSQL server until it is recycled, its archives, replicas and copies",)


def export(log: Log, path: Path, **which: Any) -> int:
    """`path` is a Parquet file of the answers of a window with their labels; return how many. Atomic. Raises StorageError.

    Columns: id, time (UTC), package, model, key, output (list), prediction, label (JSON), label_by, latency_s; inputs are not in it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([
        ("id", pa.string()), ("time", pa.timestamp("us", tz="UTC")), ("package", pa.string()), ("model", pa.string()), ("key", pa.string()),
        ("output", pa.list_(pa.float64())), ("prediction", pa.string()), ("label", pa.string()), ("label_by", pa.string()),
        ("latency_s", pa.float64()),
    ])  # fmt: skip
    count = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for part in _parts(log, which):
            writer.write_table(pa.table(_arrow(part), schema=schema))
            count += len(part)
    return count


def _parts(log: Log, which: dict[str, Any]) -> Iterator[Window]:
    after = 0
    while len(part := log.window(**which, after=after, most=EXPORT_ROWS)):
        yield part
        after = int(part.sequence[-1])


def _arrow(part: Window) -> dict[str, Any]:
    served = [part.served[place] for place in part.model]
    outputs = [np.frombuffer(one, dtype="<f8") for one in part.outputs]
    return {
        "id": part.id.tolist(), "time": part.time_us, "package": [one.package for one in served], "model": [one.model for one in served],
        "key": part.key.tolist(), "output": outputs,
        "prediction": [_said(output, one.kind, one.classes) for output, one in zip(outputs, served, strict=True)],
        "label": part.label.tolist(), "label_by": [one or None for one in part.who], "latency_s": part.latency_s,
    }  # fmt: skip


def _said(output: Any, kind: str, classes: Sequence[str]) -> str | None:
    """Return the answer as a person reads it."""
    if kind == "number":
        return repr(float(output[0]))
    if len(output) != len(classes):
        return None
    if kind == "category":
        return classes[int(output.argmax())]
    return ";".join(name for name, share in zip(classes, output, strict=True) if share >= 0.5)
