"""Law: a search that is killed, stopped or loses its database goes on as if nothing had happened: no trial is lost, none counts twice.

Killed at random points (a step, a validation, an epoch's edge, a disk operation, a statement or commit of the study, any moment), it ends
with the trials, values, findings and weights of the search that was never killed, by SHA-256. Workers die alone, and leave when the search
dies. Two machines with run folders of their own share one study.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults import small_runs
from tests.faults.places import SECRET, Server, postgresql
from weighbridge import lifecycle
from weighbridge.recipe import Recipe, parse_recipe, resolved_yaml
from weighbridge.storage import sha256_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks, which this system does not have"),
]

ROOT = Path(__file__).resolve().parents[2]
KILLS = {"pruned": 12, "folds": 6}
WRITES = 30
SPACE: dict[str, Any] = {"training.optimizer.lr": {"low": 1e-3, "high": 0.1, "log": True}, "training.model.hidden": [[8], [16, 8], None]}
Result = dict[str, Any]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


# killed --------------------------------------------------------------------------------------------------------------------------


def harness(*arguments: str) -> Result:
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.search_kills", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    result: Result = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def results() -> dict[str, Future[Result]]:
    """Two harnesses at a time, each a process that forks."""
    asked = {
        **{name: (name, "--points", str(count)) for name, count in KILLS.items()},
        "writes": ("writes", "--points", str(WRITES)),
        "sampler": ("pruned", "--points", "3", "--naive", "sampler"),
        "failed": ("pruned", "--points", "3", "--naive", "failed"),
    }
    with ThreadPoolExecutor(2) as pool:
        return {name: pool.submit(harness, *arguments) for name, arguments in asked.items()}


@pytest.mark.parametrize("name", list(KILLS))
def test_a_search_killed_at_random_points_ends_with_the_same_trials_and_weights(results: dict[str, Future[Result]], name: str) -> None:
    result = results[name].result()
    assert len(result["trials"]) == KILLS[name]
    assert [trial for trial in result["trials"] if trial["differs"] or trial["left"]] == [], result["log"]
    assert {"trial 0", "trial 2", "evidence", "findings", "weights own/search"} <= set(result["compared"])
    for trial in result["trials"]:
        *killed, ended = trial["codes"]
        assert ended == 0
        assert set(killed) == {-signal.SIGKILL}, "the kernel says that it was killed"


def test_every_kind_of_point_was_hit_and_some_searches_were_killed_twice(results: dict[str, Future[Result]]) -> None:
    trials = [trial for name in KILLS for trial in results[name].result()["trials"]]
    deaths = {kind for trial in trials for kind in trial["deaths"]}
    assert {"step", "run", "deployment", "any moment"} <= deaths, "in a step, at a disk operation, in the study, anywhere"
    assert sum(len(trial["deaths"]) == 2 for trial in trials) >= 3


@pytest.mark.parametrize("naive", ["sampler", "failed"])
def test_the_usual_ways_to_go_on_are_caught(results: dict[str, Future[Result]], naive: str) -> None:
    """A sampler that is seeded once in each process; and what was under way marked as failed, so that another one takes its place."""
    trials = results[naive].result()["trials"]
    assert any(name.startswith("trial") for trial in trials for name in trial["differs"])


def test_what_the_study_has_confirmed_survives_a_kill_at_any_moment(results: dict[str, Future[Result]]) -> None:
    result = results["writes"].result()
    assert len(result["trials"]) == WRITES
    assert [trial for trial in result["trials"] if trial["lost"] or not trial["whole"] or trial["code"] != -signal.SIGKILL] == []
    assert sum(trial["confirmed"] > 0 for trial in result["trials"]) > WRITES / 2
    assert sum(trial["journal"] for trial in result["trials"]) > 0, "some were killed in the middle of a transaction"


# stopped -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A run whose own network is trained."""
    home = tmp_path_factory.mktemp("search")
    values = small_runs.table(home).model_dump(mode="json")
    values["training"] |= {"epochs": 12, "early_stopping": {"enabled": False}}
    recipe = parse_recipe(values)
    lifecycle.run(recipe, home / "run", until="training")
    return recipe, home / "run"


class Place:
    """A run folder and the recipe of a search in it."""

    def __init__(self, trained: tuple[Recipe, Path], home: Path, **options: Any) -> None:
        home.mkdir(exist_ok=True)
        shutil.copytree(trained[1], home / "run")
        self.folder, self.recipe = home / "run", home / "recipe.yaml"
        section = {"search": {"space": SPACE, "pruning": "none", **options}}
        values = {**trained[0].model_dump(mode="json"), "optimization": section}
        self.recipe.write_text(resolved_yaml(parse_recipe(values)), encoding="utf-8")

    def begin(self, *go: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.faults.search_once", str(self.recipe), str(self.folder), *go]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True
        )

    def trials(self) -> list[Result]:
        found: list[Result] = json.loads((self.folder / "optimization" / "search.json").read_text(encoding="utf-8"))["trials"]
        return found

    @property
    def weights(self) -> str:
        return sha256_file(self.folder / "optimization" / "networks" / "own" / "search" / "model.safetensors")


