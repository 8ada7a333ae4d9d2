"""Law: a row that was erased comes back in no retraining, neither from the rows that a run holds, nor from a source that was joined before,
nor from the log, wherever that is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults.places import postgresql
from tests.journeys.test_erase import holding
from tests.unit.loop_states import NAME, answer, label, rows, served
from weighbridge import lifecycle
from weighbridge.data.erased import read_erased, read_receipts
from weighbridge.data.table import Table, load_schema
from weighbridge.deployment import section_of
from weighbridge.deployment.erase import Request, erase
from weighbridge.deployment.joining import road_id
from weighbridge.deployment.retrain import retrain
from weighbridge.errors import UsageError
from weighbridge.feedback.log import Log
from weighbridge.feedback.registry import Registry
from weighbridge.storage import read_json
from weighbridge.storage.control import Stopped

pytestmark = pytest.mark.slow
Served = tuple[Registry, Log, Path, list[str]]


@pytest.fixture
def loop(tmp_path: Path) -> Served:
    """A model in service, its run, and 200 labelled answers from a world that moved."""
    registry, log = served(tmp_path)
    moved = rows(200, 1, turned=1.2)
    ids = answer(registry, log, moved)
    label(log, ids, moved)
    return registry, log, tmp_path / NAME, ids


def trained(registry: Registry, log: Log, number: int, run: Any = lifecycle.run) -> Path:
    retrain(registry, number, log=log, section=section_of(registry), run=run)
    return registry.state / "retrain" / f"{number:03d}"


def train_row(run: Path, place: int) -> tuple[str, dict[str, bytes]]:
    """Return the id of a training row whose first value has five digits and whose values stand nowhere else, and what it is known by."""
    schema = load_schema(run / "data" / "schema.json")
    tables = [Table(run / "data" / f"{side}.arrow", schema) for side in ("train", "validation", "test")]
    every, counts = np.unique(np.concatenate([table.column(name) for table in tables for name in "abc"]), return_counts=True)
    values = tables[0].column("a")
    alone = [counts[np.searchsorted(every, tables[0].column(name))] == 1 for name in "abc"]
    row = np.flatnonzero((np.abs(values) > 1.0001) & np.all(alone, axis=0))[place]
    value, id_ = float(values[row]), str(tables[0].row_ids[row])
    return id_, {"id": id_.encode(), "words": repr(value).encode(), "float64": np.float64(value).tobytes()}


def test_neither_an_old_nor_a_new_retraining_holds_the_row(loop: Served) -> None:
    registry, log, run, _ = loop
    gone, needles = train_row(run, 3)
    first = trained(registry, log, 1)
    assert set(holding(first, needles)) == set(needles)
    log.close()
    receipt = erase(run, Request(ids=(gone,), where={}, state=registry.state))[0]
    assert set(receipt["state"]["challengers"]) == {"scratch", "warm"}
    assert not holding(first, needles)
    assert [len(read_receipts(first / start / "data")) for start in ("scratch", "warm")] == [1, 1]
    log = Log.open(registry.state)
    second = trained(registry, log, 2)
    assert not holding(second, needles)
    assert read_json(second / "start.json") == {"start": "scratch"}  # the champion's weights have seen the row
    known = read_erased(second / "scratch" / "data")
    assert known is not None
    assert known.name(gone) in known.rows
    log.close()


def test_a_value_that_another_row_has_in_another_column_takes_no_table_away(loop: Served) -> None:
    _, log, run, _ = loop
    log.close()
    schema = load_schema(run / "data" / "schema.json")
    tables = {side: Table(run / "data" / f"{side}.arrow", schema) for side in ("train", "validation", "test")}
    elsewhere = np.concatenate([table.column(name) for table in tables.values() for name in "bc"])
    values = tables["train"].column("a")
    row = np.flatnonzero((np.abs(values) > 1.0001) & np.isin(values, elsewhere))[0]
    receipt = erase(run, Request(ids=(str(tables["train"].row_ids[row]),), where={}))[0]
    assert not [one for one in receipt["removed"] if one.startswith("data/")]
    left = {side: len(Table(run / "data" / f"{side}.arrow", schema)) for side in tables}
    assert left == {side: len(table) - (side == "train") for side, table in tables.items()}


def test_a_retraining_that_was_stopped_before_the_erasure_goes_on_without_the_row(loop: Served) -> None:
    registry, log, run, _ = loop
    gone, needles = train_row(run, 5)

    def stops(*arguments: Any, **options: Any) -> Any:
        if options.get("until") == "training":
            raise Stopped("the machine goes down")
        return lifecycle.run(*arguments, **options)

    with pytest.raises(Stopped):
        trained(registry, log, 1, stops)
    folder = registry.state / "retrain" / "001"
    assert set(holding(folder, needles)) == set(needles)
    log.close()
    erase(run, Request(ids=(gone,), where={}))  # of the run alone, the server's folder is not named
    log = Log.open(registry.state)
    assert not holding(trained(registry, log, 1), needles)
    assert (folder / "verdict.json").exists()
    log.close()


def test_an_answer_that_a_challenger_learnt_goes_from_its_run_and_source(loop: Served) -> None:
    registry, log, run, ids = loop
    first = trained(registry, log, 1)
    needles = {"row": road_id(ids[7]).encode(), "other": road_id(ids[8]).encode()}
    assert set(holding(first, needles)) == set(needles)
    log.close()
    erase(run, Request(ids=(ids[7],), where={}, state=registry.state))
    assert set(holding(first, needles)) == {"other"}
    log = Log.open(registry.state)
    assert set(holding(trained(registry, log, 2), needles)) == {"other"}
    log.close()


def test_a_log_in_postgresql_loses_the_answers_and_the_row_too(loop: Served) -> None:
    registry, log, run, _ = loop
    log.close()
    with postgresql() as server:
        log = Log.open(registry.state, url=server.url)
        asked = rows(20, 2)
        ids = answer(registry, log, asked, first=5000)
        label(log, ids, asked)
        gone, _ = train_row(run, 2)
        with pytest.raises(UsageError, match="give --state"):
            erase(run, Request(ids=(gone,), where={}, database=server.url))
        receipt = erase(run, Request(ids=(gone, ids[4]), where={}, state=registry.state, database=server.url))[0]
        assert (receipt["state"]["answers"], receipt["state"]["labels"]) == (1, 1)
        assert "write-ahead log" in receipt["state"]["remains"][0]
        assert set(log.window().id.tolist()) == {one for one in ids if one != ids[4]}
        assert ids[4] not in {one["id"] for one in log.events()}
        assert not log.inputs([ids[4]])
        for path in run.rglob("*"):
            assert not path.is_file() or b"hunter2" not in path.read_bytes()
        log.close()
