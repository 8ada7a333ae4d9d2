"""Encoded rows on disk are the encoded rows; a broken folder is named; the stage says what it did to the columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.preprocessing_tables import SECTION, MemorySplits, MemoryTable, mixed, schema, table
from weighbridge.errors import DataError, RunError
from weighbridge.findings import by_key, write_findings
from weighbridge.preprocessing import Encoder, open_arrays, prepare, write_arrays
from weighbridge.preprocessing.feature import objects
from weighbridge.storage import read_json

TABLE, SCHEMA = mixed()
ENCODER = Encoder.fit(TABLE, SCHEMA, SECTION)


def test_what_is_opened_is_what_was_encoded_and_only_mapped(tmp_path: Path) -> None:
    write_arrays(tmp_path, TABLE, ENCODER)
    arrays = open_arrays(tmp_path)
    for name, expected in ENCODER.encode(TABLE.columns).items():
        assert isinstance(arrays.blocks[name], np.memmap)
        np.testing.assert_array_equal(arrays.blocks[name], expected)
    assert arrays.target is not None
    np.testing.assert_array_equal(arrays.target, ENCODER.encode_target(TABLE.columns["label"]))
    assert arrays.row_ids.tolist() == TABLE.row_ids.tolist()
    assert len(arrays) == len(TABLE)
    assert not list(tmp_path.glob("*.part"))


def test_row_ids_and_columns_may_have_any_name(tmp_path: Path) -> None:
    name = "../路径/" + "x" * 200
    data = MemoryTable({name: objects([np.zeros((2, 2), np.uint8)] * 4), "y": objects(["a", "b"] * 2)}, np.array(["行1", "b", "../c", ""]))
    encoder = Encoder.fit(data, schema({name: "image", "y": "category"}, "y"), SECTION)
    write_arrays(tmp_path / "deep" / "train", data, encoder)
    arrays = open_arrays(tmp_path / "deep" / "train")
    assert arrays.row_ids.tolist() == ["行1", "b", "../c", ""]
    assert arrays.blocks[f"image.{name}"].shape == (4, 2, 2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["train"]


def test_no_rows_is_a_table_too(tmp_path: Path) -> None:
    empty = MemoryTable({name: values[:0] for name, values in TABLE.columns.items()}, TABLE.row_ids[:0])
    write_arrays(tmp_path, empty, ENCODER)
    assert len(open_arrays(tmp_path)) == 0


@pytest.mark.parametrize("name", ["number.npy", "category.npy", "image.photo.npy", "target.npy", "row_id.npy", "arrays.json"])
def test_a_missing_or_short_file_is_named(tmp_path: Path, name: str) -> None:
    write_arrays(tmp_path, TABLE, ENCODER)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=name):
        open_arrays(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match=name):
        open_arrays(tmp_path)


def test_a_pickled_array_is_not_unpickled(tmp_path: Path) -> None:
    write_arrays(tmp_path, TABLE, ENCODER)
    np.save(tmp_path / "number.npy", objects([{"a": 1}] * len(TABLE)), allow_pickle=True)
    with pytest.raises(RunError, match=r"number\.npy"):
        open_arrays(tmp_path)


def test_a_failing_row_leaves_no_folder_that_looks_whole(tmp_path: Path) -> None:
    bad = {**TABLE.columns, "label": objects(["no"] * (len(TABLE) - 1) + ["new"])}
    write_arrays(tmp_path, TABLE, ENCODER)
    with pytest.raises(DataError, match="'new'"):
        write_arrays(tmp_path, MemoryTable(bad, TABLE.row_ids), ENCODER)
    with pytest.raises(RunError):
        open_arrays(tmp_path)
    assert not list(tmp_path.glob("*.part"))


def test_the_stage_writes_its_files_and_its_findings(tmp_path: Path) -> None:
    steps: list[str] = []
    findings = prepare(
        SECTION,
        data=MemorySplits(SCHEMA, TABLE, TABLE),
        folder=tmp_path,
        command="weigh run r.yaml",
        progress=lambda label, *_: steps.append(label),
    )
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.json", "train", "validation"}
    assert Encoder.from_json(read_json(tmp_path / "encoder.json")) == ENCODER
    assert {"fit columns", "encode training rows", "encode validation rows"} == set(steps)
    keys = {finding.key for finding in findings}
    assert {"preprocessing.number", "preprocessing.date", "preprocessing.category", "preprocessing.set", "preprocessing.image"} <= keys
    assert by_key(findings, "preprocessing.missing.tags") is not None
    write_findings(tmp_path / "findings.jsonl", findings)


def test_unseen_values_in_validation_rows_are_a_limitation_above_5_percent(tmp_path: Path) -> None:
    def rows(cities: list[str]) -> MemoryTable:
        return table({"city": objects(cities), "y": objects(["a", "b"] * (len(cities) // 2))})

    form = schema({"city": "category", "y": "category"}, "y")
    train = rows(["Rom", "Oslo"] * 50)
    quiet = prepare(SECTION, data=MemorySplits(form, train, rows(["Rom"] * 96 + ["new"] * 4)), folder=tmp_path, command="c")
    assert by_key(quiet, "preprocessing.unseen.city") is None
    found = by_key(
        prepare(SECTION, data=MemorySplits(form, train, rows(["Rom"] * 94 + ["new"] * 6)), folder=tmp_path, command="c"),
        "preprocessing.unseen.city",
    )
    assert found is not None
    assert (found.verdict, found.value, found.n) == ("limitation", 0.06, 100)


def test_a_real_table_is_encoded_from_its_file_and_its_test_rows_stay_closed(tmp_path: Path) -> None:
    from weighbridge.data import open_data
    from weighbridge.data import prepare as prepare_data
    from weighbridge.recipe import parse_recipe

    lines = [
        f"{row % 17 if row % 9 else ''},{'abc'[row % 3]},2025-{row % 12 + 1:02d}-{row % 28 + 1:02d},{row % 5 > 2},{row % 2}"
        for row in range(300)
    ]
    (tmp_path / "rows.csv").write_text("n,c,day,flag,y\n" + "\n".join(lines))
    recipe = parse_recipe({"data": {"source": str(tmp_path / "rows.csv"), "target": "y", "clean": {"duplicates": "keep"}}})
    prepare_data(recipe.data, seed=0, folder=tmp_path / "data", command="weigh run")
    splits = open_data(tmp_path / "data")
    prepare(recipe.preprocessing, data=splits, folder=tmp_path / "preprocessing", command="weigh run")
    for name, rows in (("train", splits.train), ("validation", splits.validation)):
        arrays = open_arrays(tmp_path / "preprocessing" / name)
        assert arrays.row_ids.tolist() == rows.row_ids.tolist()
    encoder = Encoder.from_json(read_json(tmp_path / "preprocessing" / "encoder.json"))
    assert [block.columns for block in encoder.blocks] == [("n", "day"), ("c", "flag")]
    assert not (tmp_path / "data" / "test_ledger.jsonl").exists()


def test_any_missing_image_is_stated_and_many_are_a_limitation(tmp_path: Path) -> None:
    images = objects([np.full((4, 4), place, dtype=np.uint8) for place in range(50)])
    whole = table({"photo": images, "y": objects(["a", "b"] * 25)})
    form = schema({"photo": "image", "y": "category"}, "y")
    none = prepare(SECTION, data=MemorySplits(form, whole, whole), folder=tmp_path, command="c")
    assert by_key(none, "preprocessing.missing.photo") is None
    holed = table({"photo": objects([None, *images[1:]]), "y": whole.columns["y"]})
    found = by_key(prepare(SECTION, data=MemorySplits(form, holed, whole), folder=tmp_path, command="c"), "preprocessing.missing.photo")
    assert found is not None
    assert (found.verdict, found.value, found.n) == ("neutral", 0.02, 50)
    assert "1 training rows have no image; there it is masked" in str(found.reason)
    many = table({"photo": objects([None] * 11 + [*images[11:]]), "y": whole.columns["y"]})
    found = by_key(prepare(SECTION, data=MemorySplits(form, many, whole), folder=tmp_path, command="c"), "preprocessing.missing.photo")
    assert found is not None
    assert found.verdict == "limitation"
