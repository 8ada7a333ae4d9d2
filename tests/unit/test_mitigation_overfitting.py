"""Law: a remedy against overfitting or wrong labels changes recipe keys that anyone may set, refuses a run that it does not fit and says
why, and its row shows what it did.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge import lifecycle
from weighbridge.errors import RecipeError
from weighbridge.findings import Finding, by_key
from weighbridge.mitigation import Patient, remedies
from weighbridge.recipe import Recipe, parse_recipe

FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}


def recipe_of(source: str = "rows.csv", *, training: dict[str, Any] | None = None, **more: Any) -> Recipe:
    made = {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 12, **(training or {})}
    return parse_recipe(
        {
            "name": "run", "data": {"source": source, "target": "label"}, "training": made, "optimization": False, "audit": False,
            "deployment": {"enabled": False}, "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False}, **more,
        }
    )  # fmt: skip


def asked(name: str, folder: Path, **training: Any) -> dict[str, Any]:
    """Return what a remedy changes of a recipe with these training keys."""
    return dict(remedies()[name].changes(Patient(recipe=recipe_of(training=training), folder=folder, findings=())))


def blocks(folder: Path, *, images: tuple[int, int, int] | None = None) -> Path:
    """Return a folder whose encoder reads a column of numbers (NUMBER, as a run writes it) or a category alone."""
    from weighbridge.preprocessing.category import CategoryFit
    from weighbridge.preprocessing.encoder import Encoder
    from weighbridge.preprocessing.number import NumberFit
    from weighbridge.storage import write_json
    from weighbridge.storage.seeds import rng

    fit = (
        CategoryFit("c", rare=1, most=10)
        if images is None
        else NumberFit("n", scale="standard", missing="median", indicator=False, clip=10.0, generator=rng(0, "test"))
    )
    fit.add(np.array(["a", "b", "a", "b"], object) if images is None else np.arange(4.0), np.arange(4))
    write_json(folder / "preprocessing" / "encoder.json", Encoder(features=(fit.finish(),)).to_json())
    return folder


def test_decay_and_dropout_grow_and_stop_at_what_still_learns(tmp_path: Path) -> None:
    assert asked("weight_decay", tmp_path) == {"training.l2": 0.01}
    assert asked("weight_decay", tmp_path, l2=0.02) == {"training.l2": pytest.approx(0.2)}
    assert asked("dropout", tmp_path) == {"training.model.dropout": 0.3}
    assert asked("dropout", tmp_path, model={"type": "mlp", "dropout": 0.4}) == {"training.model.dropout": 0.5}


@pytest.mark.parametrize(
    ("name", "training", "said"),
    [
        ("weight_decay", {"l2": 0.5}, "training.l2 is 0.5 already"),
        ("dropout", {"model": {"type": "mlp", "dropout": 0.5}}, "training.model.dropout is 0.5 already"),
        ("dropout", {"model": {"type": "linear"}}, "a linear model has no activations"),
        ("early_stopping", {}, "stops early already"),
    ],
)
def test_a_remedy_that_does_not_fit_says_why(tmp_path: Path, name: str, training: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        asked(name, tmp_path, **training)


def test_early_stopping_is_set_where_it_was_off(tmp_path: Path) -> None:
    changed = asked("early_stopping", tmp_path, early_stopping={"enabled": False})
    assert changed == {"training.early_stopping.enabled": True}


def test_augmentation_changes_what_the_columns_allow(tmp_path: Path) -> None:
    numbers = blocks(tmp_path / "n", images=(8, 8, 1))
    assert asked("augmentation", numbers) == {"training.augment.noise": 0.1}
    with pytest.raises(RecipeError, match="changes its rows already"):
        asked("augmentation", numbers, augment={"noise": 0.2})
    with pytest.raises(RecipeError, match="no column is of images"):
        asked("augmentation", blocks(tmp_path / "c"))


def noisy(count: int = 900) -> str:
    """Return rows of two classes well apart; a tenth of the training labels is flipped, and the rows say which side they are on."""
    random = np.random.default_rng(2)
    label = random.integers(0, 2, count)
    flip = random.random(count) < 0.1
    x, z = random.normal(size=(2, count)) + 3.5 * label
    side = np.where(np.arange(count) % 3 == 2, "test", np.where(np.arange(count) % 6 == 1, "validation", "train"))
    shown = np.where(flip & (side == "train"), 1 - label, label)
    lines = [f"{x[i]:.5f},{z[i]:.5f},{side[i]},{'yes' if shown[i] else 'no'}" for i in range(count)]
    return "\n".join(["x,z,side,label", *lines]) + "\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Patient, list[Finding]]:
    folder = tmp_path_factory.mktemp("labels")
    (folder / "rows.csv").write_text(noisy(), encoding="utf-8")
    data = {"source": (folder / "rows.csv").as_posix(), "target": "label", "split": {"column": "side"}}
    recipe = recipe_of(data=data, mitigation=["quality", "weight_decay"])
    found = lifecycle.run(recipe, folder / "run", until="mitigation")
    return Patient(recipe=recipe, folder=folder / "run", findings=found), found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["drop_label_errors", "relabel"])
def test_suspected_rows_are_mended_and_the_run_beside_says_so(run: tuple[Patient, list[Finding]], name: str) -> None:
    patient, found = run
    row = by_key(found, f"mitigation.{name}.evaluation.accuracy")
    assert row is not None
    assert "data.clean.labels.file" in str(row.reason)
    price = row.reason.values
    assert isinstance(price["low"], float)
    assert (row.verdict == "advantage") == (price["low"] > 0)  # the paired difference decides on the headline
    beside = [json.loads(line) for line in (patient.folder / "mitigation" / name / "run" / "findings.jsonl").read_text().splitlines()]
    mended = next(one for one in beside if one["key"] == "data.labels_mended")
    assert mended["value"] > 20
    assert mended["reason"]["values"]["elsewhere"] == 0
    left = next(one for one in beside if one["key"] == "data.split")["value"]
    assert left.endswith("150 / 300")
    assert left.startswith("450") == (name == "relabel")


@pytest.mark.slow
def test_the_named_rows_are_mostly_those_that_were_flipped(run: tuple[Patient, list[Finding]]) -> None:
    from weighbridge import data

    patient, _ = run
    named = {row["row_id"] for row in json.loads((patient.folder / "mitigation" / "label_errors.json").read_text())["rows"]}
    train = data.open_data(patient.folder / "data").train
    near_yes = train.column("x") + train.column("z") > 3.5
    wrong = set(train.row_ids[(train.column("label") == "yes") != near_yes].astype(str))
    assert len(named & wrong) >= 0.8 * len(named)
    assert len(named & wrong) >= 0.6 * len(wrong)


@pytest.mark.slow
def test_the_gap_is_watched_and_the_price_is_paid_in_the_headline(run: tuple[Patient, list[Finding]]) -> None:
    row = by_key(run[1], "mitigation.weight_decay.evaluation.gap")
    assert row is not None
    assert row.reference is not None
    assert "price: accuracy" in str(row.reason)
    assert "training.l2: 0.01" in str(row.reason)


@pytest.mark.slow
def test_labels_that_are_mended_already_or_are_no_classes_are_refused(run: tuple[Patient, list[Finding]]) -> None:
    patient = run[0]
    clean = patient.recipe.data.clean
    named = clean.model_copy(update={"labels": clean.labels.model_copy(update={"file": "mine.csv"})})
    recipe = patient.recipe.model_copy(update={"data": patient.recipe.data.model_copy(update={"clean": named})})
    with pytest.raises(RecipeError, match="mends labels already"):
        remedies()["relabel"].changes(Patient(recipe=recipe, folder=patient.folder, findings=()))
