"""Law: further seeds and the learning curve can be killed and taken up again, and they change nothing of what one seed gave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge import lifecycle
from weighbridge.errors import RunError, Stopped
from weighbridge.findings import Finding, by_key, read_findings
from weighbridge.recipe import Recipe, load_recipe, parse_recipe
from weighbridge.stages.evaluation import measure_again
from weighbridge.storage import FolderLock
from weighbridge.storage.control import StopRequest

pytestmark = pytest.mark.slow

ROWS = 900
CURVE = {"enabled": True, "sizes": 5, "repeats": 3}


def table(folder: Path) -> Path:
    """A CSV whose label follows from x, but for the colour violet, where it is drawn by lot."""
    random = np.random.default_rng(5)
    x, colour = random.normal(size=ROWS), random.choice(["red", "green", "violet"], ROWS, p=[0.4, 0.4, 0.2])
    label = np.where(colour == "violet", random.random(ROWS) < 0.5, x > 0)
    path = folder / "table.csv"
    lines = [f"{x[i]:.5f},{colour[i]},{'yes' if label[i] else 'no'}" for i in range(ROWS)]
    path.write_text("\n".join(["x,colour,label", *lines]) + "\n", encoding="utf-8")
    return path


def recipe(source: Path, **changes: Any) -> Recipe:
    training = {"epochs": 4, "batch_size": 16, "threads": 1, "precision": "fp32", **changes.pop("training", {})}
    evaluation = {"resamples": 200, "baselines": ["trivial"], **changes.pop("evaluation", {})}
    data = {"source": str(source), "target": "label", "split": {"validation": 0.25, "test": 0.35}}
    return parse_recipe({"name": "t", "data": data, "training": training, "evaluation": evaluation, "deployment": {"enabled": False}})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    folder = tmp_path_factory.mktemp("spread")
    wanted = recipe(table(folder), training={"seeds": 3}, evaluation={"learning_curve": CURVE})
    lifecycle.run(wanted, folder / "run")
    return wanted, folder / "run"


def found(folder: Path, key: str) -> Finding:
    finding = by_key(read_findings(folder / "findings.jsonl"), key)
    assert finding is not None, key
    return finding


def hashes(folder: Path) -> list[str]:
    places = [folder / "training", *(folder / "training" / "seeds" / str(number) for number in (2, 3))]
    return [str(json.loads((place / "model.json").read_text())["sha256"]) for place in places]


def test_one_seed_gives_the_very_same_model_and_says_what_it_can_not_tell(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    wanted, folder = finished
    lifecycle.run(recipe(Path(str(wanted.data.source))), tmp_path / "one")
    one = json.loads((tmp_path / "one" / "training" / "model.json").read_text())["sha256"]
    assert one == hashes(folder)[0]
    assert len(set(hashes(folder))) == 3
    unknown = found(tmp_path / "one", "evaluation.seeds")
    assert unknown.verdict == "unmeasured"
    assert unknown.command.endswith("--set training.seeds=5")
    assert (tmp_path / "one" / "recipe.yaml").as_posix() in unknown.command
    assert found(tmp_path / "one", "evaluation.learning_curve").verdict == "unmeasured"


def test_more_seeds_are_added_to_those_that_were_trained(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    """From 3 to 4, and back to 3: no network that is there is trained again, and the fourth is that of a run of four from its start."""
    wanted, folder = finished
    place, source = tmp_path / "run", Path(str(wanted.data.source))
    shutil.copytree(folder, place)
    kept = {path: path.stat().st_mtime_ns for path in (place / "training" / "seeds").rglob("*") if path.is_file()}
    lifecycle.run(recipe(source, training={"seeds": 4}), place, until="training")
    assert hashes(place) == hashes(folder)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert seconds(place / "training") == pytest.approx(seconds(folder / "training"), abs=0.02), "the first seed was trained again"
    lifecycle.run(recipe(source, training={"seeds": 4}), tmp_path / "four", until="training")
    fourth = [json.loads((at / "training" / "seeds" / "4" / "model.json").read_text())["sha256"] for at in (place, tmp_path / "four")]
    assert fourth[0] == fourth[1]
    lifecycle.run(recipe(source, training={"seeds": 3}), place)
    assert hashes(place) == hashes(folder)
    assert found(place, "evaluation.seeds").n == 3


def seconds(training: Path) -> float:
    return float(json.loads((training / "history.json").read_text())["seconds"])


def test_the_spread_rests_on_stored_answers_and_its_reading_of_the_test_rows_is_recorded(finished: tuple[Recipe, Path]) -> None:
    _, folder = finished
    finding = found(folder, "evaluation.seeds")
    assert finding.n == 3
    assert "The first seed is packaged" in str(finding.method)
    stored = json.loads((folder / "evaluation" / "seeds.json").read_text())
    assert [row["seed"] for row in stored["seeds"]] == [1, 2, 3]
    assert all(
        (folder / "evaluation" / "seeds" / f"{number}-{split}.parquet").exists() for number in (2, 3) for split in ("test", "validation")
    )
    reasons = [json.loads(line)["reason"] for line in (folder / "data" / "test_ledger.jsonl").read_text().splitlines()]
    assert any("spread over 3 training seeds" in reason and "none of them is chosen" in reason for reason in reasons)
    assert measure_again(folder, "seeds")[0].value == finding.value


def test_the_planted_slice_stands_on_the_sheet_in_words(finished: tuple[Recipe, Path]) -> None:
    finding = found(finished[1], "evaluation.slices")
    assert finding.verdict == "limitation"
    assert "colour = violet" in str(finding.title)
    assert measure_again(finished[1], "slices")[0].value == finding.value


def test_the_curve_never_reads_test_rows_and_leaves_no_weights(finished: tuple[Recipe, Path]) -> None:
    _, folder = finished
    place = folder / "evaluation" / "learning_curve"
    assert len(list(place.glob("*.json"))) == 15
    assert [path for path in place.iterdir() if path.is_dir()] == []
    finding = found(folder, "evaluation.learning_curve")
    assert finding.n == 15
    assert "times the training rows" in str(finding.reason)
    assert measure_again(folder, "learning_curve")[0].value == finding.value
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(f'caption-{name}"' in page for name in ("seeds", "learning-curve", "slices"))


class _StopAt:
    """A listener that asks for a stop when work under this label has come to a step."""

    def __init__(self, label: str, step: int) -> None:
        self.request, self.label, self.step, self.seen = StopRequest(), label, step, set[str]()

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        self.seen.add(label)
        if label == self.label and done >= self.step:
            self.request.signal = signal.SIGTERM


def test_a_run_stopped_within_a_seed_and_within_the_curve_ends_with_the_same_bits(
    finished: tuple[Recipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, folder = finished
    monkeypatch.setattr("weighbridge.training.loop.SHOW_S", 0.0)
    for label in ("training, seed 2 of 3", "learning curve, training 4 of 15"):
        listener = _StopAt(label, 2)
        with pytest.raises(Stopped):
            lifecycle.run(wanted, tmp_path / "run", progress=listener, stop=listener.request)
        assert label in listener.seen
    last = _StopAt("", 0)
    lifecycle.run(wanted, tmp_path / "run", progress=last)
    assert hashes(tmp_path / "run") == hashes(folder)
    assert "learning curve, training 3 of 15" not in last.seen  # finished: not run again
    for name in ("seeds.json", "learning_curve.json", "slices.json"):
        assert (tmp_path / "run" / "evaluation" / name).read_bytes() == (folder / "evaluation" / name).read_bytes()


def test_a_killed_learning_curve_goes_on_and_ends_with_the_same_figures(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    wanted, folder = finished
    place = tmp_path / "run" / "evaluation" / "learning_curve"
    program = (
        "from pathlib import Path; from weighbridge import lifecycle; from weighbridge.recipe import load_recipe; "
        f"lifecycle.run(load_recipe(Path({str(folder / 'recipe.yaml')!r})), Path({str(tmp_path / 'run')!r}))"
    )
    child = subprocess.Popen([sys.executable, "-c", program], env=os.environ)
    deadline = time.monotonic() + 400
    while child.poll() is None and len(list(place.glob("*.json"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in place.glob("*.json")}
    assert 4 <= len(kept) < 15
    lifecycle.run(wanted, tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (place.parent / "learning_curve.json").read_bytes() == (folder / "evaluation" / "learning_curve.json").read_bytes()


def test_what_a_run_did_not_measure_is_named_in_one_line_and_a_folder_in_use_is_left_alone(
    finished: tuple[Recipe, Path], tmp_path: Path
) -> None:
    wanted, folder = finished
    lifecycle.run(recipe(Path(str(wanted.data.source)), evaluation={"slices": False}), tmp_path / "plain")
    for name in ("learning_curve", "seeds", "slices"):
        with pytest.raises(RunError, match=f"plain holds no {name.replace('_', ' ')}: set .* and run the recipe again") as refused:
            measure_again(tmp_path / "plain", name)
        assert refused.value.exit_code == 2
    with FolderLock(folder), pytest.raises(RunError, match="is in use by process"):
        measure_again(folder, "accuracy")


def test_a_curve_beyond_its_budget_or_of_too_few_rows_is_not_measured_and_says_why(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    wanted, _ = finished
    source = Path(str(wanted.data.source))
    lifecycle.run(recipe(source, evaluation={"learning_curve": {"enabled": True, "budget": 1e-6}}), tmp_path / "dear")
    assert "budget" in str(found(tmp_path / "dear", "evaluation.learning_curve").reason)
    short = source.parent / "short.csv"
    short.write_text("\n".join(source.read_text(encoding="utf-8").splitlines()[:150]) + "\n", encoding="utf-8")
    lifecycle.run(recipe(short, evaluation={"learning_curve": CURVE, "slices": False}), tmp_path / "short")
    assert "too few for 5 sizes" in str(found(tmp_path / "short", "evaluation.learning_curve").reason)
    assert found(tmp_path / "short", "evaluation.slices").verdict == "unmeasured"
    assert load_recipe(tmp_path / "short" / "recipe.yaml").evaluation.learning_curve.enabled
