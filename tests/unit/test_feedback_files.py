"""Law: a file of labels is taken as a whole or refused with its reason, in any form, by the command or from a folder, and twice is once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from tests.unit.feedback_logs import answer, journalled, opened
from weighbridge.cli.circle import app
from weighbridge.errors import DataError, StorageError
from weighbridge.feedback.keeping import erase
from weighbridge.feedback.label_files import read_labels, without
from weighbridge.feedback.labels import Outcome
from weighbridge.feedback.log import Log
from weighbridge.feedback.watching import FolderWatch, add_file

ROWS = [{"id": "r0/0", "label": "cat"}, {"id": "r1/0", "label": "dog"}, {"id": "r2/0", "label": "horse"}]
FLAGS = {
    "release": {"--state", "--name", "--why"},
    "round": {"--state", "--name", "--findings", "--database", "--vault"},
    "history": {"--state", "--name", "--json"},
    "decisions": {"--state", "--name"},
    "approve": {"--state", "--by"},
    "refuse": {"--state", "--by"},
    "trace": {"--state", "--database", "--vault"},
    "add": {"--state", "--by", "--policy", "--database", "--vault"},
    "watch": {"--state", "--by", "--policy", "--every", "--database", "--vault"},
    "status": {"--state", "--package", "--language", "--vault", "--database", "--json"},
    "export": {"--state", "--start", "--end", "--model", "--labelled", "--database", "--vault"},
    "conflicts": {"--state", "--database", "--vault"},
    "decide": {"--state", "--by", "--database", "--vault"},
    "trust": {"--state", "--database"},
    "seal": {"--state", "--database", "--vault"},
}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text("note,label,id\n" + "".join(f'"a, b",{row["label"]},{row["id"]}\n' for row in rows), encoding="utf-8-sig")
    return path


def weigh(*words: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_each_form_of_a_file_gives_the_same_labels(tmp_path: Path, suffix: str) -> None:
    log = opened(tmp_path / "state", range(3))
    path = written(tmp_path / f"labels{suffix}", ROWS)
    told = add_file(log, path, "k")
    assert (told.accepted, told.invalid, told.refusals[0].id) == (2, 1, "r2/0")
    assert add_file(log, path, "k").duplicate == 2
    assert without(path, {"r1/0"}) == 1
    assert [row["id"] for part in read_labels(path) for row in part] == ["r0/0", "r2/0"]
    assert without(path, {"r1/0", "r"}) == 0
    log.close()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"ids,label\n1,2\n", r"no column 'id' \(did you mean 'ids'\?\)"),
        ("a.csv", b"id\n1\n", "no column 'label'"),
        ("a.csv", b"", "no column 'id'"),
        ("a.csv", b"id,label\na,\xff\n", "is not UTF-8"),
        ("a.csv", b'id,label\na,"x\n', "is not CSV in line"),
        ("a.parquet", b"PAR1 not really", "not a readable Parquet file"),
        ("a.xlsx", b"x", "no file of labels"),
        ("missing.csv", None, "is missing"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused_with_the_reason(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(read_labels(tmp_path / name))


def test_lines_of_json_that_are_none_are_refused_one_by_one(tmp_path: Path) -> None:
    log = opened(tmp_path / "state", range(1))
    (tmp_path / "a.jsonl").write_text('{"id": "r0/0", "label": "cat"}\n{"id": \n\n[1]\n')
    told = add_file(log, tmp_path / "a.jsonl", "k")
    assert (told.accepted, told.invalid) == (1, 2)
    log.close()


def test_a_watched_folder_gives_its_files_away_with_a_note(tmp_path: Path) -> None:
    log = opened(tmp_path / "state", range(3))
    watch = FolderWatch(log=log, folder=tmp_path / "in", who="lab")
    written(tmp_path / "in" / "labels.csv", ROWS)
    (tmp_path / "in" / "bad.csv").write_text("no header")
    (tmp_path / "in" / "readme.txt").write_text("not a label")
    (tmp_path / "in" / ".hidden.csv").write_text("id,label\n")
    assert watch.look() == [], "a file may still be written"
    taken = watch.look()
    assert [one.path.relative_to(tmp_path / "in").as_posix() for one in taken] == ["refused/bad.csv", "done/labels.csv"]
    note = json.loads((tmp_path / "in" / "done" / "labels.csv.json").read_text())
    assert (note["accepted"], note["who"], note["refusals"][0]["id"]) == (2, "lab", "r2/0")
    assert "has no column 'id'" in json.loads((tmp_path / "in" / "refused" / "bad.csv.json").read_text())["reason"]
    assert sorted(one.name for one in (tmp_path / "in").iterdir()) == [".hidden.csv", "done", "readme.txt", "refused"]
    written(tmp_path / "in" / "labels.csv", ROWS)
    watch.look()
    assert [one.path.name for one in watch.look()] == ["labels-2.csv"], "an older file of that name stays"
    told = erase(log, ["r1/0", "r2/0"])
    assert told.file_rows == 6, "two rows of each file, and a refusal in each note"
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"r1/0" not in everything
    assert b"r2/0" not in everything
    assert b"r0/0" in everything
    log.close()


def test_a_file_that_is_still_written_waits(tmp_path: Path) -> None:
    log = opened(tmp_path / "state", range(3))
    watch = FolderWatch(log=log, folder=tmp_path / "in")
    with open(tmp_path / "in" / "labels.csv", "w", encoding="utf-8") as file:
        for row in ["id,label\n", "r0/0,cat\n", "r1/0,dog\n"]:
            file.write(row)
            file.flush()
            assert watch.look() == []
    assert watch.look()[0].outcome == Outcome(accepted=2)
    log.close()


def test_a_file_stays_when_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path / "state", range(3))
    watch = FolderWatch(log=log, folder=tmp_path / "in")
    written(tmp_path / "in" / "labels.jsonl", ROWS)
    watch.look()
    with monkeypatch.context() as patch:

        def away(*_: Any) -> Any:
            raise StorageError("the disk is full")

        patch.setattr(Log, "accept_each", away)
        with pytest.raises(StorageError):
            watch.look()
    assert watch.look()[0].outcome.accepted == 2
    log.close()


def test_the_verbs_of_feedback_and_their_flags_are_these() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {
        name: {flag for one in command.params for flag in one.opts if flag.startswith("-")} for name, command in commands.items()
    } == FLAGS
    assert all(command.help and command.help.endswith(".") for command in commands.values())


def test_the_command_takes_labels_shows_the_log_and_writes_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    log = Log.open(state)
    journalled(log, [answer(number) for number in range(3)])
    log.close()
    shown = weigh("add", written(tmp_path / "labels.csv", ROWS), "--state", state, "--by", "lab", code=2)
    assert shown.splitlines() == [
        "2 accepted, 1 invalid",
        "  r2/0: the label is 'horse', no class of the model; give one of cat, dog",
    ]
    written(tmp_path / "more.csv", [{"id": "r1/0", "label": "cat"}, {"id": "x", "label": "cat"}])
    assert weigh("add", tmp_path / "more.csv", "--state", state).strip() == "1 conflicting, 1 unknown"
    shown = weigh("status", "--state", state)
    for part in (
        "answers                3",
        "5e5e5e5e5e5e pets: 3",
        "labels held            1",
        "labels labelled        1",
        "labels waiting         1",
    ):
        assert part in shown
    assert json.loads(weigh("status", "--state", state, "--json"))["labels"] == {"held": 1, "labelled": 1, "waiting": 1}
    assert [line.split()[0] for line in weigh("conflicts", "--state", state).splitlines()] == ["r1/0", "'dog'", "'cat'"]
    assert weigh("decide", "r1/0", "dog", "--state", state).strip() == "r1/0 is dog"
    shown = weigh("export", tmp_path / "out.parquet", "--state", state, "--labelled", "--start", "2026-03-01", "--end", "2026-03-02")
    assert shown.startswith("wrote 2 answers")
    assert pq.read_table(tmp_path / "out.parquet")["label"].to_pylist() == ['"cat"', '"dog"']


def test_a_key_is_let_out_of_quarantine_by_its_name(tmp_path: Path) -> None:
    state = tmp_path / "state"
    log = Log.open(state)
    log.shut_out("k7", "it lies")
    log.close()
    assert "those in it: k7" in weigh("trust", "k8", "--state", state, code=2)
    assert weigh("trust", "k7", "--state", state).strip() == "labels of k7 count again"
    assert "quarantine" not in weigh("status", "--state", state)
    assert "those in it: none" in weigh("trust", "k7", "--state", state, code=2)


def test_what_the_command_is_given_wrongly_is_one_line(tmp_path: Path) -> None:
    assert "there is no state folder" in weigh("status", "--state", tmp_path / "none", code=2)
    assert "give one of hold, first, last" in weigh("add", tmp_path / "a.csv", "--state", tmp_path, "--policy", "best", code=2)
    assert "not kept in mysql" in weigh("status", "--state", tmp_path, "--database", "mysql://x/y", code=2)


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM is POSIX")
def test_the_watch_takes_files_until_it_is_told_to_end(tmp_path: Path) -> None:
    log = Log.open(tmp_path / "state")
    journalled(log, [answer(number) for number in range(3)])
    log.close()
    command = [sys.executable, "-c", "from weighbridge.cli import main; main()", "feedback", "watch", str(tmp_path / "in")]
    command += ["--state", str(tmp_path / "state"), "--every", "0.05"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
    assert process.stdout is not None
    assert "looking into" in process.stdout.readline()
    (tmp_path / "part").write_text("id,label\nr0/0,cat\n")
    (tmp_path / "part").rename(tmp_path / "in" / "labels.csv")
    assert process.stdout.readline().strip().endswith("done/labels.csv: 1 accepted")
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0, rest
