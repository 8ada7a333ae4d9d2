"""Law: every row is judged by what did not see it; folds are stratified, keep groups whole, go forward in time; no test row is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge import data, lifecycle, preprocessing
from weighbridge.errors import RecipeError
from weighbridge.optimization.ground import OWN, assign_folds, fold_grounds, forget_other_data, own_ground
from weighbridge.recipe import Recipe, parse_recipe, varied
from weighbridge.storage import read_json, write_json
from weighbridge.storage.progress import silent

ROWS = 300


def prepared(folder: Path, *, folds: int, **section: Any) -> tuple[Recipe, Path]:
    """A run whose data and preprocessing are done."""
    rng = np.random.default_rng(3)
    days = np.arange(ROWS)
    rng.shuffle(days)
    lines = ["x,patient,day,label"]
    lines += [
        f"{rng.normal() + (i % 3):.4f},p{i % 40},2024-{1 + days[i] // 28:02d}-{1 + days[i] % 28:02d},{'abc'[i % 3]}" for i in range(ROWS)
    ]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = parse_recipe(
        {
            "name": "run",
            "data": {"source": f"{folder}/rows.csv", "target": "label", "allow": ["target", "time", "group"], **section},
            "optimization": {"cross_validation": {"folds": folds}},
        }
    )
    lifecycle.run(recipe, folder / "run", until="preprocessing")
    return recipe, folder / "run"


def tables(run: Path) -> tuple[data.Table, data.Table]:
    splits = data.open_data(run / "data")
    return splits.train, splits.validation


def test_each_row_of_training_and_validation_is_judged_once_and_classes_are_spread(tmp_path: Path) -> None:
    recipe, run = prepared(tmp_path, folds=4)
    sides = assign_folds(recipe, tables(run), 4)
    assert np.array_equal(np.sum([one.judges for one in sides], axis=0), np.ones(len(sides[0].judges)))
    assert all(not (one.trains & one.judges).any() and (one.trains | one.judges).all() for one in sides)
    labels = np.concatenate([np.asarray(table.column("label")) for table in tables(run)])
    shares = [[np.mean(labels[one.judges] == name) for name in "abc"] for one in sides]
    assert np.ptp(shares, axis=0).max() < 0.03


def test_a_group_judges_in_one_fold_only(tmp_path: Path) -> None:
    recipe, run = prepared(tmp_path, folds=4, group="patient")
    groups = np.concatenate([np.asarray(table.column("patient")) for table in tables(run)])
    for one in assign_folds(recipe, tables(run), 4):
        assert not set(groups[one.judges]) & set(groups[one.trains])


def test_in_time_what_trains_is_older_than_what_judges(tmp_path: Path) -> None:
    recipe, run = prepared(tmp_path, folds=4, time="day")
    days = np.concatenate([np.asarray(table.column("day")) for table in tables(run)])
    for one in assign_folds(recipe, tables(run), 4):
        assert days[one.trains].max() <= days[one.judges].min()


def test_a_fold_is_encoded_by_its_own_training_rows(tmp_path: Path) -> None:
    recipe, run = prepared(tmp_path, folds=3)
    grounds = fold_grounds(recipe, run, recipe, silent)
    x = np.concatenate([table.column("x") for table in tables(run)])
    for ground, one in zip(grounds, assign_folds(recipe, tables(run), 3), strict=True):
        feature = next(feature for feature in ground.encoder.features if feature.column == "x")
        assert feature.center == pytest.approx(x[one.trains].mean())  # type: ignore[attr-defined]
        assert len(ground.validation) == one.judges.sum()
    ids = np.concatenate([ground.validation.row_ids for ground in grounds])
    assert sorted(ids) == sorted(np.concatenate([table.row_ids for table in tables(run)]))


def test_the_runs_own_encoding_is_not_made_again_and_another_preprocessing_is(tmp_path: Path) -> None:
    recipe, run = prepared(tmp_path, folds=0)
    assert own_ground(recipe, run, recipe, silent).arrays == run / "preprocessing"
    other = own_ground(recipe, run, varied(recipe, {"preprocessing.number.scale": "quantile"}), silent)
    assert (other.name, other.arrays.parent.parent) == (OWN, run / "optimization" / "arrays")
    again = own_ground(recipe, run, varied(recipe, {"preprocessing.number.scale": "robust"}), silent)
    assert len({other.identity, again.identity, own_ground(recipe, run, recipe, silent).identity}) == 3
    assert not np.array_equal(other.train.blocks["number"], preprocessing.open_arrays(run / "preprocessing" / "train").blocks["number"])


def test_rows_that_were_encoded_of_other_data_are_forgotten(tmp_path: Path) -> None:
    recipe, run = prepared(tmp_path, folds=0)
    variant = varied(recipe, {"preprocessing.number.scale": "quantile"})
    first = own_ground(recipe, run, variant, silent)
    forget_other_data(run)
    assert (first.arrays / "encoder.json").exists()
    mark = run / "data" / "stage.json"
    write_json(mark, {**read_json(mark), "core": "of a recipe that hides a column"})
    second = own_ground(recipe, run, variant, silent)
    forget_other_data(run)
    assert not first.arrays.exists()
    assert (second.arrays / "encoder.json").exists()


def test_no_ground_holds_a_test_row_and_the_ledger_has_no_entry(tmp_path: Path) -> None:
    recipe, run = prepared(tmp_path, folds=3)
    before = {path: path.stat().st_mtime_ns for path in (run / "data").iterdir()}
    grounds = [own_ground(recipe, run, recipe, silent), *fold_grounds(recipe, run, recipe, silent)]
    held = {row for ground in grounds for part in (ground.train, ground.validation) for row in part.row_ids}
    assert held == {row for table in tables(run) for row in table.row_ids}
    assert data.read_ledger(run / "data") == []
    assert {path: path.stat().st_mtime_ns for path in (run / "data").iterdir()} == before


def test_more_folds_than_groups_are_refused_in_one_line(tmp_path: Path) -> None:
    recipe, run = prepared(tmp_path, folds=20, group="patient")
    with pytest.raises(RecipeError, match=r"optimization.cross_validation.folds: 50 folds can not be cut"):
        assign_folds(recipe, tables(run), 50)
