"""Contestants take turns: each runs only while it has the turn, so that a drift of the machine falls on all of them alike.

A worker reads one line for each turn, trains for some seconds, and answers with its rows a second. Standard library only.
"""

from __future__ import annotations

import sys
import time


class Turns:
    """`tick(steps)` is called after training steps; it blocks between turns and returns False when there are no more."""

    def __init__(self, seconds: float, batch_size: int) -> None:
        self.seconds, self.batch_size = seconds, batch_size
        self._start: float | None = None
        self._first = 0

    def tick(self, steps: int) -> bool:
        """`steps` were made so far in all turns."""
        now = time.perf_counter()
        if self._start is not None and now - self._start < self.seconds:
            return True
        if self._start is not None:
            print((steps - self._first) * self.batch_size / (now - self._start), flush=True)
        if not sys.stdin.readline():
            return False
        self._start, self._first = time.perf_counter(), steps
        return True
