"""Law: operations are counted as torch counts them; energy, carbon and money say whether they were measured; nothing is assumed."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.unit import form_graphs
from weighbridge.audit import cost_time, energy, spending
from weighbridge.audit.controls_cost import random_graph
from weighbridge.audit.cost_time import Bulk, answered_in_bulk
from weighbridge.audit.energy import Power, estimated_power, mix_of
from weighbridge.audit.flops_graph import graph_work
from weighbridge.audit.flops_network import network_flops
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.errors import PackageError, Stopped
from weighbridge.findings import Finding
from weighbridge.preprocessing import Arrays
from weighbridge.recipe.audit import CostOptions
from weighbridge.runtime.session import each_once
from weighbridge.storage import write_json
from weighbridge.storage.control import StopRequest

BULK = Bulk(seconds=1e-5, interval=(0.9e-5, 1.2e-5), rows=500, repeats=15, joules=None)
POWER = Power(processor="a processor", thread_w=4.0, memory_w=10.0)


@pytest.mark.parametrize(
    "kind", ["mlp", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("cnn", "columns", "texts", "lstm", "gru"))]
)
def test_a_graph_and_its_network_take_the_same_operations(kind: str, tmp_path: Path) -> None:
    path = form_graphs.export(kind, tmp_path / "m.onnx")
    blocks, _ = next(each_once(form_graphs.rows(kind, 4)))
    network = form_graphs.network(kind)
    work = graph_work(path.read_bytes(), blocks)
    assert work.total == network_flops(network, blocks) > 0
    assert not network.training
    assert work.uncounted == ()


@pytest.mark.parametrize("seed", range(5))
def test_random_layers_are_counted_exactly(seed: int) -> None:
    content, blocks, total = random_graph(seed, more=bool(seed % 2))
    assert graph_work(content, blocks).total == total


def test_weights_are_counted_and_shapes_and_scales_of_integers_are_not(tmp_path: Path) -> None:
    from weighbridge.export.static import int8_static

    path = form_graphs.export("mlp", tmp_path / "m.onnx")
    int8_static(path, tmp_path / "i.onnx", form_graphs.rows("mlp", 32))
    blocks, _ = next(each_once(form_graphs.rows("mlp", 4)))
    plain = graph_work(path.read_bytes(), blocks).parameters
    assert plain == sum(weight.numel() for weight in form_graphs.network("mlp").parameters())
    assert graph_work((tmp_path / "i.onnx").read_bytes(), blocks).parameters == pytest.approx(plain, rel=0.01)


def test_comparisons_of_trees_are_their_depths() -> None:
    from onnx import TensorProto, helper, numpy_helper

    attributes = {
        "tree_roots": [0, 2], "nodes_featureids": [0, 0, 0], "nodes_truenodeids": [0, 1, 3], "nodes_trueleafs": [1, 1, 1],
        "nodes_falsenodeids": [1, 2, 4], "nodes_falseleafs": [0, 1, 1], "leaf_targetids": [0] * 5, "n_targets": 1, "aggregate_function": 1,
        "post_transform": 0,
        "nodes_modes": numpy_helper.from_array(np.zeros(3, np.uint8), "modes"),
        "nodes_splits": numpy_helper.from_array(np.zeros(3, np.float32), "splits"),
        "leaf_weights": numpy_helper.from_array(np.arange(5, dtype=np.float32), "weights"),
    }  # fmt: skip
    node = helper.make_node("TreeEnsemble", ["x"], ["output"], domain="ai.onnx.ml", **attributes)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("x", "output")]
    graph = helper.make_graph([node], "trees", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)], ir_version=10)
    work = graph_work(model.SerializeToString(), {"x": np.zeros((2, 1), np.float32)})
    assert (work.comparisons, work.total) == (3, 0)


def test_what_the_counter_does_not_know_is_named() -> None:
    from onnx import TensorProto, helper

    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("x", "output")]
    node = helper.make_node("Einsum", ["x"], ["output"], equation="ij->ij")
    model = helper.make_model(
        helper.make_graph([node], "e", info[:1], info[1:]), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    assert graph_work(model.SerializeToString(), {"x": np.zeros((2, 2), np.float32)}).uncounted == ("Einsum",)


def test_a_graph_that_can_not_be_run_is_refused() -> None:
    content, blocks, _ = random_graph(0)
    with pytest.raises(PackageError):
        graph_work(content, {"x": blocks["x"][:, :, :1]})


@pytest.mark.parametrize("count", [3, 700])
def test_rows_in_bulk_are_timed_whether_there_are_few_or_many(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_time, "BULK_S", 0.1)
    content, blocks, _ = random_graph(0)
    (tmp_path / "m.onnx").write_bytes(content)
    rows = Arrays(
        blocks={"x": np.resize(blocks["x"], (count, *blocks["x"].shape[1:]))}, target=None, stored_ids=np.arange(count).astype("S4")
    )
    subject: Any = SimpleNamespace(arrays={"test": rows}, stop=StopRequest())
    bulk = answered_in_bulk(subject, tmp_path / "m.onnx")
    assert 0 < bulk.interval[0] <= bulk.seconds <= bulk.interval[1]
    assert bulk.rows == count
    subject.stop.signal = signal.SIGTERM
    with pytest.raises(Stopped):
        answered_in_bulk(subject, tmp_path / "m.onnx")


class Run:
    """A run's marks, and what the audit asks of a subject."""

    unmeasured = Subject.unmeasured

    def __init__(self, folder: Path, *, cpu: bool = True, joules: float | None = None, device: str = "cpu", **rates: Any) -> None:
        self.folder, self.command, self.training_s = folder, "weigh audit r", 20.0
        self.recipe = SimpleNamespace(audit=SimpleNamespace(cost=CostOptions(**rates)))
        for name in spending.STAGES:
            mark = {"seconds": 10.0} | ({"cpu_seconds": 15.0} if cpu else {}) | ({} if joules is None else {"joules": joules})
            write_json(folder / name / "stage.json", mark)
        write_json(folder / "training" / "plan.json", {"device": device})


