"""Law: clips are found by name, first bytes or as the hub's structs, read once whole; a damaged one is named before training."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.clips import RATE, hostile, tone, wav
from tests.unit.test_data_sources import all_rows, prepared, section
from weighbridge.data import fingerprint
from weighbridge.data.clips import check_clip
from weighbridge.errors import DataError, LeakError
from weighbridge.sound import read_clip

N = 40


def clip(row: int) -> bytes:
    return wav(tone(200 + 20 * row, seconds=0.05))


def write_table(folder: Path, contents: list[bytes]) -> Path:
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("clip", "label"))
        for row, content in enumerate(contents):
            (folder / f"{row}.wav").write_bytes(content)
            writer.writerow((f"{row}.wav", "ab"[row % 2]))
    return folder / "rows.csv"


def types(splits: Any) -> dict[str, str]:
    return {column.name: column.type for column in splits.schema.columns}


def test_names_that_end_as_clips_do_are_clips(tmp_path: Path) -> None:
    splits = prepared(tmp_path, source=str(write_table(tmp_path, [clip(row) for row in range(N)])), target="label")
    assert types(splits)["clip"] == "audio"
    rows = all_rows(splits)
    assert len(rows) == N
    assert all(Path(row["clip"]).is_file() for row in rows.values())


@pytest.mark.parametrize("form", ["bytes", "bytes and path", "path", "waveform"])
def test_columns_of_parquet_hold_clips_in_every_form_of_the_hub(form: str, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    files = [tmp_path / "files" / f"{row}.wav" for row in range(N)]
    for row, file in enumerate(files):
        file.write_bytes(clip(row))
    heard = [read_clip(clip(row), "row").samples for row in range(N)]
    values: dict[str, Any] = {
        "bytes": [clip(row) for row in range(N)],
        "bytes and path": [{"bytes": clip(row), "path": f"{row}.wav"} for row in range(N)],
        "path": [{"bytes": None, "path": str(file)} for file in files],
        "waveform": [{"array": samples.tolist(), "sampling_rate": RATE, "path": None} for samples in heard],
    }
    source = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"clip": pa.array(values[form]), "label": ["ab"[row % 2] for row in range(N)]}), source)
    splits = prepared(tmp_path, source=str(source), target="label")
    assert types(splits)["clip"] == "audio"
    found = sorted(read_clip(row["clip"], "row").samples.tobytes() for row in all_rows(splits).values())
    assert found == sorted(np.asarray(samples).tobytes() for samples in heard)


def test_lists_without_a_rate_are_no_clips(tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"clip": [[0.0, 0.1]] * N, "label": ["ab"[row % 2] for row in range(N)]}), source)
    with pytest.raises(DataError, match="without the rate"):
        prepared(tmp_path, source=str(source), target="label", columns={"clip": "audio"})


def test_a_damaged_clip_is_named_before_anything_is_learnt(tmp_path: Path) -> None:
    source = write_table(tmp_path, [clip(row)[: -9 if row == 7 else None] for row in range(N)])
    with pytest.raises(DataError, match=r"1 clips can not be opened: .*7\.wav \(the clip can not be read \(it is cut short"):
        prepared(tmp_path, source=str(source), target="label")
    splits = prepared(tmp_path / "other", source=str(source), target="label", clean={"unreadable": "skip"})
    assert len(all_rows(splits)) == N - 1


@pytest.mark.parametrize(("name", "content"), hostile())
def test_every_damaged_clip_has_a_reason(name: str, content: bytes) -> None:
    _, problem = check_clip(content)
    assert problem


def test_equal_clips_on_two_sides_stop_the_run(tmp_path: Path) -> None:
    source = write_table(tmp_path, [clip(row % 20) for row in range(N)])
    with pytest.raises(LeakError):
        prepared(tmp_path, source=str(source), target="label")


def test_another_clip_under_the_same_name_is_another_source(tmp_path: Path) -> None:
    source = write_table(tmp_path, [clip(row) for row in range(N)])
    before = fingerprint(section(source=str(source), target="label"))
    (tmp_path / "3.wav").write_bytes(clip(99))
    assert fingerprint(section(source=str(source), target="label")) != before
