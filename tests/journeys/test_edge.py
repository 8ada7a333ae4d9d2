"""Law: a target for devices stands beside the package only when real rows show that it may stand in for it; what can not be built says why,
and the rest goes on.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.faults.small_runs import AUDIT
from tests.journeys.test_optimization import recipe
from tests.journeys.test_run import table
from weighbridge import lifecycle
from weighbridge.cli.app import app
from weighbridge.data import read_ledger
from weighbridge.deployment import edge_build
from weighbridge.deployment.edge import load
from weighbridge.errors import PackageError
from weighbridge.findings import Finding, by_key, read_findings
from weighbridge.recipe import Recipe, changed
from weighbridge.runtime import Model
from weighbridge.storage import read_json

pytestmark = pytest.mark.slow

WIDE = 0.2  # some dozen validation rows can show no less


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A run with a package, and both targets of the smaller kind."""
    place = tmp_path_factory.mktemp("edge")
    network = {"model": {"type": "mlp", "hidden": [96, 96], "dropout": 0}}  # fewer than 4,096 weights gain nothing in integers
    targets = {"margin": WIDE, "edge": ["executorch", "onnx_int8"]}
    wanted = recipe(table(place), False, training=network, audit=AUDIT, deployment=targets)
    lifecycle.run(wanted, place / "run")
    return wanted, place / "run"


def found(run: Path, name: str) -> Finding:
    finding = by_key(read_findings(run / "findings.jsonl"), f"deployment.edge.{name}")
    assert finding is not None, name
    return finding


def test_a_target_in_integers_that_is_shown_not_to_be_worse_is_kept_with_its_costs(finished: tuple[Recipe, Path]) -> None:
    _, run = finished
    decision = found(run, "onnx_int8")
    assert str(decision.reason).startswith("kept: not worse than the package by more than 20.0 points")
    assert decision.reference is not None
    assert decision.reference.difference_interval is not None
    place = run / "deployment" / "edge" / "onnx_int8"
    model = Model.load(place)
    assert model.check_golden() == 0
    assert model.info.content["form"] == "recipe+onnx_int8"
    assert model.info.content["metric"]["against_package"]["margin"] == WIDE
    assert (place / "sbom.cdx.json").exists()
    assert not (place / "contract.json").exists()  # it is about the package's answers
    assert model.hash != Model.load(run / "deployment" / "package").hash == model.info.content["made_from"]
    for name in ("parity", "test", "size", "latency", "p99", "memory"):
        assert found(run, f"onnx_int8.{name}").value is not None, name
    assert found(run, "onnx_int8.size").value == sum(path.stat().st_size for path in place.iterdir())
    assert not (run / "deployment" / "edge-building").exists()


def test_the_test_rows_are_read_once_for_all_targets(finished: tuple[Recipe, Path]) -> None:
    reads = [str(line["reason"]) for line in read_ledger(finished[1] / "data")]
    assert len([reason for reason in reads if "onnx_int8" in reason]) == 1


def test_executorch_is_kept_where_it_is_installed_and_named_with_its_pip_line_where_it_is_not(finished: tuple[Recipe, Path]) -> None:
    _, run = finished
    decision, place = found(run, "executorch"), run / "deployment" / "edge" / "executorch"
    if find_spec("executorch") is None:
        assert decision.verdict == "unmeasured"
        assert "pip install 'executorch" in str(decision.reason)
        return
    assert str(decision.reason).startswith("kept: its answers are the network's")
    with pytest.raises(PackageError, match=r"holds model.pte.*weighbridge.deployment.edge.load"):
        Model.load(place)
    model = load(place)
    rows = {name: read_json(place / "golden.json")["columns"][name] for name in model.signature}
    one, other = model.predict(rows), Model.load(run / "deployment" / "package").predict(rows)
    assert one.probabilities is not None
    assert other.probabilities is not None
    assert np.abs(one.probabilities - other.probabilities).max() < 1e-4
    assert model.info.name == f"{Model.load(run / 'deployment' / 'package').info.name}-executorch"


def test_weigh_predict_answers_a_target_of_either_kind_as_it_answers_the_package(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    _, run = finished
    columns = read_json(run / "deployment" / "package" / "golden.json")["columns"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in zip(*columns.values(), strict=True)))
    answers = {}
    for name, package in (("package", run / "deployment" / "package"), *((one, run / "deployment" / "edge" / one) for one in kept(run))):
        done = CliRunner().invoke(app, ["predict", str(package), str(rows)])
        assert done.exit_code == 0, done.output
        answers[name] = [line.split(",")[1] for line in done.stdout.splitlines()[1:]]
    assert "onnx_int8" in answers
    assert ("executorch" in answers) == (find_spec("executorch") is not None)
    assert all(len(said) == len(answers["package"]) for said in answers.values())
    assert answers.get("executorch", answers["package"]) == answers["package"]


def kept(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "deployment" / "edge").iterdir())


def test_a_margin_that_the_rows_can_not_show_keeps_nothing_in_integers_and_reads_no_test_row_for_it(
    finished: tuple[Recipe, Path],
) -> None:
    wanted, run = finished
    before = len(read_ledger(run / "data"))
    strict = changed(wanted, {"deployment.margin": 1e-4, "deployment.edge": ["onnx_int8"]}, {})
    lifecycle.run(strict, run)
    decision = found(run, "onnx_int8")
    assert decision.verdict == "limitation"
    assert str(decision.reason).startswith("not kept: the data can not decide")
    assert not (run / "deployment" / "edge" / "onnx_int8").exists()
    assert len(read_ledger(run / "data")) == before + 1  # the acceptance of the package itself


def test_a_planted_target_that_answers_otherwise_is_turned_away_and_one_that_fails_stops_nothing(
    finished: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, run = finished
    make = edge_build.make_graph

    def planted(source: edge_build.Source, target: str, path: Path) -> None:
        """The network with its weights turned round."""
        import torch

        assert source.plain is not None
        with torch.no_grad():
            for weight in source.plain.parameters() if target == "onnx_int8" else ():
                weight.neg_()
        make(source, target, path)

    monkeypatch.setattr(edge_build, "make_graph", planted)
    monkeypatch.setattr(edge_build, "source_of", _without_network(edge_build.source_of, "executorch_int8"))
    bad = changed(wanted, {"deployment.edge": ["executorch_int8", "onnx_int8"]}, {})
    lifecycle.run(bad, run)
    assert str(found(run, "onnx_int8").reason).startswith("not kept: worse than the package")
    assert found(run, "executorch_int8").verdict == "unmeasured"
    assert not (run / "deployment" / "edge" / "onnx_int8").exists()
    assert Model.load(run / "deployment" / "package").check_golden() < 1e-4


def _without_network(source_of: object, target: str) -> object:
    """Return a source whose network can not be given to ExecuTorch, as that of an average can not."""
    assert callable(source_of)
    return lambda *given: replace(source_of(*given), network=None)


def test_the_verb_builds_what_is_named_and_refuses_a_target_that_is_none(finished: tuple[Recipe, Path]) -> None:
    _, run = finished
    refused = CliRunner().invoke(app, ["deploy", "edge", str(run), "--target", "toaster"])
    assert refused.exit_code == 2
    assert "deployment.edge" in refused.output
