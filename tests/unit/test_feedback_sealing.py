"""Law: with a key, no label lies on the disk in the open, and a log answers every question about labels as one without a key does."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from tests.unit.feedback_logs import MODEL, answer, journalled, opened
from weighbridge.cli.circle import app
from weighbridge.errors import StorageError, UsageError, VaultError
from weighbridge.feedback import labels as taking
from weighbridge.feedback.keeping import erase
from weighbridge.feedback.labels import Outcome, Policy, conflicts, decide
from weighbridge.feedback.log import Log
from weighbridge.feedback.resealing import seal_all
from weighbridge.feedback.sealing import SEALED
from weighbridge.feedback.tables import inputs, label_events, labels
from weighbridge.feedback.windows import predictions_of
from weighbridge.storage.vault import Vault
from weighbridge.storage.vault_keys import add_key, open_vault

PLANTED = "planted-label-text"
NUMBER = 314.159265358979


@pytest.fixture
def key(tmp_path: Path) -> Path:
    add_key(tmp_path / "vault.key")
    return tmp_path / "vault.key"


def vault() -> Vault:
    return Vault([secrets.token_bytes(32)])


def label(number: int, value: Any) -> dict[str, Any]:
    return {"id": f"r{number}/0", "label": value}


def files_with(folder: Path, *words: str) -> list[str]:
    """The files of a folder that hold one of these words."""
    return [path.name for path in folder.rglob("*") if path.is_file() and any(word.encode() in path.read_bytes() for word in words)]


def values(log: Log) -> list[str]:
    """Every label value of the database as the disk holds it."""
    with log.database.reading() as connection:
        held = connection.execute(select(labels.c.value).where(labels.c.value.is_not(None))).scalars().all()
        return [*held, *connection.execute(select(label_events.c.value)).scalars().all()]


def planted(folder: Path, key: Vault | None) -> Log:
    """A log with labels in every place: held against an answer, waiting for one, in conflict, decided, unfit, and queued."""
    log = Log.open(folder, vault=key)
    journalled(log, [answer(number, output=[float(number)]) for number in range(4)], kind="number", classes=())
    log.ingest()
    log.accept([label(0, NUMBER), label(9, f"{PLANTED} waits"), label(1, NUMBER + 1)], "lab")
    log.accept([label(1, NUMBER + 2)], "other")
    decide(log.database, "r1/0", NUMBER + 3, "admin", vault=key)
    assert log._queue([([label(2, NUMBER + 4), label(8, f"{PLANTED} queued")], "lab")]) == [Outcome(queued=2)]
    return log


PLACES = (PLANTED, *(repr(NUMBER + step) for step in range(5)))


def test_a_planted_label_is_in_no_byte_of_the_state_folder(tmp_path: Path) -> None:
    log = planted(tmp_path / "state", vault())
    assert (tmp_path / "state" / "feedback.db-wal").stat().st_size > 0, "the write-ahead log is there to be looked into"
    assert files_with(tmp_path / "state", *PLACES) == []
    log.ingest()
    journalled(log, [answer(8, output=[8.0])], kind="number", classes=())
    log.ingest()  # a label that waited is unfit now, and stays sealed
    assert log.status()["labels"] == {"labelled": 3, "waiting": 1, "invalid": 1}
    assert files_with(tmp_path / "state", *PLACES) == []
    log.close()
    assert files_with(tmp_path / "state", *PLACES) == []


def test_without_a_key_the_same_labels_would_be_found(tmp_path: Path) -> None:
    log = planted(tmp_path / "state", None)
    found = files_with(tmp_path / "state", *PLACES)
    assert "feedback.db-wal" in found
    assert any(name.endswith(".jsonl") for name in found)
    log.close()


@pytest.mark.parametrize("policy", ["hold", "first", "last"])
def test_a_sealed_log_takes_labels_as_an_open_one_does(tmp_path: Path, policy: Policy) -> None:
    told = []
    for name, key in (("open", None), ("sealed", vault())):
        log = opened(tmp_path / name, range(3), policy=policy, vault=key)
        outcomes = [
            log.accept([label(0, "cat"), label(0, "cat"), label(1, "dog"), label(7, "7")], "one"),
            log.accept([label(0, " Cat "), label(1, "cat"), label(7, 7.0), label(2, "horse")], "two"),
            log.accept([label(1, "dog"), label(7, "8")], "three"),
        ]
        journalled(log, [answer(7, model="6f" * 32)], model="6f" * 32, classes=("7", "8"))
        log.ingest()
        shown = {id_: [(one["value"], one["who"]) for one in said] for id_, said in conflicts(log.database, vault=key).items()}
        window = log.window(labelled=True)
        held = dict(zip(window.id.tolist(), window.label.tolist(), strict=True))
        told.append((outcomes, shown, held, log.status()["labels"], log.status()["counts"]))
        if policy == "last":
            assert predictions_of(window.rows(window.model == 0)).target.tolist() == [0, 1]
        log.close()
    assert told[0] == told[1]


def test_the_length_of_a_sealed_label_does_not_tell_which_one_it_is(tmp_path: Path) -> None:
    log = Log.open(tmp_path, vault=vault())
    journalled(log, [answer(number) for number in range(2)], classes=("no", "certainly and without any doubt"))
    log.ingest()
    log.accept([label(0, "no"), label(1, "certainly and without any doubt")], "k")
    assert len({len(one) for one in values(log)}) == 1
    assert all(one.startswith(SEALED) for one in values(log))
    log.close()


def test_a_sealed_label_opens_in_its_own_place_only(tmp_path: Path) -> None:
    log = opened(tmp_path, range(2), vault=vault())
    log.accept([label(0, "cat"), label(1, "dog")], "k")
    with log.database.writing() as connection:
        moved = connection.execute(select(labels.c.value).where(labels.c.id == "r0/0")).scalar_one()
        connection.execute(update(labels).where(labels.c.id == "r1/0").values(value=moved))
    with pytest.raises(VaultError, match="stands where it was not sealed"):
        _ = log.window().label
    with pytest.raises(VaultError):
        log.accept([label(1, "cat")], "k")
    log.close()


def test_another_key_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    opened(tmp_path, range(1), vault=vault()).close()
    with pytest.raises(VaultError, match=r"the labels in .*feedback\.db are sealed and do not open .*does not hold.*give the key"):
        Log.open(tmp_path, vault=vault())


def test_without_the_key_what_needs_no_label_works_and_the_rest_is_one_line(tmp_path: Path) -> None:
    key = vault()
    log = opened(tmp_path, range(3), vault=key)
    log.accept([label(0, "cat"), label(9, "cat")], "k")
    log._queue([([label(1, "dog")], "k")])
    log.close()
    bare = Log.open(tmp_path)
    journalled(bare, [answer(9)])
    bare.ingest()
    assert bare.status()["labels"] == {"labelled": 1, "waiting": 1}, "what is sealed waits for who has the key"
    assert bare.window().labelled.tolist() == [True, False, False, False]
    for reading in (lambda: bare.window().label, lambda: bare.accept([label(2, "cat")], "k")):
        with pytest.raises(UsageError, match=r"sealed.*--vault"):
            reading()
    with pytest.raises(StorageError, match="sealed"):
        bare._queue([([label(2, "cat")], "k")])
    assert erase(bare, ["r0/0"]).labels == 1, "an erasure needs no key"
    bare.close()
    again = Log.open(tmp_path, vault=key)
    again.ingest()
    assert again.status()["labels"] == {"labelled": 2}
    assert [one for one in again.window().label if one is not None] == ['"dog"', '"cat"']
    again.close()


def test_an_older_log_goes_on_with_a_key_and_new_labels_are_sealed(tmp_path: Path) -> None:
    log = opened(tmp_path, range(3))
    log.accept([label(0, "cat")], "k")
    log.close()
    log = Log.open(tmp_path, vault=vault())
    assert log.accept([label(0, "cat"), label(1, "dog")], "k") == Outcome(accepted=1, duplicate=1)
    assert sorted(one.startswith(SEALED) for one in values(log)) == [False, False, True, True]
    assert log.window().label.tolist() == ['"cat"', '"dog"', None]
    log.close()


def test_all_that_lies_in_the_open_can_be_sealed_and_its_bytes_are_gone(tmp_path: Path) -> None:
    log = planted(tmp_path, None)
    journalled(log, [answer(5, output=[5.0], inputs={"name": PLANTED})], kind="number", classes=())
    log.ingest()
    log.close()
    log = Log.open(tmp_path, vault=vault())
    assert seal_all(log) == {"inputs": 5, "labels": 5, "label_events": 7}
    assert files_with(tmp_path, *PLACES) == []
    assert log.inputs(["r5/0"]) == {"r5/0": {"name": PLANTED}}
    assert json.loads(log.window(ids=["r1/0"]).label[0]) == NUMBER + 3
    assert seal_all(log) == {"inputs": 0, "labels": 0, "label_events": 0}
    log.close()


def test_sealing_goes_on_over_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path, range(10))
    log.accept([label(number, "cat") for number in range(10)], "k")
    log.close()
    monkeypatch.setattr("weighbridge.feedback.resealing.SEALED_TOGETHER", 3)
    log = Log.open(tmp_path, vault=vault())
    assert seal_all(log) == {"inputs": 10, "labels": 10, "label_events": 10}
    assert set(log.window().label) == {'"cat"'}
    log.close()


def test_a_rotated_key_opens_the_old_seals_the_new_and_is_needless_once_all_is_sealed_anew(tmp_path: Path, key: Path) -> None:
    old = open_vault(str(key))
    log = opened(tmp_path / "state", range(2), vault=old)
    log.accept([label(0, "cat")], "k")
    log.close()
    both = add_key(key)
    log = Log.open(tmp_path / "state", vault=both)
    assert log.accept([label(0, "cat"), label(1, "dog")], "k") == Outcome(accepted=1, duplicate=1)
    log.close()
    alone = tmp_path / "alone.key"
    alone.write_text(key.read_text(encoding="ascii").split()[0], encoding="ascii")
    alone.chmod(0o600)
    with pytest.raises(VaultError, match="weigh feedback seal"):
        Log.open(tmp_path / "state", vault=open_vault(str(alone)))
    log = Log.open(tmp_path / "state", vault=both)
    assert seal_all(log) == {"inputs": 2, "labels": 1, "label_events": 1}
    log.close()
    with pytest.raises(VaultError):
        Log.open(tmp_path / "state", vault=old)
    log = Log.open(tmp_path / "state", vault=open_vault(str(alone)))
    assert log.window().label.tolist() == ['"cat"', '"dog"']
    with log.database.reading() as connection:
        assert all(connection.execute(select(inputs.c.sealed)).scalars())
    log.close()


def test_a_queued_label_that_looks_sealed_is_a_plain_text(tmp_path: Path) -> None:
    log = Log.open(tmp_path, vault=vault())
    journalled(log, [answer(0)], classes=("cat", f"{SEALED}AAAA"))
    log.ingest()
    log._queue([([label(0, f"{SEALED}AAAA")], "k")])
    log.ingest()
    assert log.window().label.tolist() == [f'"{SEALED}AAAA"']
    log.close()


def test_an_inbox_answers_with_an_error_when_a_sealed_label_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from weighbridge.feedback.inbox import Inbox

    def changed(*_: Any, **__: Any) -> Any:
        raise VaultError("a sealed value was changed")

    log = opened(tmp_path, range(1), vault=vault())
    with Inbox(log) as inbox:
        with monkeypatch.context() as patch:
            patch.setattr(taking, "take", changed)
            with pytest.raises(StorageError, match="was changed"):
                asyncio.run(inbox.accept([label(0, "cat")], "k"))
        assert asyncio.run(inbox.accept([label(0, "cat")], "k")) == Outcome(accepted=1), "it goes on"
    log.close()


def weigh(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


def test_the_commands_open_what_is_sealed_where_the_key_is_given(tmp_path: Path, key: Path) -> None:
    state, file, out = tmp_path / "state", tmp_path / "labels.jsonl", tmp_path / "out.parquet"
    opened(state, range(3)).close()
    file.write_text("".join(json.dumps(label(number, "cat")) + "\n" for number in range(2)), encoding="utf-8")
    assert weigh("add", file, "--state", state).strip() == "2 accepted"
    assert weigh("seal", "--state", state, "--vault", key).startswith("sealed 3 inputs, 2 labels, 2 label events")
    assert files_with(state, '"cat"') == ["feedback.db"], "classes of a model are no secret"
    assert "is sealed: give the key that sealed them: --vault SOURCE" in weigh("export", out, "--state", state, code=2)
    assert not out.exists()
    weigh("export", out, "--state", state, "--vault", key, "--labelled")
    assert pq.read_table(out)["label"].to_pylist() == ['"cat"', '"cat"']
    file.write_text(json.dumps(label(0, "dog")), encoding="utf-8")
    assert "are sealed" in weigh("add", file, "--state", state, code=2)
    assert weigh("add", file, "--state", state, "--vault", key).strip() == "1 conflicting"
    shown = weigh("status", "--state", state)
    assert "labels held            1" in shown
    assert "labels are sealed" in shown
    assert "labels are sealed" not in weigh("status", "--state", state, "--vault", key)
    assert "'dog'" in weigh("conflicts", "--state", state, "--vault", key)
    assert "are sealed" in weigh("decide", "r0/0", "dog", "--state", state, code=2)
    assert weigh("decide", "r0/0", "dog", "--state", state, "--vault", key).strip() == "r0/0 is dog"
    assert json.loads(weigh("trace", "r0/0", "--state", state, "--vault", key))["label"] == '"dog"'


def test_rows_for_a_retraining_come_with_their_sealed_labels(tmp_path: Path) -> None:
    key = vault()
    log = opened(tmp_path, range(4), vault=key)
    log.accept([label(number, "dog" if number % 2 else "cat") for number in range(4)], "k")
    found = predictions_of(log.window(package="pets", model=MODEL, labelled=True))
    assert np.array_equal(found.target, [0, 1, 0, 1])
    assert log.inputs(["r3/0"]) == {"r3/0": {"weight": 3.0}}
    log.close()
