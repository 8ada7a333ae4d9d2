"""Law: one recipe and one command take data to a proven package and a balance sheet; what is finished is not done again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weighbridge
from weighbridge import lifecycle
from weighbridge.errors import DataError, RefusedArtefact, RunError, Stopped, TrainingError
from weighbridge.findings import by_key, read_findings
from weighbridge.recipe import Recipe, load_recipe, parse_recipe
from weighbridge.storage.control import StopRequest

pytestmark = pytest.mark.slow  # a minute in sum: left out of the quick set

ROWS = 400


def table(folder: Path, rows: int = ROWS) -> Path:
    """A CSV whose class follows from two of its columns, with a category and a missing value here and there."""
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=rows), rng.normal(size=rows)
    colour = rng.choice(["red", "绿", "blue"], rows)
    label = np.where(x + 0.8 * (colour == "red") + 0.3 * rng.normal(size=rows) > 0.2, "yes", "no")
    lines = ["x,z,colour,label"]
    lines += [f"{'' if i % 37 == 0 else round(x[i], 5)},{z[i]:.5f},{colour[i]},{label[i]}" for i in range(rows)]
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def recipe(source: Path | str, **changes: Any) -> Recipe:
    training = {
        "epochs": 6,
        "batch_size": 32,
        "threads": 1,
        "precision": "fp32",
        "memory_format": "contiguous",
        **changes.pop("training", {}),
    }
    data = {"source": str(source), "target": "label", **changes.pop("data", {})}
    return parse_recipe({"name": "t", "data": data, "training": training, "evaluation": {"resamples": 200}, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    folder = tmp_path_factory.mktemp("journey")
    wanted = recipe(table(folder))
    lifecycle.run(wanted, folder / "run")
    return wanted, folder / "run"


def copy(finished: tuple[Recipe, Path], to: Path) -> tuple[Recipe, Path]:
    shutil.copytree(finished[1], to / "run")
    return finished[0], to / "run"


def test_a_run_leaves_everything_that_the_design_names(finished: tuple[Recipe, Path]) -> None:
    _, folder = finished
    for name in (
        "recipe.yaml",
        "run.json",
        "findings.jsonl",
        "report.html",
        "card.md",
        "data/test_ledger.jsonl",
        "deployment/package/model.onnx",
    ):
        assert (folder / name).exists(), name
    findings = read_findings(folder / "findings.jsonl")
    accuracy = by_key(findings, "evaluation.accuracy")
    assert accuracy is not None
    assert accuracy.interval is not None
    assert accuracy.interval[0] > 0.7
    assert accuracy.headline
    assert {"data", "preprocessing", "training", "optimization", "evaluation", "deployment", "audit"} == {
        finding.stage for finding in findings
    }
    assert all(finding.command for finding in findings if finding.verdict != "unmeasured")


def test_the_stored_recipe_is_the_whole_recipe_and_repeats_the_run(finished: tuple[Recipe, Path]) -> None:
    wanted, folder = finished
    assert load_recipe(folder / "recipe.yaml") == wanted


def test_a_second_run_does_nothing_again_and_a_changed_stage_only_what_reads_it(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    wanted, folder = copy(finished, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/stage.json")}
    lifecycle.run(wanted, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/stage.json")} == before
    changed = wanted.model_copy(update={"evaluation": wanted.evaluation.model_copy(update={"resamples": 201})})
    lifecycle.run(changed, folder)
    redone = {path.parent.name for path in folder.glob("*/stage.json") if path.stat().st_mtime_ns != before[path]}
    assert redone == {"evaluation", "audit", "mitigation", "deployment"}


def test_the_ledger_of_test_reads_outlives_a_repeated_data_stage(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    wanted, folder = copy(finished, tmp_path)
    before = (folder / "data" / "test_ledger.jsonl").read_text()
    lifecycle.run(wanted, folder, until="data", again=("data",))
    assert (folder / "data" / "test_ledger.jsonl").read_text() == before
    entries = [json.loads(line) for line in before.splitlines()]
    assert len(entries) == 3  # evaluation, audit, acceptance
    assert all(entry["reason"] for entry in entries)


def test_the_package_answers_raw_rows_as_the_network_did(finished: tuple[Recipe, Path]) -> None:
    _, folder = finished
    model = weighbridge.load(folder / "deployment" / "package")
    answer = model.predict([{"x": 3.0, "z": 0.0, "colour": "red"}, {"x": -3.0, "z": None, "colour": "绿"}])
    assert answer.labels == ["yes", "no"]


def test_the_same_recipe_data_and_code_give_the_same_model(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    wanted, folder = finished
    lifecycle.run(wanted, tmp_path / "again", until="training")
    hashes = [json.loads((place / "training" / "model.json").read_text())["sha256"] for place in (folder, tmp_path / "again")]
    assert hashes[0] == hashes[1]


class _StopAt:
    """A progress listener that asks for a stop when training has come to a step."""

    def __init__(self, step: int) -> None:
        self.request, self.step = StopRequest(), step

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        if label == "training" and done >= self.step:
            import signal

            self.request.signal = signal.SIGTERM


def test_a_stopped_training_goes_on_and_ends_with_the_same_bits(
    finished: tuple[Recipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, folder = finished
    monkeypatch.setattr("weighbridge.training.loop.SHOW_S", 0.0)
    for step in (3, 17):
        listener = _StopAt(step)
        with pytest.raises(Stopped, match="saved at step") as left:
            lifecycle.run(wanted, tmp_path / "run", until="training", progress=listener, stop=listener.request)
        assert left.value.exit_code == 143
    lifecycle.run(wanted, tmp_path / "run", until="training")
    for name in ("model.safetensors",):
        assert (folder / "training" / name).read_bytes() == (tmp_path / "run" / "training" / name).read_bytes()
    epochs = [json.loads((place / "training" / "history.json").read_text())["epochs"] for place in (folder, tmp_path / "run")]
    assert epochs[0] == epochs[1]


def test_a_second_process_in_the_same_folder_is_told_who_holds_it(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    from weighbridge.storage import FolderLock

    wanted, folder = copy(finished, tmp_path)
    with FolderLock(folder), pytest.raises(RunError, match="in use by process"):
        lifecycle.run(wanted, folder)


def test_a_folder_that_is_no_run_is_left_alone(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not a run"):
        lifecycle.run(finished[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_artefact_that_differs_is_refused_and_no_package_is_left(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    wanted, folder = copy(finished, tmp_path)
    strict = wanted.model_copy(update={"deployment": wanted.deployment.model_copy(update={"tolerance": 1e-30})})
    with pytest.raises(RefusedArtefact, match="refused"):
        lifecycle.run(strict, folder)
    assert not (folder / "deployment" / "package").exists()
    assert (folder / "report.html").exists()
    assert by_key(read_findings(folder / "findings.jsonl"), "deployment.package") is not None


def test_bad_data_harms_no_earlier_result(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    wanted, folder = copy(finished, tmp_path)
    before = (folder / "findings.jsonl").read_bytes()
    with pytest.raises(DataError, match=r"did you mean 'label'"):
        lifecycle.run(recipe(wanted.data.source, data={"target": "lable"}), folder)  # type: ignore[arg-type]
    assert (folder / "findings.jsonl").read_bytes() == before
    assert weighbridge.load(folder / "deployment" / "package").classes == ("no", "yes")


@pytest.mark.parametrize("model", ["linear", "mlp", "transformer"])
def test_every_table_model_runs_through(model: str, tmp_path: Path) -> None:
    lifecycle.run(recipe(table(tmp_path, 200), training={"model": model, "epochs": 2}), tmp_path / "run")
    assert (tmp_path / "run" / "deployment" / "package").exists()


@pytest.mark.parametrize(
    "model", [{"type": "cnn", "size": "xs"}, {"type": "cnn", "size": "xs", "residual": True}, {"type": "mlp", "size": "xs"}]
)
def test_every_image_model_runs_through_and_shows_its_worst_mistakes(model: dict[str, Any], tmp_path: Path) -> None:
    images = parse_recipe(
        {
            "name": "d",
            "data": {"source": "sklearn://digits", "target": "target", "limit": 600},
            "training": {"model": model, "epochs": 2, "augment": {"crop": 1, "mixup": 0.2}},
            "evaluation": {"resamples": 200, "baselines": ["trivial"]},
        }
    )
    lifecycle.run(images, tmp_path / "run")
    mistakes = json.loads((tmp_path / "run" / "evaluation" / "mistakes.json").read_text())["mistakes"]
    assert mistakes
    assert all(mistake["thumbnail"].startswith("data:image/png;base64,") for mistake in mistakes)


def test_a_number_and_a_set_of_labels_are_learnt_and_packaged(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 2))
    lines = ["a,b,y,tags"]
    for a, b in x:
        tags = ";".join(name for name, has in (("hot", a > 0), ("wet", b > 0), ("any", True)) if has)
        lines.append(f"{a:.4f},{b:.4f},{1000 + 3 * a - b:.4f},{tags}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    number = recipe(tmp_path / "t.csv", data={"target": "y", "columns": {"tags": "ignore"}}, training={"epochs": 40})
    lifecycle.run(number, tmp_path / "number")
    r2 = by_key(read_findings(tmp_path / "number" / "findings.jsonl"), "evaluation.r2")
    assert r2 is not None
    assert isinstance(r2.value, float)
    assert r2.value > 0.9
    tags = recipe(tmp_path / "t.csv", data={"target": "tags", "columns": {"tags": "set", "y": "ignore"}}, training={"epochs": 20})
    lifecycle.run(tags, tmp_path / "set")
    answer = weighbridge.load(tmp_path / "set" / "deployment" / "package").predict([{"a": 2.0, "b": -2.0}])
    assert answer.labels == [("any", "hot")]


def test_training_that_meets_infinity_stops_with_a_line_and_keeps_the_last_good_step(tmp_path: Path) -> None:
    wanted = recipe(
        table(tmp_path),
        training={"optimizer": {"type": "sgd", "lr": 99.0}, "model": {"type": "mlp", "activation": "relu"}, "clip": None, "l2": 5.0},
    )
    with pytest.raises(TrainingError, match="stopped before the update"):
        lifecycle.run(wanted, tmp_path / "run")


def test_the_command_says_one_line_and_leaves_with_code_two(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from weighbridge.cli import main; main()", "run", str(tmp_path / "none.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("weigh: there is no recipe")
    assert done.stderr.count("\n") == 1
