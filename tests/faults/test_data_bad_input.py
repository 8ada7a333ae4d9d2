"""Law: data that can not be used is refused in one line that names what, where and what to do; what existed before is unharmed."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from weighbridge.data import open_data, prepare
from weighbridge.errors import DataError, DependencyError, StorageError, UsageError
from weighbridge.recipe import parse_recipe

GOOD = "x,c,y\n" + "".join(f"{index * 0.5},v{index % 9},{'ab'[index % 2]}\n" for index in range(100))


def refused(folder: Path, kind: type[UsageError] = DataError, **data: Any) -> str:
    """Return the one line of the refusal."""
    section = parse_recipe({"data": {"target": "y", **data}}).data
    with pytest.raises(kind) as caught:
        prepare(section, seed=0, folder=folder / "data", command="weigh data runs/x")
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.do
    assert caught.value.exit_code == 2
    return line


def text(folder: Path, content: str | bytes, name: str = "a.csv") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    text(tmp_path, GOOD, "reviews.csv")
    assert "did you mean 'reviews.csv'?" in refused(tmp_path, source=f"{tmp_path}/review.csv")
    assert "no file fits" in refused(tmp_path, source=f"{tmp_path}/*.parquet")


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "rows.db").close()
    assert "did you mean 'rows.db'?" in refused(tmp_path, source=f"sqlite:///{tmp_path}/row.db", query="select 1")
    assert not (tmp_path / "row.db").exists()


def test_a_wrong_query_is_one_line_without_the_password(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "rows.db").close()
    assert "no such table" in refused(tmp_path, source=f"sqlite:///{tmp_path}/rows.db", query="select * from absent")
    assert "data.query" in refused(tmp_path, source=f"sqlite:///{tmp_path}/rows.db")
    line = refused(tmp_path, UsageError, source="postgresql://me:hidden@nowhere.invalid/rows", query="select 1")
    assert "hidden" not in line


@pytest.mark.parametrize(
    "key", [{"target": "yy"}, {"id": "yy"}, {"columns": {"yy": "number"}}, {"protected": ["yy"]}, {"split": {"column": "yy"}}]
)
def test_an_unknown_column_is_named_with_the_nearest_one(tmp_path: Path, key: dict[str, Any]) -> None:
    assert "there is no column 'yy' (did you mean 'y'?)" in refused(tmp_path, source=text(tmp_path, GOOD), **key)


def test_an_unknown_bundled_set_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    assert "did you mean 'digits'?" in refused(tmp_path, source="sklearn://digit")


def test_text_that_is_not_utf8_is_named_with_byte_and_line(tmp_path: Path) -> None:
    early = "x,y\n1,a\n2,ü\n".encode("latin-1")
    assert "not utf-8 text: byte 10 (line 3) is 0xfc" in refused(tmp_path, source=text(tmp_path, early))
    late = GOOD.encode() * 4000 + "5,é,a\n".encode("latin-1")
    assert f"byte {len(GOOD) * 4000 + 2} (line {101 * 4000 + 1}) is 0xe9" in refused(tmp_path, source=text(tmp_path, late))
    assert "line 2 holds the byte 0xff" in refused(tmp_path, source=text(tmp_path, b'{"y": 1}\n{"y": "\xff"}\n', "a.jsonl"))


def test_another_encoding_may_be_named(tmp_path: Path) -> None:
    lines = "x,y\n" + "".join(f"{index},{['grün', 'blau'][index % 2]}\n" for index in range(100))
    section = parse_recipe(
        {"data": {"source": text(tmp_path, lines.encode("latin-1")), "target": "y", "csv": {"encoding": "latin-1"}}}
    ).data
    prepare(section, seed=0, folder=tmp_path / "data", command="x")
    assert set(open_data(tmp_path / "data").train.column("y")) == {"grün", "blau"}
    assert "is not known" in refused(tmp_path, source=text(tmp_path, lines), csv={"encoding": "latin-99"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x,y\n1,a\n2\n3,b\n", "has 1 fields where 2 are expected: '2'"),
        ("", "is empty"),
        ("x,y\n", "holds no rows"),
        ("x,x,y\n1,2,a\n", "more than one column 'x'"),
        (b"PK\x03\x04 something zipped", "not a text file"),
    ],
)
def test_a_csv_that_is_none_says_where(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in refused(tmp_path, source=text(tmp_path, content))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"x": 1, "y": "a"}\n{"x": 2, "y":\n', "line 2 is not a JSON object"),
        ("a.jsonl", b'{"x": 1, "y": "a"}\n{"x": "one", "y": "b"}\n', "changed from number to string"),
        ("a.parquet", b"PAR1 but nothing else", "not a whole Parquet file"),
        ("a.arrow", b"ARROW1\0\0 but nothing else", "not a whole Arrow file"),
        ("a.csv.gz", gzip.compress(GOOD.encode())[:60], "damaged"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\0\0\0\x09" * 3 + b"short", "labels of"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    assert words in refused(tmp_path, source=text(tmp_path, content, name))


def test_an_idx_file_that_ends_too_early_is_named(tmp_path: Path) -> None:
    text(tmp_path, b"\0\0\x08\x01\0\0\0\x09" + b"\0" * 9, "train-labels-idx1-ubyte")
    source = text(tmp_path, b"\0\0\x08\x03" + b"\0\0\0\x09" * 3 + b"short", "train-images-idx3-ubyte")
    assert "ends 724 bytes too early" in refused(tmp_path, source=source)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    content = "x,y\n" + "".join(f"{index},a\n" for index in range(50))
    assert "one value only ('a') in 50 rows" in refused(tmp_path, source=text(tmp_path, content))


def test_an_empty_split_names_itself_its_share_and_a_way_out(tmp_path: Path) -> None:
    content = "x,y\n1.5,a\n2.5,b\n3.5,a\n"
    line = refused(tmp_path, source=text(tmp_path, content), split={"validation": 0.01})
    assert "the validation split is empty (3 rows, method hash, data.split.validation 0.01)" in line
    assert "stratified" in line


def test_a_target_that_is_no_category_is_refused(tmp_path: Path) -> None:
    names = "x,y\n" + "".join(f"{index},name{index}\n" for index in range(50))
    assert "50 different texts in 50 rows" in refused(tmp_path, source=text(tmp_path, names))
    days = "x,y\n" + "".join(f"{index},2024-01-{index % 28 + 1:02d}\n" for index in range(50))
    assert "read as date" in refused(tmp_path, source=text(tmp_path, days))


def test_a_value_that_is_not_of_the_named_type_is_shown_with_its_row(tmp_path: Path) -> None:
    content = GOOD + "many,v1,a\n"
    line = refused(tmp_path, source=text(tmp_path, content), columns={"x": "number"})
    assert "column 'x' is read as number, but row 101 holds 'many'" in line


def test_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    content = "id,y\n" + "".join(f"{index},{'ab'[index % 2]}\n" for index in range(50))
    assert "no column is left to learn from" in refused(tmp_path, source=text(tmp_path, content))


def test_ids_that_come_twice_or_are_missing_are_refused(tmp_path: Path) -> None:
    content = "k,x,y\n" + "".join(f"{index // 2},{index * 0.5},{'ab'[index % 2]}\n" for index in range(50))
    assert "names 25 ids more than once, first 0" in refused(tmp_path, source=text(tmp_path, content), id="k")
    content = "k,x,y\n" + "".join(f"{index or ''},{index * 0.5},{'ab'[index % 2]}\n" for index in range(50))
    assert "has no value in row 1" in refused(tmp_path, source=text(tmp_path, content), id="k")


def test_a_split_word_that_is_unknown_is_shown_with_its_row(tmp_path: Path) -> None:
    content = "x,s,y\n" + "".join(f"{index},{'train' if index != 9 else 'holdout'},{'ab'[index % 2]}\n" for index in range(50))
    assert "says 'holdout' in row 10" in refused(tmp_path, source=text(tmp_path, content), split={"column": "s"})


def test_a_library_that_is_not_there_is_named_with_its_pip_line(tmp_path: Path) -> None:
    assert "pip install s3fs" in refused(tmp_path, DependencyError, source="s3://bucket/a.csv")


def pictures(root: Path, spoil: Callable[[Path], None]) -> Path:
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for index in range(30):
            Image.fromarray(np.full((6, 6, 3), label * 100 + index, np.uint8)).save(root / name / f"{index}.png")
    spoil(root)
    return root


def _broken(root: Path) -> None:
    (root / "cat" / "1.png").write_bytes(b"nonsense")
    half = (root / "cat" / "2.png").read_bytes()
    (root / "cat" / "2.png").write_bytes(half[:-30])
    (root / "dog" / "3.png").write_bytes(b"")
    (root / "dog" / "4.png").write_bytes(b"%!PS-Adobe EPSF")


def test_unreadable_images_are_named_counted_and_refused_or_skipped(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", _broken)
    line = refused(tmp_path, source=str(root), target="label")
    assert line.startswith("4 images can not be opened: ")
    assert "cat/1.png (not an image of a known form)" in line
    assert "4.png" not in line
    section = parse_recipe({"data": {"source": str(root), "clean": {"unreadable": "skip"}}}).data
    found = {finding.key: finding for finding in prepare(section, seed=0, folder=tmp_path / "data", command="x")}
    assert (found["data.unreadable"].value, found["data.rows"].value) == (4, 56)


def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.data.pictures.MOST_PIXELS", 100)
    root = pictures(tmp_path / "pets", lambda root: Image.new("L", (11, 11)).save(root / "cat" / "0.png"))
    assert "11 x 11 pixels are more than 100" in refused(tmp_path, source=str(root), target="label")


def test_images_outside_of_class_folders_and_folders_without_images_are_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", lambda root: Image.new("L", (4, 4)).save(root / "loose.png"))
    assert "1 images are in no class folder" in refused(tmp_path, source=str(root), target="label")
    (tmp_path / "none").mkdir()
    assert "holds no images" in refused(tmp_path, source=f"{tmp_path}/none", target="label")


def test_a_refusal_leaves_what_was_there(tmp_path: Path) -> None:
    section = parse_recipe({"data": {"source": text(tmp_path, GOOD), "target": "y"}}).data
    prepare(section, seed=0, folder=tmp_path / "data", command="x")
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    refused(tmp_path, source=text(tmp_path, "x,y\n1\n", "b.csv"))
    refused(tmp_path, source=text(tmp_path, GOOD + "many,v1,a\n", "b.csv"), columns={"x": "number"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    section = parse_recipe({"data": {"source": text(tmp_path, GOOD), "target": "y"}}).data
    prepare(section, seed=0, folder=tmp_path / "data", command="x")
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("weighbridge.data.stage._write_batch", full)
    with pytest.raises(StorageError, match="the disk is full"):
        prepare(section, seed=1, folder=tmp_path / "data", command="x")
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


def test_hostile_names_and_values_are_only_text(tmp_path: Path) -> None:
    content = "<script>,y\n" + "".join(f"{index}{{x}},{'ab'[index % 2]}\n" for index in range(50))
    section = parse_recipe({"data": {"source": text(tmp_path, content), "target": "y", "columns": {"<script>": "category"}}}).data
    found = prepare(section, seed=0, folder=tmp_path / "data", command="x")
    assert all(str(finding.reason) and json.dumps(finding.to_json()) for finding in found)
