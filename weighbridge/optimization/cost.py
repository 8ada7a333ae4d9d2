"""What graphs cost on this machine: bytes, latency, rows a second, time to load, memory; each with its ratio to the first of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from weighbridge.evaluation import quantile_interval
from weighbridge.optimization.memory import peak_memory
from weighbridge.optimization.timing import FEWEST_ROUNDS, ROUNDS, ROWS, Round, course, without_collector
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Progress, silent

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays

Interval = tuple[float, float]
SECONDS = 1.0
LIMIT = 10.0  # times `seconds`: what all rounds may take for each graph before there are fewer of them
QUANTITIES, TAILS = ("latency", "latency_32", "speed", "load"), ("p99", "p99_32")


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A median with its 95 % interval, and its ratio to the first graph's with that of the ratio (1 and (1, 1) for the first itself)."""

    value: float
    interval: Interval
    ratio: float
    ratio_interval: Interval

    @property
    def inverse(self) -> Quantity:
        """The same in seconds a row where this is in rows a second."""
        return Quantity(
            value=1 / self.value, interval=_inverted(self.interval), ratio=1 / self.ratio, ratio_interval=_inverted(self.ratio_interval)
        )


@dataclass(frozen=True, kw_only=True)
class Tail:
    """The seconds that 99 % of calls took at most, with the interval of that quantile over all calls, taken as independent."""

    value: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a graph costs here; see `measure_costs`.

    Attributes:
        size_bytes: of its file; `size_ratio` and `memory_ratio` are to the first graph's.
        latency, latency_32: seconds of a call with one row and with 32; medians of rounds.
        speed: rows a second in batches of 256.
        load: seconds from the file to a session.
        memory_bytes: what a fresh process holds at its peak beyond numpy and onnxruntime, once it has answered 32 rows.
        rounds, calls: how many there were; calls with one row.
        waited: how many times as long all calls took as the processor worked on them; far above 1, other work was going on.
    """

    size_bytes: int
    size_ratio: float
    latency: Quantity
    p99: Tail
    latency_32: Quantity
    p99_32: Tail
    speed: Quantity
    load: Quantity
    memory_bytes: int
    memory_ratio: float
    rounds: int
    calls: int
    threads: int
    waited: float

    def price(self, name: str) -> Quantity:
        """Return the cost that a recipe names, less being cheaper: of `speed` the seconds a row. Size and memory are exact."""
        if name == "speed":
            return self.speed.inverse
        if name in ("size", "memory"):
            value, ratio = (self.size_bytes, self.size_ratio) if name == "size" else (self.memory_bytes, self.memory_ratio)
            return Quantity(value=value, interval=(value, value), ratio=ratio, ratio_interval=(ratio, ratio))
        return {"latency": self.latency, "latency_32": self.latency_32}[name]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the cost of `to_json`, whether JSON has made lists of its tuples or not. Raises KeyError, TypeError."""
        known = dict(value)
        known |= {name: Quantity(**_with_tuples(value[name])) for name in QUANTITIES}
        known |= {name: Tail(**_with_tuples(value[name])) for name in TAILS}
        return cls(**known)


def measure_costs(
    graphs: Mapping[str, Path],
    arrays: Arrays,
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    threads: int = 1,
    progress: Progress = silent,
    stop: StopRequest | None = None,
) -> dict[str, Cost]:
    """Return what each graph costs on encoded rows.

    After a warm-up, each round loads all graphs anew and times them in turns; a round gives one median of each, and one ratio to the
    first. Intervals are those of the rounds' median by order statistics. With one thread a call takes what the processor worked on it, so
    that what else the machine does is not in it; with more threads, what the clock says.

    Time: about `seconds` a graph for the rounds and 0.3 s for its memory. A graph that is slower is called once a round with one row, once
    with 32, and once in every other round with 256; where all rounds would take more than LIMIT * seconds a graph, there are fewer, at
    least FEWEST_ROUNDS.
    Raises PackageError, FormError for a graph that can not be run, ValueError without graphs or rows, Stopped.
    """
    if not graphs or not len(arrays):
        raise ValueError("costs are measured of at least one graph, on at least one row")
    stop = StopRequest() if stop is None else stop
    planned = course(graphs, arrays, seconds=seconds, threads=threads)
    seen: list[Round] = []
    with without_collector():
        while len(seen) < rounds:
            stop.check()
            progress("measure costs", len(seen), rounds, f"{len(graphs)} graphs in turns")
            began = time.perf_counter()
            seen.append(planned.round(len(seen)))
            rounds = min(rounds, max(FEWEST_ROUNDS, int(LIMIT * seconds * len(graphs) / (time.perf_counter() - began))))
    blocks = planned.calls["latency_32"][0][0]
    memory: dict[str, int] = {}
    for name, path in graphs.items():
        stop.check()
        progress("measure memory", len(memory), len(graphs), name)
        memory[name] = peak_memory(path, blocks, threads=threads)
    return _costs(graphs, seen, memory, threads)


def _costs(graphs: Mapping[str, Path], rounds: list[Round], memory: Mapping[str, int], threads: int) -> dict[str, Cost]:
    size = {name: path.stat().st_size for name, path in graphs.items()}
    first = next(iter(graphs))
    loads = [round_.load_s for round_ in rounds]
    medians = {kind: [_medians(round_.calls[kind]) for round_ in rounds if kind in round_.calls] for kind in ROWS}
    speeds = [{name: ROWS["speed"] / seconds for name, seconds in one.items()} for one in medians["speed"]]
    waited = sum(round_.clock_s for round_ in rounds) / max(1e-12, sum(round_.worked_s for round_ in rounds))
    costs = {}
    for name in graphs:
        one, many = (np.concatenate([round_.calls[kind][name] for round_ in rounds]) for kind in ("latency", "latency_32"))
        costs[name] = Cost(
            size_bytes=size[name], size_ratio=size[name] / size[first], memory_bytes=memory[name],
            memory_ratio=memory[name] / max(1, memory[first]), latency=quantity(medians["latency"], name, first), p99=tail(one),
            latency_32=quantity(medians["latency_32"], name, first), p99_32=tail(many), speed=quantity(speeds, name, first),
            load=quantity(loads, name, first), rounds=len(rounds), calls=len(one), threads=threads, waited=waited,
        )  # fmt: skip
    return costs


def _medians(calls: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(np.median(seconds)) for name, seconds in calls.items()}


def quantity(rounds: list[dict[str, float]], name: str, first: str) -> Quantity:
    """Return one graph's quantity from what each round gave of every graph."""
    values = np.array([one[name] for one in rounds])
    ratios = values / np.array([one[first] for one in rounds])
    return Quantity(
        value=float(np.median(values)), interval=quantile_interval(values), ratio=float(np.median(ratios)),
        ratio_interval=quantile_interval(ratios),
    )  # fmt: skip


def tail(seconds: np.ndarray) -> Tail:
    """Return the 99th percentile of calls."""
    return Tail(value=float(np.quantile(seconds, 0.99)), interval=quantile_interval(seconds, 0.99))


def _inverted(interval: Interval) -> Interval:
    return 1 / interval[1], 1 / interval[0]


def _with_tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
