"""Law: who finds a limitation tries remedies with one command and reads what each mended and cost; killed in the middle, the same command
goes on and ends with the same rows.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from weighbridge import lifecycle
from weighbridge.cli.app import app
from weighbridge.findings import Finding, by_key, read_findings
from weighbridge.recipe import parse_recipe
from weighbridge.storage import sha256_file

pytestmark = pytest.mark.slow

FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}
ROWS = ("class_weights", "resample")


def rows(count: int = 1200) -> str:
    """Return a table whose rarer class is one row in eight and overlaps the other."""
    random = np.random.default_rng(11)
    label = random.random(count) < 0.125
    x, z = random.normal(size=(2, count)) + 1.1 * label
    return "\n".join(["x,z,label", *(f"{x[i]:.5f},{z[i]:.5f},{'yes' if label[i] else 'no'}" for i in range(count))]) + "\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without a remedy."""
    folder = tmp_path_factory.mktemp("mitigation")
    (folder / "table.csv").write_text(rows(), encoding="utf-8")
    recipe = parse_recipe(
        {
            "name": "run", "data": {"source": (folder / "table.csv").as_posix(), "target": "label"},
            "training": {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 8, "checkpoint_s": 1e-3},
            "optimization": False, "audit": False, "deployment": {"enabled": False},
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
        }
    )  # fmt: skip
    lifecycle.run(recipe, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def mended(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the run with its remedies tried, and what the terminal said."""
    run = tmp_path_factory.mktemp("mended") / "run"
    shutil.copytree(finished, run)
    return run, weigh("mitigate", run, "--for", "imbalance")


def weigh(*words: str | Path, code: int = 0) -> str:
    """Return what the command printed on both streams; its exit code must be `code`."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result.output


def row(run: Path, remedy: str, key: str = "evaluation.balanced_accuracy") -> Finding:
    found = by_key(read_findings(run / "findings.jsonl"), f"mitigation.{remedy}.{key}")
    assert found is not None
    return found


@pytest.mark.parametrize("remedy", ROWS)
def test_a_row_says_what_was_before_what_is_after_and_what_it_cost(mended: tuple[Path, str], remedy: str) -> None:
    found = row(mended[0], remedy)
    before = by_key(read_findings(mended[0] / "evaluation" / "findings.jsonl"), "evaluation.balanced_accuracy")
    assert before is not None
    assert found.reference is not None
    assert found.reference.value == before.value
    assert isinstance(found.value, float)
    assert isinstance(before.value, float)
    assert found.value > before.value + 0.05
    assert found.verdict == "advantage"
    assert found.interval is not None
    assert found.reason.values["metric"] == "accuracy"
    assert float(str(found.reason.values["difference"])) < 0, "more of the rare class costs rows of the other"
    assert re.search(r"by training\.(class_weights: balanced|balance: resample)$", str(found.reason))


def test_the_terminal_and_the_report_show_the_rows(mended: tuple[Path, str]) -> None:
    run, told = mended
    assert told.count("mended, beyond what the rows leave open") >= 2
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "rows of rare classes count more in the loss" in page
    assert not (run / "mitigation" / "class_weights" / "run" / "deployment" / "package").exists()


def test_the_command_of_a_row_shows_it_again_and_trains_nothing(mended: tuple[Path, str]) -> None:
    run = mended[0]
    before = {name: (run / "mitigation" / name / "run" / "training" / "model.safetensors").stat().st_mtime_ns for name in ROWS}
    told = weigh("mitigate", run, "--for", "imbalance", "--only", "resample")
    assert "more often" in told or "mended" in told
    assert before == {name: (run / "mitigation" / name / "run" / "training" / "model.safetensors").stat().st_mtime_ns for name in ROWS}


def test_killed_in_the_middle_the_same_command_goes_on_and_ends_with_the_same_rows(
    finished: Path, mended: tuple[Path, str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    words = [sys.executable, "-c", "from weighbridge.cli.app import app; app()", "mitigate", str(run), "--for", "imbalance"]
    child = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    states = run / "mitigation" / "resample" / "run" / "training" / "checkpoints"
    waited = time.monotonic() + 300
    while not list(states.glob("step-*.safetensors")) and child.poll() is None and time.monotonic() < waited:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    weigh("mitigate", run, "--for", "imbalance")
    for remedy in ROWS:
        place = Path("mitigation") / remedy / "run" / "training" / "model.safetensors"
        assert sha256_file(run / place) == sha256_file(mended[0] / place)
        ours, whole = row(run, remedy), row(mended[0], remedy)
        assert (ours.value, ours.interval, ours.verdict) == (whole.value, whole.interval, whole.verdict)


def test_a_remedy_that_does_not_fit_is_said_in_its_row(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    told = weigh("mitigate", run, "--for", "adversarial_debiasing")
    assert "no column is protected, so there are no groups to treat alike" in told
    found = by_key(read_findings(run / "findings.jsonl"), "mitigation.adversarial_debiasing")
    assert found is not None
    assert found.verdict == "unmeasured"


def test_the_list_names_every_remedy_with_what_it_is_against() -> None:
    told = weigh("mitigate", "--list")
    for words in ("imbalance", "class_weights", "fairness", "adversarial_debiasing", "robustness", "adversarial_training", "Zhang 2018"):
        assert words in told


def test_a_name_that_is_not_known_and_no_name_at_all_are_refused_in_one_line(finished: Path) -> None:
    before = (finished / "recipe.yaml").read_bytes()
    told = weigh("mitigate", finished, "--for", "imbalanse", code=2)
    assert "there is no remedy or limitation 'imbalanse' (did you mean 'imbalance'?)" in told
    assert (finished / "recipe.yaml").read_bytes() == before
    told = weigh("mitigate", finished, code=2)
    assert "nothing says what is to be mended" in told
    assert "weigh mitigate --list" in told
