"""Law: a remedy of training is a recipe key that anyone may set, it names why it refuses a run, and its row says what it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from weighbridge import lifecycle
from weighbridge.errors import RecipeError
from weighbridge.findings import Finding, by_key
from weighbridge.mitigation import Patient, remedies
from weighbridge.recipe import Recipe, parse_recipe

pytestmark = pytest.mark.slow  # a run and its remedies

FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}


def rows(count: int = 700) -> str:
    """Return a table whose rarer class is one row in eight and overlaps the other, with a protected column that tells of it."""
    random = np.random.default_rng(11)
    label = random.random(count) < 0.125
    x, z = random.normal(size=(2, count)) + 1.1 * label
    group = np.where(random.random(count) < np.where(label, 0.75, 0.4), "a", "b")
    lines = [f"{x[i]:.5f},{z[i]:.5f},{group[i]},{'yes' if label[i] else 'no'}" for i in range(count)]
    return "\n".join(["x,z,group,label", *lines]) + "\n"


def recipe_of(folder: Path, **more: object) -> Recipe:
    source = folder / "table.csv"
    source.write_text(rows(), encoding="utf-8")
    training = {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 8, **more.pop("training", {})}  # type: ignore[dict-item]
    return parse_recipe(
        {
            "name": "run", "data": {"source": source.as_posix(), "target": "label", "protected": ["group"]}, "training": training,
            "optimization": False, "audit": False, "deployment": {"enabled": False},
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False}, **more,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Patient, list[Finding]]:
    folder = tmp_path_factory.mktemp("remedies")
    recipe = recipe_of(folder, mitigation=["class_weights", "resample"])
    found = lifecycle.run(recipe, folder / "run", until="mitigation")
    return Patient(recipe=recipe, folder=folder / "run", findings=found), found


def recall_of_rare(finding: Finding | None) -> float:
    assert finding is not None
    assert isinstance(finding.value, float)
    return finding.value


@pytest.mark.parametrize("name", ["class_weights", "resample"])
def test_balance_finds_more_of_the_rare_class_and_its_row_says_so(run: tuple[Patient, list[Finding]], name: str) -> None:
    found = run[1]
    row = by_key(found, f"mitigation.{name}.evaluation.balanced_accuracy")
    assert row is not None
    assert row.reference is not None
    assert recall_of_rare(row) > float(row.reference.value or 0) + 0.02
    assert "price: accuracy" in str(row.reason)
    assert f"training.{'class_weights: balanced' if name == 'class_weights' else 'balance: resample'}" in str(row.reason)


@pytest.mark.parametrize("name", ["class_weights", "resample"])
def test_a_run_that_is_balanced_already_is_refused_with_the_key(run: tuple[Patient, list[Finding]], name: str) -> None:
    patient = run[0]
    balanced = patient.recipe.model_copy(update={"training": patient.recipe.training.model_copy(update={"balance": "resample"})})
    with pytest.raises(RecipeError, match=r"balances its classes already \(training.balance: resample\)"):
        remedies()[name].changes(Patient(recipe=balanced, folder=patient.folder, findings=()))
