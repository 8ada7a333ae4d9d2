"""What a package costs: size, latency, speed, and the time to load and answer first, each measured on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import RefusedArtefact
from weighbridge.findings import Finding, Message

if TYPE_CHECKING:
    from weighbridge.runtime import Model

WARM_UP = 20
REPEATS = 200
BULK = 256
BULK_REPEATS = 20
STARTS = 5
START_LIMIT_S = 1.0

FIRST_ANSWER = """
import json, sys, time
start = time.perf_counter()
import weighbridge
weighbridge.load(sys.argv[1]).check_golden()
print(json.dumps({"seconds": time.perf_counter() - start, "torch": "torch" in sys.modules}))
"""


def price_findings(package: Path, model: Model, folder: Path, command: str) -> list[Finding]:
    """Return median latency at batch 1, rows/s at batch 256, and load and first answer in a fresh process."""
    from weighbridge import data

    batch = next(data.open_data(folder / "data").validation.batches(BULK))
    return [
        _latency(model, batch.columns, command),
        _speed(model, batch.columns, len(batch.row_ids), command),
        _first_answer(package, command),
    ]


def size_finding(package: Path, command: str) -> Finding:
    """Return how large all files of a package are together."""
    size = sum(path.stat().st_size for path in package.iterdir())
    return Finding(
        key="deployment.size",
        title=Message("Size of the package"),
        value=size,
        unit="bytes",
        method=Message("sum of all its files"),
        command=f"{command} --only size",
    )


def _latency(model: Model, columns: dict[str, np.ndarray], command: str) -> Finding:
    count = len(next(iter(columns.values())))
    rows = [{name: values[place : place + 1] for name, values in columns.items()} for place in range(count)]
    seconds = _timed(lambda number: model.outputs(rows[number % count], 1), WARM_UP, REPEATS)
    return _time_finding(
        "latency",
        Message("Latency, one row, median"),
        seconds,
        Message("raw row to answer, after {warm} warm-up answers, all physical cores", warm=WARM_UP),
        command,
    )


def _speed(model: Model, columns: dict[str, np.ndarray], rows: int, command: str) -> Finding:
    from weighbridge.evaluation import quantile_interval

    speeds = rows / _timed(lambda number: model.outputs(columns, rows), 2, BULK_REPEATS)
    low, high = quantile_interval(speeds)
    return Finding(
        key="deployment.speed",
        title=Message("Speed of answers, median"),
        value=float(np.median(speeds)),
        interval=(float(low), float(high)),
        unit="rows/s",
        n=BULK_REPEATS,
        n_of="repeats",
        method=Message("raw rows to answers in batches of {rows}", rows=rows),
        source="order statistics",
        command=f"{command} --only speed",
    )


def _first_answer(package: Path, command: str) -> Finding:
    """Load and answer in fresh processes. Raises RefusedArtefact when the package cannot do so, or needs torch."""
    found: list[dict[str, Any]] = []
    for _ in range(STARTS):
        done = subprocess.run([sys.executable, "-c", FIRST_ANSWER, str(package)], capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no output"]
            raise RefusedArtefact(f"the package does not answer in a fresh process: {last[0]}", do="see the error; the package is not kept")
        found.append(json.loads(done.stdout))
    if any(one["torch"] for one in found):
        raise RefusedArtefact("the package imports torch", do="report this as a bug: a package must run without it")
    seconds = np.array([one["seconds"] for one in found])
    late = float(np.median(seconds)) > START_LIMIT_S
    title = Message("Load and first answer, median")
    method = Message("fresh processes without torch, import included; limit {limit} s", limit=START_LIMIT_S)
    return _time_finding("first_answer", title, seconds, method, command, verdict="limitation" if late else "neutral")


def _time_finding(name: str, title: Message, seconds: np.ndarray, method: Message, command: str, *, verdict: Any = "neutral") -> Finding:
    from weighbridge.evaluation import quantile_interval

    low, high = quantile_interval(seconds)
    return Finding(
        key=f"deployment.{name}",
        title=title,
        value=float(np.median(seconds)),
        interval=(float(low), float(high)),
        unit="s",
        n=len(seconds),
        n_of="repeats",
        verdict=verdict,
        method=method,
        source="order statistics",
        command=f"{command} --only {name}",
    )


def _timed(work: Callable[[int], object], warm_up: int, repeats: int) -> np.ndarray:
    """Return the seconds of each repeat, float64 [repeats]."""
    for number in range(warm_up):
        work(number)
    seconds = np.empty(repeats)
    for number in range(repeats):
        start = time.perf_counter()
        work(number)
        seconds[number] = time.perf_counter() - start
    return seconds
