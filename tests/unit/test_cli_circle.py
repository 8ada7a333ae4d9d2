"""Law: what is served, what was decided and who decides can be seen and said from a terminal; what is wrong is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.runtime_packages import make_package
from weighbridge.cli.app import app
from weighbridge.feedback.decide import Decision
from weighbridge.feedback.decisions import note
from weighbridge.feedback.registry import Registry
from weighbridge.findings import Message


@pytest.fixture
def state(tmp_path: Path) -> Path:
    make_package(tmp_path / "package", photos=False)
    registry = Registry.open(tmp_path / "state", "pets")
    registry.release(registry.install(tmp_path / "package", run="runs/pets"), "first")
    return tmp_path / "state"


def weigh(*words: str, code: int = 0) -> str:
    told = CliRunner().invoke(app, ["feedback", *words])
    assert told.exit_code == code, told.output
    return told.output


def test_the_history_says_what_was_served_and_from_which_run(state: Path) -> None:
    assert "released" in weigh("history", "--state", str(state))
    (line,) = json.loads(weigh("history", "--state", str(state), "--json"))
    assert line["what"] == "released"
    assert "no name" in weigh("history", "--state", str(state), "--name", "../x", code=2)


def test_a_decision_that_waits_is_approved_once(state: Path) -> None:
    note(state, "pets", Decision(action="challenge", reason=Message("a challenger passed the gate"), automatic=False), {"challenger": "c"})
    assert "waits for a person" in weigh("decisions", "--state", str(state))
    assert "approved by eve" in weigh("approve", "1", "--state", str(state), "--by", "eve")
    assert "does not wait" in weigh("refuse", "1", "--state", str(state), code=2)
    assert (state / "trail").is_dir()


def test_an_unknown_answer_and_an_empty_state_are_named(state: Path, tmp_path: Path) -> None:
    assert "there is no answer 'nobody'" in weigh("trace", "nobody", "--state", str(state), code=2)
    (tmp_path / "empty").mkdir()
    assert "0 models are served" in weigh("history", "--state", str(tmp_path / "empty"), code=2)
