"""Law: a batch is answered ask by ask; rows that can be are run in one call; what is wrong with one ask touches no other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from tests.faults import serving_dialects  # noqa: F401 - puts its dialects into DIALECTS
from tests.faults.serving_ground import write_numbers_package
from weighbridge.errors import StorageError
from weighbridge.runtime import Model, load
from weighbridge.serving.answering import Answerer, Item, Told, grouped
from weighbridge.serving.asking import Reply
from weighbridge.serving.dialects import DIALECTS, Rows
from weighbridge.serving.limits import Limits
from weighbridge.serving.link import replies
from weighbridge.serving.wire import Frame, Frames, Kind


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(write_numbers_package(tmp_path_factory.mktemp("answering") / "package"))


class Kept:
    """A journal in memory; `fails`: one that refuses."""

    def __init__(self, fails: bool = False) -> None:
        self.records: list[dict[str, Any]] = []
        self.fails = fails
        self.state = self
        self.lost = 0

    def append(self, records: Any) -> None:
        if self.fails:
            raise StorageError("the disk is full")
        self.records += records


def order(*asks: tuple[str, dict[str, Any], bytes], late: Sequence[int] = (), alone: Sequence[int] = ()) -> Frame:
    now_s = time.monotonic()
    head = [
        [kind, head, f"r{place}", "key", now_s, now_s + (-1 if place in late else 30), place in alone, len(body)]
        for place, (kind, head, body) in enumerate(asks)
    ]
    return Frame(Kind.WORK, 7, head, b"".join(body for _, _, body in asks))


def rows(count: int, start: float = 0.0) -> bytes:
    return (np.arange(2 * count, dtype=np.float64) / 10 + start).tobytes()


def answered(answerer: Answerer, told: Frame) -> tuple[list[Frame], dict[int, Reply]]:
    frames = [one for content in answerer.answer(told) for one in Frames().feed(content)]
    found = [pair for one in frames for pair in replies(one)]
    assert [one.kind for one in frames] == [Kind.PART] * (len(frames) - 1) + [Kind.LAST]
    assert {one.number for one in frames} == {7}
    assert len({place for place, _ in found}) == len(found)
    return frames, dict(found)


def test_each_ask_gets_the_answer_of_its_own_rows_whatever_batch_it_was_in(model: Model) -> None:
    counts = [1, 3, 2, 70, 1, 5]
    bodies = [rows(count, place) for place, count in enumerate(counts)]
    frames, found = answered(
        Answerer(model=model, name="n", limits=Limits(batch_rows=8)), order(*(("doubles", {}, body) for body in bodies))
    )
    assert len(frames) == 3  # 6 rows, 70 rows, 6 rows
    for place, body in enumerate(bodies):
        values = np.frombuffer(body).reshape(-1, 2)
        expected = model.outputs({"a": values[:, 0], "b": values[:, 1]}, len(values))
        assert found[place].rows == counts[place]
        assert found[place].model == model.hash
        assert np.abs(np.frombuffer(found[place].body).reshape(-1, 2) - expected).max() < 1e-6


def test_what_is_wrong_with_one_ask_is_its_own(model: Model) -> None:
    asks = [("doubles", {}, rows(2)), ("doubles", {}, b"odd"), ("nobody", {}, rows(1)), ("faulty", {}, rows(1)), ("doubles", {}, rows(1))]
    _, found = answered(Answerer(model=model, name="n", limits=Limits()), order(*asks, late=[4]))
    causes = {place: (reply.status, reply.cause and reply.cause.code) for place, reply in found.items()}
    assert causes == {0: (200, None), 1: (422, "input"), 2: (500, "internal"), 3: (500, "internal"), 4: (503, "deadline")}
    assert all(not reply.body for place, reply in found.items() if place)


def test_rows_that_a_call_of_several_refuses_are_run_alone(model: Model) -> None:
    calls: list[int] = []

    class Picky:
        hash, info, signature = model.hash, model.info, model.signature

        def outputs(self, columns: dict[str, np.ndarray], count: int) -> np.ndarray:
            calls.append(count)
            if (columns["a"] == 4.0).any():
                raise ValueError("a secret-canary")
            return model.outputs(columns, count)

    asks = [("doubles", {}, rows(1, start)) for start in range(6)]
    _, found = answered(Answerer(model=Picky(), name="n", limits=Limits()), order(*asks))  # type: ignore[arg-type]
    assert calls == [6, 1, 1, 1, 1, 1, 1]
    assert [found[place].status for place in range(6)] == [200, 200, 200, 200, 500, 200]


def test_a_model_whose_output_is_not_finite_for_some_rows_refuses_those_rows(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = [("doubles", {}, rows(1, start)) for start in (0, 1e300, 2)]
    monkeypatch.setattr(type(model.encoder), "encode", lambda self, columns, numbers: {"x": np.stack([columns["a"], columns["b"]], 1)})
    monkeypatch.setattr(type(model._session), "run", lambda session, blocks, **more: np.where(blocks["x"] > 1e3, np.nan, 0.5))
    _, found = answered(Answerer(model=model, name="n", limits=Limits()), order(*asks))
    assert [found[place].status for place in range(3)] == [200, 422, 200]
    assert found[1].cause is not None
    assert found[1].cause.code == "unanswerable"


def test_asks_of_another_form_or_of_another_size_of_work_are_no_part_of_a_call() -> None:
    def item(place: int, count: int, *, alone: bool = False, shape: tuple[int, ...] = ()) -> Item:
        told = Told("x", {}, f"r{place}", "", 0.0, 1.0, alone, 0)
        return Item(place, told, DIALECTS["doubles"], Rows(columns={"a": np.zeros((count, *shape))}, count=count))

    items = [
        item(0, 1),
        item(1, 1, shape=(4, 4)),
        item(2, 1),
        item(3, 1, alone=True),
        item(4, 3),
        item(5, 1, shape=(4, 4)),
        item(6, 9),
        item(7, 1),
    ]
    groups = [[one.place for one in group] for group in grouped(items, 4)]
    assert sorted(groups) == [[0, 2], [1, 5], [3], [4], [6], [7]]


def test_the_journal_has_a_record_of_each_answered_row_and_of_no_other(model: Model) -> None:
    journal = Kept()
    asks = [("doubles", {}, rows(2)), ("doubles", {}, b"odd"), ("doubles", {}, rows(1))]
    _, found = answered(Answerer(model=model, name="n", limits=Limits(), journal=journal), order(*asks))  # type: ignore[arg-type]
    assert [one["id"] for one in journal.records] == ["r0/0", "r0/1", "r2/0"]
    first = journal.records[1]
    assert set(first) == {"id", "time", "package", "model", "key", "inputs", "output", "latency_s"}
    assert (first["package"], first["model"], first["key"], first["inputs"]) == ("n", model.hash, "key", {"a": 0.2, "b": 0.3})
    assert first["output"] == np.frombuffer(found[0].body)[2:].tolist()
    assert orjson.dumps(journal.records)


def test_a_strict_journal_that_refuses_lets_no_answer_leave(model: Model) -> None:
    asks = [("doubles", {}, rows(2)), ("doubles", {}, b"odd")]
    _, found = answered(Answerer(model=model, name="n", limits=Limits(), journal=Kept(fails=True)), order(*asks))  # type: ignore[arg-type]
    assert [(found[place].status, found[place].body) for place in (0, 1)] == [(503, b""), (422, b"")]
    assert found[0].cause is not None
    assert found[0].cause.code == "unlogged"
