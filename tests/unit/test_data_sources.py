"""Law: the same rows come out the same, whatever they were stored in, and nothing about them is guessed from the first rows alone."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from weighbridge.data import fingerprint, open_data, prepare, preview
from weighbridge.data.splits import Splits
from weighbridge.recipe import parse_recipe

N = 60


def section(**data: Any) -> Any:
    return parse_recipe({"data": data}).data


def prepared(folder: Path, **data: Any) -> Splits:
    prepare(section(**data), seed=0, folder=folder / "data", command="weigh data runs/x")
    return open_data(folder / "data")


def all_rows(splits: Splits) -> dict[str, dict[str, Any]]:
    """Rows of all splits by id."""
    found = {}
    for table in (splits.train, splits.validation, splits.test("a test", "pytest")):
        for batch in table.batches(7):
            for position, row_id in enumerate(batch.row_ids.tolist()):
                found[row_id] = {name: values[position] for name, values in batch.columns.items()}
    return found


def rows() -> list[dict[str, Any]]:
    return [
        {"size": index * 1.5, "colour": ["red", "green", "blue"][index % 3], "kind": "big" if index > 30 else "small"} for index in range(N)
    ]


def csv_text(items: list[dict[str, Any]], delimiter: str = ",") -> str:
    lines = [delimiter.join(items[0])] + [delimiter.join(str(value) for value in item.values()) for item in items]
    return "\n".join(lines) + "\n"


def write(folder: Path, form: str) -> str:
    """Return a source of `rows()` in the given form."""
    path = folder / f"rows.{form}"
    table = pa.Table.from_pylist(rows())
    if form == "csv":
        path.write_text(csv_text(rows()))
    elif form == "tsv":
        path.write_text(csv_text(rows(), "\t"))
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(csv_text(rows()).encode()))
    elif form == "parquet":
        pq.write_table(table, path)
    elif form == "arrow":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return str(path)


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "parquet", "arrow", "jsonl"])
def test_the_same_rows_come_out_of_every_form_of_table(tmp_path: Path, form: str) -> None:
    splits = prepared(tmp_path, source=write(tmp_path, form), target="kind")
    found = sorted((row["size"], row["colour"], row["kind"]) for row in all_rows(splits).values())
    assert found == sorted((row["size"], row["colour"], row["kind"]) for row in rows())
    assert {column.name: column.type for column in splits.schema.columns} == {"size": "number", "colour": "category", "kind": "category"}


def test_a_database_is_read_by_url_and_query(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        connection.execute("create table t (size real, colour text, kind text)")
        connection.executemany("insert into t values (:size, :colour, :kind)", rows())
    data = {"source": f"sqlite:///{tmp_path}/rows.db", "query": "select * from t where size > 3", "target": "kind"}
    assert len(all_rows(prepared(tmp_path, **data))) == N - 3
    assert fingerprint(section(**data)) == fingerprint(section(**data))
    assert fingerprint(section(**data)) != fingerprint(section(**data | {"query": "select * from t"}))


def test_any_path_that_fsspec_opens_is_a_source(tmp_path: Path) -> None:
    import fsspec

    with fsspec.open("memory://somewhere/rows.csv", "w") as file:
        file.write(csv_text(rows()))
    assert len(all_rows(prepared(tmp_path, source="memory://somewhere/rows.csv", target="kind"))) == N


def test_a_pattern_and_a_folder_stand_for_all_their_files(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.csv").write_text(csv_text(rows()[:30]))
    (tmp_path / "parts" / "b.csv").write_text(csv_text(rows()[30:]))
    assert len(all_rows(prepared(tmp_path / "1", source=f"{tmp_path}/parts/*.csv", target="kind"))) == N
    assert len(all_rows(prepared(tmp_path / "2", source=f"{tmp_path}/parts", target="kind"))) == N


def test_a_csv_without_header_is_read_with_the_names_given_and_its_missing_texts(tmp_path: Path) -> None:
    (tmp_path / "a.data").write_text(
        "".join(f"{row['size']}, {'?' if row['size'] < 3 else row['colour']}, {row['kind']}\n" for row in rows())
    )
    splits = prepared(tmp_path, source=f"{tmp_path}/a.data", target="kind", csv={"names": ["size", "colour", "kind"]})
    colours = {row["size"]: row["colour"] for row in all_rows(splits).values()}
    assert colours[0.0] is None
    assert colours[4.5] == "red"


def test_a_test_file_with_a_remark_line_and_dotted_labels_is_read_as_the_training_file(tmp_path: Path) -> None:
    lines = [f"{row['size']}, {row['colour']}, {row['kind']}" for row in rows()]
    (tmp_path / "adult.data").write_text("\n".join(lines[:40] + lines[50:55]) + "\n\n")
    (tmp_path / "adult.test").write_text("|1x3 Cross validator\n" + "".join(line + ".\n" for line in lines[20:50]))
    source = {"train": f"{tmp_path}/adult.data", "test": f"{tmp_path}/adult.test"}
    found = prepare(
        section(source=source, target="kind", csv={"names": ["size", "colour", "kind"]}), seed=0, folder=tmp_path / "d", command="x"
    )
    splits = open_data(tmp_path / "d")
    test = splits.test("a test", "pytest")
    assert set(test.column("kind")) == {"big", "small"}
    assert len(test) == 30
    values = {finding.key: finding.value for finding in found}
    assert values["data.labels"] == 2
    assert values["data.remarks"] == 1
    assert "|1x3 Cross validator" in next(str(finding.reason) for finding in found if finding.key == "data.remarks")
    assert "20 of them equal to a row of a later given side" in next(str(f.reason) for f in found if f.key == "data.leak.duplicates")
    assert len(splits.train) + len(splits.validation) == 25


def test_numbers_that_turn_to_text_after_many_rows_are_text_from_the_first_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.data.sources.text_csv.BLOCK", 1 << 12)
    lines = [{"x": index, "code": index % 7 if index < 9_000 else "A", "y": index % 2} for index in range(10_000)]
    (tmp_path / "long.csv").write_text(csv_text(lines))
    seen = preview(section(source=f"{tmp_path}/long.csv", target="y"), rows=10_001)
    assert seen.schema["code"].type == "category"
    assert seen.n_rows == 10_000


def test_json_lines_may_change_from_whole_numbers_to_fractions_and_miss_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.data.sources.columnar.BLOCK", 256)
    items = [{"x": index, "y": "a"} for index in range(30)] + [{"x": index + 0.5, "y": "b", "z": "new"} for index in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    splits = prepared(tmp_path, source=f"{tmp_path}/rows.jsonl", target="y")
    found = all_rows(splits).values()
    assert sorted(row["x"] for row in found) == sorted(item["x"] for item in items)
    assert sum(row["z"] is None for row in found) == 30


def png(value: int, size: tuple[int, int] = (5, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def image_folder(root: Path, prefix: str = "", start: int = 0, count: int = 20) -> Path:
    for label, name in enumerate(("cat", "dog")):
        folder = root / prefix / name
        folder.mkdir(parents=True)
        for index in range(count):
            (folder / f"{index}.png").write_bytes(png(start + label * count + index))
    return root


def test_a_folder_of_images_has_its_folders_as_labels(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "pets")
    splits = prepared(tmp_path, source=str(root))
    found = all_rows(splits)
    assert len(found) == 40
    assert all(Path(row["image"]).parent.name == row["label"] for row in found.values())
    assert splits.schema["image"].type == "image"


def test_an_image_keeps_its_row_id_when_its_folder_moves(tmp_path: Path) -> None:
    image_folder(tmp_path / "here")
    image_folder(tmp_path / "there" / "deep")
    one = prepared(tmp_path / "1", source=f"{tmp_path}/here")
    other = prepared(tmp_path / "2", source=f"{tmp_path}/there/deep")
    assert one.train.row_ids.tolist() == other.train.row_ids.tolist()
    assert fingerprint(section(source=f"{tmp_path}/here")) == fingerprint(section(source=f"{tmp_path}/there/deep"))


def test_split_folders_above_the_classes_are_the_splits(tmp_path: Path) -> None:
    image_folder(tmp_path / "pets", "train", 0)
    image_folder(tmp_path / "pets", "val", 50, 5)
    image_folder(tmp_path / "pets", "test", 100, 10)
    splits = prepared(tmp_path, source=f"{tmp_path}/pets")
    assert (len(splits.train), len(splits.validation), len(splits.test("a test", "pytest"))) == (40, 10, 20)


def test_image_paths_in_a_csv_start_from_its_folder(tmp_path: Path) -> None:
    image_folder(tmp_path / "pets")
    lines = [{"picture": f"{name}/{index}.png", "kind": name} for name in ("cat", "dog") for index in range(20)]
    (tmp_path / "pets" / "list.csv").write_text(csv_text(lines))
    splits = prepared(tmp_path, source=f"{tmp_path}/pets/list.csv", target="kind")
    assert all(Path(path).is_file() for path in splits.train.column("picture"))


def test_images_as_bytes_in_parquet_are_images(tmp_path: Path) -> None:
    struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": png(value), "path": None} for value in range(40)], struct_type)
    pq.write_table(pa.table({"image": images, "label": ["a", "b"] * 20}), tmp_path / "hub.parquet")
    splits = prepared(tmp_path, source=f"{tmp_path}/hub.parquet")
    assert splits.schema["image"].type == "image"
    assert splits.train.column("image")[0].startswith(b"\x89PNG")


def write_idx(folder: Path, prefix: str, images: np.ndarray, labels: np.ndarray, zipped: bool) -> None:
    folder.mkdir(exist_ok=True)
    contents = {
        f"{prefix}-images-idx3-ubyte": struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes(),
        f"{prefix}-labels-idx1-ubyte": struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + labels.tobytes(),
    }
    for name, content in contents.items():
        (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_folder_of_idx_files_gives_its_pixels_labels_and_splits(tmp_path: Path, zipped: bool) -> None:
    images = np.arange(60 * 6, dtype=np.uint8).repeat(2).reshape(60, 3, 4)
    labels = np.arange(60, dtype=np.uint8) % 4
    write_idx(tmp_path / "idx", "train", images[:40], labels[:40], zipped)
    write_idx(tmp_path / "idx", "t10k", images[40:], labels[40:], zipped)
    splits = prepared(tmp_path, source=f"{tmp_path}/idx")
    test = splits.test("a test", "pytest")
    assert np.array_equal(np.stack(test.column("image")), images[40:])
    assert test.column("label").tolist() == [str(label) for label in labels[40:]]
    assert len(splits.train) + len(splits.validation) == 40
    in_batches = [image for batch in test.batches(7) for image in batch.columns["image"]]
    assert np.array_equal(np.stack(in_batches), images[40:])
    assert preview(section(source=f"{tmp_path}/idx")).n_rows_estimate == 60


def test_digits_are_images_of_bytes_and_tables_have_their_class_names(tmp_path: Path) -> None:
    digits = prepared(tmp_path / "digits", source="sklearn://digits", target="target")
    images = np.stack(digits.train.column("image"))
    assert (images.shape[1:], images.dtype, images.max()) == ((8, 8), np.uint8, 255)
    iris = prepared(tmp_path / "iris", source="sklearn://iris", target="target")
    assert set(iris.train.column("target")) == {"setosa", "versicolor", "virginica"}
    diabetes = prepared(tmp_path / "diabetes", source="sklearn://diabetes", target="target")
    assert diabetes.schema.target.type == "number"


def test_a_folder_in_the_hubs_form_is_read_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    pq.write_table(pa.Table.from_pylist(rows()), tmp_path / "set" / "train.parquet")
    pq.write_table(pa.Table.from_pylist(rows()[:15] + rows()[40:55]), tmp_path / "set" / "test.parquet")
    splits = prepared(tmp_path, source=f"hf://{tmp_path}/set", target="kind")
    assert len(splits.test("a test", "pytest")) == 30
    assert len(splits.train) + len(splits.validation) == 30


def test_labels_and_images_of_the_hub_come_by_name_and_as_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    content = {"image": [{"bytes": png(value), "path": None} for value in range(40)], "label": [value % 2 for value in range(40)]}
    (tmp_path / "pets").mkdir()
    datasets.Dataset.from_dict(content, features=features).to_parquet(str(tmp_path / "pets" / "train.parquet"))
    splits = prepared(tmp_path, source=f"hf://{tmp_path}/pets")
    assert set(splits.train.column("label")) == {"cat", "dog"}
    assert isinstance(splits.train.column("image")[0], bytes)


def test_blank_lines_and_a_byte_order_mark_before_the_header_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf\n\n" + csv_text(rows()).encode())
    splits = prepared(tmp_path, source=f"{tmp_path}/a.csv", target="kind")
    assert len(all_rows(splits)) == N
    assert splits.schema["size"].type == "number"


def test_whole_numbers_too_large_for_a_float_stay_different_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [2**60 + index for index in range(N)], "y": ["a", "b"] * (N // 2)}), tmp_path / "a.parquet")
    splits = prepared(tmp_path, source=f"{tmp_path}/a.parquet", target="y")
    assert len(all_rows(splits)) == N


def test_limit_reads_the_first_rows_only(tmp_path: Path) -> None:
    assert len(all_rows(prepared(tmp_path, source=write(tmp_path, "csv"), target="kind", limit=45))) == 45


def test_the_fingerprint_follows_the_bytes_and_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = write(tmp_path / "a", "csv"), write(tmp_path / "b", "csv")
    assert fingerprint(section(source=one)) == fingerprint(section(source=other))
    Path(other).write_text(csv_text(rows()[1:]))
    assert fingerprint(section(source=one)) != fingerprint(section(source=other))


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_the_fingerprint_covers_the_images_that_rows_point_to(tmp_path: Path, form: str) -> None:
    image_folder(tmp_path / "pets")
    files = sorted((tmp_path / "pets").rglob("*.png"))
    rows = [{"photo": str(file.relative_to(tmp_path)), "note": f"n{place}", "label": file.parent.name} for place, file in enumerate(files)]
    path = tmp_path / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(csv_text(rows) if form == "csv" else "".join(json.dumps(row) + "\n" for row in rows))
    wanted = section(source=str(path), target="label")
    before, content = fingerprint(wanted), files[-1].read_bytes()
    assert fingerprint(wanted) == before
    files[-1].write_bytes(png(7))
    assert fingerprint(wanted) != before
    files[-1].write_bytes(content)
    assert fingerprint(wanted) == before
    files[0].unlink()
    assert fingerprint(wanted) != before


def test_the_fingerprint_reads_no_further_than_the_limit_or_past_rows_without_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_folder(tmp_path / "pets")
    files = sorted((tmp_path / "pets").rglob("*.png"))
    (tmp_path / "rows.csv").write_text(csv_text([{"photo": str(file), "label": file.parent.name} for file in files]))
    few = section(source=f"{tmp_path}/rows.csv", target="label", limit=3)
    before = fingerprint(few)
    files[3].unlink()
    assert fingerprint(few) == before
    files[2].unlink()
    assert fingerprint(few) != before
    monkeypatch.setattr("weighbridge.data.sources.text_csv.BLOCK", 1 << 10)
    (tmp_path / "plain.csv").write_text(csv_text(rows() * 50) + "one field too few\n")
    fingerprint(section(source=f"{tmp_path}/plain.csv", target="kind"))
