"""Law: a service that is slower for good is found, one that has slow spells is not accused, and pieces do not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.test_runtime_contract import CONTRACT
from weighbridge.feedback import controls_pace as control
from weighbridge.feedback.pace import FEWEST, Pace
from weighbridge.feedback.windows import Window
from weighbridge.storage import read_json, write_json


def hours(windows: int, factor: float = 1.0, seed: int = 0) -> Window:
    return control.served(np.random.default_rng(seed), np.full(windows, factor))


def batches(rows: Window, size: int) -> Window:
    """The same rows, as requests of `size` rows each."""
    return replace(rows, id=np.array([f"b{place // size}/{place % size}" for place in range(len(rows))], dtype=object))


def test_pieces_and_a_file_between_them_change_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    rows, path = batches(hours(20, 3.0), 3), tmp_path_factory.mktemp("pace") / "pace.json"
    rows = replace(rows, id=np.where(np.arange(len(rows)) % 7 < 4, hours(20, 3.0).id, rows.id))
    whole, pieces = control.pace().add(rows), control.pace()
    for start in range(0, len(rows), 11):
        write_json(path, pieces.add(rows.rows(np.arange(start, min(start + 11, len(rows))))).to_json())
        pieces = Pace.from_json(read_json(path))
    assert pieces == whole
    assert whole.fall.n > 5


def test_requests_of_several_rows_are_not_held_beside_the_time_of_one() -> None:
    state = control.pace().add(batches(hours(30, 10.0), 4))
    assert (state.fall.n, state.known) == (0, 0)


def test_where_more_requests_come_than_the_contract_was_measured_at_nothing_is_promised() -> None:
    rows = hours(30, 10.0)
    assert control.pace().add(rows).fall.since is not None
    assert replace(control.pace(), most_per_s=0.5 / control.EVERY_S).add(rows).fall.n == 0


def test_a_window_waits_for_enough_requests_however_seldom_they_come() -> None:
    rows = hours(40)
    seldom = replace(rows, time_us=rows.time_us * 60)  # one in ten minutes
    assert control.pace().add(seldom).fall.n == (len(rows) - 1) // FEWEST
    assert control.pace().add(rows).fall.n < 40


def test_times_that_nobody_knows_are_left_out() -> None:
    rows = hours(30)
    assert control.pace().add(replace(rows, latency_s=np.full(len(rows), np.nan))).fall.n == 0


def test_a_contract_without_a_measured_load_promises_no_time() -> None:
    assert Pace.of(replace(CONTRACT, load=None)) is None
    held = Pace.of(CONTRACT)
    assert held is not None
    assert held.limit_s == 1.5 * 950.0
    assert held.most_per_s == pytest.approx(0.8 * 900.0)
