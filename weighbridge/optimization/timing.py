"""Graphs timed in turns, A B A B, each loaded anew in every round.

The new load is what makes a ratio one to trust: where a session's memory happens to lie moves its latency by some percent for as long
as it lives. Thirty times, the digits network was measured against a copy of itself: with one session for all rounds the interval of the
ratio held 1 three times, with a new one a round 27 times.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from weighbridge.runtime.session import Session, each_once
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays

Call = Sequence[Mapping[str, np.ndarray]]  # blocks; several where rows of text are answered in parts of like length

ROUNDS = 15  # the interval of a median of 15 goes from the 4th to the 12th
FEWEST_ROUNDS = 6  # from the smallest to the largest, 97 %
TURNS = 3
MOST_CALLS = 200  # of a graph in one turn
ROWS = {"latency": 1, "latency_32": 32, "speed": 256}  # of a call
SHARES = {"latency": 0.45, "latency_32": 0.35, "speed": 0.2}  # of the time
DIFFERENT_CALLS = 64
WARM_S = 0.002  # a shorter call is made once off the clock when its turn comes: the graph before it has used the caches


class Runs(Protocol):
    """What answers blocks: a session of a graph, or a network that takes arrays."""

    def run(self, blocks: Mapping[str, np.ndarray]) -> Any: ...


Opens = Callable[[Path, int], Runs]  # a graph's file, and with how many threads it answers


def open_session(graph: Path, threads: int) -> Runs:
    """Return the session of an ONNX graph. Raises PackageError."""
    return Session.open(graph, threads=threads)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How often a kind of call is made: turns a round, calls a turn, the same for every graph so that all answer the same rows."""

    turns: int
    calls: int
    every: int  # so many rounds
    warm: bool


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round saw: by graph the seconds of loading it, and by kind of call and graph those of each call.

    Attributes:
        clock_s: of all calls by the clock on the wall.
        worked_s: of them, what the processor worked.
    """

    load_s: dict[str, float]
    calls: dict[str, dict[str, np.ndarray]]
    clock_s: float
    worked_s: float


@dataclass(frozen=True, kw_only=True)
class Course:
    """Graphs, the calls that they are given, and how often."""

    graphs: Mapping[str, Path]
    calls: Mapping[str, Sequence[Call]]
    plans: Mapping[str, Plan]
    threads: int
    opens: Opens = open_session

    def round(self, number: int) -> Round:
        """Load each graph anew and time all of them in turns, in an order drawn for this round. Raises PackageError."""
        order = rng(0, "order of graphs", number)
        sessions, load_s = load(self.graphs, self.threads, order, self.opens)
        warm_up(sessions, self.calls)
        clock = Clock(self.threads)
        seconds: dict[str, dict[str, np.ndarray]] = {}
        for kind, plan in self.plans.items():
            if number % plan.every:
                continue
            turns: dict[str, list[np.ndarray]] = {name: [] for name in self.graphs}
            for turn in range(plan.turns):
                start = (number * plan.turns + turn) * plan.calls
                for name in _shuffled(self.graphs, order):
                    turns[name].append(clock.turn(sessions[name], self.calls[kind], start, plan))
            seconds[kind] = {name: np.concatenate(parts) for name, parts in turns.items()}
        return Round(load_s=load_s, calls=seconds, clock_s=clock.clock_s, worked_s=clock.worked_s)


class Clock:
    """Times calls. With one thread a call takes what the processor worked on it, so that other work on the machine is not in it."""

    def __init__(self, threads: int) -> None:
        self.clock_s = self.worked_s = 0.0
        self._alone = threads == 1

    def turn(self, session: Runs, calls: Sequence[Call], start: int, plan: Plan) -> np.ndarray:
        """Return the seconds of a turn's calls, float64 [calls]."""
        if plan.warm:
            _answer(session, calls[(start - 1) % len(calls)])
        seconds = np.empty(plan.calls)
        for place in range(plan.calls):
            call = calls[(start + place) % len(calls)]
            working = time.thread_time()
            began = time.perf_counter()
            _answer(session, call)
            clock = time.perf_counter() - began
            worked = min(clock, time.thread_time() - working)  # reading the clocks is part of the second: 1 us, more than it adds
            self.clock_s, self.worked_s = self.clock_s + clock, self.worked_s + worked
            seconds[place] = worked if self._alone else clock
        return seconds


