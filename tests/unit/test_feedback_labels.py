"""Law: a label joins the answer of its id whenever and however often it comes; what contradicts is kept, what does not fit is refused."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.feedback_logs import answer, journalled, opened
from weighbridge.errors import DataError, StorageError
from weighbridge.feedback import labels
from weighbridge.feedback.inbox import Inbox
from weighbridge.feedback.label_values import UnfitLabelError, canonical, loose, said
from weighbridge.feedback.labels import Outcome, Policy, conflicts, decide, forget_waiting
from weighbridge.feedback.log import Log
from weighbridge.feedback.windows import count_labelled


def label(number: int, value: Any) -> dict[str, Any]:
    return {"id": f"r{number}/0", "label": value}


def held(log: Log) -> dict[str, Any]:
    found = log.window(labelled=True)
    counted = [count_labelled(log.database, package=served.package, model=served.model) for served in found.served]
    assert sum(counted) == len(found)
    return {id_: json.loads(value) for id_, value in zip(found.id, found.label, strict=True)}


def test_labels_come_late_out_of_order_and_twice(tmp_path: Path) -> None:
    log = opened(tmp_path, range(5))
    assert log.accept([label(3, "dog"), label(0, "cat"), label(3, "dog")], "k") == Outcome(accepted=2, duplicate=1)
    assert log.accept([label(0, "cat")], "k") == Outcome(duplicate=1)
    assert held(log) == {"r0/0": "cat", "r3/0": "dog"}
    assert log.status()["counts"] == {"labels_duplicate": 2}
    log.close()


def test_labels_that_come_before_their_answers_wait_for_them(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    told = log.accept([label(0, "cat"), label(1, "horse"), label(0, "cat"), label(2, True)], "k")
    assert told == Outcome(unknown=3, duplicate=1)
    assert log.status()["labels"] == {"waiting": 3}
    journalled(log, [answer(0), answer(1)])
    log.ingest()
    assert held(log) == {"r0/0": "cat"}
    assert log.status()["labels"] == {"labelled": 1, "invalid": 1, "waiting": 1}
    assert log.status()["counts"]["labels_invalid"] == 1
    assert log.accept([label(1, "dog")], "k").accepted == 1, "an invalid one can be mended"
    assert forget_waiting(log.database, log.clock() + 1) == 1
    assert log.status()["labels"] == {"labelled": 2}
    log.close()


def test_a_class_that_looks_like_a_number_keeps_its_spelling_while_it_waits(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    assert log.accept([label(0, "007"), label(0, 7), label(1, "1.50")], "k") == Outcome(unknown=2, duplicate=1)
    journalled(log, [answer(0), answer(1)], classes=("007", "1.50"))
    log.ingest()
    assert held(log) == {"r0/0": "007", "r1/0": "1.50"}
    log.close()


def test_too_many_labels_for_unknown_ids_are_refused(tmp_path: Path) -> None:
    log = opened(tmp_path, range(1))
    told = labels.accept(log.database, [label(number, "cat") for number in range(10)], "k", most_waiting=4)
    assert (told.accepted, told.unknown, told.invalid) == (1, 4, 5)
    assert "4 labels wait already" in told.refusals[0].why
    log.close()


@pytest.mark.parametrize(("policy", "holds"), [("hold", None), ("first", "cat"), ("last", "dog")])
def test_two_values_for_one_answer_are_a_conflict_that_is_kept(tmp_path: Path, policy: Policy, holds: str | None) -> None:
    log = opened(tmp_path, range(2), policy=policy)
    log.accept([label(0, "cat")], "one")
    assert log.accept([label(0, "dog")], "two") == Outcome(conflicting=1)
    assert held(log).get("r0/0") == holds
    told = [(one["who"], json.loads(one["value"]), one["outcome"]) for one in log.events()]
    assert told == [("one", "cat", "accepted"), ("two", "dog", "conflict")]
    assert log.status()["counts"]["labels_conflicting"] == 1
    shown = conflicts(log.database)
    if policy == "hold":
        assert [(one["value"], one["who"]) for one in shown["r0/0"]] == [("cat", "one"), ("dog", "two")]
        assert log.accept([label(0, "dog"), label(0, "cat")], "three") == Outcome(duplicate=2), "no majority decides; a person does"
        decide(log.database, "r0/0", "dog", "admin")
        assert held(log) == {"r0/0": "dog"}
        assert conflicts(log.database) == {}
    else:
        assert shown == {}
    log.close()


def test_only_a_known_answer_and_a_fitting_label_can_be_decided(tmp_path: Path) -> None:
    log = opened(tmp_path, range(1))
    with pytest.raises(DataError, match="no answer with id 'r9/0'"):
        decide(log.database, "r9/0", "cat", "admin")
    with pytest.raises(DataError, match="no class of the model"):
        decide(log.database, "r0/0", "horse", "admin")
    log.close()


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("x", "a label is a str"),
        ({"label": 1}, "no usable id"),
        ({"id": "", "label": 1}, "no usable id"),
        ({"id": "a" * 201, "label": 1}, "no usable id"),
        ({"id": "a\nb", "label": 1}, "no usable id"),
        ({"id": 7, "label": 1}, "no usable id"),
        ({"id": "a"}, "it has no label"),
        ({"id": "a", "label": None}, "it has no label"),
        ({"id": "a", "label": ""}, "it has no label"),
        ({"id": "a", "label": float("nan")}, "the label is nan"),
        ({"id": "a", "label": {"b": 1}}, "the label is {'b': 1}"),
        ({"id": "a", "label": "x" * 1001}, "1,001 characters"),
        ({"id": "a", "label": [["x"]]}, "a list of 1"),
        ({"id": "a", "label": ["x"] * 1001}, "a list of 1001"),
    ],
)
def test_a_record_that_is_no_label_is_refused_with_the_reason(tmp_path: Path, record: Any, why: str) -> None:
    with pytest.raises(UnfitLabelError, match=why.replace("{", r"\{")) as error:
        said(record)
    assert error.value.do


def test_bad_labels_are_named_and_the_others_are_taken(tmp_path: Path) -> None:
    log = opened(tmp_path, range(3))
    told = log.accept([label(0, "cat"), label(1, "dogg"), {"label": "cat"}, label(2, 3)], "k")
    assert (told.accepted, told.invalid) == (1, 3)
    assert [one.id for one in told.refusals] == ["", "r1/0", "r2/0"]
    assert told.refusals[1].why == "the label is 'dogg', no class of the model (did you mean 'dog'?)"
    assert told.refusals[1].do == "give one of cat, dog"
    assert told.to_json()["refusals"][0] == {"id": "", "why": "it has no usable id", "do": told.refusals[0].do}
    many = log.accept([label(1, f"x{number}") for number in range(300)], "k")
    assert (many.invalid, len(many.refusals)) == (300, 100)
    log.close()


@pytest.mark.parametrize(
    ("value", "kind", "classes", "read"),
    [
        (7, "category", ("7", "8"), "7"), (7.0, "category", ("7",), "7"), ("7.0", "category", ("7",), "7"),
        (" cat ", "category", ("cat",), "cat"),
        (True, "category", ("true", "false"), "true"), ("True", "category", ("true",), "true"), ("Cat", "category", ("Cat", "cat"), "Cat"),
        ("4.5", "number", (), 4.5), (4, "number", (), 4.0), ("-1e3", "number", (), -1000.0),
        ("b;a; b", "set", ("a", "b"), ["a", "b"]), (["b"], "set", ("a", "b"), ["b"]), ([], "set", ("a",), []),
    ],
)  # fmt: skip
def test_spellings_of_one_label_are_one(value: Any, kind: str, classes: tuple[str, ...], read: Any) -> None:
    assert json.loads(canonical(value, kind, classes)) == read


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("x", "number"),
        (True, "number"),
        ("nan", "number"),
        ("1_0", "number"),
        ([1], "number"),
        (["a"], "category"),
        (7, "set"),
        (["z"], "set"),
    ],
)
def test_a_label_of_another_kind_is_refused(value: Any, kind: str) -> None:
    with pytest.raises(UnfitLabelError):
        canonical(value, kind, ("a", "b"))


@given(
    st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.lists(st.text(max_size=3) | st.integers(), max_size=3),
    st.sampled_from(["category", "number", "set"]),
)
def test_whatever_is_said_is_canonical_or_refused(value: Any, kind: str) -> None:
    try:
        read = said({"id": "a", "label": value})
        plain = canonical(read.value, kind, ("1", "a", "true"))
    except UnfitLabelError:
        return
    assert canonical(json.loads(plain), kind, ("1", "a", "true")) == plain
    assert loose(read.value) == loose(read.value)


def test_a_clock_that_goes_back_is_counted_and_changes_no_order(tmp_path: Path) -> None:
    log = opened(tmp_path, range(2))
    for now, value in ((2000, "cat"), (1000, "dog")):
        labels.accept(log.database, [label(0, value)], "k", policy="last", clock=lambda now=now: now)  # type: ignore[misc]
    assert held(log) == {"r0/0": "dog"}
    assert [one["time_us"] for one in log.events()] == [2000, 1000]
    assert log.status()["counts"]["labels_clock_back"] == 1
    log.close()


def test_labels_of_a_key_in_quarantine_do_not_count_until_it_is_let_in(tmp_path: Path) -> None:
    log = opened(tmp_path, range(2))
    log.accept([label(0, "cat")], "liar")
    log.accept([label(1, "cat")], "honest")
    log.shut_out("liar", "disagrees with all others")
    assert held(log) == {"r1/0": "cat"}
    assert [(one["who"], one["reason"]) for one in log.status()["quarantine"]] == [("liar", "disagrees with all others")]
    log.let_in("liar")
    assert set(held(log)) == {"r0/0", "r1/0"}
    log.close()


def test_an_id_can_not_be_flooded_with_values(tmp_path: Path) -> None:
    log = opened(tmp_path, range(1))
    for turn in range(labels.EVENTS_AN_ID + 2):
        log.accept([label(0, "cat" if turn % 2 else "dog")], f"k{turn}")
    assert len(log.events()) == labels.EVENTS_AN_ID
    log.close()


def test_the_inbox_answers_each_caller_from_shared_transactions(tmp_path: Path) -> None:
    log = opened(tmp_path, range(80))

    async def many(inbox: Inbox) -> list[Outcome]:
        return await asyncio.gather(*(inbox.accept([label(number, "cat"), label(number, "horse")], f"k{number}") for number in range(80)))

    with Inbox(log) as inbox:
        told = asyncio.run(many(inbox))
    assert all((one.accepted, one.invalid) == (1, 1) for one in told)
    assert len(held(log)) == 80
    log.close()


def test_an_inbox_whose_database_is_gone_queues_and_one_that_can_keep_nothing_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path, range(2))

    def away(*_: Any, **__: Any) -> Any:
        raise StorageError("the database is away")

    monkeypatch.setattr(labels, "take", away)
    with Inbox(log) as inbox:
        assert asyncio.run(inbox.accept([label(0, "cat")], "k")) == Outcome(queued=1)
        monkeypatch.setattr(Log, "_queue", away)
        with pytest.raises(StorageError, match="is away"):
            asyncio.run(inbox.accept([label(1, "cat")], "k"))
    monkeypatch.undo()
    log.ingest()
    assert held(log) == {"r0/0": "cat"}
    log.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_no_caller_of_an_inbox_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path, range(1))

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(Log, "accept_each", broken)
    inbox = Inbox(log)
    with pytest.raises(StorageError, match="could not be kept"):
        asyncio.run(inbox.accept([label(0, "cat")], "k"))
    inbox._thread.join()
    with pytest.raises(StorageError, match="nobody takes labels"):
        asyncio.run(inbox.accept([label(0, "cat")], "k"))
    log.close()


def test_several_processes_and_threads_take_labels_at_once(tmp_path: Path) -> None:
    log = opened(tmp_path, range(12))
    others = [Log.open(tmp_path) for _ in range(4)]
    outcomes: list[Outcome] = []

    def work(one: Log) -> None:
        outcomes.extend(one.accept([label(number, "cat")], "k") for number in range(12))

    threads = [threading.Thread(target=work, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(outcomes, Outcome())
    assert (total.accepted, total.duplicate, total.queued) == (12, 36, 0)
    for one in (log, *others):
        one.close()
