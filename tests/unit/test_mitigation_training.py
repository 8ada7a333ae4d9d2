"""Law: a remedy of training is a recipe key that anyone may set, fits what the run holds, and names why it refuses the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation import Patient, remedies
from weighbridge.recipe import Recipe, changed, parse_recipe
from weighbridge.report.words import translate
from weighbridge.storage import write_json

MINE = ("class_weights", "resample", "adversarial_training", "adversarial_debiasing")


def patient(
    folder: Path, *, kind: str = "category", counts: tuple[int, ...] = (90, 10), types: tuple[str, ...] = ("number",), **keys: Any
) -> Patient:
    """Return a run of which nothing is there but what its columns are."""
    features = [{"type": one, "column": one} for one in types]
    write_json(folder / "preprocessing" / "encoder.json", {"features": features, "target": {"kind": kind, "counts": list(counts)}})
    recipe: Recipe = parse_recipe({"data": {"source": "t.csv", "target": "y", **keys.pop("data", {})}, "training": keys})
    return Patient(recipe=recipe, folder=folder, findings=())


def changes_of(name: str, one: Patient) -> dict[str, Any]:
    return dict(remedies()[name].changes(one))


def test_each_names_the_keys_that_it_sets(tmp_path: Path) -> None:
    one = patient(tmp_path, types=("number", "image", "text"), data={"protected": ["sex", "race", "sex"]})
    assert changes_of("class_weights", one) == {"training.class_weights": "balanced"}
    assert changes_of("resample", one) == {"training.balance": "resample"}
    assert changes_of("adversarial_training", one) == {"training.adversarial.images": 8.0, "training.adversarial.numbers": 0.1}
    assert changes_of("adversarial_debiasing", one) == {"training.debias.columns": ["sex", "race"]}


@pytest.mark.parametrize("name", MINE)
def test_the_keys_make_a_recipe_that_holds_and_its_words_are_translated(tmp_path: Path, name: str) -> None:
    one = patient(tmp_path, data={"protected": ["sex"]})
    made = changed(one.recipe, changes_of(name, one), {}, where=name)
    assert made != one.recipe
    title = remedies()[name].title
    assert isinstance(title, Message)
    assert translate(title, "zh") != str(title)


def test_attacked_are_the_inputs_that_there_are(tmp_path: Path) -> None:
    assert changes_of("adversarial_training", patient(tmp_path, types=("image",))) == {"training.adversarial.images": 8.0}
    assert changes_of("adversarial_training", patient(tmp_path, types=("number", "text"))) == {"training.adversarial.numbers": 0.1}


@pytest.mark.parametrize(
    ("name", "run", "says"),
    [
        ("class_weights", {"kind": "number"}, "class_weights is for classes, and the target is of type number"),
        ("resample", {"counts": (51, 50)}, "the classes have 50 to 51 training rows: there is nothing to balance"),
        ("resample", {"class_weights": "balanced"}, r"balances its classes already \(training.class_weights: balanced\)"),
        ("class_weights", {"balance": "resample"}, r"balances its classes already \(training.balance: resample\)"),
        ("resample", {"order": "blocks"}, "training.order: blocks reads neighbouring rows together"),
        ("resample", {"reweigh": ["sex"]}, r"the recipe reweighs its rows \(training.reweigh: sex\)"),
        ("adversarial_training", {"types": ("text", "category")}, "the data has neither"),
        ("adversarial_training", {"adversarial": {"images": 4}}, r"trains against an attack already \(training.adversarial\)"),
        ("adversarial_debiasing", {}, "no column is protected"),
        ("adversarial_debiasing", {"data": {"protected": ["sex"]}, "debias": {"columns": ["sex"]}}, "against an adversary already"),
    ],
)
def test_a_run_that_it_does_not_fit_is_refused_with_the_reason(tmp_path: Path, name: str, run: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        changes_of(name, patient(tmp_path, **run))


def test_a_class_without_training_rows_is_no_reason_to_balance(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is nothing to balance"):
        changes_of("resample", patient(tmp_path, counts=(50, 50, 0)))
