"""Law: a run that is killed or stopped at any point and started again ends bit for bit as the run that was not.

Two small real runs: images (channels_last, dropout, batch normalisation, averaged weights, augmentation and mixup) and a table (gaps,
a category, two batches an update, early stopping, a second seed). Compared by SHA-256: weights, last state (network, average,
optimiser, progress), metrics of every epoch, plan, predictions, findings. Not compared: what is wall-clock time by nature
(small_runs.NOT_EQUAL).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks, which this system does not have"),
]

ROOT = Path(__file__).resolve().parents[2]
KILLS, STOPS = 25, 50  # a recipe; there are two
RECIPES = ("digits", "table")
Result = dict[str, Any]


def harness(*arguments: str) -> Result:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.faults.resume", *arguments], cwd=ROOT, env=environment, capture_output=True,
        encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: Result = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def results() -> dict[str, Future[Result]]:
    """Two harnesses at a time, each a process that forks."""
    asked = {
        **{f"{recipe} kill": (recipe, "kill", "--points", str(KILLS)) for recipe in RECIPES},
        **{f"{recipe} signal": (recipe, "signal", "--points", str(STOPS)) for recipe in RECIPES},
        "digits without optimizer": ("digits", "kill", "--points", "3", "--naive", "optimizer"),
        "digits without strides": ("digits", "kill", "--points", "3", "--naive", "strides"),
    }
    with ThreadPoolExecutor(2) as pool:
        return {name: pool.submit(harness, *arguments) for name, arguments in asked.items()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_killed_at_25_random_points_ends_with_the_same_bits(results: dict[str, Future[Result]], recipe: str) -> None:
    result = results[f"{recipe} kill"].result()
    trials = result["trials"]
    assert len(trials) == KILLS
    assert [trial for trial in trials if trial["differs"] or trial["left"]] == [], result["log"]
    assert {"weights", "state", "metrics", "predictions test", "findings training", "findings evaluation"} <= set(result["compared"])
    for trial in trials:
        *killed, ended = trial["codes"]
        assert ended == 0
        assert killed
        assert set(killed) == {-signal.SIGKILL}, "the kernel says that it was killed"


def test_every_kind_of_point_was_hit_and_some_runs_were_killed_twice(results: dict[str, Future[Result]]) -> None:
    trials = [trial for recipe in RECIPES for trial in results[f"{recipe} kill"].result()["trials"]]
    deaths = [kind for trial in trials for kind in trial["deaths"]]
    assert {kind: deaths.count(kind) >= 3 for kind in ("step", "save", "validation", "edge", "evaluation")} == dict.fromkeys(
        ("step", "save", "validation", "edge", "evaluation"), True
    ), deaths
    assert sum(len(trial["deaths"]) == 2 for trial in trials) >= 8
    assert sum(trial["asynchronous"] for trial in trials) >= 4
    assert sum(trial["in_second_seed"] for trial in trials) >= 4


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_stopped_at_50_random_points_saves_leaves_with_its_code_and_ends_with_the_same_bits(
    results: dict[str, Future[Result]], recipe: str
) -> None:
    result = results[f"{recipe} signal"].result()
    assert len(result["trials"]) == STOPS
    assert [trial for trial in result["trials"] if trial["differs"] or trial["left"]] == [], result["log"]
    codes = {(trial["signal"], tuple(trial["codes"])) for trial in result["trials"]}
    assert codes == {(signal.SIGTERM, (143, 0)), (signal.SIGINT, (130, 0))}


def test_all_50_kills_and_100_stops_ended_equal(results: dict[str, Future[Result]], record: Callable[..., None]) -> None:
    for kind, count in (("kill", 2 * KILLS), ("signal", 2 * STOPS)):
        trials = [trial for recipe in RECIPES for trial in results[f"{recipe} {kind}"].result()["trials"]]
        equal = sum(not trial["differs"] and not trial["left"] for trial in trials)
        assert equal == len(trials) == count
        record(f"resume.{kind}", equal, n=count)


@pytest.mark.parametrize("left_out", ["optimizer", "strides"])
def test_a_resume_that_leaves_something_out_is_caught(results: dict[str, Future[Result]], left_out: str) -> None:
    """The naive way: without the optimiser's state, or with its state in another memory order than a fused update walks in."""
    trials = results[f"digits without {left_out}"].result()["trials"]
    assert any("weights" in trial["differs"] for trial in trials)
