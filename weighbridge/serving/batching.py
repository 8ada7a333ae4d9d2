"""Which asks wait, which are refused, and which go to a worker together. Pure logic: no clock, no socket, times are given.

**Batches.** A free worker is sent what waits, at once: with nothing to do, waiting for company only adds to the latency. How many it is
sent is learnt: asks are timed by the size of their batch (1, 2, 4, ...), and the smallest size is used that has 95 % of the best rate seen.
A large batch of a model that gains nothing by it would only make each ask wait for the others. (Clipper, NSDI 2017, searches the largest
batch that meets a latency by additive increase; here no latency is set, so what is searched is where the rate stops to grow.)

**Admission.** A queue may take a burst, and must not stand: one that never gets empty adds its length to every answer and nothing to the
rate. As long as it was empty within the last moments it takes `queue_requests` (and `queue_bytes`); once it stands it takes only what
keeps the workers busy: one and a half batches for each, at least `standing_requests` or what `standing_wait_s` allows. This is CoDel's
idea (Nichols and Jacobson, ACM Queue 2012) in the form for servers (Maurer, "Fail at scale", ACM Queue 2015), applied at the door rather
than in the queue: what was accepted is answered, so it is refused before and not dropped after. Fixed sizes and timeouts (the queue policy
of Triton) must be set for each model; here they follow from the measured times. 16 asks let 1 in 200 be refused at 0.8 of the capacity even
where services vary as much as exponential ones (M/M/1/17: 0.5 %), and make an overloaded ask wait for 16 services, which is less than
twice the 99th percentile there (23 services).

**Deadlines.** An ask that could not be answered in time by these measures is refused at once; one whose time passed is never sent.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weighbridge.serving.asking import Ask, Refused, Reply
from weighbridge.serving.limits import Limits

if TYPE_CHECKING:
    import asyncio

ENOUGH = 0.95  # of the best rate: the smallest batch that has it is used
FRESH = 0.1  # the weight of a new measurement
OUTLIER = 4.0  # times the mean is the most that one measurement counts: a worker that had to wait for the processor
LEAST_SEEN = 3  # measurements before a size counts
LOOK_AGAIN = 64  # batches between two of another size than the best, so that a machine that changed is noticed
STANDING_BATCHES = 1.5  # for each worker: one that is taken next and half of one that fills
STANDS_S, STANDS_BATCHES = 0.02, 4.0  # a queue stands that was not empty for so long, or for so many batches
LEAST_RETRY_S, MOST_RETRY_S = 1.0, 30.0


@dataclass(slots=True, eq=False)
class Waiting:
    """An accepted ask and where its answer goes; `deaths` counts the workers that died while they had it."""

    ask: Ask
    answer: asyncio.Future[Reply]
    deaths: int = 0


class Sizes:
    """How long an ask takes in batches of 1, 2, up to 4, up to 8, ... and which size is enough.

    Attributes:
        enough: the smallest number of asks that has nearly the best rate; the next size is tried while it is not known to be worse.
        ask_s: seconds of a worker for each ask in batches of that size; 0 while nothing was measured.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        levels = _level(most) + 1
        self._ask_s = [math.inf] * levels
        self._seen = [0] * levels
        self._batches = 0
        self.enough, self.ask_s = 1, 0.0

    def add(self, asks: int, seconds: float) -> None:
        """A batch of so many asks took so long."""
        level, each = _level(asks), seconds / asks
        if self._seen[level]:
            held = self._ask_s[level]
            self._ask_s[level] = held + FRESH * (min(each, OUTLIER * held) - held)
        else:
            self._ask_s[level] = each
        self._seen[level] += 1
        self._batches += 1
        best = self._best_level()
        self.ask_s = [one for one in self._ask_s[: best + 1] if one < math.inf][-1]
        turn = self._batches % LOOK_AGAIN
        step = 1 if turn == LOOK_AGAIN // 2 else -1 if turn == 0 else 0
        self.enough = min(1 << max(best + step, 0), self._most)

    def _best_level(self) -> int:
        known = [level for level, seen in enumerate(self._seen) if seen >= LEAST_SEEN]
        if not known:
            return next(level for level, seen in enumerate(self._seen) if seen)
        best = min(self._ask_s[level] for level in known)
        level = next(level for level in known if self._ask_s[level] <= best / ENOUGH)
        return level + 1 if level == known[-1] and level + 1 < len(self._seen) else level


def _level(asks: int) -> int:
    return (asks - 1).bit_length()


