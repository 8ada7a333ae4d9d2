"""Law: a retraining or a promotion that is killed at any write goes on where it was: the same verdict and weights as in one sitting, one
decision, one line of history a turn, and a switch that is old or new."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Record
from tests.faults.loop_kills import in_child
from tests.unit.loop_states import NAME, answer, label, rows, served
from weighbridge import lifecycle
from weighbridge.deployment import Circle, section_of
from weighbridge.feedback.decisions import decisions
from weighbridge.feedback.log import Log
from weighbridge.feedback.registry import Registry
from weighbridge.findings import Finding, Message

pytestmark = pytest.mark.slow
FALLEN = Finding(key="feedback.quality", title=Message("Accuracy in service"), verdict="limitation", value=0.5)
POINTS = (2, 9, 30, 70, 120)  # writes of one sitting, the next sitting's are counted anew


def _prepare(folder: Path) -> None:
    registry, log = served(folder)
    moved = rows(300, 1, turned=1.2)
    label(log, answer(registry, log, moved), moved)
    log.close()


def _round(state: Path, *findings: Finding) -> None:
    registry, log = Registry.open(state, NAME), Log.open(state)
    lifecycle.go_round(Circle(registry=registry, log=log, section=section_of(registry), run=lifecycle.run), findings)
    log.close()


def _weights(state: Path) -> list[str]:
    runs = [state / "retrain" / "001" / start for start in ("warm", "scratch")]
    return [json.loads((run / "training" / "model.json").read_text())["sha256"] for run in runs]


def test_a_killed_retraining_ends_as_one_in_one_sitting(tmp_path: Path, record: Record) -> None:
    assert in_child(lambda: _prepare(tmp_path))
    state, other = tmp_path / "state", tmp_path / "other"
    shutil.copytree(state, other)
    assert in_child(lambda: _round(other, FALLEN))
    killed = sum(not in_child(lambda: _round(state, FALLEN), at=at) for at in POINTS)
    while not in_child(lambda: _round(state, FALLEN)):
        killed += 1
    assert killed >= 4
    verdicts = [json.loads((folder / "retrain" / "001" / "verdict.json").read_text()) for folder in (state, other)]
    assert verdicts[0]["passed"] is verdicts[1]["passed"] is True
    assert _weights(state) == _weights(other)
    told = [[(one["key"], one["value"], one["n"]) for one in verdict["findings"]] for verdict in verdicts]
    assert told[0] == told[1]
    retrained = [one for one in decisions(state) if one.decision.action == "retrain"]
    assert len(retrained) == 1
    assert retrained[0].done is not None
    _promoted_at_any_write(other, record, killed)


def _promoted_at_any_write(state: Path, record: Record, killed: int) -> None:
    """The challenge that follows is killed at its 1st, 2nd, ... write, until it was carried out without a kill."""
    at, registry = 0, Registry.open(state, NAME)
    first = registry.current()
    assert first is not None
    ended = False
    while not ended:
        at += 1
        ended = in_child(lambda: _round(state), at=at)
        now = registry.current()
        assert now is not None
        assert now.champion == first.champion
        assert now.number in (1, 2)
        assert (now.challenger is None) == (now.number == 1)
        assert [line["number"] for line in registry.history()] == list(range(1, now.number + 1))
        assert at < 40
    challenged = [one for one in decisions(state) if one.decision.action == "challenge"]
    assert len(challenged) == 1
    assert challenged[0].done is not None
    assert at > 3  # its line, the switch and its history: each of them was met
    record("loop.kills", killed + at - 1, n=killed + at - 1)
    print(f"{killed} kills of a retraining, {at - 1} of a challenge")
