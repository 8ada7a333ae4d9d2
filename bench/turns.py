"""Contestants take turns: each runs only while it has the turn, so that a drift of the machine falls on all of them alike.

A worker reads one line for each turn, trains for some seconds, and answers with its rows a second, by the clock on the wall and by the
processor time that all its threads used. Standard library only.
"""

from __future__ import annotations

import sys
import time


class Turns:
    """`tick(steps)` is called after training steps; it blocks between turns and returns False when there are no more."""

    def __init__(self, seconds: float, batch_size: int) -> None:
        self.seconds, self.batch_size = seconds, batch_size
        self._start: float | None = None
        self._first, self._used = 0, 0.0

    def tick(self, steps: int) -> bool:
        """`steps` were made so far in all turns."""
        now = time.perf_counter()
        if self._start is not None and now - self._start < self.seconds:
            return True
        if self._start is not None:
            done, used = (steps - self._first) * self.batch_size, time.process_time() - self._used
            print(done / (now - self._start), done / used, flush=True)
        if not sys.stdin.readline():
            return False
        self._start, self._first, self._used = time.perf_counter(), steps, time.process_time()
        return True
