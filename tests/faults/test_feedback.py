"""Law: what was journalled is in the log and what was acknowledged is labelled, once each, whoever dies and whatever the disk refuses.

Workers, movers and those who take labels are killed by SIGKILL at random moments while the others go on; disk operations fail one by one;
a real small file system is filled; the database is held, taken away and brought back. The naive log, which writes rows without a checksum
and moves them in two steps, loses or doubles rows in the same harness.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from sqlalchemy import select

from tests.faults.places import Server, postgresql, small_file_system
from tests.faults.test_disk import ERRORS, FailingDisk
from tests.unit.feedback_logs import answer, journalled
from weighbridge.errors import StorageError, VaultError
from weighbridge.feedback.journal import Bounds, Journal
from weighbridge.feedback.journal_reading import journal_files, read_lines
from weighbridge.feedback.keeping import Retention, erase, export, retain
from weighbridge.feedback.log import Log
from weighbridge.feedback.resealing import seal_all
from weighbridge.feedback.sealing import SEALED
from weighbridge.feedback.tables import label_events, labels
from weighbridge.storage import use_disk
from weighbridge.storage.vault import Vault

ROOT = Path(__file__).resolve().parents[2]
KILLS = 54
pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL and flock are POSIX")


def begin(kind: str, folder: Path, *numbers: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.feedback_kills", kind, str(folder), *map(str, numbers)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def killed(process: subprocess.Popen[str], random_: random.Random, start: int) -> int:
    """Kill it some milliseconds after its first promise; return the last promise that it made."""
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first, "it died by itself"
    time.sleep(random_.uniform(0.0, 0.15))
    process.send_signal(signal.SIGKILL)
    with process:
        rest = process.stdout.read()
    said = [line for line in (first + rest).split("\n")[:-1] if line.isdigit()]
    return int(said[-1]) if said else start


@pytest.mark.slow
def test_workers_movers_and_label_takers_that_are_killed_lose_and_double_nothing(tmp_path: Path, record: Callable[..., None]) -> None:
    random_ = random.Random(8)
    answered, labelled, kills = 0, 0, 0
    while kills < KILLS:
        worker, mover, taker = begin("worker", tmp_path, answered), begin("mover", tmp_path), begin("labeller", tmp_path, labelled)
        answered = max(killed(worker, random_, answered), answered)
        labelled = max(killed(taker, random_, labelled), labelled)
        killed(mover, random_, 0)
        kills += 3
    log = Log.open(tmp_path)
    log.ingest()
    ids = [int(one[1:-2]) for one in log.window().id]
    assert len(ids) == len(set(ids)), "nothing twice"
    assert set(range(answered)) <= set(ids), "nothing lost"
    with_label = {int(one[1:-2]) for one in log.window(labelled=True).id}
    assert with_label >= set(range(min(labelled, answered)))
    waiting = log.status()["labels"].get("waiting", 0)
    assert len(with_label) + waiting >= labelled
    assert not journal_files(log.journals)
    counts = log.status()["counts"]
    assert not any(counts.get(f"journal_{name}") for name in ("damaged", "missing", "lost", "invalid")), counts
    record("feedback.kills", kills, n=kills, rows=answered, labels=labelled)
    print(f"{kills} kills, {answered} answers and {labelled} labels acknowledged, {counts.get('journal_torn', 0)} torn ends")
    log.close()


def naive_move(source: Path, target: Path, die_between: bool) -> None:
    """The naive way: copy the lines, then remove the file."""
    with open(target, "a") as file:
        file.write(source.read_text())
    if not die_between:
        source.unlink()


def test_the_naive_way_doubles_rows(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("row\n")
    naive_move(tmp_path / "journal", tmp_path / "log", die_between=True)
    naive_move(tmp_path / "journal", tmp_path / "log", die_between=False)
    assert (tmp_path / "log").read_text() == "row\nrow\n"


def test_a_mover_that_dies_at_any_step_goes_on_without_a_double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two operations of the mover: read, insert, cursor, put away."""
    from weighbridge.feedback import journal_reading, moving

    class Died(BaseException):
        """What no handler of ours catches."""

    log = Log.open(tmp_path)
    deaths = 0
    for place, name in ((moving, "take_answers"), (moving, "_note"), (moving, "_finish"), (journal_reading, "put_away")):
        for after in (False, True):
            real = getattr(place, name)

            def dying(*given: Any, _real: Any = real, _after: bool = after, **more: Any) -> Any:
                if _after:
                    _real(*given, **more)
                raise Died

            journalled(log, [answer(number) for number in range(deaths * 5, deaths * 5 + 5)])
            with monkeypatch.context() as patch:
                patch.setattr(place, name, dying)
                with pytest.raises(Died):
                    moving.move_journals(log.database, log.journals, take=moving.take_answers, batch_lines=2)
            deaths += 1
            log.ingest(batch_lines=2)
            assert [int(one[1:-2]) for one in log.window().id] == list(range(deaths * 5))
    assert not journal_files(log.journals)
    assert log.status()["counts"] == {}
    log.close()


