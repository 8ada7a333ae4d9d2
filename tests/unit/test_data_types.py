"""Law: a column's type is read from its values, every decision says why, and the recipe's word is stronger than ours."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from weighbridge.data import draft_recipe, open_data, prepare, preview
from weighbridge.data.infer import infer
from weighbridge.recipe import load_recipe, parse_recipe

N = 200


def kind(values: list[Any], *, name: str = "column", target: bool = False) -> str:
    reading = infer(name, pa.chunked_array([pa.array(values)]), None, target=target, wanted=None)
    assert str(reading.why)
    return reading.type


def texts(values: Any) -> list[str]:
    return [str(value) for value in values]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5 * index for index in range(N)], "number"),
        (texts(0.5 * index for index in range(N)), "number"),
        (texts([f"{index}e3" for index in range(N)]), "number"),
        (list(range(N)), "number"),
        ([index % 5 for index in range(N)], "category"),
        ([index % 15 for index in range(N)], "number"),
        (["yes", "no"] * N, "category"),
        ([True, False] * N, "category"),
        ([f"2024-01-{index % 28 + 1:02d}" for index in range(N)], "date"),
        ([f"2024-01-{index % 28 + 1:02d}T10:00:00Z" for index in range(N)], "date"),
        ([f"{index % 28 + 1}.3.2024" for index in range(N)], "date"),
        ([f"{index % 28 + 1:02d}/03/2024" for index in range(N)], "date"),
        ([datetime.datetime(2024, 1, index % 28 + 1) for index in range(N)], "date"),
        ([f"images/{index}.JPG" for index in range(N)], "image"),
        ([b"\x89PNG" + bytes([index]) for index in range(N)], "image"),
        ([f"a{index:05d}" for index in range(N)], "id"),
        ([f"0{index % 40 + 1000}" for index in range(N)], "category"),
        ([f"the {index} th long remark of somebody about something" for index in range(N)], "text"),
        ([f"这家酒店的服务非常好房间也很干净下次还会再来住的第{index}次" for index in range(N)], "text"),
        ([["a", "b"], ["c"]] * N, "set"),
        ([None] * N, "category"),
    ],
)
def test_a_type_is_inferred_from_the_values(values: list[Any], expected: str) -> None:
    assert kind(values) == expected


def test_unique_whole_numbers_are_ids_only_under_a_name_that_ids_have() -> None:
    assert kind(list(range(N)), name="PassengerId") == "id"
    assert kind(texts(range(N)), name="row_id") == "id"
    assert kind(list(range(N)), name="age") == "number"
    assert kind([index // 2 for index in range(N)], name="id") == "number"


def test_a_target_of_few_whole_numbers_is_a_category_and_of_many_a_number() -> None:
    assert kind([index % 10 for index in range(N)], target=True) == "category"
    assert kind([0.0, 1.0] * 4, target=True) == "category"
    assert kind(list(range(N)), name="id", target=True) == "number"


def test_nan_and_infinity_are_missing_numbers() -> None:
    reading = infer("x", pa.chunked_array([pa.array([1.5, float("nan"), float("inf"), None, 2.0])]), None, target=False, wanted=None)
    assert (reading.type, reading.missing) == ("number", 3)


def write_csv(path: Path, columns: dict[str, list[Any]]) -> str:
    lines = [",".join(columns)] + [",".join(str(value) for value in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines))
    return str(path)


def run(tmp_path: Path, content: dict[str, list[Any]], **data: Any) -> Any:
    section = parse_recipe({"data": {"source": write_csv(tmp_path / "a.csv", content), "target": "y", **data}}).data
    found = prepare(section, seed=0, folder=tmp_path / "data", command="weigh data runs/a")
    return open_data(tmp_path / "data"), {finding.key: finding for finding in found}


Y = ["a", "b"] * (N // 2)


def test_the_recipe_names_types_that_override(tmp_path: Path) -> None:
    columns = {"grade": [index % 5 for index in range(N)], "zip": list(range(N)), "tags": ["p; q", "r"] * (N // 2), "y": Y}
    splits, _ = run(tmp_path, columns, columns={"grade": "number", "zip": "category", "tags": "set"})
    assert splits.train.column("grade").dtype == np.float64
    assert isinstance(splits.train.column("zip")[0], str)
    assert set(splits.train.column("tags")) == {("p", "q"), ("r",)}


def test_whole_numbers_written_with_a_fraction_of_nought_are_the_same_category(tmp_path: Path) -> None:
    splits, _ = run(tmp_path, {"x": list(range(N)), "y": ["1.0", "0.0"] * (N // 2)})
    assert set(splits.train.column("y")) == {"0", "1"}


def test_dates_come_as_microseconds_with_nat_for_missing_ones(tmp_path: Path) -> None:
    days = [f"2024-03-{index % 28 + 1:02d}" if index % 4 else "" for index in range(N)]
    splits, _ = run(tmp_path, {"x": list(range(N)), "day": days, "y": Y})
    column = splits.train.column("day")
    assert column.dtype == np.dtype("datetime64[us]")
    assert np.isnat(column).any()


def test_a_text_column_is_an_input(tmp_path: Path) -> None:
    remarks = [f"the {index} th remark of somebody who had something to say" for index in range(N)]
    splits, found = run(tmp_path, {"x": list(range(N)), "remark": remarks, "y": Y})
    assert (splits.schema["remark"].type, splits.schema["remark"].role) == ("text", "input")
    assert "data.left_out.text" not in found
    assert "remark" in splits.train.names


def test_a_column_of_numbers_with_a_few_texts_is_named_as_a_limitation(tmp_path: Path) -> None:
    values = [index if index != 77 else "broken" for index in range(N)]
    _, found = run(tmp_path, {"x": list(range(N)), "m": [value if value != 3 else 4 for value in values], "y": Y})
    assert found["data.types"].verdict == "limitation"
    assert "'broken'" in str(found["data.types"].reason)


def test_a_protected_column_is_kept_for_the_audits_though_it_is_no_input(tmp_path: Path) -> None:
    splits, _ = run(tmp_path, {"x": list(range(N)), "sex": ["f", "m"] * (N // 2), "y": Y}, columns={"sex": "ignore"}, protected=["sex"])
    assert splits.schema["sex"].role == "left_out"
    assert set(splits.train.column("sex")) == {"f", "m"}
    assert [column.name for column in splits.schema.inputs] == ["x"]


def test_nested_values_and_plain_bytes_are_left_out_with_a_limitation(tmp_path: Path) -> None:
    table = pa.table({"x": list(range(N)), "deep": [{"a": [1]}] * N, "blob": [b"zz"] * N, "y": Y})
    pq.write_table(table, tmp_path / "a.parquet")
    section = parse_recipe({"data": {"source": f"{tmp_path}/a.parquet", "target": "y"}}).data
    found = {finding.key: finding for finding in prepare(section, seed=0, folder=tmp_path / "d", command="x")}
    assert found["data.left_out.nested"].value == 2


def test_a_drafted_recipe_loads_and_says_each_type_with_its_reason(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a b.csv", {"age: years": list(range(N)), "#colour": ["r", "g"] * (N // 2), "id": list(range(N)), "y": Y})
    text = draft_recipe(source, "y")
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert (recipe.data.source, recipe.data.target) == (source, "y")
    assert "'age: years': number  # whole numbers with many different values" in text
    opened = text.replace("  # columns:", "  columns:").replace("  #   ", "    ")
    assert yaml.safe_load(opened)["data"]["columns"] == {"age: years": "number", "#colour": "category", "id": "id"}


def test_a_preview_estimates_the_rows_of_a_long_csv(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", {"x": list(range(20_000)), "y": ["a", "b"] * 10_000})
    seen = preview(parse_recipe({"data": {"source": source, "target": "y"}}).data, rows=1000)
    assert seen.n_rows == 1000
    assert not seen.exact
    assert seen.n_rows_estimate is not None
    assert 15_000 < seen.n_rows_estimate < 40_000
    assert len(seen.rows) == 5
