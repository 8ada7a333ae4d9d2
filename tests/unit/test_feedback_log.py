"""Law: every answer of a journal is in the log once, in the order of its coming; a window of it is what evaluation judges."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.unit.feedback_logs import MODEL, START, answer, journalled, opened
from weighbridge.errors import DataError, StorageError, UsageError
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.results import results_of
from weighbridge.feedback import keeping
from weighbridge.feedback.database import database_url
from weighbridge.feedback.journal import Bounds, Journal, guarded
from weighbridge.feedback.journal_reading import journal_files, waiting_bytes
from weighbridge.feedback.keeping import Retention, erase, export, retain
from weighbridge.feedback.log import Log
from weighbridge.feedback.moving import Moved
from weighbridge.feedback.windows import predictions_of


def test_journals_are_moved_once_and_then_gone(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    journalled(log, [answer(number) for number in range(10)])
    assert log.ingest(batch_lines=3) == Moved(rows=10, files=1)
    assert journal_files(log.journals) == []
    assert log.ingest() == Moved()
    assert list(log.window().id) == [f"r{number}/0" for number in range(10)]
    assert log.status()["answers"] == 10
    log.close()


def test_an_open_journal_is_moved_as_far_as_it_goes_and_stays(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    journal = log.journal()
    for number in range(5):
        journal.append([answer(number)])
        assert log.ingest() == Moved(rows=1)
    assert len(journal_files(log.journals)) == 1
    journal.close()
    assert log.ingest() == Moved(files=1)
    assert len(log.window()) == 5
    log.close()


def test_an_id_that_comes_again_is_counted_and_its_first_answer_stays(tmp_path: Path) -> None:
    log = opened(tmp_path, range(3))
    journalled(log, [answer(1, output=[0.0, 1.0], inputs={"other": 1}), answer(7)])
    moved = log.ingest()
    assert (moved.rows, moved.repeated) == (1, 1)
    assert log.window(ids=["r1/0"]).output.tolist() == [[0.75, 0.25]]
    assert log.inputs(["r1/0", "r7/0", "none"]) == {"r1/0": {"weight": 1.0}, "r7/0": {"weight": 7.0}}
    log.close()


def test_what_is_wrong_in_a_journal_is_counted_and_damaged_files_are_kept(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    log.journals.mkdir(parents=True)
    payloads = [json.dumps(one).encode() for one in (answer(0), {"id": 7}, answer(2), answer(3, output=[None]), answer(4, seconds=-60))]
    gap = b'{"about":"gap","lost":12,"since":"2026-03-01"}'
    lines = [guarded(number, payload) for number, payload in zip((0, 1, 5, 6, 7, 8), [*payloads, gap], strict=True)]
    lines[2] = lines[2].replace(b"0.75", b"0.85")
    (log.journals / "a.jsonl").write_bytes(b"".join(lines) + b'["torn')
    moved = log.ingest(batch_lines=2)
    assert moved.rows == 2
    assert moved.found == {"damaged": 1, "missing": 3, "torn": 1, "lost": 12, "invalid": 2, "clock_back": 1}
    assert log.status()["counts"] == {f"journal_{name}": value for name, value in moved.found.items()}
    assert [path.name for path in (log.journals / "damaged").iterdir()] == ["a.jsonl"]
    assert log.status()["damaged_files"] == 1
    assert log.ingest() == Moved()
    log.close()


def test_windows_are_chosen_by_time_model_key_and_number(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    other = "0f" * 32
    journalled(log, [answer(number, key=f"k{number % 2}") for number in range(10)])
    journalled(log, [answer(number, model=other) for number in range(10, 14)], model=other)
    log.ingest()
    at = [START + datetime.timedelta(seconds=second) for second in (2, 5)]
    assert list(log.window(start=at[0], end=at[1]).id) == ["r2/0", "r3/0", "r4/0"]
    assert list(log.window(key="k1", end=at[1]).id) == ["r1/0", "r3/0"]
    assert list(log.window(model="0f0f").id) == [f"r{number}/0" for number in range(10, 14)]
    assert list(log.window(newest=2).id) == ["r12/0", "r13/0"]
    assert log.window(package="others").id.tolist() == []
    assert [one.model for one in log.window().served] == [MODEL, other]
    with pytest.raises(UsageError, match="names no time zone"):
        log.window(start=datetime.datetime(2026, 1, 1))
    assert log.window(model="%").id.tolist() == [], "no wildcard"
    log.close()


def test_evaluation_judges_a_window(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    share = np.linspace(0.05, 0.95, 40)
    journalled(log, [answer(number, output=[1 - p, p]) for number, p in enumerate(share.tolist())])
    log.ingest()
    with pytest.raises(DataError, match="none of the 40 answers"):
        predictions_of(log.window())
    log.accept([{"id": f"r{number}/0", "label": "dog" if number >= 18 else "cat"} for number in range(1, 40)], "k9")
    rows = predictions_of(log.window())
    assert (rows.kind, rows.classes, rows.split, len(rows)) == ("category", ("cat", "dog"), "road", 39)
    found = results_of(rows, Resampling(resamples=10, seed=0), wanted=lambda name: name == "accuracy")
    assert found["accuracy"].value == pytest.approx(37 / 39)
    log.close()


@pytest.mark.parametrize(
    ("kind", "classes", "output", "label", "target"),
    [
        ("number", (), 4.5, "4.25", [4.25]),
        ("set", ("red", "green"), [0.9, 0.2], "red; green", [[True, True]]),
        ("set", ("x",), [0.9], [], [[False]]),
    ],
)
def test_numbers_and_sets_are_judged_too(
    tmp_path: Path, kind: str, classes: tuple[str, ...], output: object, label: object, target: list[object]
) -> None:
    log = Log.open(tmp_path)
    journalled(log, [answer(0, output=output)], kind=kind, classes=classes)
    log.ingest()
    assert log.accept([{"id": "r0/0", "label": label}], "k").accepted == 1
    rows = predictions_of(log.window())
    assert rows.target.tolist() == target
    assert rows.output.ravel().tolist() == np.ravel(output).tolist()
    log.close()


def test_models_of_different_questions_are_not_judged_together(tmp_path: Path) -> None:
    log = opened(tmp_path, range(2))
    journalled(log, [answer(5, model="aa", output=1.5)], kind="number", classes=(), model="aa")
    log.ingest()
    log.accept([{"id": "r0/0", "label": "cat"}, {"id": "r5/0", "label": 3}], "k")
    with pytest.raises(DataError, match="do not answer the same question"):
        predictions_of(log.window())
    with pytest.raises(DataError, match="not give equally many"):
        _ = log.window().output
    assert len(predictions_of(log.window(model="aa"))) == 1
    log.close()


def test_the_log_leaves_as_parquet(tmp_path: Path) -> None:
    log = opened(tmp_path, range(5))
    log.accept([{"id": "r3/0", "label": "dog"}], "k2")
    keeping_rows, keeping.EXPORT_ROWS = keeping.EXPORT_ROWS, 2
    try:
        assert export(log, tmp_path / "all.parquet") == 5
    finally:
        keeping.EXPORT_ROWS = keeping_rows
    rows = pq.read_table(tmp_path / "all.parquet").to_pylist()
    assert rows[3] == {
        "id": "r3/0", "time": START + datetime.timedelta(seconds=3), "package": "pets", "model": MODEL, "key": "k1",
        "output": [0.75, 0.25], "prediction": "cat", "label": '"dog"', "label_by": "k2", "latency_s": 0.001,
    }  # fmt: skip
    assert rows[4]["label"] is None
    assert export(log, tmp_path / "one.parquet", labelled=True) == 1
    log.close()


def test_the_oldest_go_by_days_and_rows_with_their_labels(tmp_path: Path) -> None:
    log = opened(tmp_path, range(20))
    log.accept([{"id": f"r{number}/0", "label": "cat"} for number in range(20)], "k")
    assert retain(log, Retention(rows=15)) == 5
    now = int(START.timestamp() * 1e6) + 86_400_000_000 + 10_000_000
    later = Log(folder=log.folder, database=log.database, clock=lambda: now)
    assert retain(later, Retention(days=1, input_days=0.9999)) == 5
    assert list(log.window().id) == [f"r{number}/0" for number in range(10, 20)]
    assert log.status()["labels"] == {"labelled": 10}
    assert set(log.inputs([f"r{number}/0" for number in range(20)])) == {"r19/0"}
    assert log.status()["counts"]["answers_expired"] == 10
    log.close()


def test_the_database_shrinks_to_its_bound_and_the_disk_has_the_room_back(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    journalled(log, [answer(number, inputs={"text": f"{number} " * 400}) for number in range(3000)])
    log.ingest()
    before = keeping.used_bytes(log)
    pages, keeping.BULK_PAGES = keeping.BULK_PAGES, 50
    try:
        retain(log, Retention(size_bytes=before // 3))
    finally:
        keeping.BULK_PAGES = pages
    assert keeping.used_bytes(log) < before / 2.5
    assert (tmp_path / "feedback.db").stat().st_size < before / 2
    assert 600 < len(log.window()) < 1200
    log.close()


def test_an_erased_row_is_nowhere_as_bytes(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    secret = {number: f"planted-{number:03d}-" + "x" * 30 for number in range(60)}
    journalled(log, [answer(number, inputs={"name": secret[number]}) for number in range(50)])
    log.ingest()
    open_journal = log.journal(bounds=Bounds(sync_s=0))
    open_journal.append(answer(number, inputs={"name": secret[number]}) for number in range(50, 60))
    log.accept([{"id": f"r{number}/0", "label": "cat"} for number in range(60)], "k")
    told = erase(log, ["r7/0", "r23/0", "r55/0", "r999/0"])
    assert (told.ids, told.answers, told.labels, told.journal_lines) == (4, 2, 3, 1)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for number in range(60):
        assert (secret[number].encode() in kept) == (number not in (7, 23, 55)), number
        assert (f"r{number}/0".encode() in kept) == (number not in (7, 23, 55)), number
    open_journal.append([answer(60)])
    open_journal.close()
    log.ingest()
    assert len(log.window()) == 58
    log.close()


def test_a_deleted_row_without_erasure_would_still_be_read_in_the_journal_of_changes(tmp_path: Path) -> None:
    log = opened(tmp_path, range(50))
    with log.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM predictions WHERE id = 'r7/0'")
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("feedback.db*"))
    assert b"r7/0" in kept
    log.close()


def test_a_database_url_is_sqlite_or_postgresql() -> None:
    assert database_url("a/b.db").database == "a/b.db"
    assert database_url("postgresql://me@host/name").drivername == "postgresql+psycopg"
    assert str(database_url("sqlite:///x.db")) == "sqlite:///x.db"
    for wrong, said in (("mysql://x/y", "not kept in mysql"), ("::://", "not a URL")):
        with pytest.raises(UsageError, match=said):
            database_url(wrong)


def test_a_file_that_is_no_database_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "feedback.db").write_bytes(b"something else " * 100)
    with pytest.raises(StorageError, match=r"feedback\.db: it is no SQLite file"):
        Log.open(tmp_path)
    assert (tmp_path / "feedback.db").read_bytes() == b"something else " * 100
    with pytest.raises(UsageError, match="no state folder"):
        Log.open(tmp_path / "nowhere", make=False)


def test_journals_wait_for_a_database_that_another_process_holds(tmp_path: Path) -> None:
    import sqlite3

    from weighbridge.feedback.database import Database

    first = Log.open(tmp_path)
    log = Log(folder=tmp_path, database=Database(tmp_path / "feedback.db", locked_s=0.05))
    journalled(log, [answer(number) for number in range(5)])
    holder = sqlite3.connect(tmp_path / "feedback.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="another process holds it"):
        log.ingest()
    assert waiting_bytes(log.journals) > 0
    told = log.accept([{"id": "r1/0", "label": "dog"}, {"id": "r2/0"}], "k4")
    assert (told.queued, told.invalid) == (1, 1)
    holder.execute("COMMIT")
    holder.close()
    moved = log.ingest()
    assert moved.rows == 6
    assert [(one.id, one.who) for one in [*predictions_and_who(log)]] == [("r1/0", "k4")]
    assert not list((tmp_path / "labels" / "journal").glob("*.jsonl"))
    first.close()
    log.close()


def predictions_and_who(log: Log) -> list[object]:
    from types import SimpleNamespace

    found = log.window(labelled=True)
    return [SimpleNamespace(id=id_, who=who) for id_, who in zip(found.id, found.who, strict=True)]


def test_two_movers_do_not_move_at_once(tmp_path: Path) -> None:
    from filelock import FileLock

    log = Log.open(tmp_path)
    journalled(log, [answer(1)])
    with FileLock(log.journals / ".moving.lock"):
        assert log.ingest().busy
    assert log.ingest().rows == 1
    log.close()


def test_inputs_under_a_vault_are_sealed_in_the_database_and_opened_on_demand(tmp_path: Path) -> None:
    vaults = pytest.importorskip("weighbridge.storage.vault", reason="the vault comes with the access rooms")
    vault = vaults.Vault([b"k" * 32])
    log = Log.open(tmp_path, vault=vault)
    journalled(log, [answer(1, inputs={"name": "planted secret"})])
    log.ingest()
    assert b"planted secret" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert log.inputs(["r1/0"]) == {"r1/0": {"name": "planted secret"}}
    closed = Log.open(tmp_path)
    with pytest.raises(UsageError, match="are sealed"):
        closed.inputs(["r1/0"])
    log.close()
    closed.close()


def test_a_journal_of_a_full_folder_goes_on_when_it_was_moved(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    journal = Journal(log.journals, bounds=Bounds(rotate_bytes=1000, most_bytes=4000, hold_bytes=600, sync_s=None))
    journal.append([answer(number) for number in range(8)])
    for number in range(8, 40):
        journal.append([answer(number)])
    state = journal.state
    assert state.lost > 10
    log.ingest()
    journal._looked_s = -10.0
    journal.append([answer(40)])
    journal.close()
    moved = log.ingest()
    assert moved.found == {"lost": state.lost}
    assert len(log.window()) + state.lost == 41
    assert log.status()["counts"] == {"journal_lost": state.lost}
    log.close()