def heard(process: subprocess.Popen[str], label: str, note: str = "") -> None:
    """The process has said something that begins with `label`, and with `note` beside it."""
    assert process.stdout is not None
    for line in process.stdout:
        said = json.loads(line)
        if isinstance(said, list) and said[0].startswith(label) and note in said[3]:
            return
    assert process.stderr is not None
    raise AssertionError(f"it never said {label}: {process.stderr.read()}")


def ended(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    """Return the exit code, what was said last, and standard error."""
    out, error = process.communicate(timeout=300)
    lines = out.strip().splitlines()
    return process.returncode, json.loads(lines[-1]) if lines else None, error


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_search_that_is_stopped_keeps_what_it_has_and_goes_on(trained: tuple[Recipe, Path], tmp_path: Path, sent: int, code: int) -> None:
    whole, stopped = (Place(trained, tmp_path / name, trials=4) for name in ("whole", "stopped"))
    assert ended(whole.begin())[0] == 0
    process = stopped.begin()
    heard(process, "search, trial 3 of 4", "epoch")
    process.send_signal(sent)
    left, _, error = ended(process)
    assert left == code, error
    assert "run the same command again" in error
    assert len(error.strip().splitlines()) == 1
    assert ended(stopped.begin())[0] == 0
    assert [{**one, "seconds": 0} for one in stopped.trials()] == [{**one, "seconds": 0} for one in whole.trials()]
    assert stopped.weights == whole.weights


# several workers -----------------------------------------------------------------------------------------------------------------


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if "weighbridge.optimization.search_worker" in child.cmdline()]


def wait_until(what: str, holds: Any, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"{what} within {seconds:g} s"
        time.sleep(0.05)


def test_a_worker_that_dies_costs_its_trial_and_a_search_that_dies_leaves_no_worker(trained: tuple[Recipe, Path], tmp_path: Path) -> None:
    place = Place(trained, tmp_path / "workers", trials=9, workers=2)
    process = place.begin()
    heard(process, "search", "2 under way, best")
    killed = workers_of(process)
    assert len(killed) == 2
    killed[0].kill()
    heard(process, "search, trial", "")  # the remark about it
    heard(process, "search", "2 under way")
    left = workers_of(process)
    process.kill()
    process.communicate()
    wait_until("workers leave", lambda: not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in left))

    code, found, error = ended(place.begin())
    assert code == 0, error
    trials = place.trials()
    assert [one["number"] for one in trials] == list(range(9))
    assert len({json.dumps(one["params"]) for one in trials}) == 9
    failed = [one for one in trials if one["state"] == "failed"]
    assert len(failed) == found["failed"] == 1
    assert "exit code -9" in failed[0]["reason"]
    assert found["finished"] == 8
    assert max(one["value"] for one in trials if one["state"] == "finished") == trials[found["number"]]["value"]


def test_workers_that_are_stopped_save_and_go_on(trained: tuple[Recipe, Path], tmp_path: Path) -> None:
    place = Place(trained, tmp_path / "workers", trials=6, workers=2)
    process = place.begin()
    heard(process, "search", "2 under way, best")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the search and its workers
    code, _, error = ended(process)
    assert code == 130, error
    assert len(error.strip().splitlines()) == 1
    states = [child for child in (place.folder / "optimization" / "search" / "trials").iterdir()]
    assert states, "the folders of what was under way are kept"
    code, found, error = ended(place.begin())
    assert code == 0, error
    assert found["finished"] == 6


# a database that several machines share ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


def test_two_machines_share_one_study(server: Server, trained: tuple[Recipe, Path], tmp_path: Path) -> None:
    places = [Place(trained, tmp_path / name, trials=9, storage=server.url) for name in ("one", "two")]
    processes = [place.begin(str(tmp_path / "go")) for place in places]
    for process in processes:
        heard(process, "ready")
    (tmp_path / "go").touch()
    ends = [ended(process) for process in processes]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert ends[0][1] == ends[1][1], "both have found the same"
    trials = places[0].trials()
    assert [one["number"] for one in trials] == [one["number"] for one in places[1].trials()]
    assert len(trials) == 9
    assert sum(one["own"] for one in trials) == 1
    assert len({json.dumps(one["params"]) for one in trials}) == 9, "no combination was tried twice"
    assert places[0].weights == places[1].weights, "who did not train the best has trained it again"
    for place in places:
        for path in (place.folder / "optimization").rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_server_that_goes_away_ends_the_search_in_one_line_and_it_goes_on_later(
    server: Server, trained: tuple[Recipe, Path], tmp_path: Path
) -> None:
    place = Place(trained, tmp_path / "away", trials=5, method="random", storage=server.url)
    process = place.begin()
    heard(process, "search, trial 3 of 5", "epoch")
    server.stop()
    code, _, error = ended(process)
    assert code == 2, error
    assert len(error.strip().splitlines()) == 1, error
    assert "finished trials are kept" in error
    assert SECRET not in error
    code, _, error = ended(place.begin())
    assert code == 2, "still away"
    assert len(error.strip().splitlines()) == 1, error
    assert SECRET not in error
    server.start()
    code, found, error = ended(place.begin())
    assert code == 0, error
    assert [one["number"] for one in place.trials()] == list(range(5))
    assert found["finished"] == 5
