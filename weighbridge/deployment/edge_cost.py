"""What a device target costs beside the package: bytes, time for one row, memory; in turns on this machine, with one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.errors import FormError
from weighbridge.runtime.package import GRAPH

if TYPE_CHECKING:
    from weighbridge.deployment.edge_build import Built
    from weighbridge.optimization.cost import Quantity, Tail
    from weighbridge.optimization.timing import Opens, Runs
    from weighbridge.preprocessing import Arrays

PACKAGE = "package"
ROUNDS = 15
SECONDS = 0.6  # a graph, of all rounds
IN_CHILD = """
import json, sys

def of(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

def peak():
    try:
        return of("VmHWM")
    except (OSError, StopIteration):
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

import weighbridge.runtime
if sys.argv[2] == "model.onnx":
    import onnxruntime
    load = weighbridge.runtime.load
else:
    from weighbridge.deployment.edge import load
    from weighbridge.export.program import start
    start()
try:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew: torch holds more while it is imported than afterwards
except OSError:
    pass
bare = peak()
model = load(sys.argv[1], threads=1)
for _ in range(20):
    model.check_golden()
print(json.dumps({"extra": peak() - bare, "whole": peak()}))
"""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that a fresh process held at its peak while it loaded a package and answered: beyond its libraries, and in all."""

    extra_bytes: int
    whole_bytes: int


@dataclass(frozen=True, kw_only=True)
class EdgeCost:
    """What a package costs here; ratios are to the run's package.

    Attributes:
        size_bytes: of all its files; graph_bytes: of its graph alone.
        latency: seconds from one encoded row to its answer, median of rounds; p99: what 99 % of calls took at most.
    """

    size_bytes: int
    graph_bytes: int
    latency: Quantity
    p99: Tail
    memory: Memory
    rounds: int
    calls: int


def edge_costs(package: Path, targets: Sequence[Built], inputs: tuple[str, ...], arrays: Arrays) -> dict[str, EdgeCost]:
    """Return what the package (under PACKAGE) and each target cost, timed in turns, each loaded anew in every round.

    With one thread a call takes what the processor worked on it, so that what else the machine does is not in it. Raises PackageError,
    FormError for a package that does not answer in a fresh process.
    """
    from weighbridge.optimization.cost import quantity, tail
    from weighbridge.optimization.timing import course, without_collector

    memory = {PACKAGE: memory_of(package, GRAPH), **{one.target: one.memory for one in targets}}
    graphs = {PACKAGE: package / GRAPH, **{one.target: one.graph for one in targets}}
    folders = {PACKAGE: package, **{one.target: one.folder for one in targets}}
    planned = course(graphs, arrays, seconds=SECONDS, threads=1, kinds=("latency",), opens=_opener(inputs))
    with without_collector():
        seen = [planned.round(number).calls["latency"] for number in range(ROUNDS)]
    medians = [{name: float(np.median(seconds)) for name, seconds in one.items()} for one in seen]
    costs = {}
    for name, graph in graphs.items():
        calls = np.concatenate([one[name] for one in seen])
        costs[name] = EdgeCost(
            size_bytes=sum(path.stat().st_size for path in folders[name].iterdir()), graph_bytes=graph.stat().st_size,
            latency=quantity(medians, name, PACKAGE), p99=tail(calls), memory=memory[name], rounds=ROUNDS,
            calls=len(calls),
        )  # fmt: skip
    return costs


def _opener(inputs: tuple[str, ...]) -> Opens:
    from weighbridge.optimization.timing import open_session

    def opens(graph: Path, threads: int) -> Runs:
        if graph.name == GRAPH:
            return open_session(graph, threads)
        from weighbridge.export.program import Program

        return Program.open(graph, inputs, threads=threads)

    return opens


def memory_of(folder: Path, graph: str) -> Memory:
    """Return what a fresh process holds to load a package and answer its golden rows, one thread. Raises FormError when it fails."""
    environment: Mapping[str, str] = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", IN_CHILD, str(folder), graph]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise FormError(f"{folder.name} does not answer in a fresh process ({last[:200]})", do="see how much memory is free")
    said = json.loads(done.stdout)
    return Memory(extra_bytes=int(said["extra"]), whole_bytes=int(said["whole"]))
