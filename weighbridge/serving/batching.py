"""Which asks wait, which are refused, and which go to a worker together. Pure logic: no clock, no socket, times are given.

**Batches.** A free worker is sent what waits, at once: with nothing to do, waiting for company only adds to the latency. How many it is
sent is learnt: batches are timed, a line is fitted to their times, and the fewest asks are sent that have 96 % of the rate of the largest
batch. A large batch of a model that gains nothing by it would only make each ask wait for the others. (Clipper, NSDI 2017, searches the
largest batch that meets a latency by additive increase; here no latency is set, so what is searched is where the rate stops to grow.)

**Admission.** A queue may take a burst, or the asks of as many callers as wait for their answers, and must not stand full: one that does
adds its length to every answer and nothing to the rate. It takes `queue_requests` (and `queue_bytes`). When that is reached, more comes
than can be done, so what it takes is halved again and again, down to what keeps the workers busy: one batch for each beside the running
one, at least `standing_requests` or what `standing_wait_s` allows. When nobody was refused for a second and a worker has a pause, it takes
all again. This is CoDel's idea (Nichols and Jacobson, ACM Queue 2012: a good queue takes bursts, a bad one stands) in the form for servers
(Maurer, "Fail at scale", ACM Queue 2015), applied at the door rather than in the queue: what was accepted is answered, so it is refused
before and not dropped after. That no worker pauses is no sign by itself: 64 callers that ask again when they are answered leave no pause
either, and no ask is too many. Fixed sizes and timeouts (the queue policy of Triton) must be set for each model; here they follow from the
measured times. What is paid: at the begin of an overload, `queue_requests` asks wait long, once; and callers that ask again at once when
they are refused keep it small.

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

ENOUGH = 0.96  # of the rate of the largest batch: the smallest batch that has it is used
FRESH = 0.02  # the weight of a new measurement
OUTLIER = 4.0  # times the mean is the most that one measurement counts: a worker that had to wait for the processor
LEAST_SEEN = 3  # measurements before a size counts
LOOK_AGAIN = 64  # batches between two that are twice, or half, as large: a single size tells no a from b, and machines change
FEW, FEW_AGAIN = 4, 16  # so many asks are tried twice as many more often: that costs little, and one ask alone says least
STANDING_BATCHES = 1.0  # for each worker: one that is taken when the running one ends
SHRINK_S = 0.02  # between two halvings of what the queue takes, or a batch where that takes longer
CALM_S = 1.0  # without a refusal, after which a pause of a worker means that the overload has passed
LEAST_RETRY_S, MOST_RETRY_S = 1.0, 30.0


@dataclass(slots=True, eq=False)
class Waiting:
    """An accepted ask and where its answer goes; `deaths` counts the workers that died while they had it."""

    ask: Ask
    answer: asyncio.Future[Reply]
    deaths: int = 0


class Sizes:
    """How long batches take, a + b n seconds for n asks, and how many asks are enough.

    The line is fitted to the mean times of batches of 1, 2, up to 4, up to 8, ... asks, by relative error. So the few small batches of a
    busy server are not forgotten among the many large ones, and a and b stay apart.

    Attributes:
        enough: the fewest asks with nearly the rate of the largest batch; at most twice as many as were tried.
        ask_s: seconds of a worker for each ask in batches of that size; 0 while nothing was measured.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._levels = [_Level() for _ in range(_level(most) + 1)]
        self._batches = 0
        self._fixed_s = self._each_s = 0.0
        self.enough, self.ask_s = 1, 0.0

    def seconds(self, asks: int) -> float:
        """Return how long a worker has to do with so many asks, in batches of that size."""
        return math.ceil(asks / self.enough) * self._fixed_s + asks * self._each_s

    def add(self, asks: int, seconds: float) -> None:
        """A batch of so many asks took so long."""
        self._levels[_level(asks)].add(asks, seconds)
        self._batches += 1
        self._fixed_s, self._each_s = self._line()
        tried = 1 << max(level for level, one in enumerate(self._levels) if one.seen >= LEAST_SEEN or level == 0)
        enough = self._enough(2 * tried)
        self.ask_s = self._fixed_s / min(enough, tried) + self._each_s
        turn = self._batches % LOOK_AGAIN
        if turn == LOOK_AGAIN // 2 or (enough <= FEW and turn % FEW_AGAIN == 0):
            enough *= 2
        elif turn == 0:
            enough //= 2
        self.enough = max(1, min(enough, self._most))

    def _line(self) -> tuple[float, float]:
        """Return the seconds of a batch and of each ask in it, by weighted least squares, none below 0."""
        known = [(one.seconds, one.asks, one.weight) for one in self._levels if one.seen]
        total = sum(weight for _, _, weight in known)
        mean_s = sum(seconds * weight for seconds, _, weight in known) / total
        mean_asks = sum(asks * weight for _, asks, weight in known) / total
        spread = sum((asks - mean_asks) ** 2 * weight for _, asks, weight in known)
        together = sum((asks - mean_asks) * (seconds - mean_s) * weight for seconds, asks, weight in known)
        each_s = max(0.0, together / spread) if spread > 1e-9 * total else 0.0
        fixed_s = mean_s - each_s * mean_asks
        return (fixed_s, each_s) if fixed_s >= 0 else (0.0, mean_s / mean_asks)

    def _enough(self, most: int) -> int:
        """Return the fewest n with n / (a + b n) at least ENOUGH of that rate at the largest batch."""
        rest_s = self._fixed_s + (1 - ENOUGH) * self._most * self._each_s
        wanted = math.ceil(ENOUGH * self._most * self._fixed_s / rest_s - 1e-6) if rest_s else 1
        return max(1, min(wanted, most, self._most))


