"""Law: what is packaged answers with adjusted probabilities, as fitted on validation rows; what does not fit says why and changes nothing;
the remedies against bad calibration are these keys, and their row says what they did."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from weighbridge import lifecycle, optimization, runtime
from weighbridge.errors import RecipeError
from weighbridge.evaluation import read_predictions
from weighbridge.evaluation.adjustment import Adjustment
from weighbridge.findings import Finding, by_key
from weighbridge.mitigation import Patient, remedies
from weighbridge.optimization import read_chosen
from weighbridge.preprocessing import open_arrays
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.runtime.session import Session
from weighbridge.storage import read_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent

FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}
REFUSALS = [
    ({"probabilities": "isotonic"}, "adjust.isotonic", "fewer than 1,000"),
    ({"thresholds": "x"}, "adjust.thresholds", "no input of type category"),
    ({"probabilities": "isotonic", "thresholds": "other"}, "adjust.thresholds", "no input of type category"),
]


def rows(count: int = 600) -> str:
    """Return a table of two classes of which a group has more, and whose inputs tell a little."""
    random = np.random.default_rng(11)
    group = random.random(count) < 0.5
    label = random.random(count) < np.where(group, 0.65, 0.3)
    x, z = random.normal(size=(2, count)) + 0.8 * label
    names = [("b", "a")[int(one)] for one in group]
    lines = [f"{x[i]:.5f},{z[i]:.5f},{names[i]},{'yes' if label[i] else 'no'}" for i in range(count)]
    return "\n".join(["x,z,group,label", *lines]) + "\n"


def recipe_of(folder: Path, adjust: dict[str, object], **more: dict[str, object]) -> Recipe:
    source = folder / "table.csv"
    source.write_text(rows(), encoding="utf-8")
    data = {"source": source.as_posix(), "target": "label", **more.pop("data", {})}
    model = {"type": "mlp", "hidden": [16], "dropout": 0}
    training = {**FIXED, "model": model, "epochs": 20, "optimizer": {"type": "adamw", "lr": 0.03}, "early_stopping": {"enabled": False}}
    return parse_recipe(
        {
            "name": "run", "data": data, "training": training, "optimization": {"enabled": False, "adjust": adjust}, "audit": False,
            "evaluation": {"resamples": 200, "baselines": [], "slices": False}, **more,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Finding]]:
    folder = tmp_path_factory.mktemp("adjusted")
    recipe = recipe_of(folder, {"probabilities": "temperature", "thresholds": {"column": "group", "alike": "demographic_parity"}})
    return folder / "run", lifecycle.run(recipe, folder / "run")


@pytest.mark.slow
def test_the_form_is_named_by_what_was_done_to_it(run: tuple[Path, list[Finding]]) -> None:
    folder, found = run
    chosen = read_chosen(folder)
    assert chosen.form.name == "recipe+temperature+thresholds"
    assert chosen.form == chosen.champion
    assert chosen.form.network == "training"
    temperature, thresholds = (by_key(found, f"optimization.adjust.{name}") for name in ("temperature", "thresholds"))
    assert temperature is not None
    assert temperature.interval is not None
    assert temperature.interval[0] < temperature.value < temperature.interval[1]  # type: ignore[operator]
    assert thresholds is not None
    assert thresholds.reference is not None
    assert thresholds.value < thresholds.reference.value  # type: ignore[operator]
    assert temperature.command.endswith("--only adjust.temperature")


@pytest.mark.slow
def test_the_package_answers_as_the_adjustment_says(run: tuple[Path, list[Finding]]) -> None:
    folder, _ = run
    graphs = folder / "optimization" / "graphs" / "own"
    plain, form = graphs / "recipe", graphs / "recipe+temperature+thresholds"
    adjustment = Adjustment.from_json(read_json(form / "graph.json")["adjustment"])
    test = open_arrays(folder / "evaluation" / "test")
    expected = adjustment.applied(Session.open(plain / "model.onnx").answer(test), np.asarray(test.blocks["category"]))
    judged = read_predictions(folder / "evaluation" / "test.parquet")
    order = np.argsort(test.row_ids)
    assert np.abs(judged.output - expected[order]).max() < 1e-5
    model = runtime.load(folder / "deployment" / "package")
    said = [model.predict([{"x": 1.0, "z": 0.5, "group": group}]).probabilities[0, 1] for group in ("a", "b")]  # type: ignore[index]
    assert said[0] != said[1]
    assert model.check_golden() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("adjust", "key", "why"), REFUSALS, ids=["few rows", "no category", "no column"])
def test_what_does_not_fit_says_why_and_the_network_is_packaged_as_it_was_trained(
    run: tuple[Path, list[Finding]], adjust: dict[str, object], key: str, why: str, tmp_path: Path
) -> None:
    shutil.copytree(run[0], tmp_path / "run")
    found = optimization.prepare(
        recipe_of(tmp_path, adjust), folder=tmp_path / "run", command="weigh optimize run", progress=silent, stop=StopRequest()
    )
    finding = by_key(found, f"optimization.{key}")
    assert finding is not None
    assert finding.verdict == "unmeasured"
    assert why in str(finding.reason)
    assert read_chosen(tmp_path / "run").form.name == "recipe"


@pytest.mark.slow
def test_a_number_has_nothing_to_adjust(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, {"probabilities": "temperature"}, data={"target": "x"})
    finding = by_key(lifecycle.run(recipe, tmp_path / "run", until="optimization"), "optimization.adjust.temperature")
    assert finding is not None
    assert "the target is a number" in str(finding.reason)


def patient(folder: Path, adjust: dict[str, object], kind: str, validation: int) -> Patient:
    from weighbridge.storage import write_json

    write_json(folder / "preprocessing" / "encoder.json", {"target": {"kind": kind}})
    write_json(folder / "preprocessing" / "validation" / "arrays.json", {"rows": validation})
    return Patient(recipe=recipe_of(folder, adjust), folder=folder, findings=[])


@pytest.mark.parametrize("name", ["temperature", "isotonic"])
def test_a_remedy_is_its_key_and_refuses_what_it_can_not_mend(name: str, tmp_path: Path) -> None:
    remedy = remedies()[name]
    assert remedy.against == "calibration"
    assert dict(remedy.changes(patient(tmp_path, {}, "category", 1000))) == {"optimization.adjust.probabilities": name}
    with pytest.raises(RecipeError, match="the target is a number"):
        remedy.changes(patient(tmp_path, {}, "number", 1000))
    with pytest.raises(RecipeError, match="already"):
        remedy.changes(patient(tmp_path, {"probabilities": "temperature"}, "category", 1000))
    if name == "isotonic":
        with pytest.raises(RecipeError, match="999 validation rows"):
            remedy.changes(patient(tmp_path, {}, "category", 999))


@pytest.mark.slow
def test_a_temperature_mends_an_overconfident_network_and_its_row_says_what_it_cost(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, {}, mitigation=["temperature"], deployment={"enabled": False})  # type: ignore[arg-type]
    overfitted = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": 60})})
    found = lifecycle.run(overfitted, tmp_path / "run", until="mitigation")
    before, row = by_key(found, "evaluation.log_loss"), by_key(found, "mitigation.temperature.evaluation.log_loss")
    assert before is not None
    assert row is not None
    assert row.reference is not None
    assert row.reference.value == before.value
    assert row.verdict == "advantage"
    assert row.reference.difference_interval is not None
    assert row.reference.difference_interval[1] < 0
    assert "optimization.adjust.probabilities: temperature" in str(row.reason)
    assert read_chosen(tmp_path / "run" / "mitigation" / "temperature" / "run").form.name == "recipe+temperature"
