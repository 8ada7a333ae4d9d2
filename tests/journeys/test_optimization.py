"""Law: what is packaged is the lightest form that is not measurably worse than the most capable model, and everything that is said of the
model is said of that form. What can not be made is a finding and the rest goes on; what was trained is not trained again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weighbridge
from tests.journeys.test_run import table
from weighbridge import lifecycle
from weighbridge.data import read_ledger
from weighbridge.evaluation import read_predictions
from weighbridge.findings import Finding, by_key
from weighbridge.optimization import read_chosen
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage import read_json, sha256_file

pytestmark = pytest.mark.slow

FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "memory_format": "contiguous", "device": "cpu", "compile": False}
WIDE = {"margin": 0.2}  # some dozen validation rows can show no less


def recipe(source: Path | str, optimization: Any, **more: Any) -> Recipe:
    network = {"model": {"type": "mlp", "hidden": [64], "dropout": 0}, "optimizer": {"type": "adamw", "lr": 0.02}}
    training = {**FIXED, "epochs": 12, **network, **more.pop("training", {})}
    data = {"source": str(source), "target": "label", **more.pop("data", {})}
    evaluation = {"resamples": 200, "slices": False, **more.pop("evaluation", {})}
    return parse_recipe({"name": "t", "data": data, "training": training, "evaluation": evaluation, "optimization": optimization, **more})


def found(run: Path, key: str) -> Finding:
    from weighbridge.findings import read_findings

    finding = by_key(read_findings(run / "findings.jsonl"), key)
    assert finding is not None, key
    return finding


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def finished(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A run that tries forms with and without training, a candidate network and a baseline."""
    run = tmp_path_factory.mktemp("optimized") / "run"
    forms = ["half", "int8_weights", "structured:0.25", "structured:0.25+half", "student", "magnitude:0.5", "int4"]
    wanted = recipe(
        source,
        {
            "candidates": {"small": {"training.model.hidden": [8]}, "other": {"preprocessing.number.scale": "quantile"}},
            "compression": {"forms": forms, "student": {"training.model.hidden": [4]}, "features": 0.1},
            "choice": {**WIDE, "cost": "size"},
        },
    )
    lifecycle.run(wanted, run)
    return wanted, run


def test_the_packaged_form_is_the_chosen_one_and_not_the_whole_network(finished: tuple[Recipe, Path]) -> None:
    _, run = finished
    chosen = read_chosen(run)
    choice = found(run, "optimization.choice")
    assert choice.value == chosen.form.name != chosen.champion.name
    package = json.loads((run / "deployment" / "package" / "package.json").read_text())
    assert (package["form"], package["model_sha256"]) == (chosen.form.name, chosen.form.sha256)
    assert (run / "deployment" / "package" / "model.onnx").read_bytes() == (run / chosen.form.graph).read_bytes()


def test_the_chosen_form_is_the_cheapest_of_those_that_are_not_inferior(finished: tuple[Recipe, Path]) -> None:
    _, run = finished
    drawn = read_json(run / "optimization" / "frontier.json")
    passed = [one for one in drawn["models"] if one["decision"] in ("chosen", "not inferior")]
    assert min(passed, key=lambda one: one["costs"]["size"])["name"] == drawn["chosen"]
    champion = next(one for one in drawn["models"] if one["name"] == drawn["champion"])
    assert champion["value"] == max(one["value"] for one in drawn["models"] if one["role"] in ("champion", "rival"))


def test_what_evaluation_says_is_said_of_the_package(finished: tuple[Recipe, Path]) -> None:
    _, run = finished
    from weighbridge.data import open_data

    model = weighbridge.load(run / "deployment" / "package")
    rows = open_data(run / "data").test("the test itself", "pytest")
    batch = next(rows.batches(10_000))
    said = read_predictions(run / "evaluation" / "test.parquet")
    outputs = model.outputs(batch.columns, len(batch))
    assert np.allclose(outputs[np.argsort(batch.row_ids, kind="stable")], said.output, atol=1e-6)
    assert found(run, "deployment.parity").value < 1e-6  # type: ignore[operator]
    assert found(run, "evaluation.accuracy").value == pytest.approx(float((said.chosen == said.target).mean()))


def test_the_chosen_form_stands_beside_the_most_capable_model_on_the_test_rows_once(finished: tuple[Recipe, Path]) -> None:
    _, run = finished
    statement = found(run, "evaluation.choice")
    assert statement.n == len(read_predictions(run / "evaluation" / "champion.parquet"))
    assert statement.reference is not None
    reads = [str(entry["reason"]) for entry in read_ledger(run / "data") if "test itself" not in str(entry["reason"])]
    assert [reason.split(" of ")[0] for reason in reads] == ["evaluation", "audit", "acceptance"]


