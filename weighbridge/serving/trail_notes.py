"""Lines of the trail that no request waits for: written by a thread, in order, from a queue with a bound.

What must be on the disk before it is acknowledged (a swap, a key, labels) calls `Trail.add` itself, in a thread; refused logins come here.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any

from weighbridge.errors import WeighbridgeError
from weighbridge.serving.trail import Trail

MOST_WAITING = 200
STOP_WAIT_S = 10.0


class Notes:
    """Writes what `note` is given; never blocks and never raises. What did not fit or could not be written is counted in `lost`."""

    def __init__(self, trail: Trail) -> None:
        self._trail, self.lost = trail, 0
        self._waiting: queue.Queue[tuple[str, str, dict[str, Any]] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._write, name="trail", daemon=True)
        self._thread.start()

    def note(self, what: str, who: str, detail: dict[str, Any]) -> None:
        """The line will be written; it fits `Access(on_event=...)`."""
        try:
            self._waiting.put_nowait((what, who, detail))
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """What was given is written, and how much was lost; a disk that hangs is not waited for without end."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=STOP_WAIT_S)
            self._thread.join(STOP_WAIT_S)

    def _write(self) -> None:
        while (given := self._waiting.get()) is not None:
            self._add(*given)
            if self.lost:
                lost, self.lost = self.lost, 0
                self._add("trail.lost", "", {"lines": lost}, lost)
        if self.lost:
            self._add("trail.lost", "", {"lines": self.lost})

    def _add(self, what: str, who: str, detail: dict[str, Any], lines: int = 1) -> None:
        try:
            self._trail.add(what, who, detail)
        except WeighbridgeError:
            self.lost += lines