class FailingAppends(FailingDisk):
    """Fails one operation and half of its bytes are on the disk, as a real one does."""

    def write(self, file: IO[bytes], content: bytes) -> None:
        self.seen += 1
        if self._fails("write", Path(file.name)):
            file.write(content[: len(content) // 2])
            file.flush()
            raise OSError(self.error, os.strerror(self.error), file.name)
        file.write(content)


@pytest.mark.slow
def test_whichever_disk_operation_of_a_journal_fails_every_record_is_there_once(tmp_path: Path, record: Callable[..., None]) -> None:
    at, refused, log = 0, 0, Log.open(tmp_path)
    while True:
        at += 1
        ids = range(at * 100, at * 100 + 6)
        disk = FailingAppends(at, ERRORS[at % 3])
        with use_disk(disk):
            journal = Journal(log.journals, bounds=Bounds(rotate_bytes=500, sync_s=0))
            for number in ids:
                journal.append([answer(number)])
                if number % 100 == 3:
                    with contextlib.suppress(StorageError):
                        log.ingest()
            journal.close()
            refused += journal.state.refusals
            assert journal.state.held == journal.state.lost == 0
            with contextlib.suppress(StorageError):
                log.ingest()
        log.ingest()
        found = [int(one[1:-2]) for one in log.window().id]
        assert sorted(number for number in found if number >= at * 100) == list(ids), at
        if disk.seen < at:
            break
    assert len(found) == len(set(found)) == 6 * at
    assert refused > 5
    assert not journal_files(log.journals)
    record("feedback.disk", at - 1, n=at - 1, answers=len(found))
    log.close()


def test_a_strict_journal_keeps_all_of_a_batch_or_nothing(tmp_path: Path) -> None:
    for at in range(1, 20):
        folder = tmp_path / str(at)
        disk = FailingAppends(at, errno.EIO)
        kept = []
        with use_disk(disk):
            journal = Journal(folder, bounds=Bounds(sync_s=0), strict=True)
            for number in range(0, 9, 3):
                with contextlib.suppress(StorageError):
                    journal.append([answer(one) for one in range(number, number + 3)])
                    kept += list(range(number, number + 3))
            journal.close()
        found = [line.record["id"] for path in journal_files(folder) for line in read_lines(path) if line.record and "id" in line.record]
        assert [int(one[1:-2]) for one in found] == kept, at


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path / "small", 3) as place:
        yield place


def test_on_a_full_disk_answers_go_on_and_what_was_acknowledged_is_there_when_there_is_room(small_disk: Path) -> None:
    log = Log.open(small_disk / "state")
    journal = Journal(log.journals, bounds=Bounds(rotate_bytes=100_000, hold_bytes=20_000, sync_s=0))
    ballast = small_disk / "ballast"
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small_disk).free - 60_000)
    refused: list[str] = []
    acknowledged = 0
    for number in range(600):
        journal.append([answer(number)])
        if number % 20 == 0:
            with contextlib.suppress(StorageError):
                log.ingest()
            try:
                told = log.accept([{"id": f"r{number}/0", "label": "cat"}], "k")
                assert told.invalid == 0
                acknowledged += 1
            except StorageError as error:
                refused.append(str(error))
    state = journal.state
    assert "the disk is full" in state.error
    assert state.held > 0
    ballast.unlink()
    journal.append([answer(600)])
    journal.close()
    journalled(log, [])
    log.ingest()
    assert journal.state.held == 0
    assert len(log.window()) + state.lost == 601
    assert log.status()["counts"].get("journal_lost", 0) == state.lost
    assert sum(log.status()["labels"].values()) >= acknowledged - state.lost
    assert refused
    assert all("the disk is full" in one for one in refused)
    print(f"{state.refusals} refusals, {state.held} held, {state.lost} lost and counted, {len(refused)} calls with labels refused")
    log.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


