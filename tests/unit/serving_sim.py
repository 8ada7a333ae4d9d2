"""A server in simulated time: asks come at random, workers take the time of a given cost, and the real Batcher decides."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from weighbridge.serving.asking import Ask, Refused
from weighbridge.serving.batching import Batcher, Waiting
from weighbridge.serving.limits import Limits

Cost = Callable[[int, np.random.Generator], float]


class Answer:
    """Stands for the future of an ask."""

    settled = False

    def done(self) -> bool:
        return self.settled


def waiting(now_s: float = 0.0, *, size: int = 16, deadline_s: float = 30.0, alone: bool = False) -> Waiting:
    one = Ask(kind="x", head={}, body=bytes(size), request_id="r", received_s=now_s, deadline_s=now_s + deadline_s, alone=alone)
    return Waiting(one, Answer())  # type: ignore[arg-type]


@dataclass
class Told:
    """What happened: latencies of answered asks, moments of refusals."""

    latency_s: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    @property
    def p99_s(self) -> float:
        return float(np.quantile(self.latency_s, 0.99))

    @property
    def rate(self) -> float:
        return len(self.latency_s) / self.seconds

    @property
    def refused_share(self) -> float:
        return self.refused / (self.refused + len(self.latency_s))


def simulate(
    cost: Cost,
    arrivals_s: np.ndarray,
    *,
    workers: int = 1,
    depth: int = 1,
    limits: Limits | None = None,
    seed: int = 0,
    skip_s: float = 0.0,
) -> Told:
    """Return what `workers` did with asks that came at these moments; what came before `skip_s` warms up and is not counted."""
    batcher, random, told = Batcher(limits or Limits(), workers), np.random.default_rng(seed), Told()
    order = itertools.count()
    events = [(moment, next(order), -1, []) for moment in arrivals_s]
    heapq.heapify(events)
    queues: list[list[list[Waiting]]] = [[] for _ in range(workers)]  # of each worker: batches that it has, the first one running
    in_flight = 0

    def begin(worker: int, now_s: float) -> None:
        batch = queues[worker][0]
        heapq.heappush(events, (now_s + cost(len(batch), random), next(order), worker, [now_s]))

    while events:
        now_s, _, worker, begun = heapq.heappop(events)
        behind = sum(len(batch) for queue in queues for batch in queue[1:])
        if worker < 0:
            try:
                batcher.admit(waiting(now_s), now_s, idle=not all(queues), in_flight=in_flight, behind=behind)
            except Refused:
                told.refused += now_s >= skip_s
        else:
            batch = queues[worker].pop(0)
            in_flight -= len(batch)
            batcher.finished(len(batch), now_s - begun[0])
            told.latency_s += [now_s - one.ask.received_s for one in batch if one.ask.received_s >= skip_s]
            if queues[worker]:
                begin(worker, now_s)
        while len(batcher):
            least = min(range(workers), key=lambda place: len(queues[place]))
            has = len(queues[least])
            if has >= depth or (has and not batcher.is_full):
                break
            taken, _ = batcher.take(now_s)
            in_flight += len(taken)
            queues[least].append(taken)
            if has == 0:
                begin(least, now_s)
    told.seconds = float(arrivals_s[-1]) - skip_s
    return told


def poisson(rate: float, seconds: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.cumsum(random.exponential(1 / rate, int(rate * seconds)))
