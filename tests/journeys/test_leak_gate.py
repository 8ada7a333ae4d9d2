"""Law: a leaking CSV stops `weigh run` with exit code 2 and one line, harms nothing, and goes on with data.allow, which the report says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from weighbridge.cli.app import app

runner = CliRunner()


def weigh(*words: str | Path, code: int = 0) -> str:
    """Return what the command printed on both streams; its exit code must be `code`."""
    result = runner.invoke(app, [str(word) for word in words], env={"COLUMNS": "160", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return a recipe whose CSV holds the refund that was paid after the complaint was found right."""
    random = np.random.default_rng(0)
    right = random.integers(0, 2, 500)
    refund = np.where(right == 1, random.uniform(5, 90, 500).round(2), 0.0)
    price = (random.uniform(5, 100, 500) + 10 * right).round(2)
    lines = [f"{p},{r},{'yes' if y else 'no'}" for p, r, y in zip(price, refund, right, strict=True)]
    (tmp_path / "complaints.csv").write_text("\n".join(["price,refund,right", *lines]) + "\n", encoding="utf-8")
    file = tmp_path / "complaints.yaml"
    file.write_text(f"data:\n  source: {tmp_path / 'complaints.csv'}\n  target: right\n", encoding="utf-8")
    return file


def test_a_leak_stops_the_run_and_data_allow_takes_it_into_the_report(recipe: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    before = (tmp_path / "complaints.csv").read_bytes()
    stopped = weigh("run", recipe, "--runs", runs, "--until", "data", code=2)
    (line,) = [line for line in stopped.splitlines() if line.startswith("weigh: ")]
    assert "leak target: 1 column alone gives the target 'right' away: refund (score 1.000" in line
    assert "data.allow: [target]" in line
    assert "Traceback" not in stopped
    evidence = json.loads((runs / "complaints/data/leaks_stopped.json").read_text(encoding="utf-8"))
    assert evidence["target"]["columns"][0]["column"] == "refund"
    assert not (runs / "complaints/findings.jsonl").exists()
    assert (tmp_path / "complaints.csv").read_bytes() == before

    assert "did you mean 'target'" in weigh("run", recipe, "--runs", runs, "--set", "data.allow=[tarket]", code=2)
    weigh("run", recipe, "--runs", runs, "--until", "data", "--set", "data.allow=[target]")
    folder = runs / "complaints"
    for file in ("report.html", "card.md"):
        text = (folder / file).read_text(encoding="utf-8")
        assert "Columns that give the target away" in text
    assert "the recipe goes on with this leak" in (folder / "report.html").read_text(encoding="utf-8")
    shown = weigh("data", folder, "--only", "leak.target")
    assert "Columns that give the target away" in shown
    weigh("report", folder, "--language", "zh")
    assert "配方选择带着这一泄漏继续" in (folder / "report.html").read_text(encoding="utf-8")


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file but those that say who works in the folder: content, time of change."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock"))
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("change", ["data.columns={}", "data.target=nowhere", "data.split.test=0.0001"])
def test_a_stop_leaves_the_run_that_stood_there_as_it_was(recipe: Path, tmp_path: Path, change: str) -> None:
    """Report, findings, evidence, rows and recipe of the run before are there, byte for byte and untouched."""
    words = ["run", recipe, "--runs", tmp_path / "runs", "--until", "data", "--set"]
    weigh(*words, "data.columns={refund: ignore}")
    folder = tmp_path / "runs" / "complaints"
    before = contents(folder)
    assert {"report.html", "data/leaks.json", "data/train.arrow", "data/stage.json"} <= set(before)
    shown = weigh(*words, change, code=2)
    now = contents(folder)
    assert {name: now[name] for name in before if name != "recipe.yaml"} == {name: before[name] for name in before if name != "recipe.yaml"}
    assert now["recipe.yaml"][0] == before["recipe.yaml"][0]
    leaks = change == "data.columns={}"
    assert set(now) - set(before) == ({"data/leaks_stopped.json"} if leaks else set())
    assert ("data/leaks_stopped.json" in shown) == leaks
    weigh("report", folder)
    weigh(*words, "data.columns={refund: ignore}")
    assert contents(folder)["data/stage.json"] == before["data/stage.json"], "the recipe before is not done again"


def test_without_the_column_the_run_passes(recipe: Path, tmp_path: Path) -> None:
    shown = weigh("run", recipe, "--runs", tmp_path / "runs", "--until", "data", "--set", "data.columns={refund: ignore}")
    assert "report" in shown
