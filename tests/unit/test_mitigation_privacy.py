"""Law: private training as a remedy is a change of recipe that holds, and rows that a network would know by heart are no longer told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge import lifecycle, training
from weighbridge.audit.membership_score import attack, confidence
from weighbridge.errors import RecipeError
from weighbridge.mitigation import Patient, chosen, remedies
from weighbridge.recipe import PrivacyOptions, changed, parse_recipe
from weighbridge.report.words import translate
from weighbridge.storage import write_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent

NAMES = ("dp_eps8", "dp_eps3", "dp_eps1")


def patient(folder: Path, *, types: tuple[str, ...] = ("number",), **keys: Any) -> Patient:
    """Return a run of which nothing is there but what its columns are."""
    features = [{"type": one, "column": one} for one in types]
    write_json(folder / "preprocessing" / "encoder.json", {"features": features, "target": {"kind": "category"}})
    return Patient(recipe=parse_recipe({"data": {"source": "t.csv", "target": "y"}, "training": keys}), folder=folder, findings=())


def changes_of(name: str, one: Patient) -> dict[str, Any]:
    return dict(remedies()[name].changes(one))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("types", [("number",), ("image", "text")])
def test_the_keys_make_a_recipe_that_holds_and_its_words_are_translated(tmp_path: Path, name: str, types: tuple[str, ...]) -> None:
    one = patient(tmp_path, types=types, accumulate=2, precision="bf16", class_weights="balanced")
    made = changed(one.recipe, changes_of(name, one), {}, where=name)
    assert made.training.privacy.epsilon == float(name.removeprefix("dp_eps"))
    assert made.training.optimizer.type == "momentum"
    assert not made.optimization.enabled
    assert made.training.model.norm == ("image" not in types)
    title = remedies()[name].title
    assert translate(title, "zh") != str(title)


def test_all_stand_against_privacy_and_watch_its_attacks() -> None:
    known = {one.name: one for one in chosen(["privacy"])}
    assert set(NAMES) <= set(known)
    assert all(known[name].audits == ("privacy",) and "audit.privacy.membership*" in known[name].watches for name in NAMES)


def test_a_recipe_that_trains_privately_already_is_refused(tmp_path: Path) -> None:
    one = patient(tmp_path)
    section = one.recipe.training.model_copy(update={"privacy": PrivacyOptions(epsilon=2.0)})
    with pytest.raises(RecipeError, match=r"trains privately already \(training.privacy\)"):
        changes_of("dp_eps3", replace(one, recipe=one.recipe.model_copy(update={"training": section})))


def test_what_does_not_fit_is_said_by_the_key_that_does_not(tmp_path: Path) -> None:
    one = patient(tmp_path, augment={"mixup": 0.2})
    with pytest.raises(RecipeError, match=r"training.privacy and training.augment.mixup contradict each other"):
        changed(one.recipe, changes_of("dp_eps3", one), {}, where="x")


def memoriser(folder: Path) -> training.Course:
    """Rows whose labels are drawn by lot: all that can be learnt of them is each row by heart."""
    random, count = np.random.default_rng(5), 900
    values, label = random.normal(size=(count, 12)), random.integers(0, 2, count)
    lines = [",".join([*(f"{one:.4f}" for one in row), "ab"[int(label[place])]]) for place, row in enumerate(values)]
    (folder / "t.csv").write_text("\n".join([",".join([*(f"x{i}" for i in range(12)), "label"]), *lines]) + "\n", encoding="utf-8")
    recipe = parse_recipe(
        {
            "name": "run", "data": {"source": (folder / "t.csv").as_posix(), "split": {"validation": 0.45, "test": 0.1}},
            "optimization": False,
            "training": {
                "model": {"type": "mlp", "size": "s", "dropout": 0}, "epochs": 60, "batch_size": 64, "threads": 1, "device": "cpu",
                "optimizer": {"type": "adamw", "lr": 0.005}, "early_stopping": {"enabled": False}, "precision": "fp32", "compile": False,
            },
        }
    )  # fmt: skip
    lifecycle.run(recipe, folder / "run", until="preprocessing")
    return training.Course.of_run(folder / "run", recipe.training, seed=0, folder=folder / "plain")


@pytest.mark.slow
def test_rows_known_by_heart_are_told_and_under_private_training_no_longer(tmp_path: Path) -> None:
    plain = memoriser(tmp_path)
    optimizer = plain.section.optimizer.model_copy(update={"type": "momentum", "lr": "auto"})
    courses = [plain]
    for epsilon in (3.0, 1.0):
        keys = {"privacy": PrivacyOptions(epsilon=epsilon), "optimizer": optimizer}
        courses.append(replace(plain, section=plain.section.model_copy(update=keys), folder=tmp_path / f"{epsilon:g}"))
    areas = []
    for course in courses:
        training.train_like(course, None, label="t", progress=silent, stop=StopRequest())
        answer = training.network_answers(course.folder, course.encoder)
        told = [confidence("category", answer(rows), np.asarray(rows.target), spread=1.0) for rows in (course.train, course.validation)]
        areas.append(attack(*told).area)
    assert areas[0] > 0.8
    assert areas[1] < 0.6
    assert abs(areas[2] - 0.5) < 0.04, "as by chance: two standard errors of 400 rows a side"
