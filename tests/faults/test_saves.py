"""Law: a save that is killed leaves the old content or the new one, never neither; of many starts in one folder exactly one runs.

The harness shows that it is alive: the same kills leave a file that is written in place torn, and the same race lets more than one
process through a lock that looks first and writes then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks, which this system does not have"),
]

ROOT = Path(__file__).resolve().parents[2]


def harness(what: str, folder: Path) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.faults.saves", what, str(folder)], cwd=ROOT, env=environment, capture_output=True,
        encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_300_kills_inside_a_save_leave_old_or_new_and_the_in_place_way_fails(tmp_path: Path, record: Callable[..., None]) -> None:
    result = harness("kills", tmp_path)
    found = result["found"]
    assert set(result["deaths"]) == {-signal.SIGKILL}
    assert len(found["at points"]) + len(found["at moments"]) == 300
    assert set(found["at points"]) == {1, 2}, "old and new, both were seen"
    assert min(found["at moments"]) >= 1
    torn = found["in place"].count(-1) / len(found["in place"])
    assert torn > 0.05, f"the naive way was torn in {torn:.0%} only: the harness does not bite"
    record("save.kill", sum(one >= 1 for place in ("at points", "at moments") for one in found[place]), n=300)


def test_of_20_racing_starts_one_runs_and_the_rest_name_it(tmp_path: Path, record: Callable[..., None]) -> None:
    result = harness("races", tmp_path)
    runs = result["runs"]
    assert len(runs) == 20
    assert result["weights"]
    winners = [run["pid"] for run in runs if run["code"] == 0]
    assert len(winners) == 1
    for run in runs:
        if run["pid"] not in winners:
            assert run["code"] == 2
            assert f"is in use by process {winners[0]} on " in run["said"]
            assert "\n" not in run["said"]
    assert sum(run["code"] == 0 for run in result["naive"]) > 1, "the harness does not bite"
    record("race", len(winners), n=len(runs))


def test_the_lock_of_a_dead_process_is_taken_over_at_once(tmp_path: Path) -> None:
    result = harness("dead-lock", tmp_path)
    assert result["code"] == -signal.SIGKILL
    assert f"process {result['pid']} on" in result["held"]
    assert result["new"] == result["own"]
    assert result["seconds"] < 1