def test_every_form_that_was_asked_for_stands_or_says_why_not(finished: tuple[Recipe, Path]) -> None:
    wanted, run = finished
    drawn = {one["name"] for one in read_json(run / "optimization" / "frontier.json")["models"]}
    champion = read_chosen(run).champion.name
    from weighbridge.findings import read_findings

    said = {finding.key: finding for finding in read_findings(run / "findings.jsonl")}
    forms = wanted.optimization.compression.forms
    assert isinstance(forms, list)
    for form in forms:
        name = f"{champion}+{form}"
        failed = said.get(f"optimization.made.{name}")
        assert (name in drawn) != (failed is not None), name
        assert failed is None or (failed.verdict == "unmeasured" and str(failed.reason))
    assert {"trivial", "linear", "boosting", "recipe", "small", "other"} <= drawn


def test_forms_with_less_in_them_are_smaller_and_run_without_torch(finished: tuple[Recipe, Path]) -> None:
    _, run = finished
    models = {one["name"]: one for one in read_json(run / "optimization" / "frontier.json")["models"]}
    champion = read_chosen(run).champion.name
    whole = models[champion]
    for step in ("half", "structured:0.25", "student"):
        if (form := models.get(f"{champion}+{step}")) is not None:
            assert form["costs"]["size"] < whole["costs"]["size"], step
    program = f"""
import sys, weighbridge
weighbridge.load({str(run / "deployment" / "package")!r}).check_golden()
print([name for name in ("torch", "sklearn", "onnx") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_another_margin_chooses_again_and_trains_nothing(finished: tuple[Recipe, Path]) -> None:
    wanted, run = finished
    weights = {path: path.stat().st_mtime_ns for path in (run / "optimization" / "networks").rglob("model.safetensors")}
    assert weights
    choice = wanted.optimization.choice.model_copy(update={"margin": 0.001})
    narrow = wanted.model_copy(update={"optimization": wanted.optimization.model_copy(update={"choice": choice})})
    lifecycle.run(narrow, run)
    chosen = read_chosen(run)
    assert chosen.form == chosen.champion  # so few rows can not show that
    assert found(run, "optimization.choice").value == chosen.champion.name
    assert json.loads((run / "deployment" / "package" / "package.json").read_text())["form"] == chosen.champion.name
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
    lifecycle.run(wanted, run)
    assert read_chosen(run).form != read_chosen(run).champion


def test_forms_that_are_no_longer_asked_for_are_gone(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    import shutil

    wanted, run = finished
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    less = wanted.optimization.compression.model_copy(update={"forms": ["half"]})
    lifecycle.run(wanted.model_copy(update={"optimization": wanted.optimization.model_copy(update={"compression": less})}), copy)
    assert not list((copy / "optimization").rglob("*structured*"))
    off = wanted.model_copy(update={"optimization": wanted.optimization.model_copy(update={"enabled": False})})
    lifecycle.run(off, copy)
    assert [path.name for path in (copy / "optimization" / "graphs").rglob("*.onnx")] == []
    assert found(copy, "optimization.choice").verdict == "unmeasured"
    assert json.loads((copy / "deployment" / "package" / "package.json").read_text())["form"] == "recipe"


def test_a_baseline_that_is_the_most_capable_is_the_package(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(-1, 1, (900, 2))
    lines = ["a,b,label", *(f"{x:.4f},{y:.4f},{'yes' if (x > 0) != (y > 0) else 'no'}" for x, y in points)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wanted = recipe(tmp_path / "t.csv", {"candidates": ["boosting"], "compression": {"forms": []}}, training={"model": {"type": "linear"}})
    lifecycle.run(wanted, tmp_path / "run")
    assert read_chosen(tmp_path / "run").form.name == "boosting"
    model = weighbridge.load(tmp_path / "run" / "deployment" / "package")
    assert model.predict([{"a": 0.5, "b": -0.5}, {"a": 0.5, "b": 0.5}]).labels == ["yes", "no"]
    from weighbridge.findings import read_findings

    keys = {finding.key for finding in read_findings(tmp_path / "run" / "findings.jsonl")}
    assert "evaluation.against.linear" in keys
    assert "evaluation.against.boosting" not in keys  # it is the model itself


def test_a_form_of_another_preprocessing_is_packaged_with_its_own_columns(source: Path, tmp_path: Path) -> None:
    wanted = recipe(
        source,
        {
            "candidates": {"narrow": {"preprocessing.number.scale": "robust", "training.model.hidden": [4], "training.epochs": 30}},
            "compression": {"forms": []},
            "choice": {**WIDE, "cost": "size"},
        },
    )
    lifecycle.run(wanted, tmp_path / "run")
    chosen = read_chosen(tmp_path / "run")
    assert chosen.form.name == "narrow"
    package = json.loads((tmp_path / "run" / "deployment" / "package" / "package.json").read_text())
    assert package["encoder"] == read_json(tmp_path / "run" / chosen.form.arrays / "encoder.json")
    assert package["encoder"] != read_json(tmp_path / "run" / "preprocessing" / "encoder.json")


def test_folds_judge_every_row_and_the_packaged_network_is_that_of_the_runs_own_split(source: Path, tmp_path: Path) -> None:
    wanted = recipe(
        source,
        {"cross_validation": {"folds": 3}, "compression": {"forms": ["half", "structured"]}, "choice": {"margin": 0.1, "cost": "size"}},
    )
    lifecycle.run(wanted, tmp_path / "run")
    run = tmp_path / "run"
    judged = read_predictions(run / "optimization" / "judged" / "recipe.parquet")
    ids = {row for split in ("train", "validation") for row in read_predictions(run / "evaluation" / f"{split}.parquet").row_id}
    assert set(judged.row_id) == ids
    assert found(run, "optimization.choice.recipe+half").n == len(ids)
    networks = sorted(path.name for path in (run / "optimization" / "networks").iterdir())
    assert networks == ["fold-1", "fold-2", "fold-3", "own"]  # own: the structured form


def test_seeds_are_averaged_and_a_soup_is_made_and_each_is_kept_only_where_it_is_better(source: Path, tmp_path: Path) -> None:
    wanted = recipe(source, {"ensembles": {"soup": 2, "soup_epochs": 0.5}, "compression": {"forms": []}}, training={"seeds": 3})
    lifecycle.run(wanted, tmp_path / "run", until="optimization")
    for name in ("average", "soup"):
        finding = found(tmp_path / "run", f"optimization.ensemble.{name}")
        assert finding.reference is not None
        kept = finding.reference.p_value < 0.05 and finding.value > 0  # type: ignore[operator]
        assert (finding.verdict == "advantage") == kept
    average = sha256_file(tmp_path / "run" / "optimization" / "graphs" / "own" / "average" / "model.onnx")
    assert average not in {sha256_file(path) for path in (tmp_path / "run").rglob("seed-*/model.onnx")}


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("structured", "linear"),
        ("int8_static", "no large linear layer"),
    ],
)
def test_a_form_that_can_not_be_made_says_why_and_the_run_goes_on(source: Path, tmp_path: Path, form: str, words: str) -> None:
    wanted = recipe(source, {"compression": {"forms": [form]}}, training={"model": {"type": "linear"}, "epochs": 2})
    lifecycle.run(wanted, tmp_path / "run")
    failed = found(tmp_path / "run", f"optimization.made.recipe+{form}{':0.5' if form == 'structured' else ''}")
    assert failed.verdict == "unmeasured"
    assert words in str(failed.reason)
    assert read_chosen(tmp_path / "run").form.name == "recipe"
    assert (tmp_path / "run" / "deployment" / "package" / "manifest.json").exists()


def test_a_validation_split_too_small_to_decide_says_how_many_more_rows_would(source: Path, tmp_path: Path) -> None:
    wanted = recipe(source, {"compression": {"forms": ["half"]}, "choice": {"margin": 0.005, "cost": "size"}})
    lifecycle.run(wanted, tmp_path / "run", until="optimization")
    undecided = found(tmp_path / "run", "optimization.choice.recipe+half")
    assert undecided.verdict == "neutral"
    assert int(undecided.reason.values["more"]) > 100  # type: ignore[arg-type]
    assert "can not decide" in str(undecided.reason)


def test_a_number_is_chosen_by_its_error_and_a_set_by_its_f1(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    label = x @ [2.0, -1.0, 0.5] + 0.1 * rng.normal(size=400)
    tags = [";".join(name for name, value in zip("abc", row, strict=True) if value > -0.5) or "none" for row in x]
    lines = ["p,q,r,label,tags", *(f"{a:.4f},{b:.4f},{c:.4f},{y:.4f},{t}" for (a, b, c), y, t in zip(x, label, tags, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, target, columns in (("number", "label", {"tags": "ignore"}), ("set", "tags", {"label": "ignore", "tags": "set"})):
        wanted = recipe(
            tmp_path / "t.csv",
            {"compression": {"forms": ["half", "student"], "student": {"training.model.hidden": [4]}}, "choice": {**WIDE, "cost": "size"}},
            data={"target": target, "columns": columns},
        )
        lifecycle.run(wanted, tmp_path / name)
        assert found(tmp_path / name, "optimization.choice.recipe+half").value is not None
        assert read_chosen(tmp_path / name).form.name != "recipe"


def test_the_scale_study_is_added_without_making_anything_else_again(source: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    wanted = recipe(source, {"compression": {"forms": ["half"]}}, training={"epochs": 3})
    lifecycle.run(wanted, run)
    package = (run / "deployment" / "package" / "manifest.json").stat().st_mtime_ns
    scale = {"enabled": True, "widths": [0.25, 0.5, 1.0], "fractions": [0.25, 0.5, 1.0], "repeats": 1, "rates": [0.5, 1.0]}
    section = wanted.optimization.model_copy(update={"scale": type(wanted.optimization.scale).model_validate(scale)})
    lifecycle.run(wanted.model_copy(update={"optimization": section}), run)
    points = sorted(path.name for path in (run / "optimization" / "scale").glob("*.json"))
    assert len(points) >= 9
    assert found(run, "optimization.scale.prediction").value is not None
    assert (run / "deployment" / "package" / "manifest.json").stat().st_mtime_ns == package
    assert read_json(run / "optimization" / "scale.json")["runs"]
