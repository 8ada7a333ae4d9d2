"""Long work says how far it is and how long it still takes, also where the output is no terminal."""

from __future__ import annotations

import pytest

from weighbridge.cli import show


def test_the_time_left_is_the_rest_at_the_speed_so_far() -> None:
    assert show.time_left(10, 40, 20.0) == "about 1 min 0 s left"
    assert show.time_left(1, 2, 8000.0) == "about 2 h 13 min left"
    assert show.time_left(100, 110, 100.0) == "about 10 s left"
    assert show.time_left(0, 40, 20.0) == ""
    assert show.time_left(1, 40, 0.2) == ""


def test_a_log_gets_the_time_left_counted_from_where_the_work_began(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([100.0, 120.0, 140.0])
    monkeypatch.setattr(show.time, "monotonic", lambda: next(clock))
    lines = show.Lines()
    for done in (500, 600, 1000):  # a resumed training begins at 500: those steps took no time now
        lines("training", done, 1000)
    said = capsys.readouterr().err.splitlines()
    assert said == ["training  500 of 1,000", "training  600 of 1,000  about 1 min 20 s left", "training  1,000 of 1,000"]
