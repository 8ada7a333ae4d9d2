"""Law: a file names training rows whose label is wrong; they are left out or relabelled, nothing else changes, and the findings say it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from weighbridge import data
from weighbridge.data.labels import read_labels
from weighbridge.errors import DataError
from weighbridge.findings import Finding, by_key
from weighbridge.recipe import DataSection, parse_recipe


@pytest.fixture
def source(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 240)
    rows = [f"{random.normal() + c:.6f},{random.normal():.6f},{'no yes'.split()[c]}" for c in label]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["x,z,y", *rows]) + "\n", encoding="utf-8")
    return path


def section(source: Path, **labels: str) -> DataSection:
    return parse_recipe({"data": {"source": source.as_posix(), "target": "y", "clean": {"labels": labels}}}).data


def prepared(source: Path, name: str, **labels: str) -> tuple[data.Splits, list[Finding]]:
    folder = source.parent / name
    found = data.prepare(section(source, **labels), seed=0, folder=folder, command="weigh data RUN")
    return data.open_data(folder), found


def named(path: Path, rows: dict[str, str]) -> str:
    path.write_text(json.dumps({"rows": [{"row_id": row, "better": better} for row, better in rows.items()]}), encoding="utf-8")
    return path.as_posix()


def turned(splits: data.Splits, count: int) -> dict[str, str]:
    """Return the first training rows with the other label."""
    ids, labels = splits.train.row_ids[:count], splits.train.column("y")[:count]
    return {str(row): "no" if label == "yes" else "yes" for row, label in zip(ids, labels, strict=True)}


def test_named_training_rows_are_left_out_and_judged_rows_stay(source: Path) -> None:
    before, _ = prepared(source, "before")
    judged = {str(row): "no" for row in [*before.test("a test", "").row_ids[:2], *before.validation.row_ids[:1]]}
    after, found = prepared(source, "after", file=named(source.parent / "l.json", turned(before, 5) | judged))
    assert np.array_equal(after.train.row_ids, before.train.row_ids[5:])
    assert np.array_equal(after.validation.column("y"), before.validation.column("y"))
    assert np.array_equal(after.test("a test", "").column("y"), before.test("a test", "").column("y"))
    finding = by_key(found, "data.labels_mended")
    assert finding is not None
    assert (finding.value, finding.reason.values) == (5, {"dropped": 5, "relabelled": 0, "elsewhere": 3})
    rows = by_key(found, "data.rows")
    assert rows is not None
    assert rows.value == 235


def test_relabelled_rows_keep_their_id_and_side_and_the_classes_are_counted_anew(source: Path) -> None:
    before, _ = prepared(source, "before")
    better = turned(before, 4)
    after, _ = prepared(source, "after", file=named(source.parent / "l.json", better), action="relabel")
    assert np.array_equal(after.train.row_ids, before.train.row_ids)
    assert after.train.column("y")[:4].tolist() == list(better.values())
    assert np.array_equal(after.train.column("y")[4:], before.train.column("y")[4:])
    counts = json.loads((source.parent / "after" / "classes.json").read_text())
    assert counts["counts"]["train"] == [int((after.train.column("y") == name).sum()) for name in counts["classes"]]


def test_a_person_may_write_the_file_as_a_table_and_a_row_without_a_better_label_goes(source: Path) -> None:
    before, _ = prepared(source, "before")
    first, second = before.train.row_ids[:2]
    path = source.parent / "mine.csv"
    path.write_text(f"row_id,better\n{first},\n{second},yes\n", encoding="utf-8")
    after, found = prepared(source, "after", file=path.as_posix(), action="relabel")
    assert after.train.row_ids[0] == second
    assert after.train.column("y")[0] == "yes"
    finding = by_key(found, "data.labels_mended")
    assert finding is not None
    assert finding.reason.values["dropped"] == 1


def test_the_same_file_means_the_same_data_and_another_one_does_not(source: Path) -> None:
    before, found = prepared(source, "before")
    assert by_key(found, "data.labels_mended") is None
    plain = data.fingerprint(section(source))
    file = named(source.parent / "l.json", turned(before, 2))
    once = data.fingerprint(section(source, file=file))
    assert once != plain
    assert data.fingerprint(section(source, file=file)) == once
    named(source.parent / "l.json", turned(before, 3))
    assert data.fingerprint(section(source, file=file)) != once


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"rows": [{"row_id": "nobody", "better": "no"}]}', "names no row of this data"),
        ("[1, 2]", "can not be read"),
        ('{"rows": [{"better": "no"}]}', "can not be read"),
        ("not json", "can not be read"),
        ("\udcff", "can not be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_what_is_wrong(source: Path, content: str, said: str) -> None:
    path = source.parent / "bad.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=said):
        prepared(source, "after", file=path.as_posix())


def test_a_missing_file_and_a_label_that_no_row_has_are_refused(source: Path) -> None:
    before, _ = prepared(source, "before")
    with pytest.raises(DataError, match="missing"):
        prepared(source, "after", file="/nowhere/labels.json")
    file = named(source.parent / "l.json", {str(before.train.row_ids[0]): "yess"})
    with pytest.raises(DataError, match=r"'yess'.*did you mean 'yes'"):
        prepared(source, "after", file=file, action="relabel")
    whole = named(source.parent / "all.json", dict.fromkeys(map(str, before.train.row_ids), "no"))
    with pytest.raises(DataError, match="fewer than two classes"):
        prepared(source, "after", file=whole, action="relabel")


def test_a_target_of_numbers_has_no_labels_to_mend(source: Path) -> None:
    file = named(source.parent / "l.json", {"a": "b"})
    wished = parse_recipe({"data": {"source": source.as_posix(), "target": "x", "clean": {"labels": {"file": file}}}}).data
    with pytest.raises(DataError, match="mends classes"):
        data.prepare(wished, seed=0, folder=source.parent / "numbers", command="")


def test_ids_that_are_numbers_are_read_as_texts(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    path.write_text('{"rows": [{"row_id": 12, "better": null}, {"row_id": "13"}]}', encoding="utf-8")
    assert read_labels(path) == {"12": "", "13": ""}
