"""Law: the course tells each window as it is, and cuts the same windows at every look; a queue stays until it is worked through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.feedback_logs import answer, journalled
from tests.unit.served_course import CLASSES, past, watched
from weighbridge.errors import UsageError
from weighbridge.feedback.board import Board
from weighbridge.feedback.course import course
from weighbridge.feedback.log import Log
from weighbridge.feedback.queue import asked_rows, shown_rows
from weighbridge.storage.lines import read_lines


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return past(tmp_path_factory.mktemp("state"), "pets")


def test_windows_hold_every_answer_once_with_the_share_that_was_right(log: Log) -> None:
    told = course(log, "pets", None, rows=200)
    assert [one["n"] for one in told] == [200] * 10
    assert [one["labelled"] for one in told] == [200] * 7 + [100] + [0] * 2
    values = [one["value"] for one in told[:8]]
    assert min(values[:3]) > 0.9
    assert max(values[4:]) < 0.8
    for one in told[:8]:
        low, high = one["interval"]
        assert low < one["value"] < high
    assert [one["value"] for one in told[8:]] == [None, None]
    assert all(0 < one["latency_s"] < 0.01 for one in told)


def test_a_later_look_cuts_the_same_windows(tmp_path: Path) -> None:
    log = past(tmp_path, "pets", rows=950, labels=500)
    before = course(log, "pets", None, rows=100, most=5)
    journalled(log, [answer(row, seconds=60 * row, package="pets", output=[0.5, 0.5]) for row in range(950, 1010)], classes=CLASSES)
    log.ingest()
    after = course(log, "pets", None, rows=100, most=5)
    assert [one["n"] for one in before] == [50, 100, 100, 100, 100, 50]
    whole = [one for one in before if one["n"] == 100]
    assert [one for one in whole if one in after] == whole[1:]
    assert after[-1]["n"] == 10
    log.close()


def test_another_name_has_a_course_of_its_own(log: Log) -> None:
    assert course(log, "other", None) == []


def test_a_queue_stays_until_most_of_it_is_labelled_and_each_is_kept_with_its_chances(tmp_path: Path) -> None:
    log = past(tmp_path, "pets", rows=600, labels=100)
    first = asked_rows(log, "pets", rows=50)
    assert len(first) == 50
    assert sum(one["random"] for one in first) == 10
    assert {one["probability"] for one in first if not one["random"]} == {1.0}
    assert asked_rows(log, "pets", rows=50) == first
    log.accept([{"id": one["id"], "label": "yes"} for one in first[:20]], "lab")
    assert asked_rows(log, "pets", rows=50) == first[20:]
    log.accept([{"id": one["id"], "label": "yes"} for one in first[20:45]], "lab")
    second = asked_rows(log, "pets", rows=50)
    assert len(second) == 50
    assert not {one["id"] for one in second} & {one["id"] for one in first[:45]}
    assert [len(one["rows"]) for one in read_lines(tmp_path / "models" / "pets" / "queues.jsonl")] == [50, 50]
    log.close()


def test_the_rows_that_are_asked_about_are_the_unsure_ones_and_are_shown_as_they_were_read(tmp_path: Path) -> None:
    log = past(tmp_path, "pets", rows=600, labels=0, weight=lambda row, random: float(row))
    asked = asked_rows(log, "pets", rows=40)
    shown = shown_rows(log, asked, most=40)
    best = [max(one["probabilities"].values()) for one in shown if not one["random"]]
    assert np.median(best) < 0.7
    assert all(one["inputs"] == {"weight": float(one["id"][1:].split("/")[0])} for one in shown)
    assert all(one["prediction"] == max(one["probabilities"], key=one["probabilities"].get) for one in shown)
    log.close()


def test_a_decision_that_waits_is_answered_once_and_told_to_the_trail(tmp_path: Path) -> None:
    board = Board(log=past(tmp_path, "pets", rows=10, labels=5))
    watched(tmp_path, "pets")
    (one,) = board.decisions("pets", "en")["decisions"]
    assert (one["waits"], one["action"], one["evidence"][0]["interval"]) == (True, "retrain", "0.780 – 0.840")
    heard: list[tuple[str, str]] = []
    said = board.answer(one["number"], "approved", "k-admin", lambda what, who, detail: heard.append((what, who)))
    assert (said["answer"], said["waits"]) == ("approved", False)
    assert heard == [("feedback.approved", "k-admin")]
    for number in (one["number"], 99):
        with pytest.raises(UsageError):
            board.answer(number, "refused", "k-admin", None)
    board.log.close()


def test_the_state_counts_what_the_log_holds_and_says_what_the_watch_found(tmp_path: Path) -> None:
    board = Board(log=past(tmp_path, "pets", rows=30, labels=5))
    assert board.status("pets", None, "en")["findings"] == []
    watched(tmp_path, "pets")
    told = board.status("pets", None, "zh")
    assert (told["answers"], told["labels"], told["promise"], told["current"]) == (30, {"labelled": 5}, None, None)
    assert [one["verdict"] for one in told["findings"]] == ["neutral", "limitation"]
    assert told["findings"][1]["value"] == "0.810"
    board.log.close()