@pytest.mark.slow
def test_postgresql_goes_away_and_comes_back_and_nothing_is_lost_or_doubled(server: Server, tmp_path: Path) -> None:
    log = Log.open(tmp_path, url=server.url)
    journalled(log, [answer(number) for number in range(50)])
    assert log.ingest(batch_lines=7).rows == 50
    assert (
        log.accept([{"id": f"r{number}/0", "label": "cat"} for number in range(20)] + [{"id": "r60/0", "label": "dog"}], "k").accepted == 20
    )
    server.stop()
    journalled(log, [answer(number) for number in range(40, 70)])
    with pytest.raises(StorageError, match="can not be used") as error:
        log.ingest()
    assert "secret" not in str(error.value).lower()
    assert server.url.split(":")[2].split("@")[0] not in str(error.value)
    told = log.accept([{"id": "r21/0", "label": "dog"}, {"id": "r1/0", "label": "dog"}], "k2")
    assert told.queued == 2
    server.start()
    moved = log.ingest(batch_lines=7)
    assert (moved.rows, moved.repeated) == (22, 10), "20 answers and 2 labels; 10 answers were there"
    found = log.window(labelled=True)
    values = {id_: json.loads(value) for id_, value in zip(found.id, found.label, strict=True)}
    assert len(values) == 21
    assert values["r60/0"] == values["r21/0"] == "dog"
    assert log.status()["labels"] == {"labelled": 21, "held": 1}
    assert export(log, tmp_path / "all.parquet") == 70
    told_erased = erase(log, ["r3/0"])
    assert (told_erased.answers, told_erased.labels) == (1, 1)
    assert "write-ahead log" in told_erased.remains[0]
    assert retain(log, Retention(rows=30)) == 39
    assert retain(log, Retention(size_bytes=1)) == 30
    assert len(log.window()) == 0
    log.close()


@pytest.mark.slow
def test_postgresql_is_killed_while_journals_are_moved(server: Server, tmp_path: Path) -> None:
    """`pg_ctl stop -m immediate` is the database's own SIGKILL: no shutdown, recovery from its log at the next start."""
    import threading

    log = Log.open(tmp_path, url=server.url)
    journalled(log, [answer(number) for number in range(10_000, 16_000)])
    hit = 0
    for turn in range(4):
        killer = threading.Timer(0.1 + 0.2 * turn, server.stop)
        killer.start()
        try:
            while not killer.finished.is_set():
                log.ingest(batch_lines=20)
        except StorageError:
            hit += 1
        killer.join()
        server.start()
        if not journal_files(log.journals):
            break
    log.ingest()
    ids = [one for one in log.window().id if int(one[1:-2]) >= 10_000]
    assert len(ids) == len(set(ids)) == 6000
    assert hit
    print(f"PostgreSQL was stopped {turn + 1} times, {hit} of them while rows were moved")
    log.close()


@pytest.mark.slow
def test_postgresql_holds_sealed_labels_and_an_older_log_is_sealed_there(server: Server, tmp_path: Path) -> None:
    log = Log.open(tmp_path, url=server.url)
    journalled(log, [answer(number, id=f"sealed{number}/0") for number in range(3)])
    log.ingest()
    log.accept([{"id": "sealed0/0", "label": "cat"}, {"id": "stray/0", "label": "planted-label"}], "k")
    log.close()
    vault = Vault([secrets.token_bytes(32)])
    log = Log.open(tmp_path, url=server.url, vault=vault)
    taken = log.accept([{"id": "sealed0/0", "label": "cat"}, {"id": "sealed1/0", "label": "dog"}], "k")
    assert (taken.accepted, taken.duplicate) == (1, 1)
    assert seal_all(log)["labels"] >= 2
    assert log.window(ids=["sealed0/0", "sealed1/0"]).label.tolist() == ['"cat"', '"dog"']
    with log.database.reading() as connection:
        rows = [*connection.execute(select(labels.c.value)).scalars(), *connection.execute(select(label_events.c.value)).scalars()]
    assert all(one is None or one.startswith(SEALED) for one in rows)
    log.close()
    with pytest.raises(VaultError, match="do not open"):
        Log.open(tmp_path, url=server.url, vault=Vault([secrets.token_bytes(32)]))
