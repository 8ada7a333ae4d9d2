"""Law: `weigh deploy RUN` builds a package as it always did; a first word that is a verb is that verb, and a near miss is told so."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from weighbridge.cli import deploy
from weighbridge.cli.app import app

runner = CliRunner()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path, str | None]]:
    """What `weigh deploy` asked the lifecycle to do."""
    asked: list[tuple[str, Path, str | None]] = []
    monkeypatch.setattr(deploy, "again", lambda stage, run, only: asked.append((stage, run, only)))
    return asked


@pytest.mark.parametrize(
    ("words", "run", "only"),
    [
        ("runs/x", "runs/x", None), ("runs/x --only size", "runs/x", "size"), ("--only size runs/x", "runs/x", "size"),
        ("run runs/x", "runs/x", None), ("./run", "run", None), ("run run", "run", None),
    ],
)  # fmt: skip
def test_a_first_word_that_is_no_verb_is_the_folder_of_a_run(built: list[object], words: str, run: str, only: str | None) -> None:
    result = runner.invoke(app, ["deploy", *words.split()])
    assert result.exit_code == 0, result.output
    assert built == [("deployment", Path(run), only)]


def test_a_verb_that_is_nearly_right_is_named_and_a_folder_of_that_name_is_taken(
    built: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = runner.invoke(app, ["deploy", "sing", "package"])
    assert shown.exit_code == 2
    assert "did you mean 'sign'?" in shown.output
    Path("sing").mkdir()
    assert runner.invoke(app, ["deploy", "sing"]).exit_code == 0
    assert built == [("deployment", Path("sing"), None)]


def test_no_word_at_all_shows_the_verbs() -> None:
    shown = runner.invoke(app, ["deploy"])
    assert shown.exit_code == 2
    assert all(f"  {name}" in shown.output for name in deploy.VERBS)
