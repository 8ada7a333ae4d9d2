"""How a worker answers a batch: each body is read for itself, rows that can be are run in one call, each answer is written for itself.

What is wrong with one request never touches another: where a call of several refuses, each is run alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from weighbridge.errors import InputError, PackageError, StorageError, UsageError
from weighbridge.runtime import Model
from weighbridge.runtime.golden import value_json
from weighbridge.serving.dialects import DIALECTS, Dialect, Rows
from weighbridge.serving.limits import Limits
from weighbridge.serving.wire import Frame, Kind, frame

if TYPE_CHECKING:
    from weighbridge.feedback.journal import Journal

# What a mistake of ours can raise: it costs that one request an answer and not the worker its life. Named one by one, so that what ends a
# process (SystemExit, KeyboardInterrupt) ends it.
MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
FAILED = "the server failed at this request; its log says where"
UNLOGGED = "the answer could not be logged, and this server gives none that is not"


class Told(NamedTuple):
    """What the front says of an ask, in the order of the wire; `size` is that of its body."""

    kind: str
    head: dict[str, Any]
    request_id: str
    who: str
    received_s: float
    deadline_s: float
    alone: bool
    size: int


class Item(NamedTuple):
    """An ask whose body was read; `place` is that in its batch."""

    place: int
    told: Told
    dialect: Dialect
    rows: Rows


class Answered(NamedTuple):
    place: int
    status: int
    content_type: str = ""
    headers: dict[str, str] = {}  # noqa: RUF012 - never written to
    rows: int = 0
    code: str = ""
    what: str = ""
    body: bytes = b""

    def wire(self) -> list[Any]:
        return [self.place, self.status, self.content_type, self.headers, self.rows, self.code, self.what, len(self.body)]


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """Answers batches with one model, and logs them where there is a journal."""

    model: Model
    name: str
    limits: Limits
    journal: Journal | None = None

    def answer(self, order: Frame) -> Iterator[bytes]:
        """Give the frames that answer a WORK frame; the last one is LAST, and each ask is in one of them, once."""
        items, answered = self._read(order)
        groups = list(grouped(items, self.limits.batch_rows))
        for group in groups[:-1]:
            yield self._frame(Kind.PART, order.number, [*answered, *self._run(group)])
            answered = []
        last = self._run(groups[-1]) if groups else []
        yield self._frame(Kind.LAST, order.number, [*answered, *last])

    def close(self) -> None:
        """What was logged is on the disk."""
        if self.journal is not None:
            self.journal.close()

    def _frame(self, kind: Kind, number: int, answered: Sequence[Answered]) -> bytes:
        unlogged = 0 if self.journal is None else self.journal.state.lost
        return frame(kind, number, [self.model.hash, unlogged, [one.wire() for one in answered]], [one.body for one in answered])

    def _read(self, order: Frame) -> tuple[list[Item], list[Answered]]:
        items: list[Item] = []
        answered: list[Answered] = []
        start, now_s = 0, time.monotonic()
        for place, told in enumerate(Told(*one) for one in order.head):
            body = order.body[start : start + told.size]
            start += told.size
            if told.deadline_s <= now_s:
                answered.append(Answered(place, 503, code="deadline", what="its time passed before it was answered"))
                continue
            try:
                dialect = DIALECTS[told.kind]
                items.append(Item(place, told, dialect, dialect.read(self.model, told.head, body, self.limits)))
            except UsageError as error:
                answered.append(_refused(place, error))
            except MISTAKES as error:
                answered.append(_mistake(place, told, error))
        return items, answered

    def _run(self, group: list[Item]) -> list[Answered]:
        """Return the answers of asks whose rows fit into one call."""
        try:
            columns, count = merged(group)
            output = self.model.outputs(columns, count)
        except (InputError, PackageError, *MISTAKES) as error:
            if len(group) > 1:
                return [answered for item in group for answered in self._run([item])]
            one = group[0]
            return [_refused(one.place, error) if isinstance(error, UsageError) else _mistake(one.place, one.told, error)]
        parts, start = [], 0
        for item in group:
            parts.append(output[start : start + item.rows.count])
            start += item.rows.count
        written = [self._write(item, part) for item, part in zip(group, parts, strict=True)]
        if self.journal is None:
            return written
        return self._logged(self.journal, group, parts, written)

    def _write(self, item: Item, output: np.ndarray) -> Answered:
        try:
            content_type, headers, body = item.dialect.write(self.model, item.rows.context, output)
        except UsageError as error:
            return _refused(item.place, error)
        except MISTAKES as error:
            return _mistake(item.place, item.told, error)
        return Answered(item.place, 200, content_type, headers, item.rows.count, body=body)

    def _logged(self, journal: Journal, group: list[Item], parts: list[np.ndarray], written: list[Answered]) -> list[Answered]:
        """The answers are in the journal before they leave. A strict journal that can not take them costs them: none leaves unlogged."""
        now_s, time_utc = time.monotonic(), datetime.now(UTC).isoformat(timespec="microseconds")
        # An explanation repeats an answer, with a body of its own: in the log its row would count twice.
        fits = [one.code == "" and not item.told.alone for item, one in zip(group, written, strict=True)]
        same = {"time": time_utc, "package": self.name, "model": self.model.hash}
        try:
            journal.append(
                {"key": item.told.who, "latency_s": round(now_s - item.told.received_s, 6), **same, **row}
                for item, output, fit in zip(group, parts, fits, strict=True)
                if fit
                for row in self._rows(item, output)
            )
        except StorageError as error:
            print(f"weigh serve: {sum(fits)} requests are refused, since they can not be logged: {error}", file=sys.stderr, flush=True)
            return [
                Answered(one.place, 503, code="unlogged", what=UNLOGGED) if fit else one for one, fit in zip(written, fits, strict=True)
            ]
        return written

    def _rows(self, item: Item, output: np.ndarray) -> Iterator[dict[str, Any]]:
        types = self.model.signature
        for row, value in enumerate(output.tolist()):
            inputs = {name: value_json(values[row], types[name]) for name, values in item.rows.columns.items()}
            yield {"id": f"{item.told.request_id}/{row}", "inputs": inputs, "output": value}


def grouped(items: Sequence[Item], most_rows: int) -> Iterator[list[Item]]:
    """Give the items in groups whose rows can be run in one call of at most so many rows (one item may have more)."""
    open_groups: dict[Any, list[Item]] = {}
    counts: dict[Any, int] = {}
    for item in items:
        form = (item.place if item.told.alone else -1, *[(name, one.dtype, one.shape[1:]) for name, one in item.rows.columns.items()])
        group, count = open_groups.setdefault(form, []), counts.get(form, 0)
        if group and count + item.rows.count > most_rows:
            yield open_groups.pop(form)
            group, count = open_groups.setdefault(form, []), 0
        group.append(item)
        counts[form] = count + item.rows.count
    yield from open_groups.values()


def merged(group: Sequence[Item]) -> tuple[dict[str, np.ndarray], int]:
    """Return the columns of all rows of a group, one ask after the other, and the number of rows."""
    if len(group) == 1:
        return group[0].rows.columns, group[0].rows.count
    names = group[0].rows.columns
    columns = {name: np.concatenate([item.rows.columns[name] for item in group]) for name in names}
    return columns, sum(item.rows.count for item in group)


def _refused(place: int, error: UsageError) -> Answered:
    """Return the answer to a request that does not fit. A graph that passed its golden rows and fails at others fails because of them."""
    if isinstance(error, PackageError):
        return Answered(place, 422, code="unanswerable", what="the model gives no finite answer for these rows")
    code = type(error).__name__.removesuffix("Error").lower()
    return Answered(place, error.http_status, code=code, what=str(error))


def _mistake(place: int, told: Told, error: Exception) -> Answered:
    """Return the answer to a request at which this code failed. The log names the place in the code, and nothing of what was sent."""
    trace, where = error.__traceback__, ""
    while trace is not None:
        where, trace = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}", trace.tb_next
    print(f"weigh serve: request {told.request_id} ({told.kind}): {type(error).__name__} at {where}", file=sys.stderr, flush=True)
    return Answered(place, 500, code="internal", what=FAILED)
