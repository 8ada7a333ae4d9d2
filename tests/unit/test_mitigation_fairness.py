"""Law: a remedy for fairness is a change of recipe that fits the run, says why where it does not, and its rows show what it mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge import lifecycle
from weighbridge.errors import RecipeError
from weighbridge.findings import Finding, Message, by_key
from weighbridge.mitigation import Patient, chosen, remedies
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.report.catalogue_zh import ZH
from weighbridge.storage import read_json, write_json

OTHERS = ("generalization", "calibration", "robustness", "explanation", "privacy", "quality", "cost", "security")
NAMES = ("reweighing", "exponentiated_gradient", "parity_thresholds", "odds_thresholds")
FIXED = {"batch_size": 64, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}


def patient_of(
    folder: Path, *, kind: str = "category", classes: int = 2, inputs: tuple[str, ...] = ("sex", "race"),
    gaps: dict[str, float] | None = None, **more: Any,
) -> Patient:  # fmt: skip
    """Return a patient whose run holds nothing but its encoder and what the audit found."""
    features = [{"column": column, "type": "category"} for column in inputs] + [{"column": "age", "type": "number"}]
    target = {"kind": kind, "classes": [f"c{code}" for code in range(classes)]}
    write_json(folder / "preprocessing" / "encoder.json", {"features": features, "target": target})
    data = {"source": "rows.csv", "target": "label", "protected": ["sex", "race"], **more.pop("data", {})}
    found = [
        Finding(key=f"audit.fairness.{key}", title=Message("x"), value=low + 0.01, interval=(low, low + 0.02))
        for key, low in (gaps or {}).items()
    ]
    return Patient(recipe=parse_recipe({"name": "run", "data": data, **more}), folder=folder, findings=found)


def changes(name: str, patient: Patient) -> dict[str, Any]:
    return dict(remedies()[name].changes(patient))


def test_all_stand_against_fairness() -> None:
    assert set(NAMES) <= {one.name for one in chosen(["fairness"])}
    assert {remedies()[name].audits for name in NAMES} == {("fairness",)}
    assert all(remedies()[name].title.template in ZH for name in NAMES)


def test_reweighing_is_over_all_protected_columns(tmp_path: Path) -> None:
    assert changes("reweighing", patient_of(tmp_path)) == {"training.reweigh": ["sex", "race"]}


def test_rates_are_held_alike_over_all_protected_columns(tmp_path: Path) -> None:
    keys = {"training.constrain.columns": ["sex", "race"], "training.constrain.alike": "odds"}
    assert changes("exponentiated_gradient", patient_of(tmp_path)) == keys


def test_thresholds_go_by_the_input_whose_groups_are_surely_farthest_apart(tmp_path: Path) -> None:
    gaps = {"sex.selected": 0.05, "race.selected": 0.1, "sex.true_positive": 0.0, "sex.false_positive": 0.3, "race.true_positive": 0.2}
    parity, odds = (changes(f"{name}_thresholds", patient_of(tmp_path, gaps=gaps)) for name in ("parity", "odds"))
    assert parity == {"optimization.adjust.thresholds.column": "race", "optimization.adjust.thresholds.alike": "demographic_parity"}
    assert odds == {"optimization.adjust.thresholds.column": "sex", "optimization.adjust.thresholds.alike": "equalized_odds"}


def test_a_column_that_is_no_input_gives_no_thresholds_but_may_be_reweighed(tmp_path: Path) -> None:
    patient = patient_of(tmp_path, inputs=("city",))
    with pytest.raises(RecipeError, match="none of sex, race is an input of type category"):
        changes("parity_thresholds", patient)
    assert changes("reweighing", patient)


@pytest.mark.parametrize("name", NAMES)
def test_without_protected_columns_the_key_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=r"no column is protected.*data\.protected"):
        changes(name, patient_of(tmp_path, data={"protected": []}))


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="for classes, and the target is of type number"):
        changes("reweighing", patient_of(tmp_path, kind="number"))
    with pytest.raises(RecipeError, match="for two classes"):
        changes("odds_thresholds", patient_of(tmp_path, classes=3))
    with pytest.raises(RecipeError, match="for a target of two classes"):
        changes("exponentiated_gradient", patient_of(tmp_path, classes=3))
    with pytest.raises(RecipeError, match="holds rates alike already"):
        changes("exponentiated_gradient", patient_of(tmp_path, training={"constrain": {"columns": ["sex"]}}))
    with pytest.raises(RecipeError, match="reweighs its rows already"):
        changes("reweighing", patient_of(tmp_path, training={"reweigh": ["sex"]}))
    with pytest.raises(RecipeError, match=r"draws its rows by class \(training.balance: resample\)"):
        changes("reweighing", patient_of(tmp_path, training={"balance": "resample"}))
    with pytest.raises(RecipeError, match="has thresholds by group already"):
        changes("parity_thresholds", patient_of(tmp_path, optimization={"adjust": {"thresholds": "sex"}}))


def rows(count: int = 3000) -> str:
    """Return a table in which one sex earns more by a score that it also has more of."""
    random = np.random.default_rng(2)
    sex = np.where(random.random(count) < 0.5, "f", "m")
    score = random.normal(size=count) + np.where(sex == "m", 0.7, 0.0)
    yes = random.random(count) < 1 / (1 + np.exp(1.0 - 2.0 * score))
    lines = [f"{score[place]:.5f},{sex[place]},{'yes' if yes[place] else 'no'}" for place in range(count)]
    return "\n".join(["score,sex,label", *lines]) + "\n"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fairer") / "run"


@pytest.fixture(scope="module")
def found(run_folder: Path) -> list[Finding]:
    folder = run_folder.parent
    (folder / "rows.csv").write_text(rows(), encoding="utf-8")
    recipe: Recipe = parse_recipe(
        {
            "name": "run", "data": {"source": (folder / "rows.csv").as_posix(), "target": "label", "protected": ["sex"]},
            "training": {**FIXED, "model": {"type": "mlp", "hidden": [16]}, "epochs": 6, "optimizer": {"type": "adamw", "lr": 0.01}},
            "optimization": False, "deployment": {"enabled": False}, "mitigation": ["reweighing", "parity_thresholds"],
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
            "audit": dict.fromkeys(OTHERS, False),
        }
    )  # fmt: skip
    return lifecycle.run(recipe, run_folder, until="mitigation")


@pytest.mark.slow
def test_the_gap_is_found_and_each_remedy_narrows_it(found: list[Finding]) -> None:
    before = by_key(found, "audit.fairness.sex.selected")
    assert before is not None
    assert before.verdict == "limitation"
    for name in ("reweighing", "parity_thresholds"):
        row = by_key(found, f"mitigation.{name}.audit.fairness.sex.selected")
        assert row is not None
        assert row.verdict in ("advantage", "neutral")
        assert float(row.value or 0) < float(before.value or 0) - 0.05
        assert "price: accuracy" in str(row.reason)


@pytest.mark.slow
def test_thresholds_leave_a_gap_that_is_surely_small(found: list[Finding]) -> None:
    row = by_key(found, "mitigation.parity_thresholds.audit.fairness.sex.selected")
    assert row is not None
    assert row.interval is not None
    assert row.interval[1] < 0.16


@pytest.mark.parametrize("kind", ["category", "set", "number"])
def test_the_losses_of_rows_have_the_plain_loss_for_a_mean(kind: str) -> None:
    from weighbridge.training.predict import plain_loss
    from weighbridge.training.weights import row_losses

    random = np.random.default_rng(0)
    answers = random.normal(size=(50, 1 if kind == "number" else 3)).astype(np.float32)
    target: np.ndarray = {
        "category": random.integers(0, 3, 50), "set": (random.random((50, 3)) < 0.5).astype(np.float32),
        "number": random.normal(size=50).astype(np.float32),
    }[kind]  # type: ignore[assignment]  # fmt: skip
    assert row_losses(answers, target, kind).mean() == pytest.approx(plain_loss(answers, target, kind), rel=1e-5)


@pytest.mark.slow
def test_reweighed_weights_are_kept_by_rows_that_count_as_they_did_in_training(run_folder: Path, found: list[Finding]) -> None:
    """Judged by rows that count alike, the first epoch is kept here, and nothing is mended."""
    epochs = read_json(run_folder / "mitigation" / "reweighing" / "run" / "training" / "history.json")["epochs"]
    assert all(epoch["penalty"] == pytest.approx(epoch["weighted_loss"] - epoch["validation_loss"], abs=1e-6) for epoch in epochs)
    kept = min(epochs, key=lambda epoch: epoch["weighted_loss"])
    assert read_json(run_folder / "mitigation" / "reweighing" / "run" / "training" / "history.json")["best_epoch"] == kept["epoch"]
    assert found
