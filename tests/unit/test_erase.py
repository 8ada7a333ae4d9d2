"""Law: what names or shows an erased row goes from evidence, and nothing else; a list of erased rows holds no ids and can not be edited."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from weighbridge.data.erase_source import _records
from weighbridge.data.erased import add_receipt, erased_version, erasing, read_erased, read_receipts
from weighbridge.deployment.erase_arrays import erase_arrays
from weighbridge.deployment.erase_files import erase_files, search
from weighbridge.deployment.erase_json import Cleaner
from weighbridge.deployment.erase_marks import Marks, holds
from weighbridge.errors import RunError
from weighbridge.findings import Finding, Message, read_findings, write_findings

ROW = "0123456789abcdef"
MARKS = Marks(ids=frozenset({ROW, "17"}), texts=("a text that nobody else wrote", "45.123456"), raw=(bytes(range(12)),))


def test_the_entry_that_names_the_row_goes_and_its_place_in_the_lists_beside_it() -> None:
    told = {
        "rows": [{"row_id": ROW, "why": "x"}, {"row_id": "other", "why": "y"}],
        "ids": ["one", ROW, "three"], "values": [1, 2, 3], "names": ["a", "b"],
        "predicted": [1.5, 45.123456, 2.5, 3.5], "actual": [0.0, 1.0, 2.0, 3.0],
    }  # fmt: skip
    assert Cleaner(MARKS).clean(told)[0] == {
        "rows": [{"row_id": "other", "why": "y"}],
        "ids": ["one", "three"], "values": [1, 3], "names": ["a", "b"],
        "predicted": [1.5, 2.5, 3.5], "actual": [0.0, 2.0, 3.0],
    }  # fmt: skip


def test_a_short_number_is_an_id_only_where_ids_stand() -> None:
    told = {"row_id": ["17", "18"], "classes": ["17", "18"], "x": [["17"]]}
    assert Cleaner(MARKS).clean(told)[0]["row_id"] == ["18"]
    assert Cleaner(MARKS).clean({"classes": ["17", "18"]})[0] == {"classes": ["17", "18"]}


def test_an_id_that_is_part_of_another_rows_is_matched_whole_only() -> None:
    marks = Marks(ids=frozenset({"user1@example.org"}), within=frozenset({"user1@example.org"}))
    told = [{"row_id": "user1@example.org"}, {"row_id": "superuser1@example.org"}]
    assert Cleaner(marks).clean(told)[0] == [{"row_id": "superuser1@example.org"}]


def test_findings_stay_and_no_longer_name_the_row(tmp_path: Path) -> None:
    finding = Finding(
        key="audit.look", title=Message("Look"), value=1, reason=Message("row {row} says {text}", row=ROW, text=MARKS.texts[0])
    )
    write_findings(tmp_path / "findings.jsonl", [finding])
    erase_files(tmp_path, MARKS)
    left = read_findings(tmp_path / "findings.jsonl")
    assert str(left[0].reason) == "row (erased) says (erased)"


def test_the_picture_of_the_row_goes_and_that_of_another_stays(tmp_path: Path) -> None:
    for name, first in (("one", 0), ("two", 1)):
        (tmp_path / name).mkdir()
        pixels = np.arange(first, first + 12, dtype=np.uint8).reshape(2, 2, 3).tolist()
        (tmp_path / name / "pictures.json").write_text(json.dumps({"clean": pixels, "strips": []}))
    erase_files(tmp_path, MARKS)
    assert [path.parent.name for path in tmp_path.rglob("pictures.json")] == ["two"]


def test_a_file_in_which_bytes_still_stand_is_removed_unless_it_is_a_models(tmp_path: Path) -> None:
    for name in ("thumbnails.bin", "model.safetensors", "clean.bin"):
        (tmp_path / name).write_bytes(b"x" * 100 + (b"" if name == "clean.bin" else MARKS.raw[0]))
    done = search(tmp_path, MARKS)
    assert (done.removed, done.remains) == (["thumbnails.bin"], ["model.safetensors"])
    assert (tmp_path / "clean.bin").exists()


def test_a_packed_package_that_holds_the_row_is_removed(tmp_path: Path) -> None:
    for name, text in (("with", MARKS.texts[0]), ("without", "another")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("golden.json", json.dumps([text] * 50))
    assert search(tmp_path, MARKS).removed == ["with.zip"]


def test_bytes_across_the_end_of_a_block_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.deployment.erase_marks.BLOCK", 16)
    for start in range(40):
        (tmp_path / "file").write_bytes(b"." * start + b"needle" + b"." * 20)
        assert holds(tmp_path / "file", [b"needle"])
    assert not holds(tmp_path / "file", [b"needles"])


@pytest.mark.parametrize("stopped_after", ["text", "text.offsets", "number", "target", "row_id", None])
def test_encoded_rows_written_in_part_are_ended_by_the_same_call(stopped_after: str | None, tmp_path: Path) -> None:
    """Each file is put back as it was from there on, as a kill between two files leaves the folder."""
    offsets = np.array([0, 2, 2, 5, 6], dtype=np.int64)
    files = {
        "text": np.arange(1, 7, dtype=np.int32), "text.offsets": offsets, "number": np.arange(8, dtype=np.float32).reshape(4, 2),
        "target": np.array([0, 1, 0, 1]), "row_id": np.array([b"a", b"b", ROW.encode(), b"d"]),
    }  # fmt: skip
    for name, values in files.items():
        np.save(tmp_path / f"{name}.npy", values)
    index = json.dumps({"format": 1, "rows": 4, "blocks": ["text", "number"], "texts": ["text"], "target": True})
    (tmp_path / "arrays.json").write_text(index)
    assert erase_arrays(tmp_path, MARKS.ids)
    if stopped_after is not None:
        order = list(files)
        for name in order[order.index(stopped_after) + 1 :]:
            np.save(tmp_path / f"{name}.npy", files[name])
        (tmp_path / "arrays.json").write_text(index)
        assert erase_arrays(tmp_path, MARKS.ids)
    assert not erase_arrays(tmp_path, MARKS.ids)
    made = {name: np.load(tmp_path / f"{name}.npy").tolist() for name in files}
    assert made == {
        "text": [1, 2, 6], "text.offsets": [0, 2, 2, 3], "number": [[0, 1], [2, 3], [6, 7]], "target": [0, 1, 1],
        "row_id": [b"a", b"b", b"d"],
    }  # fmt: skip
    assert json.loads((tmp_path / "arrays.json").read_text())["rows"] == 3


def test_the_list_holds_keyed_hashes_and_is_chained(tmp_path: Path) -> None:
    assert read_erased(tmp_path) is None
    assert erased_version(tmp_path) is None
    known = erasing(tmp_path)
    assert (tmp_path / "erased.key").stat().st_mode & 0o777 == 0o600
    for row in (ROW, "17"):
        add_receipt(tmp_path, {"rows": [known.name(row)]})
    found = read_erased(tmp_path)
    assert found is not None
    assert found.places(np.array(["x", ROW, "17", "18"])).tolist() == [1, 2]
    text = (tmp_path / "erased.jsonl").read_text()
    assert ROW not in text
    first, second = text.splitlines()
    for forged in (f"{second}\n", f"{second}\n{first}\n", text.replace(known.name("17"), known.name("18"))):
        (tmp_path / "erased.jsonl").write_text(forged)
        with pytest.raises(RunError, match="was changed"):
            read_receipts(tmp_path)
    (tmp_path / "erased.jsonl").write_text(f"{first}\n")  # cut at its end: only the trail's or your own copy of a receipt shows that
    assert len(read_receipts(tmp_path)) == 1


def test_a_record_of_csv_ends_outside_quotes() -> None:
    text = 'a,b\r\n1,"two\nlines, ""quoted"""\r\n3,4\n5,6'
    assert list(_records(text)) == ["a,b\r\n", '1,"two\nlines, ""quoted"""\r\n', "3,4\n", "5,6"]
    assert "".join(_records(text)) == text
