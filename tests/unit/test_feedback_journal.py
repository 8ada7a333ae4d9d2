"""Law: what a journal says is written can be read back, once and unchanged; what was cut, changed or taken out of it is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import StorageError
from weighbridge.feedback.journal import Bounds, Journal, Vault, guarded, input_context
from weighbridge.feedback.journal_reading import Place, blank, is_finished, journal_files, read_lines, sweep_unborn, torn_bytes


def record(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"r{number}/0", "time": "2026-01-01T00:00:00.000000+00:00", "model": "m", "output": [0.25, 0.75], **more}


def ids(folder: Path) -> list[str]:
    lines = [line for path in journal_files(folder) for line in read_lines(path)]
    return [line.record["id"] for line in lines if line.record and "id" in line.record]


class Turned:
    """A vault that anybody can open, for what is tested here: which bytes reach the disk, and the context they are bound to."""

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        return context + b"|" + plaintext[::-1]

    def open(self, sealed: bytes, context: bytes) -> bytes:
        assert sealed.startswith(context + b"|")
        return sealed[len(context) + 1 :][::-1]


def test_what_was_appended_is_read_back_before_the_journal_is_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([record(0), record(1)])
    journal.append([record(2, inputs={"text": "line\nbreak é 漢"})])
    [path] = journal_files(tmp_path)
    lines = list(read_lines(path))
    assert [line.record for line in lines] == [record(0), record(1), record(2, inputs={"text": "line\nbreak é 漢"})]
    assert not is_finished(path)
    journal.close()
    assert is_finished(path)
    assert journal.state.appended == 3
    if os.name != "nt":
        assert path.stat().st_mode & 0o777 == 0o600


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([record(0)])
    [path] = journal_files(tmp_path)
    place = list(read_lines(path))[-1].after
    assert list(read_lines(path, place)) == []
    journal.append([record(1)])
    journal.close()
    [line] = read_lines(path, place)
    assert line.record == record(1)


def test_every_file_of_a_journal_says_what_its_models_are(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bounds=Bounds(rotate_bytes=400))
    for _ in range(2):
        journal.describe(model="m", package="p", kind="category", classes=["a", "b"])
    for number in range(20):
        journal.append([record(number)])
    journal.close()
    files = journal_files(tmp_path)
    assert len(files) > 3
    heads = [next(iter(read_lines(path))).record for path in files]
    assert heads == [{"about": "model", "model": "m", "package": "p", "kind": "category", "classes": ["a", "b"]}] * len(files)
    assert ids(tmp_path) == [f"r{number}/0" for number in range(20)]
    with pytest.raises(StorageError, match="is closed"):
        journal.append([record(99)])


def test_a_line_is_json_for_any_other_reader(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([record(7)])
    journal.close()
    [path] = journal_files(tmp_path)
    [line] = path.read_text().splitlines()
    assert json.loads(line)[1:] == [0, record(7)]


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9) | st.none(), max_size=4
        ),
        max_size=5,
    ),
    st.data(),
)
def test_a_flipped_byte_harms_its_own_line_only(records: list[dict[str, Any]], data: st.DataObject) -> None:
    import tempfile

    lines = [guarded(number, json.dumps(one).encode()) for number, one in enumerate(records)] or [guarded(0, b"{}")]
    which = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[which]) - 2))
    flipped = lines[which][at] ^ data.draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]))
    harmed = [*lines]
    harmed[which] = lines[which][:at] + bytes([flipped]) + lines[which][at + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.jsonl"
        path.write_bytes(b"".join(harmed))
        read = list(read_lines(path))
    sound = [line.record for line in read if line.record is not None]
    assert sound == [one for number, one in enumerate(records) if number != which]
    assert any(line.record is None for line in read)


def test_a_line_that_was_taken_out_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(guarded(number, b"{}") for number in (0, 1, 4, 5)))
    assert [line.missing for line in read_lines(path)] == [0, 0, 2, 0]


def test_a_torn_end_is_left_and_measured(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    whole = guarded(0, b'{"a":1}')
    for cut in range(len(whole) * 2):
        path.write_bytes((whole + guarded(1, b'{"a":2}'))[: cut + 1])
        read = list(read_lines(path))
        assert len(read) == (cut + 1) // len(whole)
        assert torn_bytes(path, read[-1].after if read else Place()) == (cut + 1) % len(whole)


def test_a_file_that_was_cut_back_and_written_anew_is_read_again_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(guarded(0, b'{"a":1}') + guarded(1, b'{"a":2}'))
    place = list(read_lines(path))[-1].after
    path.write_bytes(guarded(0, b'{"a":1}') + guarded(1, b'{"b":"longer than it was"}') + guarded(2, b'{"a":2}'))
    assert [line.record for line in read_lines(path, place)] == [{"a": 1}, {"b": "longer than it was"}, {"a": 2}]
    path.write_bytes(guarded(0, b'{"a":1}'))
    assert [line.record for line in read_lines(path, place)] == [{"a": 1}]


def test_with_a_vault_inputs_are_sealed_to_the_id_of_their_answer(tmp_path: Path) -> None:
    import base64

    vault: Vault = Turned()
    journal = Journal(tmp_path, vault)
    journal.append([record(3, inputs={"name": "planted secret"})])
    journal.close()
    [path] = journal_files(tmp_path)
    assert b"planted secret" not in path.read_bytes()
    [line] = read_lines(path)
    assert line.record is not None
    assert vault.open(base64.b64decode(line.record["sealed"]), input_context("r3/0")) == b'{"name":"planted secret"}'


def test_fingerprints_are_equal_for_equal_inputs_and_keyed_by_the_folder(tmp_path: Path) -> None:
    found = {}
    for name in ("one", "two"):
        for _ in range(2):
            journal = Journal(tmp_path / name, inputs="fingerprint")
            journal.append([record(1, inputs={"age": 41})])
            journal.close()
        found[name] = {line.record["fingerprint"] for path in journal_files(tmp_path / name) for line in read_lines(path) if line.record}
        assert not any(b'"age"' in path.read_bytes() for path in journal_files(tmp_path / name))
    assert len(found["one"]) == len(found["two"]) == 1
    assert found["one"] != found["two"]


def test_inputs_that_nobody_wants_are_not_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, inputs="none")
    journal.append([record(1, inputs={"age": 41})])
    journal.close()
    [line] = read_lines(journal_files(tmp_path)[0])
    assert line.record == record(1)


def test_a_folder_that_is_full_loses_what_is_new_and_says_how_much(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bounds=Bounds(most_bytes=1000, hold_bytes=500, sync_s=None))
    for number in range(40):
        journal.append([record(number)])
    state = journal.state
    assert "have reached 1,000 bytes" in state.error
    written = len(ids(tmp_path))
    assert written + state.held + state.lost == 40
    assert state.lost > 0
    for path in journal_files(tmp_path):
        path.write_bytes(b"")
    journal.bounds = Bounds(sync_s=None)
    journal.append([record(40)])
    assert journal.state.held == 0
    journal.close()


def test_a_strict_journal_refuses_what_it_can_not_write(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bounds=Bounds(most_bytes=10, sync_s=0), strict=True)
    with pytest.raises(StorageError, match="nobody moves them"):
        journal.append([record(0)])
    assert journal.state.held == journal.state.lost == 0
    journal.close()


def test_erased_lines_leave_their_neighbours_and_their_writer_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([record(number, inputs={"who": f"person {number}", "id": "r2/0"}) for number in range(5)])
    assert blank(tmp_path, ["r1/0", "r3/0", "none"]) == 2
    journal.append([record(5)])
    journal.close()
    assert ids(tmp_path) == ["r0/0", "r2/0", "r4/0", "r5/0"]
    [path] = journal_files(tmp_path)
    assert all(line.record is not None and line.missing == 0 for line in read_lines(path))
    left = path.read_bytes()
    assert b"person 1" not in left
    assert b"person 3" not in left
    assert b"person 2" in left
    path.write_bytes(left.replace(b"person 2", b"person X", 1)[:-20])
    assert blank(tmp_path, ["r2/0"]) == 1, "a damaged line that holds the id goes, too"
    assert b"person X" not in path.read_bytes()
    assert blank(tmp_path, ["r5/0"]) == 1, "and a torn end"
    assert b"r5/0" not in path.read_bytes()


def test_what_a_writer_died_on_before_it_had_a_name_is_swept(tmp_path: Path) -> None:
    for name, age in (("old", 120), ("young", 0)):
        path = tmp_path / f".{name}.jsonl.part"
        path.touch()
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    sweep_unborn(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".young.jsonl.part"]


def test_a_worker_that_journals_loads_no_heavy_library() -> None:
    heavy = ("numpy", "pandas", "pyarrow", "pydantic", "scipy", "sqlalchemy", "torch")
    program = f"import sys; import weighbridge.feedback.journal; print([one for one in {heavy!r} if one in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
