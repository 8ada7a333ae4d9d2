"""Law: each action of cleaning is a finding with its count, also when the count is nought; given test rows are never thinned out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weighbridge.data import open_data, prepare
from weighbridge.data.splits import Splits
from weighbridge.errors import DataError, LeakError
from weighbridge.findings import Finding, write_findings
from weighbridge.recipe import parse_recipe

N = 100


def columns() -> dict[str, list[Any]]:
    return {"x": [index * 0.5 for index in range(N)], "c": [f"v{index % 9}" for index in range(N)], "y": ["a", "b"] * (N // 2)}


def run(folder: Path, content: dict[str, list[Any]], **data: Any) -> tuple[Splits, dict[str, Finding]]:
    lines = [",".join(content)] + [",".join(str(value) for value in row) for row in zip(*content.values(), strict=True)]
    (folder / "a.csv").write_text("\n".join(lines))
    section = parse_recipe({"data": {"source": str(folder / "a.csv"), "target": "y", **data}}).data
    found = prepare(section, seed=0, folder=folder / "data", command="weigh data runs/a")
    write_findings(folder / "findings.jsonl", found)
    return open_data(folder / "data"), {finding.key: finding for finding in found}


def test_clean_data_has_a_neutral_finding_of_nought_for_each_action(tmp_path: Path) -> None:
    _, found = run(tmp_path, columns())
    for name in ("missing", "duplicates", "conflicts", "missing_target", "unreadable", "constants", "ids", "missing_columns"):
        assert (found[f"data.{name}"].value, found[f"data.{name}"].verdict) == (0, "neutral")
    assert found["data.duplicates"].command == "weigh data runs/a --only duplicates"
    assert found["data.classes"].verdict == "neutral"
    assert (tmp_path / found["data.classes"].evidence[0]).is_file()


def test_exact_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    content = {name: values + values[:7] + values[:3] for name, values in columns().items()}
    splits, found = run(tmp_path, content)
    assert found["data.duplicates"].value == 10
    assert found["data.rows"].value == N
    assert len(splits.train) + len(splits.validation) + len(splits.test("a test", "x")) == N


def test_conflicting_labels_are_counted_kept_by_default_and_dropped_on_demand(tmp_path: Path) -> None:
    content = {name: values + values[:4] for name, values in columns().items()}
    content["y"][-4:] = ["b", "a", "b", "a"]
    _, found = run(tmp_path, content)
    assert (found["data.conflicts"].value, found["data.conflicts"].verdict, found["data.rows"].value) == (8, "limitation", N + 4)
    _, found = run(tmp_path, content, clean={"conflicts": "drop"})
    assert (found["data.conflicts"].value, found["data.rows"].value) == (8, N - 4)


def test_constant_id_and_empty_columns_are_left_out_and_named(tmp_path: Path) -> None:
    content = {"id": list(range(N)), "same": ["k"] * N, "empty": [""] * (N - 2) + ["p", "q"]} | columns()
    splits, found = run(tmp_path, content)
    assert {column.name: column.role for column in splits.schema.columns} == {
        "id": "id", "same": "left_out", "empty": "left_out", "x": "input", "c": "input", "y": "target",
    }  # fmt: skip
    assert str(found["data.constants"].reason) == "left out: same"
    assert str(found["data.ids"].reason) == "left out: id"
    assert str(found["data.missing_columns"].reason) == "left out: empty"
    splits, _ = run(tmp_path, content, clean={"constants": "keep", "ids": "keep", "most_missing": 1.0})
    assert len(splits.schema.inputs) == 5


def test_missing_values_are_counted_by_column(tmp_path: Path) -> None:
    content = columns()
    content["c"][:10] = ["?"] * 10
    content["x"][50] = "NaN"
    _, found = run(tmp_path, content)
    assert found["data.missing"].value == 11
    assert "the most in c" in str(found["data.missing"].reason)


def test_missing_targets_are_refused_with_their_count_and_first_rows_or_dropped(tmp_path: Path) -> None:
    content = columns()
    content["y"][4], content["y"][9] = "", "NaN"
    with pytest.raises(DataError, match=r"2 rows have no target .* first rows 5, 10"):
        run(tmp_path, content)
    _, found = run(tmp_path, content, clean={"missing_target": "drop"})
    assert (found["data.missing_target"].value, found["data.rows"].value) == (2, N - 2)


def test_a_nan_in_a_number_target_is_a_missing_target(tmp_path: Path) -> None:
    content = columns() | {"y": [index * 1.25 for index in range(N)]}
    content["y"][7] = float("nan")
    with pytest.raises(DataError, match=r"1 rows have no target .* first row 8"):
        run(tmp_path, content)


def test_duplicates_and_conflicts_may_be_refused(tmp_path: Path) -> None:
    content = {name: values + values[:2] for name, values in columns().items()}
    with pytest.raises(DataError, match="2 rows equal an earlier row in every column, first rows 101, 102"):
        run(tmp_path, content, clean={"duplicates": "refuse"})
    content["y"][-1] = "c"
    with pytest.raises(DataError, match="2 rows have equal inputs and different targets, first rows 2, 102"):
        run(tmp_path, content, clean={"conflicts": "refuse"})


def test_equal_rows_are_dropped_unasked_up_to_a_tenth_and_beyond_that_the_gate_asks(tmp_path: Path) -> None:
    numbers = {name: values + values[:30] for name, values in columns().items()}
    _, found = run(tmp_path, numbers)  # of few values rows are equal by chance: nobody is asked
    assert (found["data.duplicates"].value, found["data.rows"].value) == (30, N)
    texts = columns() | {"note": [f"{'abcdefghij'[row % 10]} {row * 7919} was said of it and {row * 31} in answer" for row in range(N)]}
    few = {name: values + values[:11] for name, values in texts.items()}
    _, found = run(tmp_path, few)
    assert (found["data.duplicates"].value, found["data.rows"].value) == (11, N)
    many = {name: values + values[:12] for name, values in texts.items()}
    said = r"leak duplicates: 12 of 112 rows are equal to an earlier row in every column: row 101 \(\w+\) = row 1 \(\w+\)"
    with pytest.raises(LeakError, match=said) as error:
        run(tmp_path, many)
    assert "set data.clean.duplicates: drop" in error.value.do
    _, found = run(tmp_path, many, clean={"duplicates": "drop"})
    assert found["data.rows"].value == N
    _, found = run(tmp_path, many, allow=["duplicates"])
    assert found["data.rows"].value == N + 12
    assert found["data.leak.duplicates"].verdict == "limitation"
    assert "none was dropped unasked" in str(found["data.duplicates"].reason)


def test_given_test_rows_stay_and_training_rows_equal_to_them_go(tmp_path: Path) -> None:
    content = {name: values + values[:6] + values[:2] for name, values in columns().items()}
    content["part"] = ["train"] * N + ["test"] * 8
    splits, found = run(tmp_path, content, split={"column": "part"})
    test = splits.test("a test", "x")
    assert len(test) == 8
    assert len(set(test.row_ids)) == 8
    assert "6 of them equal to a row of a later given side" in str(found["data.leak.duplicates"].reason)
    assert len(splits.train) + len(splits.validation) == N - 6
    kept = {"split": {"column": "part"}, "clean": {"duplicates": "keep"}}
    with pytest.raises(LeakError, match=r"6 rows are equal to a row of a later side in every column: row 1 \(train\) = row 101 \(test\)"):
        run(tmp_path, content, **kept)
    _, found = run(tmp_path, content, **kept, allow=["duplicates"])
    assert found["data.leak.duplicates"].verdict == "limitation"


def test_a_rare_class_and_one_that_no_training_row_has_are_limitations(tmp_path: Path) -> None:
    content = columns()
    content["y"][:3] = ["rare"] * 3
    _, found = run(tmp_path, content)
    assert found["data.classes"].verdict == "limitation"
    content["part"] = ["test"] * 20 + ["train"] * (N - 20)
    _, found = run(tmp_path, content, split={"column": "part"})
    assert "no training row has the class rare" in str(found["data.classes"].reason)