def course(
    graphs: Mapping[str, Path], arrays: Arrays, *, seconds: float, threads: int, kinds: Sequence[str] = tuple(ROWS),
    opens: Opens = open_session,
) -> Course:  # fmt: skip
    """Return a course whose ROUNDS rounds take about `seconds` a graph, where calls are short enough. Raises PackageError.

    kinds: which calls are made, of ROWS. opens: how a graph's file becomes what answers.
    """
    calls = {kind: calls_of(arrays, ROWS[kind]) for kind in kinds}
    sessions, _ = load(graphs, threads, rng(0, "order of graphs"), opens)
    warm_up(sessions, calls)
    plans = {kind: plan(sessions, given, SHARES[kind] * seconds, kind, threads) for kind, given in calls.items()}
    return Course(graphs=graphs, calls=calls, plans=plans, threads=threads, opens=opens)


def plan(sessions: Mapping[str, Runs], calls: Sequence[Call], seconds: float, kind: str, threads: int) -> Plan:
    """Return how often calls are made in each of ROUNDS rounds, so that they take about `seconds` for each session."""
    clock, once = Clock(threads), Plan(turns=1, calls=1, every=1, warm=False)
    mean = max(1e-9, float(np.mean([clock.turn(session, calls, 0, once)[0] for session in sessions.values()])))
    room = seconds / ROUNDS / mean  # calls of a session in a round
    turns = int(np.clip(room, 1, TURNS))
    every = int(np.clip(1 / room, 1, ROUNDS // FEWEST_ROUNDS)) if kind == "speed" else 1
    return Plan(turns=turns, calls=int(np.clip(room / turns, 1, MOST_CALLS)), every=every, warm=mean < WARM_S)


def load(
    graphs: Mapping[str, Path], threads: int, order: np.random.Generator, opens: Opens = open_session
) -> tuple[dict[str, Runs], dict[str, float]]:
    """Return a new session of each graph, and the seconds from the file to it. Raises PackageError."""
    sessions, seconds = dict[str, Runs](), {}
    for name in _shuffled(graphs, order):
        began = time.perf_counter()
        sessions[name] = opens(graphs[name], threads)
        seconds[name] = time.perf_counter() - began
    return sessions, seconds


def warm_up(sessions: Mapping[str, Runs], calls: Mapping[str, Sequence[Call]]) -> None:
    """Each graph has answered a call of each kind: the first one lays out its memory."""
    for session in sessions.values():
        for given in calls.values():
            _answer(session, given[0])


def calls_of(arrays: Arrays, rows: int) -> list[Call]:
    """Return different calls of so many rows each, drawn by a fixed seed; texts are answered in parts of like length, as a package does."""
    count = int(np.clip(len(arrays) // rows, 1, DIFFERENT_CALLS))
    order = np.resize(rng(0, "rows that are timed").permutation(len(arrays)), count * rows)
    parts = (arrays.subset(np.sort(order[start : start + rows])) for start in range(0, count * rows, rows))
    return [[blocks for blocks, _ in each_once(part)] for part in parts]


def _answer(session: Runs, call: Call) -> None:
    for blocks in call:
        session.run(blocks)


def _shuffled(graphs: Mapping[str, Path], order: np.random.Generator) -> list[str]:
    names = list(graphs)
    return [names[place] for place in order.permutation(len(names))]


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """While the block runs, Python's collector does not; a collection takes a millisecond now and then."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
