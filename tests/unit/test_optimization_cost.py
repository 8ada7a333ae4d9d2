"""Law: a cost is what a graph costs, not what the machine did meanwhile: equal graphs are found equal, a slower one is found slower."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.unit.form_graphs import layers, numbers, rows
from tests.unit.test_runtime_session import lengths
from weighbridge.errors import FormError, PackageError, Stopped
from weighbridge.evaluation import quantile_interval
from weighbridge.optimization.cost import Cost, Quantity, measure_costs
from weighbridge.optimization.memory import IN_CHILD, peak_memory
from weighbridge.optimization.timing import FEWEST_ROUNDS, ROUNDS, calls_of, course
from weighbridge.runtime.session import Session
from weighbridge.storage.control import StopRequest

NAMES = ("latency", "latency_32", "size", "memory", "speed")
SIZES = (48, 96, 96, 3)


def twice(source: Path, target: Path) -> Path:
    """`target` does the work of `source` twice: its large layer is run again on what it gave, and the first result is kept."""
    model = onnx.load(source)
    again = [
        helper.make_node("Gemm", ["r0", "w1", "b1x"], ["again"], transB=1),
        helper.make_node("Mul", ["again", "nothing"], ["silent"]),
        helper.make_node("Add", ["r0", "silent"], ["r0x"]),
    ]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    place = next(at for at, node in enumerate(nodes) if node.output[0] == "y1")
    nodes[place].input[0] = "r0x"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1e-9), "nothing"))
    model.graph.initializer.append(numpy_helper.from_array(np.full(model.graph.initializer[2].dims[0], 0.5, np.float32), "b1x"))
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:place], *again, *nodes[place:]])
    onnx.save(model, target)
    return target


def test_costs_are_whole_and_the_first_graph_is_their_measure(tmp_path: Path) -> None:
    graphs = {"a": layers(tmp_path / "a.onnx", SIZES), "b": layers(tmp_path / "b.onnx", (48, 32, 3))}
    costs = measure_costs(graphs, numbers(), seconds=0.05)
    first, other = costs["a"], costs["b"]
    assert [(first.price(name).ratio, first.price(name).ratio_interval) for name in NAMES] == [(1, (1, 1))] * 5
    for cost in (first, other):
        assert (cost.rounds, cost.threads) == (ROUNDS, 1)
        assert cost.size_bytes == graphs["a" if cost is first else "b"].stat().st_size
        assert cost.waited >= 1
        assert cost.latency.value <= cost.p99.value
        assert cost.p99.interval[0] <= cost.p99.value <= cost.p99.interval[1]
        for name in NAMES:
            price = cost.price(name)
            assert 0 < price.interval[0] <= price.value <= price.interval[1]
            assert price.ratio_interval[0] <= price.ratio <= price.ratio_interval[1]
    assert other.price("size").ratio == pytest.approx(other.size_bytes / first.size_bytes)
    assert first.price("speed").value == pytest.approx(1 / first.speed.value)
    assert first.speed.value > 32 / first.latency_32.value  # larger batches are not slower a row
    assert first.load.value > first.latency.value


def test_a_cost_is_the_same_after_json(tmp_path: Path) -> None:
    cost = measure_costs({"a": layers(tmp_path / "a.onnx", (48, 3))}, numbers(), seconds=0.01)["a"]
    assert Cost.from_json(json.loads(json.dumps(cost.to_json()))) == cost
    assert Cost.from_json(cost.to_json()) == cost
    with pytest.raises((KeyError, TypeError)):
        Cost.from_json({**cost.to_json(), "latency": {"value": 1}})


def test_rows_a_second_are_inverted_with_their_interval() -> None:
    speed = Quantity(value=200.0, interval=(100.0, 400.0), ratio=2.0, ratio_interval=(1.0, 4.0))
    assert speed.inverse == Quantity(value=0.005, interval=(0.0025, 0.01), ratio=0.5, ratio_interval=(0.25, 1.0))


def test_every_graph_answers_the_same_rows_and_texts_come_in_parts_of_like_length(tmp_path: Path) -> None:
    arrays = rows("texts", 300)
    for count in (1, 32, 256):
        calls = calls_of(arrays, count)
        assert {sum(len(blocks["text.note"]) for blocks in call) for call in calls} == {count}
        again = calls_of(arrays, count)
        assert all(
            np.array_equal(a["text.note"], b["text.note"])
            for one, two in zip(calls, again, strict=True)
            for a, b in zip(one, two, strict=True)
        )
    assert max(len(blocks["text.note"]) for blocks in calls_of(arrays, 256)[0]) == 32
    assert measure_costs({"g": lengths(tmp_path / "g.onnx")}, arrays, seconds=0.01)["g"].calls > 0


def test_few_rows_are_asked_again(tmp_path: Path) -> None:
    assert {len(call[0]["number"]) for call in calls_of(numbers(count=5), 256)} == {256}
    assert measure_costs({"g": layers(tmp_path / "g.onnx", (48, 3))}, numbers(count=5), seconds=0.01)["g"].speed.value > 0


def test_a_slow_graph_takes_a_bounded_time(tmp_path: Path) -> None:
    graph, arrays = layers(tmp_path / "g.onnx", (48, 3000, 3000, 3)), numbers(count=256)
    planned = course({"g": graph}, arrays, seconds=0.02, threads=1)
    assert [(plan.turns, plan.calls) for plan in planned.plans.values()] == [(1, 1)] * 3
    assert planned.plans["speed"].every == ROUNDS // FEWEST_ROUNDS
    assert measure_costs({"g": graph}, arrays, seconds=0.0001)["g"].rounds == FEWEST_ROUNDS


def test_a_stop_is_heeded_between_rounds(tmp_path: Path) -> None:
    import signal

    stop, seen = StopRequest(), list[int]()

    def progress(label: str, done: int, total: int | None, note: str = "") -> None:
        seen.append(done)
        if done == 2:
            stop.signal = signal.SIGTERM

    with pytest.raises(Stopped):
        measure_costs({"g": layers(tmp_path / "g.onnx", (48, 3))}, numbers(), seconds=0.01, progress=progress, stop=stop)
    assert seen == [0, 1, 2]


def test_without_graphs_or_rows_or_with_a_broken_graph_nothing_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure_costs({}, numbers())
    with pytest.raises(ValueError, match="at least one"):
        measure_costs({"g": layers(tmp_path / "g.onnx")}, numbers(count=0))
    with pytest.raises(PackageError, match="can not be read"):
        measure_costs({"g": tmp_path / "gone.onnx"}, numbers())


# memory


def test_memory_is_the_graphs_and_not_the_parents(tmp_path: Path) -> None:
    graph, blocks = layers(tmp_path / "g.onnx", (48, 3)), numbers().blocks
    small = peak_memory(graph, blocks)  # type: ignore[arg-type]
    held = np.ones(40_000_000)  # 320 MB
    beside = peak_memory(graph, blocks)  # type: ignore[arg-type]
    naive = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    inherited = int(subprocess.run([sys.executable, "-c", naive], capture_output=True, text=True, check=True).stdout) * 1024
    if sys.platform == "linux":
        assert inherited > held.nbytes  # a process that does nothing
    assert abs(beside - small) < 2 << 20
    assert small < 40 << 20


def test_a_larger_graph_takes_more_memory(tmp_path: Path) -> None:
    blocks = numbers(count=32).blocks
    small, large = (peak_memory(layers(tmp_path / f"{size}.onnx", (48, size, size, 3)), blocks) for size in (16, 2200))  # type: ignore[arg-type]
    assert large - small > 4 * 2200**2


def test_a_process_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormError, match=r"g\.onnx does not answer in a fresh process"):
        peak_memory(layers(tmp_path / "g.onnx"), {"number": np.ones((1, 5), np.float32)})
    assert "torch" not in IN_CHILD.replace('"torch" in sys.modules', "").replace('"torch":', "")


# trust


def found_apart(graph: Path, calls: list[list[dict[str, np.ndarray]]]) -> bool:
    """Return whether one warm block of calls after the other, each with the interval of its median, tells a graph from itself."""
    intervals = []
    for _ in range(2):
        session = Session.open(graph, threads=1)
        seconds = np.empty(1000)
        for place in range(-50, 1000):
            began = time.perf_counter()
            session.run(calls[place % len(calls)][0])
            seconds[place] = time.perf_counter() - began
        intervals.append(quantile_interval(seconds))
    return intervals[0][1] < intervals[1][0] or intervals[1][1] < intervals[0][0]


@pytest.mark.slow
def test_a_graph_and_its_copy_are_equal_and_the_naive_way_finds_them_apart(tmp_path: Path) -> None:
    graph, arrays = layers(tmp_path / "a.onnx", (48, 160, 160, 3)), numbers(count=300)
    copy = Path(shutil.copy(graph, tmp_path / "b.onnx"))
    repeats = 30
    ratios = [measure_costs({"a": graph, "b": copy}, arrays, seconds=0.15)["b"] for _ in range(repeats)]
    holds = {
        kind: sum(ratio.price(kind).ratio_interval[0] <= 1 <= ratio.price(kind).ratio_interval[1] for ratio in ratios)
        for kind in ("latency", "latency_32", "speed")
    }
    assert min(holds.values()) >= 22, holds  # fewer of 30 would be seen once in 500 times if the intervals held 1 in 90 %
    calls = calls_of(arrays, 1)
    assert sum(found_apart(graph, calls) for _ in range(repeats)) > 2 * (repeats - holds["latency"])  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_graph_that_does_its_work_twice_is_found(tmp_path: Path) -> None:
    graph, arrays = layers(tmp_path / "a.onnx", (48, 512, 512, 3)), numbers(count=300)
    slower = twice(graph, tmp_path / "b.onnx")
    for _ in range(10):
        cost = measure_costs({"a": graph, "b": slower}, arrays, seconds=0.15)["b"]
        assert all(cost.price(kind).ratio_interval[0] > 1 for kind in ("latency", "latency_32", "speed"))
        assert 1.3 < cost.latency_32.ratio < 2.4