@pytest.fixture
def power(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "estimated_power", lambda: POWER)


def found(run: Run, bulk: Bulk = BULK) -> dict[str, Finding]:
    findings = spending.spending_findings(run, bulk)  # type: ignore[arg-type]
    return {one.key.removeprefix("audit.cost."): one for one in findings}


@pytest.mark.usefixtures("power")
def test_without_a_counter_energy_is_estimated_from_measured_seconds_and_says_so(tmp_path: Path) -> None:
    said = found(Run(tmp_path))
    # five stages of 10 s and 15 s of processors; the training was taken up again: 20 s in all, so it counts twice
    assert said["run"].value == 6 * 15.0
    assert said["energy.run"].value == pytest.approx((90 * 4 + 60 * 10) / 3600)
    assert said["energy.run"].method.template.startswith("estimated")
    assert said["energy.million"].value == pytest.approx(10 * 14 / 3600)
    assert said["energy.million"].interval == pytest.approx((9 * 14 / 3600, 12 * 14 / 3600))


def test_where_counters_were_read_energy_is_measured(tmp_path: Path) -> None:
    said = found(Run(tmp_path, joules=360.0), Bulk(seconds=1e-5, interval=(1e-5, 1e-5), rows=1, repeats=6, joules=0.0036))
    assert said["energy.run"].value == pytest.approx(6 * 360 / 3600)
    assert said["energy.million"].value == pytest.approx(1.0)
    assert said["energy.run"].method.template.startswith("measured")


@pytest.mark.usefixtures("power")
def test_carbon_and_price_follow_the_recipe_and_without_it_are_not_measured(tmp_path: Path) -> None:
    bare = found(Run(tmp_path))
    assert {bare[name].verdict for name in ("carbon.run", "carbon.million", "price.run", "price.million")} == {"unmeasured"}
    pytest.importorskip("codecarbon")
    said = found(Run(tmp_path, country="FRA", hour_price=2.0, kwh_price=0.25))
    energy_run = said["energy.run"].value
    assert isinstance(energy_run, float)
    assert said["carbon.run"].value == pytest.approx(energy_run / 1e3 * mix_of("fra").g_per_kwh)
    assert said["price.run"].value == pytest.approx(60 / 3600 * 2 + energy_run / 1e3 * 0.25)
    assert said["price.run"].unit == "EUR"
    assert said["price.million"].interval is not None


@pytest.mark.usefixtures("power")
def test_a_country_that_is_not_known_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("codecarbon")
    said = found(Run(tmp_path, country="XXZ"))
    assert "XXZ" in str(said["carbon.run"].reason)
    assert said["energy.run"].verdict == "neutral"


@pytest.mark.usefixtures("power")
def test_a_run_that_did_not_count_its_processors_is_not_guessed(tmp_path: Path) -> None:
    said = found(Run(tmp_path, cpu=False))
    assert said["run"].verdict == "unmeasured"
    assert "energy.run" not in said
    assert said["energy.million"].verdict == "neutral"


@pytest.mark.usefixtures("power")
def test_a_training_on_a_device_without_a_counter_is_not_estimated_from_the_processor(tmp_path: Path) -> None:
    said = found(Run(tmp_path, device="cuda"))
    assert said["energy.run"].verdict == "unmeasured"
    assert said["energy.million"].verdict == "neutral"


def test_without_codecarbon_energy_is_not_measured_and_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("codecarbon", "codecarbon.core", "codecarbon.core.cpu", "codecarbon.input"):
        monkeypatch.setitem(sys.modules, name, None)
    energy.estimated_power.cache_clear()
    with pytest.raises(Unmeasured, match="pip install"):
        mix_of("FRA")
    said = found(Run(tmp_path, hour_price=1.0))
    assert said["energy.million"].verdict == "unmeasured"
    assert "pip install" in str(said["energy.million"].reason)
    assert said["price.million"].value == pytest.approx(10 / 3600)


@pytest.mark.slow
def test_this_machine_has_a_power_by_codecarbons_constants() -> None:
    pytest.importorskip("codecarbon")
    energy.estimated_power.cache_clear()
    known = estimated_power()
    assert 0 < known.thread_w < 1000
    assert 0 < known.memory_w < 1000
