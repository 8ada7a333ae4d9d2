"""Law: in no span of time does a caller get more than its burst and its rate allow, nor more rows a day; a table has a bound."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import RunError
from weighbridge.serving.quota import DAY_S, Rates, Usage


class Bucket:
    """Tokens, counted plainly: what the one number must be equal to."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, float(burst), 0.0

    def take(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1 - 1e-6:
            return False
        self.tokens -= 1
        return True


gaps = st.lists(st.floats(0, 3), min_size=1, max_size=30)


@settings(max_examples=60)
@given(gaps, st.floats(0.1, 50), st.integers(1, 10))
def test_one_number_says_what_a_bucket_of_tokens_says(gaps: list[float], rate: float, burst: int) -> None:
    rates, bucket, now = Rates(), Bucket(rate, burst), 0.0
    for gap in gaps:
        now += gap
        near = abs(bucket.tokens + (now - bucket.at) * rate - 1) < 1e-5  # equal up to rounding
        taken = rates.take("a", rate, burst, now) == 0
        assert near or taken == bucket.take(now)
        if near:
            return


@settings(max_examples=60)
@given(gaps, st.floats(0.1, 50), st.integers(1, 10))
def test_no_span_holds_more_than_burst_and_rate(gaps: list[float], rate: float, burst: int) -> None:
    rates, now, taken = Rates(), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if rates.take("a", rate, burst, now) == 0:
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + rate * (taken[last] - taken[first]) + 1e-4


@given(st.floats(0.1, 50), st.integers(1, 10))
def test_who_waits_as_long_as_was_said_gets_the_token_and_not_before(rate: float, burst: int) -> None:
    rates = Rates()
    for _ in range(burst):
        assert rates.take("a", rate, burst, 10.0) == 0
    wait = rates.take("a", rate, burst, 10.0)
    assert math.isclose(wait, 1 / rate, rel_tol=1e-6)
    assert rates.take("a", rate, burst, 10.0 + wait * 0.99) > 0
    assert rates.take("a", rate, burst, 10.0 + wait + 1e-6) == 0


def test_a_refused_request_takes_nothing_and_callers_share_nothing() -> None:
    rates = Rates()
    assert rates.take("a", 1, 1, 0) == 0
    assert {round(rates.take("a", 1, 1, 0.5), 6) for _ in range(100)} == {0.5}
    assert rates.take("b", 1, 1, 0.5) == 0


def test_the_table_of_rates_has_a_bound() -> None:
    rates = Rates(most=100)
    for at in range(10_000):
        rates.take(str(at), 1, 1, 0.0)
    assert len(rates) == 100


class Clock:
    def __init__(self) -> None:
        self.now_s = 20_000.0 * DAY_S + 100

    def __call__(self) -> float:
        return self.now_s


def test_rows_are_counted_by_day_and_a_restart_forgets_none(tmp_path: Path) -> None:
    clock = Clock()
    usage = Usage(tmp_path, clock=clock)
    usage.charge("a", 30)
    usage.charge("a", 12)
    usage.seen("a")
    usage.save()
    again = Usage(tmp_path, clock=clock)
    assert (again.rows("a"), again.rows("b"), again.last_used("a"), again.last_used("b")) == (42, 0, "2024-10-04", "")
    assert again.until_tomorrow_s() == DAY_S - 100
    clock.now_s += again.until_tomorrow_s()
    assert again.rows("a") == 0
    assert again.last_used("a") == "2024-10-04"
    assert Usage(tmp_path, clock=clock).rows("a") == 0


def test_a_clock_that_is_set_back_by_hours_gives_no_second_day() -> None:
    clock = Clock()
    usage = Usage(clock=clock)
    usage.charge("a", 42)
    clock.now_s -= 3 * 3600
    assert usage.rows("a") == 42
    clock.now_s -= 30 * DAY_S
    assert usage.rows("a") == 0, "a clock that was wrong by weeks does not count on for weeks"


def test_what_is_saved_twice_is_written_once(tmp_path: Path) -> None:
    usage = Usage(tmp_path)
    usage.seen("a")
    usage.save()
    stamp = (tmp_path / "usage.json").stat().st_mtime_ns
    usage.seen("a")
    usage.save()
    assert (tmp_path / "usage.json").stat().st_mtime_ns == stamp


def test_tables_of_usage_have_a_bound() -> None:
    usage = Usage(most=50)
    for at in range(1000):
        usage.seen(str(at))
        usage.charge(str(at), 1)
    assert len(usage._rows) == len(usage._used) == 50


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"day": 3, "rows": {}, "last_used": {}}', '{"day": "2024-10-04", "rows": [], "last_used": {}}', "x"]
)
def test_a_damaged_file_of_usage_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "usage.json").write_text(content)
    with pytest.raises(RunError, match=r"usage\.json"):
        Usage(tmp_path)
