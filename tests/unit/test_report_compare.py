"""Two runs stand side by side: the same findings, intervals that lie apart, recipe keys that differ; and no more is claimed."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.report_runs import diabetes_run, digits_findings, digits_run, write_run
from weighbridge.errors import RunError
from weighbridge.report import Comparison, compare_runs, print_comparison


def two(tmp_path: Path) -> tuple[Path, Path]:
    """Digits, and a run that is worse on other data with another recipe."""
    worse = [
        replace(f, value=0.81, interval=(0.76, 0.85)) if f.key == "evaluation.accuracy" else f
        for f in digits_findings()
        if f.key != "evaluation.auroc"
    ]
    a, b = (
        digits_run(tmp_path / "a"),
        write_run(tmp_path / "b", worse, about={"name": "worse", "data_sha256": "9" * 64, "model_sha256": "8" * 64}),
    )
    (a / "recipe.yaml").write_text("seed: 0\ntraining: {epochs: 3, model: {type: cnn}}\n")
    (b / "recipe.yaml").write_text("seed: 0\ntraining: {epochs: 5, model: {type: cnn}, clip: null}\n")
    return a, b


def printed(comparison: Comparison, width: int = 100, language: str | None = None) -> str:
    file = io.StringIO()
    print_comparison(comparison, Console(file=file, width=width, color_system=None), language)
    return file.getvalue()


def test_intervals_that_do_not_overlap_are_marked(tmp_path: Path) -> None:
    pairs = {pair.key: pair for pair in compare_runs(*two(tmp_path)).pairs}
    assert pairs["evaluation.accuracy"].apart is True
    assert pairs["evaluation.log_loss"].apart is False
    assert pairs["training.seconds"].apart is None
    assert pairs["evaluation.auroc"].b is None
    assert pairs["evaluation.auroc"].apart is None


def test_the_headline_comes_first_and_the_price_last(tmp_path: Path) -> None:
    keys = [pair.key for pair in compare_runs(*two(tmp_path)).pairs]
    assert keys[0] == "evaluation.accuracy"
    assert keys[-1].startswith(("deployment.", "training."))


def test_recipe_keys_that_differ_are_listed(tmp_path: Path) -> None:
    assert compare_runs(*two(tmp_path)).recipe == (("training.epochs", "3", "5"), ("training.clip", None, "null"))


def test_different_data_is_said_and_the_paired_test_is_pointed_to(tmp_path: Path) -> None:
    text = " ".join(printed(compare_runs(*two(tmp_path))).split())
    assert "given different data" in text
    assert "the paired test decides" in text
    assert "apart" in text
    assert "不重叠" in printed(compare_runs(*two(tmp_path)), language="zh")


def test_the_same_run_twice_is_the_same_model(tmp_path: Path) -> None:
    a = digits_run(tmp_path / "a")
    comparison = compare_runs(a, a)
    assert comparison.same_model is True
    assert comparison.recipe == ()
    assert not [pair for pair in comparison.pairs if pair.apart]


def test_runs_of_different_tasks_stand_beside_nothing(tmp_path: Path) -> None:
    comparison = compare_runs(digits_run(tmp_path / "a"), diabetes_run(tmp_path / "b"))
    assert all(pair.a is None or pair.b is None for pair in comparison.pairs if pair.key.startswith("evaluation."))
    assert printed(comparison, 60)


def test_a_recipe_that_is_damaged_is_named(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    (b / "recipe.yaml").write_text("a: [")
    with pytest.raises(RunError, match=r"recipe\.yaml"):
        compare_runs(a, b)
