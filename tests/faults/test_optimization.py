"""Law: an optimization that is killed at any point and started again ends with the networks, graphs and answers of one that was not."""

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
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forks, which this system does not have"),
]

ROOT = Path(__file__).resolve().parents[2]
KILLS = {0: 6, 2: 3}


@pytest.mark.parametrize("folds", KILLS)
def test_a_killed_optimization_ends_as_if_it_had_not_been_killed(folds: int, record: Callable[..., None]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.faults.optimization_kills",
        "--points",
        str(KILLS[folds]),
        "--folds",
        str(folds),
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    for trial in result["trials"]:
        assert trial["codes"][0] == -signal.SIGKILL, trial
        assert trial["codes"][-1] == 0, trial
        assert trial["differs"] == [], trial
    assert result["equal"] > 10
    assert len(result["kinds"]) >= 2
    if not folds:
        record("optimization.kill", len(result["trials"]), n=len(result["trials"]))
