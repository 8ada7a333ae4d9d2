"""Is the service slower than its contract says, for good? Windows of at least five minutes, bets that may be looked at for ever.

What is held beside the contract's median under load is alike: requests of one row, as it was measured with, in windows in which not more
of them came than it was measured at. A window is slow when most of its requests took more than `SLOWER` times that median.

Requests hang together: a neighbour takes the processor, a queue builds up, all are slow for a while. So the unit is a window, and what must
not be called slow is a service whose slow spells end: given all that was before, the next window is slow with a chance of at most one half
(spells of two windows in the mean). While that is so, the alarm (`sequences.Fall`) is false, ever, with a probability of at most alpha.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any, Self

import numpy as np

from weighbridge.feedback.sequences import Fall
from weighbridge.feedback.windows import Window
from weighbridge.runtime.contract import Contract

ALPHA = 0.05
SLOWER = 1.5  # times the upper end of what was measured: clients and machines differ
SPAN_S, FEWEST = 300.0, 20  # of a window: seconds and requests, at least
USUAL = 0.5  # share of windows that may be slow


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request of the log: its name, when its first row was answered, how long it took (None: not known) and how many rows it had."""

    name: str
    time_us: int
    latency_s: float | None
    rows: int


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The windows so far (`fall`) and the one that is open.

    Attributes:
        limit_s: above this a request is slow. most_per_s: with more requests a second nothing was promised.
        begun_us: when the open window began, None while none is. seen, known, slow: requests in it, those of one row with a known time,
            and how many of these were slow.
        last: the newest request, of which more rows may come.
    """

    limit_s: float
    most_per_s: float
    fall: Fall = field(default_factory=lambda: Fall(bound=USUAL, alpha=ALPHA))
    begun_us: int | None = None
    seen: int = 0
    known: int = 0
    slow: int = 0
    last: Request | None = None

    @classmethod
    def of(cls, contract: Contract) -> Self | None:
        """Return the state before the first answer; None where the contract says nothing of a server: its price has no queue in it."""
        load = contract.load
        if load is None:
            return None
        middle = load.p50_s.value if load.p50_s.interval is None else load.p50_s.interval[1]
        return cls(limit_s=SLOWER * middle, most_per_s=load.share * load.requests_per_s.value)

    def add(self, rows: Window) -> Pace:
        """Return the state after these answers; the same however they were cut into pieces."""
        state, newest = self, self.last
        for one in _requests(rows):
            if newest is not None and newest.name == one.name:
                newest = replace(newest, rows=newest.rows + one.rows)
                continue
            state = state if newest is None else state._after(newest)
            newest = one
        return replace(state, last=newest)

    def _after(self, one: Request) -> Pace:
        begun = one.time_us if self.begun_us is None else self.begun_us
        passed_s = (one.time_us - begun) / 1e6
        if passed_s >= SPAN_S and self.known >= FEWEST:
            return self._closed(passed_s)._after(one)
        taken_s = one.latency_s if one.rows == 1 else None
        slow = taken_s is not None and taken_s > self.limit_s
        return replace(self, begun_us=begun, seen=self.seen + 1, known=self.known + (taken_s is not None), slow=self.slow + slow)

    def _closed(self, passed_s: float) -> Pace:
        fall = self.fall
        if self.seen / passed_s <= self.most_per_s:
            fall = fall.add(np.array([float(2 * self.slow <= self.known)]))
        return replace(self, fall=fall, begun_us=None, seen=0, known=0, slow=0)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "fall": self.fall.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        last = None if value["last"] is None else Request(**value["last"])
        return cls(**{**value, "fall": Fall.from_json(value["fall"]), "last": last})


def _requests(rows: Window) -> Iterator[Request]:
    """Yield the requests of a window in the order of their answers; the rows of one stand together."""
    for name, places in groupby(range(len(rows)), key=lambda place: str(rows.id[place]).rsplit("/", 1)[0]):
        first, *others = places
        taken_s = float(rows.latency_s[first])
        known_s = None if math.isnan(taken_s) else taken_s
        yield Request(name=name, time_us=int(rows.time_us[first]), latency_s=known_s, rows=1 + len(others))
