"""How long the packaged form takes: one row, and rows in bulk, by the processor's own clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.audit.subject import Subject
from weighbridge.findings import Finding, Message, Reference
from weighbridge.storage import read_json, sha256_file
from weighbridge.storage.meter import Meter

if TYPE_CHECKING:
    from weighbridge.optimization.cost import Cost
    from weighbridge.preprocessing import Arrays
    from weighbridge.runtime.session import Session

MILLION = 1_000_000
BULK_S = 3.0
REPEATS = 15  # the interval of a median of 15 goes from the 4th to the 12th
FEWEST = 6
BATCH = 256
MOST_BYTES = 64 << 20  # of encoded rows that are held for it
TIMED_S = 0.4  # of a measurement of a graph that the optimization has not measured


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """What a row takes when many are answered: seconds of one processor with their interval, and joules where a counter was read."""

    seconds: float
    interval: tuple[float, float]
    rows: int
    repeats: int
    joules: float | None


def measured_cost(subject: Subject, graph: Path) -> Cost:
    """Return what the optimization measured of this very graph, else a short measurement. Raises FormError, PackageError, Stopped."""
    from weighbridge.optimization.cost import Cost, measure_costs

    place = subject.folder / "optimization" / "costs.json"
    if place.exists():
        known = read_json(place)
        for name, digest in known["graphs"].items():
            if digest == sha256_file(graph) and name in known["costs"]:
                return Cost.from_json(known["costs"][name])
    return measure_costs({"form": graph}, subject.arrays["test"], seconds=TIMED_S, stop=subject.stop)["form"]


def latency_finding(subject: Subject, known: Cost) -> Finding:
    return Finding(
        key="audit.cost.latency",
        title=Message("One encoded row on one thread, median"),
        value=known.latency.value,
        interval=known.latency.interval,
        unit="s",
        n=known.rounds,
        n_of="rounds",
        reason=Message("99 of 100 calls take at most {tail} ms", tail=float(f"{1e3 * known.p99.value:.3g}")),
        method=Message("measured: time of the processor, the graph loaded anew in each round; median of rounds by order statistics"),
        source="order statistics",
        command=f"{subject.command} --only cost.latency",
    )


def bulk_findings(subject: Subject, graph: Path, known: Cost) -> tuple[Bulk, list[Finding]]:
    """Return what rows in bulk take, and the finding for a million of them beside what calls of 256 rows had foretold."""
    bulk = answered_in_bulk(subject, graph)
    foretold = MILLION / known.speed.value
    finding = Finding(
        key="audit.cost.million",
        title=Message("Processor time for a million rows"),
        value=MILLION * bulk.seconds,
        interval=(MILLION * bulk.interval[0], MILLION * bulk.interval[1]),
        unit="s",
        n=bulk.rows,
        reference=Reference(name=Message("foretold from calls of 256 rows"), value=foretold),
        reason=Message("encoded rows; the time to read and encode them is not in it"),
        method=Message("measured: test rows in batches on one thread, {repeats} times; median by order statistics", repeats=bulk.repeats),
        source="order statistics",
        command=f"{subject.command} --only cost.million",
    )
    return bulk, [finding]


def answered_in_bulk(subject: Subject, graph: Path) -> Bulk:
    """Return the time of test rows answered in repeats that take BULK_S in all. Raises PackageError."""
    from weighbridge.evaluation import quantile_interval
    from weighbridge.runtime.session import Session

    session, rows = Session.open(graph, threads=1), subject.arrays["test"]
    few = _calls(rows, BATCH)
    _worked(session, few)
    once = _worked(session, few) / BATCH
    count = int(np.clip(BULK_S / REPEATS / max(once, 1e-9), BATCH, max(BATCH, MOST_BYTES // max(1, rows.row_bytes))))
    part = _calls(rows, count)
    repeats = REPEATS if REPEATS * once * count < 3 * BULK_S else FEWEST
    meter, seconds = Meter(devices=False), list[float]()
    for _ in range(repeats):
        subject.stop.check()
        seconds.append(_worked(session, part) / count)
    joules = meter.spent().joules
    return Bulk(
        seconds=float(np.median(seconds)), interval=quantile_interval(np.array(seconds)), rows=min(count, len(rows)), repeats=repeats,
        joules=None if joules is None else joules / (repeats * count),
    )  # fmt: skip


def _calls(rows: Arrays, count: int) -> list[dict[str, np.ndarray]]:
    """Return so many rows, evenly spaced or again and again where there are fewer, as the calls in which they are answered."""
    from weighbridge.runtime.session import each_once

    places = np.linspace(0, len(rows) - 1, count).astype(int) if count <= len(rows) else np.sort(np.resize(np.arange(len(rows)), count))
    return [blocks for blocks, _ in each_once(rows.subset(places))]


def _worked(session: Session, calls: list[dict[str, np.ndarray]]) -> float:
    """Return the seconds that this thread's processor worked while the calls were answered."""
    began = time.thread_time()
    for blocks in calls:
        session.run(blocks)
    return time.thread_time() - began
