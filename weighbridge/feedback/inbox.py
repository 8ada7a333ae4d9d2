"""Take labels from an asynchronous server: one thread writes what came meanwhile in one transaction, and each caller gets its answer."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from weighbridge.errors import StorageError, UsageError
from weighbridge.feedback.labels import Outcome
from weighbridge.feedback.log import Log

MOST_QUEUED = 1000  # calls that wait; further ones are refused
MOST_TOGETHER = 64  # calls in one transaction


@dataclass(frozen=True, kw_only=True)
class _Call:
    records: Sequence[Any]
    who: str
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Outcome]


class Inbox:
    """`await accept(records, who)` from any event loop. What it returns is durable; what it raises, StorageError, changed nothing."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._calls: queue.Queue[_Call | None] = queue.Queue(MOST_QUEUED)
        self._thread = threading.Thread(target=self._work, name="labels", daemon=True)
        self._thread.start()

    async def accept(self, records: Sequence[Any], who: str) -> Outcome:
        """Return what became of each label. Raises StorageError when it can be kept nowhere, or too many calls wait already."""
        if not self._thread.is_alive():
            raise StorageError("nobody takes labels any more", do="start the server again; nothing of these labels was kept")
        loop = asyncio.get_running_loop()
        call = _Call(records=records, who=who, loop=loop, answer=loop.create_future())
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            raise StorageError(f"{MOST_QUEUED} calls with labels wait already", do="send labels again in a moment") from None
        return await call.answer

    def close(self) -> None:
        """All calls were answered; no further one may come."""
        self._calls.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while (first := self._calls.get()) is not None:
            calls, ended = [first], False
            while len(calls) < MOST_TOGETHER and not self._calls.empty():
                further = self._calls.get()
                if further is None:
                    ended = True
                    break
                calls.append(further)
            self._answer(calls)
            if ended:
                return

    def _answer(self, calls: Sequence[_Call]) -> None:
        failed = StorageError("labels could not be kept", do="see the server's log, and send them again")
        outcomes: Sequence[Outcome | StorageError] = [failed] * len(calls)
        try:
            outcomes = self._log.accept_each([(call.records, call.who) for call in calls])
        except StorageError as error:
            outcomes = [error] * len(calls)
        except UsageError as error:  # of the vault: a key that is missing, a sealed label that was changed
            outcomes = [StorageError(error.what, do=error.do)] * len(calls)
        finally:  # also of an error that nobody foresaw, which ends this thread: no caller waits for ever
            for call, outcome in zip(calls, outcomes, strict=True):
                with contextlib.suppress(RuntimeError):  # the caller's loop has ended
                    call.loop.call_soon_threadsafe(_tell, call.answer, outcome)


def _tell(answer: asyncio.Future[Outcome], outcome: Outcome | StorageError) -> None:
    if answer.cancelled():
        return
    if isinstance(outcome, StorageError):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
