"""Law: a row keeps its id and its side when the data grows, no row stands on two sides, and the test rows are never read unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.data import open_data, prepare, read_ledger
from weighbridge.data.identity import group_rows, hex_ids, row_digests, units
from weighbridge.data.splits import Splits
from weighbridge.errors import RunError, UsageError
from weighbridge.recipe import parse_recipe

N = 300


def write_csv(path: Path, columns: dict[str, list[Any]]) -> str:
    lines = [",".join(columns)] + [",".join(str(value) for value in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines))
    return str(path)


def columns(n: int = N) -> dict[str, list[Any]]:
    return {
        "x": [index * 0.5 for index in range(n)],
        "c": [f"v{index % 9}" for index in range(n)],
        "y": ["a" if index % 3 else "b" for index in range(n)],
    }


def run(folder: Path, content: dict[str, list[Any]], **data: Any) -> tuple[Splits, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    section = parse_recipe({"data": {"source": write_csv(folder / "a.csv", content), "target": "y", **data}}).data
    found = prepare(section, seed=data.pop("seed", 0), folder=folder / "data", command="weigh data runs/a")
    return open_data(folder / "data"), {finding.key: finding for finding in found}


def sides(splits: Splits) -> dict[str, str]:
    tables = {"train": splits.train, "validation": splits.validation, "test": splits.test("a test", "pytest")}
    return {row_id: side for side, table in tables.items() for row_id in table.row_ids.tolist()}


def test_a_row_keeps_its_id_and_side_when_the_data_grows(tmp_path: Path) -> None:
    before = sides(run(tmp_path / "1", columns(200))[0])
    grown = {name: values[200:] + values[:200] for name, values in columns(400).items()}
    after = sides(run(tmp_path / "2", grown)[0])
    assert len(before) == 200
    assert len(after) == 400
    assert all(after[row_id] == side for row_id, side in before.items())


CELLS = st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["1", "2"]))
ROWS = st.lists(st.tuples(CELLS, st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-5, 5).map(float))), min_size=1, max_size=30)


@given(rows=ROWS, more=ROWS, seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_ids_and_units_depend_on_the_row_alone(rows: list[Any], more: list[Any], seed: int) -> None:
    def ids(items: list[Any], order: tuple[str, str] = ("a", "b")) -> list[str]:
        arrays = {"a": pa.array([item[0] for item in items], pa.string()), "b": pa.array([item[1] for item in items], pa.float64())}
        batch = pa.RecordBatch.from_arrays([arrays[name] for name in order], names=list(order))
        return hex_ids(row_digests(batch, order)).tolist()

    alone = ids(rows)
    assert ids(rows + more)[: len(rows)] == alone
    assert ids(more + rows)[len(more) :] == alone
    assert ids(rows, ("b", "a")) == alone
    assert [len(set(pair)) for pair in zip(alone, ids(rows), strict=True)] == [1] * len(rows)
    known = {key: row_id for key, row_id in zip([(a, None if b is None else b + 0.0) for a, b in rows], alone, strict=True)}
    assert len(set(known.values())) == len(known)
    assert units(alone, seed, "p").tolist() == units(alone + ids(more), seed, "p")[: len(alone)].tolist()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_groups_of_equal_digests_count_their_members_in_order(values: list[int]) -> None:
    groups, before = group_rows(np.array([[value, value + 1] for value in values], dtype=np.uint64))
    for index, value in enumerate(values):
        assert before[index] == values[:index].count(value)
        assert (groups == groups[index]).tolist() == [other == value for other in values]


def test_units_are_uniform() -> None:
    unit = units([str(index) for index in range(20_000)], 0, "p")
    assert unit.min() >= 0
    assert unit.max() < 1
    assert np.abs(np.histogram(unit, 10, (0, 1))[0] - 2000).max() < 6 * np.sqrt(2000)


def test_another_seed_gives_another_split(tmp_path: Path) -> None:
    section = parse_recipe({"data": {"source": write_csv(tmp_path / "a.csv", columns()), "target": "y"}}).data
    found = []
    for seed in (0, 1):
        prepare(section, seed=seed, folder=tmp_path / str(seed), command="x")
        found.append(sides(open_data(tmp_path / str(seed))))
    assert found[0] != found[1]
    assert found[0].keys() == found[1].keys()


def test_the_shares_are_those_of_the_recipe(tmp_path: Path) -> None:
    splits, found = run(tmp_path, columns(4000), split={"test": 0.3, "validation": 0.1}, allow=["target"])  # c determines y
    assert abs(len(splits.test("a test", "pytest")) - 1200) < 120
    assert abs(len(splits.validation) - 400) < 80
    assert "hash" in str(found["data.split"].reason)


def test_equal_inputs_stay_on_one_side_and_have_different_ids(tmp_path: Path) -> None:
    content = columns(100)
    twice = {name: values * 2 for name, values in content.items()}
    splits, _ = run(tmp_path, twice, clean={"duplicates": "keep"})
    found = sides(splits)
    assert len(found) == 200
    assert all(found[row_id] == found[row_id.removesuffix("-1")] for row_id in found)


def test_a_stratified_split_has_the_same_share_of_each_class(tmp_path: Path) -> None:
    splits, _ = run(tmp_path, columns(), split={"method": "stratified"})
    test = splits.test("a test", "pytest").column("y")
    assert ((test == "a").sum(), (test == "b").sum()) == (40, 20)


def test_rows_of_a_group_stand_on_one_side(tmp_path: Path) -> None:
    content = columns() | {"patient": [f"p{index // 5}" for index in range(N)]}
    content = {name: content[name] for name in ("x", "c", "patient", "y")}
    splits, _ = run(tmp_path, content, group="patient")
    groups = [set(table.column("patient")) for table in (splits.train, splits.validation, splits.test("a test", "pytest"))]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert splits.schema["patient"].role == "group"


def test_by_time_the_newest_rows_are_the_test_rows_and_one_moment_is_not_cut(tmp_path: Path) -> None:
    content = columns() | {"when": [f"2024-01-{index // 12 + 1:02d}" for index in range(N)][::-1]}
    splits, _ = run(tmp_path, content, time="when")
    train, validation, test = (table.column("when") for table in (splits.train, splits.validation, splits.test("a test", "pytest")))
    assert train.max() < validation.min()
    assert validation.max() < test.min()
    assert len(test) == 60


def test_a_column_may_give_the_split_and_a_missing_validation_split_is_cut_from_training_rows(tmp_path: Path) -> None:
    content = columns() | {"part": ["Test" if index < 50 else "train" for index in range(N)]}
    splits, found = run(tmp_path, content, split={"column": "part"})
    assert len(splits.test("a test", "pytest")) == 50
    assert 10 < len(splits.validation) < 70
    assert "as the source gives it" in str(found["data.split"].reason)


def test_a_named_id_column_is_the_row_id(tmp_path: Path) -> None:
    content = {"key": [f"k{index}" for index in range(N)]} | columns()
    splits, _ = run(tmp_path, content, id="key")
    assert all(row_id.startswith("k") for row_id in splits.train.row_ids)
    assert splits.schema["key"].role == "id"


def test_each_read_of_the_test_rows_is_recorded_with_its_reason(tmp_path: Path) -> None:
    splits, _ = run(tmp_path, columns())
    assert read_ledger(splits.folder) == []
    splits.test("judge the model", "weigh evaluate runs/a")
    splits.test("package parity", "weigh run a.yaml")
    lines = read_ledger(splits.folder)
    assert [(line["entry"], line["reason"], line["command"]) for line in lines] == [
        (1, "judge the model", "weigh evaluate runs/a"),
        (2, "package parity", "weigh run a.yaml"),
    ]
    assert set(lines[0]) == {"entry", "time", "reason", "rows", "command", "sha256"}
    with pytest.raises(UsageError, match="without a reason"):
        splits.test(" ", "x")


@pytest.mark.parametrize("change", ["edit", "delete", "swap"])
def test_a_changed_ledger_is_found_before_the_rows_are_given(tmp_path: Path, change: str) -> None:
    splits, _ = run(tmp_path, columns())
    for number in range(3):
        splits.test(f"reason {number}", "x")
    path = splits.folder / "test_ledger.jsonl"
    lines = path.read_text().splitlines()
    if change == "edit":
        lines[1] = json.dumps(json.loads(lines[1]) | {"reason": "another"})
    elif change == "delete":
        del lines[1]
    else:
        lines[0], lines[1] = lines[1], lines[0]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match="was changed"):
        splits.test("again", "x")


@pytest.mark.parametrize("kind", ["category", "set"])
def test_the_schema_holds_the_classes_of_all_splits_with_their_rows(tmp_path: Path, kind: str) -> None:
    content = columns()
    content["y"] = [value + (";c;c" if kind == "set" and index % 4 == 0 else "") for index, value in enumerate(content["y"])]
    content["y"][7] = "odd"
    splits, _ = run(tmp_path, content, columns={"y": kind})
    expected = {"a": 199, "b": 100, "odd": 1} | ({"c": 75} if kind == "set" else {})
    assert splits.schema.classes == expected
    counted = json.loads((tmp_path / "data" / "classes.json").read_text())
    assert counted["classes"] == sorted(expected)
    totals = np.sum([counted["counts"][name] for name in ("train", "validation", "test")], axis=0)
    assert dict(zip(counted["classes"], totals.tolist(), strict=True)) == expected
    held = [value for value in splits.train.column("y") if value == "a" or (isinstance(value, tuple) and "a" in value)]
    assert counted["counts"]["train"][0] == len(held)


@pytest.mark.parametrize("method", ["hash", "stratified"])
def test_fewer_training_rows_are_nested_and_leave_the_other_sides_as_they_are(tmp_path: Path, method: str) -> None:
    whole = sides(run(tmp_path / "whole", columns(), split={"method": method})[0])
    kept: dict[int, set[str]] = {}
    for most in (20, 60, 10_000):
        splits, found = run(tmp_path / str(most), columns(), split={"method": method, "train_rows": most})
        now = sides(splits)
        kept[most] = {row for row, side in now.items() if side == "train"}
        assert {row: side for row, side in now.items() if side != "train"} == {row: side for row, side in whole.items() if side != "train"}
        left = len(whole) - len(now)
        assert (found["data.split.left"].value if left else 0) == left
    assert [len(kept[most]) for most in (20, 60)] == [20, 60]
    assert kept[20] < kept[60] < kept[10_000] == {row for row, side in whole.items() if side == "train"}