@dataclass(slots=True)
class _Level:
    """Mean asks and seconds of batches of about one size, in which older ones count less."""

    seen: int = 0
    asks: float = 0.0
    seconds: float = 0.0

    def add(self, asks: int, seconds: float) -> None:
        self.seen += 1
        fresh = max(FRESH, 1 / self.seen)
        if self.seen > LEAST_SEEN:
            seconds = min(seconds, OUTLIER * self.seconds)
        self.asks += fresh * (asks - self.asks)
        self.seconds += fresh * (seconds - self.seconds)

    @property
    def weight(self) -> float:
        """That of a mean of so many measurements whose errors are in proportion to the time."""
        return min(self.seen, 1 / FRESH) / max(self.seconds, 1e-9) ** 2


def _level(asks: int) -> int:
    return (asks - 1).bit_length()


class Batcher:
    """The asks of one package that wait for its workers."""

    def __init__(self, limits: Limits, workers: int) -> None:
        self._limits, self._workers = limits, workers
        self._queue: deque[Waiting] = deque()
        self._suspects: deque[Waiting] = deque()
        self._bytes = 0
        self._most = limits.queue_requests
        self._shrunk_s = self._refused_s = -math.inf
        self.sizes = Sizes(limits.batch_rows)

    def __len__(self) -> int:
        return len(self._queue) + len(self._suspects)

    @property
    def bytes(self) -> int:
        return self._bytes

    def admit(self, one: Waiting, now_s: float, *, idle: bool, in_flight: int = 0, behind: int = 0) -> None:
        """The ask waits for a worker. Raises Refused (overloaded), in constant time.

        `idle`: whether a worker has nothing to do; `in_flight`: asks that workers have; `behind`: those of them that are not begun, so
        that they wait as the queue does.
        """
        queued = len(self) + behind
        if idle and now_s - self._refused_s > CALM_S:
            self._most = self._limits.queue_requests
        wait_s = self.wait_s(len(self) + in_flight)
        if queued >= self._most or (queued and self._bytes + len(one.ask.body) > self._limits.queue_bytes):
            self._shrink(now_s)
            raise _overloaded(wait_s, f"{queued:,} requests wait already")
        if not idle and now_s + wait_s + self.sizes.seconds(1) > one.ask.deadline_s:  # where a worker is idle, it is measured anew
            raise _overloaded(wait_s, f"it could not be answered in time, {wait_s:.2g} s of work wait already")
        self._queue.append(one)
        self._bytes += len(one.ask.body)

    def wait_s(self, asks: int) -> float:
        """Return how long so many asks keep the workers busy, by what was measured."""
        return self.sizes.seconds(asks) / self._workers

    @property
    def is_full(self) -> bool:
        """Whether a whole batch waits: then a worker that is busy has it at hand when it ends."""
        return len(self._queue) >= self.sizes.enough

    def take(self, now_s: float) -> tuple[list[Waiting], list[Waiting]]:
        """Return what a worker is sent now, and what nobody waits for any more; nothing of both waits here any more.

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

    def _shrink(self, now_s: float) -> None:
        """The queue takes half of what it took, at least what keeps the workers busy, unless it was halved just before."""
        limits, sizes = self._limits, self.sizes
        self._refused_s = now_s
        if now_s - self._shrunk_s < max(SHRINK_S, sizes.enough * sizes.ask_s):
            return
        in_time = limits.standing_wait_s * self._workers / sizes.ask_s if sizes.ask_s else 0
        least = math.ceil(max(limits.standing_requests, in_time, STANDING_BATCHES * sizes.enough * self._workers))
        self._most, self._shrunk_s = min(limits.queue_requests, max(least, self._most // 2)), now_s


def _wanted(one: Waiting, now_s: float) -> bool:
    return now_s < one.ask.deadline_s and not one.answer.done()


def _overloaded(wait_s: float, why: str) -> Refused:
    after = min(max(wait_s, LEAST_RETRY_S), MOST_RETRY_S)
    return Refused(
        "overloaded", 503, after, f"the server has more to do than it can: {why}; ask again after the time that retry-after says"
    )