class Batcher:
    """The asks of one package that wait for its workers."""

    def __init__(self, limits: Limits, workers: int) -> None:
        self._limits, self._workers = limits, workers
        self._queue: deque[Waiting] = deque()
        self._suspects: deque[Waiting] = deque()
        self._bytes = 0
        self._empty_s = -math.inf
        self.sizes = Sizes(limits.batch_rows)

    def __len__(self) -> int:
        return len(self._queue) + len(self._suspects)

    @property
    def bytes(self) -> int:
        return self._bytes

    def admit(self, one: Waiting, now_s: float, in_flight: int = 0) -> None:
        """The ask waits for a worker. `in_flight`: asks that the workers have. Raises Refused (overloaded), in constant time."""
        queued = len(self)
        if queued == 0:
            self._empty_s = now_s
        wait_s = self.wait_s(queued + in_flight)
        most = self._most(now_s)
        if queued >= most or (queued and self._bytes + len(one.ask.body) > self._limits.queue_bytes):
            raise _overloaded(wait_s, f"{queued:,} requests wait already")
        if now_s + wait_s + self.sizes.ask_s > one.ask.deadline_s:
            raise _overloaded(wait_s, f"it could not be answered in time, {wait_s:.2g} s of work wait already")
        self._queue.append(one)
        self._bytes += len(one.ask.body)

    def wait_s(self, asks: int) -> float:
        """Return how long so many asks keep the workers busy, by what was measured."""
        return asks * self.sizes.ask_s / self._workers

    def take(self, now_s: float) -> tuple[list[Waiting], list[Waiting]]:
        """Return what a free worker is sent now, and what nobody waits for any more; nothing of both waits here any more.

        A worker is sent one ask that another died of, or several that none did; nothing when nothing waits.
        """
        passed: list[Waiting] = []
        taken = self._take_suspect(now_s, passed)
        size, enough = 0, self.sizes.enough
        while self._queue and len(taken) < enough and not (taken and (taken[0].deaths or taken[0].ask.alone)):
            one = self._queue[0]
            length = len(one.ask.body)
            if taken and (one.ask.alone or size + length > self._limits.batch_bytes):
                break
            self._queue.popleft()
            self._bytes -= length
            size += length
            (taken if _wanted(one, now_s) else passed).append(one)
        if not self._queue:
            self._empty_s = now_s
        return taken, passed

    def _take_suspect(self, now_s: float, passed: list[Waiting]) -> list[Waiting]:
        while self._suspects:
            one = self._suspects.popleft()
            self._bytes -= len(one.ask.body)
            if _wanted(one, now_s):
                return [one]
            passed.append(one)
        return []

    def ripe_s(self, now_s: float) -> float:
        """Return how long a free worker waits for company still; 0 where `take` is called now."""
        if not self._queue or self._suspects or not self._limits.batch_wait_s or len(self._queue) >= self.sizes.enough:
            return 0.0
        return max(0.0, self._queue[0].ask.received_s + self._limits.batch_wait_s - now_s)

    def finished(self, asks: int, seconds: float, *, alone: bool = False) -> None:
        """A worker took so long for so many asks; one that went `alone` says nothing about the others."""
        if not alone:
            self.sizes.add(asks, seconds)

    def suspect(self, one: Waiting) -> None:
        """A worker died while it had this ask: it goes next, and alone, so that no other dies with it again."""
        self._suspects.append(one)
        self._bytes += len(one.ask.body)

    def give_back(self, batch: Iterable[Waiting]) -> None:
        """A worker died before it came to these asks: they stand where they stood, first."""
        for one in reversed(list(batch)):
            self._queue.appendleft(one)
            self._bytes += len(one.ask.body)

    def expired(self, now_s: float) -> list[Waiting]:
        """Return the asks whose time has passed; they do not wait any more, nor do those whose answer nobody waits for."""
        passed = [one for line in (self._suspects, self._queue) for one in line if not _wanted(one, now_s)]
        if passed:
            gone = set(map(id, passed))
            self._suspects = deque(one for one in self._suspects if id(one) not in gone)
            self._queue = deque(one for one in self._queue if id(one) not in gone)
            self._bytes -= sum(len(one.ask.body) for one in passed)
        return passed

    def empty(self) -> list[Waiting]:
        """Return all that waits; nothing waits any more."""
        left = [*self._suspects, *self._queue]
        self._suspects.clear()
        self._queue.clear()
        self._bytes = 0
        return left

    def _most(self, now_s: float) -> int:
        """Return how many asks may wait now."""
        limits, ask_s = self._limits, self.sizes.ask_s
        enough = self.sizes.enough
        if now_s - self._empty_s <= max(STANDS_S, STANDS_BATCHES * enough * ask_s):
            return limits.queue_requests
        in_time = limits.standing_wait_s * self._workers / ask_s if ask_s else 0
        return min(limits.queue_requests, math.ceil(max(limits.standing_requests, in_time, STANDING_BATCHES * enough * self._workers)))


def _wanted(one: Waiting, now_s: float) -> bool:
    return now_s < one.ask.deadline_s and not one.answer.done()


def _overloaded(wait_s: float, why: str) -> Refused:
    after = min(max(wait_s, LEAST_RETRY_S), MOST_RETRY_S)
    return Refused(
        "overloaded", 503, after, f"the server has more to do than it can: {why}; ask again after the time that retry-after says"
    )
