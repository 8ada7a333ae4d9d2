"""Law: a class that no training row holds does not stop a run; its rows are judged, and count as errors, and the report says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weighbridge
from weighbridge import lifecycle
from weighbridge.data import open_data
from weighbridge.evaluation import read_predictions
from weighbridge.findings import by_key, read_findings
from weighbridge.recipe import Recipe, parse_recipe

pytestmark = pytest.mark.slow  # a minute in sum: left out of the quick set

ROWS = 160
SPLIT = ["train"] * 100 + ["validation"] * 30 + ["test"] * 30


def recipe(source: Path, **changes: Any) -> Recipe:
    training = {"epochs": 3, "batch_size": 32, "threads": 1, "precision": "fp32", **changes.pop("training", {})}
    data = {"source": str(source), **changes.pop("data", {})}
    return parse_recipe({"name": "t", "data": data, "training": training, "evaluation": {"resamples": 200}, **changes})


def table(folder: Path, target: list[str], part: list[str] | None = None) -> Path:
    """A CSV of two informative numbers and a category, a target, and where given the split of each row."""
    rng = np.random.default_rng(3)
    names = sorted(set(target))
    x = np.array([names.index(value) for value in target]) + rng.normal(size=len(target))
    lines = ["x,colour,label" + (",part" if part else "")]
    lines += [f"{x[row]:.5f},{'rgb'[row % 3]},{target[row]}" + (f",{part[row]}" if part else "") for row in range(len(target))]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


def classes(**rare: int) -> list[str]:
    """Return the classes of all rows: yes and no, and each rare one in a given row."""
    found = ["yes" if row % 3 else "no" for row in range(ROWS)]
    for name, row in rare.items():
        found[row] = name
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one class of a single test row, one of a single validation row and one of a single training row."""
    place = tmp_path_factory.mktemp("rare")
    source = table(place, classes(odd=159, late=110, once=5), SPLIT)
    training = {"class_weights": "balanced", "label_smoothing": 0.1}
    lifecycle.run(recipe(source, data={"split": {"column": "part"}}, training=training), place / "run")
    return place / "run"


def test_rows_of_a_class_without_training_rows_are_judged_and_wrong(folder: Path) -> None:
    test = read_predictions(folder / "evaluation" / "test.parquet")
    assert test.classes == ("late", "no", "odd", "once", "yes")
    odd = test.classes.index("odd")
    rows = test.target == odd
    assert rows.sum() == 1
    assert test.output[rows].argmax(axis=1).tolist() != [odd]
    assert read_predictions(folder / "evaluation" / "baseline-trivial.parquet").output[0, odd] == 0
    assert all(np.isfinite(epoch["validation_loss"]) for epoch in json.loads((folder / "training" / "history.json").read_text())["epochs"])


def test_a_limitation_names_the_classes_and_their_rows(folder: Path) -> None:
    found = by_key(read_findings(folder / "findings.jsonl"), "preprocessing.untrained_classes")
    assert found is not None
    assert (found.verdict, found.value) == ("limitation", 2)
    assert "late, odd: " in str(found.reason)
    assert "the 2 validation and test rows" in str(found.reason)


def test_the_package_has_an_output_for_every_class_and_never_prefers_an_untrained_one(folder: Path) -> None:
    model = weighbridge.load(folder / "deployment" / "package")
    assert model.classes == ("late", "no", "odd", "once", "yes")
    answer = model.predict([{"x": str(x), "colour": colour} for x in range(-2, 7) for colour in "rgb"])
    assert set(answer.labels) <= {"no", "once", "yes"}


def test_the_default_split_puts_a_class_of_two_rows_where_it_likes_and_runs_on(tmp_path: Path) -> None:
    """The split is by hash: the rows of the rare class are chosen so that the test split holds both."""
    source = table(tmp_path, classes())
    wanted = recipe(source, training={"epochs": 1})
    lifecycle.run(wanted, tmp_path / "run", until="data")
    ids = set(open_data(tmp_path / "run" / "data").test("where rows fall", "pytest").column("x").tolist())
    lines = source.read_text().splitlines()
    for place in [place for place, line in enumerate(lines[1:], 1) if float(line.split(",")[0]) in ids][:2]:
        lines[place] = lines[place].rsplit(",", 1)[0] + ",rare"
    source.write_text("\n".join(lines) + "\n")
    lifecycle.run(wanted, tmp_path / "run")
    found = by_key(read_findings(tmp_path / "run" / "findings.jsonl"), "preprocessing.untrained_classes")
    assert found is not None
    assert "rare: the network can not learn them; the 2 validation and test rows" in str(found.reason)
    assert weighbridge.load(tmp_path / "run" / "deployment" / "package").classes == ("no", "rare", "yes")


def test_labels_of_sets_that_no_training_row_has_are_stated_too(tmp_path: Path) -> None:
    target = [";".join(["all", *(["hot"] if row % 2 else [])]) for row in range(ROWS)]
    target[140], target[150], target[4] = "all;odd", "odd;hot", "all;once"
    wanted = recipe(table(tmp_path, target, SPLIT), data={"split": {"column": "part"}, "columns": {"label": "set"}}, training={"epochs": 2})
    lifecycle.run(wanted, tmp_path / "run")
    assert read_predictions(tmp_path / "run" / "evaluation" / "test.parquet").classes == ("all", "hot", "odd", "once")
    found = by_key(read_findings(tmp_path / "run" / "findings.jsonl"), "preprocessing.untrained_classes")
    assert found is not None
    assert str(found.reason) == "odd: the network can not learn them; validation and test rows hold them 2 times"
