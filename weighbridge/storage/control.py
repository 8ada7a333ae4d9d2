"""A request to stop that long work looks at between two steps, so that it can save before it leaves."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from weighbridge.errors import Stopped
from weighbridge.storage.progress import Progress


class _Leave(BaseException):
    """Not an Exception, so that no library takes it for a failure of its own and goes on."""


class StopRequest:
    """Set by SIGINT or SIGTERM; `check` is what long work calls where it is safe to leave."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at_once = False

    def __bool__(self) -> bool:
        return self.signal is not None

    def error(self, what: str) -> Stopped:
        """Return the error to leave with: exit code 128 + the signal's number."""
        number = self.signal or signal.SIGINT
        name = "Ctrl-C" if number == signal.SIGINT else number.name
        return Stopped(f"stopped by {name}; {what}", do="run the same command again to go on", exit_code=128 + number)

    def check(self, what: str = "finished stages are kept") -> None:
        """Raise Stopped when a stop was asked for."""
        if self:
            raise self.error(what)

    @contextlib.contextmanager
    def at_once(self, what: str = "finished stages are kept") -> Iterator[None]:
        """While the block runs, a request raises Stopped where the work stands: for a library that asks nobody, and keeps nothing.

        What the library does in one call to compiled code is ended first. Raises Stopped for a request that came before.
        """
        self.check(what)
        self._at_once = True
        try:
            yield
        except _Leave:
            raise self.error(what) from None
        finally:
            self._at_once = False

    def ask(self, number: int) -> None:
        """The request is set; inside `at_once` the work is left."""
        self.signal = signal.Signals(number)
        if self._at_once:
            self._at_once = False
            raise _Leave


def heeding(progress: Progress, stop: StopRequest) -> Progress:
    """Return `progress`, which first raises Stopped when a stop was asked for: for work that keeps nothing of its own when it leaves."""

    def tell(label: str, done: int, total: int | None, note: str = "") -> None:
        stop.check()
        progress(label, done, total, note)

    return tell


@contextlib.contextmanager
def stop_on_signals(request: StopRequest) -> Iterator[StopRequest]:
    """While the block runs, SIGINT and SIGTERM set `request`; a second SIGINT interrupts at once. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.ask(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
