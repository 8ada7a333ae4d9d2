"""Law: stronger augmentation is twice the recipe's own within bounds, of what the columns can take, and refuses what it can not better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge.errors import RecipeError
from weighbridge.mitigation import Patient, remedies
from weighbridge.preprocessing.category import CategoryFit
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.image import ImageFit
from weighbridge.preprocessing.number import NumberFit
from weighbridge.preprocessing.text import TextFit
from weighbridge.recipe import parse_recipe
from weighbridge.storage import write_json

RANDOM = np.random.default_rng(0)
COLUMNS: dict[str, tuple[Any, np.ndarray]] = {
    "image": (
        ImageFit("image", size=None, channels=1, generator=RANDOM),
        objects([RANDOM.integers(0, 255, (28, 28)).astype(np.uint8) for _ in range(4)]),
    ),
    "number": (NumberFit("number", scale="standard", generator=RANDOM), RANDOM.normal(size=4)),
    "text": (
        TextFit("text", tokens="word", vocabulary=None, length=8, normalize="nfc", lowercase=True, generator=RANDOM),
        objects(["a b", "b c", "a c", "c"]),
    ),
    "category": (CategoryFit("category", rare=1, most=9), objects(["x", "y", "x", "y"])),
}
for _fit, _values in COLUMNS.values():
    _fit.add(_values)


def patient(folder: Path, *columns: str, **augment: float) -> Patient:
    encoder = Encoder(features=tuple(COLUMNS[name][0].finish() for name in columns))
    write_json(folder / "preprocessing" / "encoder.json", encoder.to_json())
    recipe = parse_recipe({"data": {"source": "x.csv", "target": "y"}, "training": {"augment": augment}})
    return Patient(recipe=recipe, folder=folder, findings=())


def changes(found: Patient) -> dict[str, Any]:
    return {key.removeprefix("training.augment."): value for key, value in remedies()["augment"].changes(found).items()}


def test_each_kind_of_column_is_changed_in_its_own_way(tmp_path: Path) -> None:
    assert changes(patient(tmp_path, "image")) == {"crop": 3, "erase": 0.25}
    assert changes(patient(tmp_path, "number", "category")) == {"noise": 0.3}
    assert changes(patient(tmp_path, "text")) == {"token_dropout": 0.15}


def test_what_the_recipe_does_is_doubled_within_bounds(tmp_path: Path) -> None:
    assert changes(patient(tmp_path, "image", crop=2, erase=0.2)) == {"crop": 4, "erase": 0.4}
    assert changes(patient(tmp_path, "image", crop=7, erase=0.4)) == {"erase": 0.5}
    assert changes(patient(tmp_path, "text", token_dropout=0.2)) == {"token_dropout": 0.3}


def test_what_can_not_be_bettered_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no column is of images, clips, numbers or texts"):
        changes(patient(tmp_path, "category"))
    with pytest.raises(RecipeError, match="as strongly already"):
        changes(patient(tmp_path, "number", noise=0.7))


def test_it_is_found_by_the_limitation_and_judged_by_its_audit() -> None:
    remedy = remedies()["augment"]
    assert remedy.against == "robustness"
    assert remedy.audits == ("robustness",)
    assert remedy.less
