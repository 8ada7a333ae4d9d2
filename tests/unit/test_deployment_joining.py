"""Law: old test rows stay test rows, a new row has one side for ever, and what was learnt from never judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.loop_states import recipe, rows
from weighbridge import lifecycle
from weighbridge.data.table import load_schema
from weighbridge.deployment.joining import ID, ROAD, SIDE, NewRows, check_sides, ids_of_test_rows, join, joined_recipe
from weighbridge.errors import DataError, RunError
from weighbridge.recipe import Recipe, changed, parse_recipe
from weighbridge.storage import sha256_file


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    folder = tmp_path_factory.mktemp("table")
    made = recipe(folder)
    lifecycle.run(made, folder / "run", until="data")
    return folder / "run", made


def new(asked: list[dict[str, Any]], first: int = 0) -> NewRows:
    names = ("a", "b", "c")
    columns = {name: np.array([row[name] for row in asked], dtype=np.float64) for name in names}
    ids = np.array([f"q{first + place}/0" for place in range(len(asked))])
    return NewRows(answer=ids, who=np.array(["k"] * len(asked)), label=[row["y"] for row in asked], columns=columns)


def sides(path: Path) -> dict[str, str]:
    found = pa.ipc.open_file(path).read_all()
    return dict(zip(found.column(ID).to_pylist(), found.column(SIDE).to_pylist(), strict=True))


def test_every_row_has_its_side_whatever_comes_with_it(table: tuple[Path, Recipe], tmp_path: Path) -> None:
    run, made = table
    asked = rows(300, 9)
    told = join(run, new(asked), made, tmp_path / "all.arrow")
    join(run, new(asked[:40]), made, tmp_path / "few.arrow")
    every, few = sides(tmp_path / "all.arrow"), sides(tmp_path / "few.arrow")
    assert all(every[id_] == side for id_, side in few.items())
    assert set(ids_of_test_rows(run)) == {id_ for id_, side in every.items() if side == "test" and not id_.startswith(ROAD)}
    assert sum(told.rows.values()) == 2300
    assert 30 < told.rows["new_test"] < 90
    join(run, new(asked), made, tmp_path / "again.arrow")
    assert sha256_file(tmp_path / "again.arrow") == told.sha256 == sha256_file(tmp_path / "all.arrow")


def test_a_new_row_that_equals_an_old_one_goes_to_its_side(table: tuple[Path, Recipe], tmp_path: Path) -> None:
    run, made = table
    old = pa.ipc.open_file(run / "data" / "test.arrow").read_all().select(["a", "b", "c", "y"]).slice(0, 50).to_pylist()
    told = join(run, new(old), made, tmp_path / "x.arrow")
    assert told.rows["new_test"] == 50


def test_the_challenger_keeps_the_sides_and_a_planted_exchange_is_found(table: tuple[Path, Recipe], tmp_path: Path) -> None:
    run, made = table
    join(run, new(rows(100, 9)), made, tmp_path / "x.arrow")
    given = joined_recipe(made, tmp_path / "x.arrow", run, name="scratch", changes={})
    lifecycle.run(given, tmp_path / "next", until="data")
    check_sides(run, tmp_path / "next")
    (tmp_path / "next" / "data" / "test.arrow").rename(tmp_path / "kept")
    (tmp_path / "next" / "data" / "train.arrow").rename(tmp_path / "next" / "data" / "test.arrow")
    (tmp_path / "kept").rename(tmp_path / "next" / "data" / "train.arrow")
    with pytest.raises(RunError, match="would be learnt from"):
        check_sides(run, tmp_path / "next")


def test_pictures_of_both_kinds_become_one_column(tmp_path: Path) -> None:
    made = parse_recipe({"name": "digits", "data": {"source": "sklearn://digits", "target": "target", "limit": 200}})
    lifecycle.run(made, tmp_path / "run", until="data")
    schema = load_schema(tmp_path / "run" / "data" / "schema.json")
    (name,) = (column.name for column in schema.inputs)
    picture = np.random.default_rng(0).integers(0, 255, (3, 8, 8), dtype=np.uint8)
    given = NewRows(answer=np.array(["a/0", "b/0", "c/0"]), who=np.array(["k"] * 3), label=["1", "2", "3"], columns={name: picture})
    told = join(tmp_path / "run", given, made, tmp_path / "x.arrow")
    assert sum(count for side, count in told.rows.items() if side.startswith("new")) == 3
    after = joined_recipe(made, tmp_path / "x.arrow", tmp_path / "run", name="scratch", changes={})
    lifecycle.run(after, tmp_path / "next", until="data")
    check_sides(tmp_path / "run", tmp_path / "next")


def test_rows_that_were_anonymized_are_not_joined_with_rows_that_were_not(table: tuple[Path, Recipe], tmp_path: Path) -> None:
    run, made = table
    with pytest.raises(DataError, match=r"data\.anonymize is set"):
        join(run, new(rows(3, 9)), changed(made, {"data.anonymize.columns": {"a": "drop"}}, {}), tmp_path / "x.arrow")
