"""Law: each accepted ask leaves the queue once, in order; a queue takes bursts and does not stand; batches are as large as pays."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.serving_sim import Cost, Told, poisson, simulate, waiting
from weighbridge.serving.asking import Refused
from weighbridge.serving.batching import Batcher, Sizes, Waiting
from weighbridge.serving.limits import Limits

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 50)),
        st.tuples(st.just("take"), st.integers(1, 20)),
        st.tuples(st.just("die"), st.integers(0, 3)),
        st.tuples(st.just("settle"), st.integers(0, 5)),
        st.tuples(st.just("expire"), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_each_accepted_ask_is_taken_or_expired_once_and_bytes_are_counted(steps: list[tuple[str, int]]) -> None:
    batcher, now_s = Batcher(Limits(queue_requests=20, queue_bytes=400, batch_bytes=100), 1), 0.0
    inside: list[Waiting] = []
    for kind, number in steps:
        now_s += 0.01
        if kind == "admit":
            one = waiting(now_s, size=number, deadline_s=0.02 + number / 100, alone=number == 7)
            with contextlib.suppress(Refused):
                batcher.admit(one, now_s, idle=number % 2 == 0)
                inside.append(one)
        elif kind == "settle" and inside:
            inside[number % len(inside)].answer.settled = True  # type: ignore[attr-defined]
        elif kind == "expire":
            gone = batcher.expired(now_s)
            assert all(one.ask.deadline_s <= now_s or one.answer.done() for one in gone)
            inside = [one for one in inside if one not in gone]
        elif kind in ("take", "die"):
            taken, passed = batcher.take(now_s)
            assert all(one.ask.deadline_s > now_s and not one.answer.done() for one in taken)
            assert len(taken) == 1 or not any(one.ask.alone or one.deaths for one in taken)
            assert sum(len(one.ask.body) for one in taken) <= 100 or len(taken) == 1
            inside = [one for one in inside if one not in taken and one not in passed]
            if kind == "take" and taken:
                batcher.finished(len(taken), number / 1000, alone=taken[0].ask.alone)
            elif kind == "die" and number % 2:
                batcher.give_back(taken)
                inside = taken + inside
            elif kind == "die":
                for one in taken:
                    one.deaths += 1
                    batcher.suspect(one)
                inside += taken
        assert len(batcher) == len(inside)
        assert batcher.bytes == sum(len(one.ask.body) for one in inside)
    assert {id(one) for one in batcher.empty()} == {id(one) for one in inside}


def test_asks_leave_in_the_order_in_which_they_came_and_suspects_go_first_and_alone() -> None:
    batcher = Batcher(Limits(), 1)
    asks = [waiting(size=n) for n in range(6)]
    for one in asks:
        batcher.admit(one, 0.0, idle=True)
    for asks_of in (1, 2, 4, 8) * 4:
        batcher.finished(asks_of, 0.001)
    first, _ = batcher.take(0.0)
    assert first == asks
    asks[4].deaths = 1
    batcher.give_back(asks[:4])
    batcher.suspect(asks[4])
    assert batcher.take(0.0)[0] == [asks[4]]
    assert batcher.take(0.0)[0] == asks[:4]


def test_a_full_queue_refuses_by_number_and_by_bytes_and_an_ask_that_would_be_late_is_refused_at_once() -> None:
    batcher = Batcher(Limits(queue_requests=3, queue_bytes=100), 1)
    for _ in range(3):
        batcher.admit(waiting(size=20), 0.0, idle=True)
    with pytest.raises(Refused, match="3 requests wait already") as refused:
        batcher.admit(waiting(size=1), 0.0, idle=True)
    assert (refused.value.code, refused.value.status) == ("overloaded", 503)
    batcher.take(0.0)
    batcher.admit(waiting(size=60), 0.0, idle=True)
    with pytest.raises(Refused):
        batcher.admit(waiting(size=1 if batcher.bytes == 100 else 101 - batcher.bytes), 0.0, idle=True)
    slow = Batcher(Limits(), 1)
    slow.finished(1, 2.0)
    slow.admit(waiting(deadline_s=3), 0.0, idle=False)
    with pytest.raises(Refused, match="could not be answered in time"):
        slow.admit(waiting(deadline_s=3), 0.0, idle=False)
    slow.admit(waiting(deadline_s=5), 0.0, idle=False)
    slow.admit(waiting(deadline_s=1), 0.0, idle=True)


def test_a_queue_takes_a_burst_shrinks_when_more_comes_than_can_be_done_and_takes_all_again_after_a_calm_second() -> None:
    batcher = Batcher(Limits(), 1)
    for _ in range(10):
        batcher.finished(1, 0.01)
        batcher.finished(2, 0.02)
    now_s = 10.0
    for _ in range(256):
        batcher.admit(waiting(), now_s, idle=now_s == 10.0)
    for halved in (128, 64, 32, 16, 8, 8):
        now_s += 0.03
        with pytest.raises(Refused):
            batcher.admit(waiting(now_s), now_s, idle=False)
        while len(batcher) > halved - 1:
            batcher.take(now_s)
        batcher.admit(waiting(now_s), now_s, idle=False)
        with pytest.raises(Refused):
            batcher.admit(waiting(now_s), now_s, idle=True)
    for _ in range(256 - len(batcher)):
        batcher.admit(waiting(now_s), now_s + 1.1, idle=True)


def test_callers_that_wait_for_their_answers_are_never_refused_while_the_queue_has_room_for_them() -> None:
    batcher, running = Batcher(Limits(), 1), 0
    for turn in range(300):
        for _ in range(64 - len(batcher) - running):
            batcher.admit(waiting(turn), turn, idle=not running, in_flight=running)
        running = len(batcher.take(turn)[0])
        batcher.finished(running, 0.005 * running)


def test_with_batch_wait_a_free_worker_waits_for_company_until_the_batch_is_large_enough() -> None:
    batcher = Batcher(Limits(batch_wait_s=0.01), 1)
    for asks, seconds in itertools.product((1, 2, 4), (0.001,) * 4):
        batcher.finished(asks, seconds)
    batcher.admit(waiting(5.0), 5.0, idle=True)
    assert batcher.ripe_s(5.004) == pytest.approx(0.006)
    assert batcher.ripe_s(5.02) == 0
    for _ in range(batcher.sizes.enough):
        batcher.admit(waiting(5.0), 5.0, idle=True)
    assert batcher.ripe_s(5.004) == 0
    assert Batcher(Limits(), 1).ripe_s(0.0) == 0


@pytest.mark.parametrize(
    ("fixed_s", "each_s", "least", "most"), [(1e-3, 1e-4, 40, 55), (0, 5e-3, 1, 2), (5e-4, 5e-3, 2, 5), (5e-3, 0, 56, 64)]
)
def test_batches_grow_as_long_as_it_pays(fixed_s: float, each_s: float, least: int, most: int) -> None:
    sizes = Sizes(64)
    random, used = np.random.default_rng(0), []
    for _ in range(400):
        asks = sizes.enough
        used.append(asks)
        sizes.add(asks, (fixed_s + each_s * asks) * random.gamma(100, 0.01))
    assert least <= np.median(used[200:]) <= most
    assert sizes.ask_s == pytest.approx(fixed_s / np.median(used[200:]) + each_s, rel=0.15)


def test_one_measurement_of_a_worker_that_had_to_wait_changes_little() -> None:
    sizes = Sizes(64)
    for asks in (1, 2, 4, 8) * 20:
        sizes.add(asks, 0.001 * asks)
    sizes.add(1, 30.0)
    assert sizes.ask_s < 0.0015


def gamma(fixed_s: float, each_s: float, spread: float) -> Cost:
    """Batches of a fixed time and asks of a random one."""
    shape = 1 / spread**2
    return lambda asks, random: float(fixed_s + random.gamma(shape * asks, each_s / shape))


COSTS = {
    "a batch costs ten asks": (gamma(1e-3, 1e-4, 0.3), (1e-3, 1e-4), 1),
    "batches gain little": (gamma(5e-4, 5e-3, 0.3), (5e-4, 5e-3), 1),
    "in between, two workers": (gamma(2e-3, 1e-3, 0.5), (2e-3, 1e-3), 2),
    "asks as uneven as exponential ones": (gamma(1e-3, 4e-3, 1.0), (1e-3, 4e-3), 1),
}


def loaded(case: str, load: float, seed: int, asks: int = 12_000) -> tuple[Told, float]:
    cost, (fixed_s, each_s), workers = COSTS[case]
    capacity = workers * 64 / (fixed_s + 64 * each_s)
    seconds = asks / capacity
    return simulate(cost, poisson(load * capacity, seconds, seed), workers=workers, depth=2, seed=seed, skip_s=seconds / 5), capacity


@pytest.mark.parametrize("case", COSTS)
def test_a_little_too_much_is_no_worse_than_far_too_much(case: str) -> None:
    busy, capacity = loaded(case, 0.8, 1)
    over, _ = loaded(case, 1.2, 3)
    assert over.p99_s <= 2.5 * busy.p99_s
    assert over.rate >= 0.9 * capacity


@pytest.mark.parametrize("case", COSTS)
def test_an_overloaded_server_goes_on_at_capacity_and_answers_nearly_as_fast_as_a_busy_one(case: str) -> None:
    busy, capacity = loaded(case, 0.8, 1)
    overloaded, _ = loaded(case, 5.0, 2)
    assert busy.refused_share <= 0.02
    assert overloaded.p99_s <= 2 * busy.p99_s
    assert overloaded.rate >= 0.95 * capacity
    assert overloaded.refused_share == pytest.approx(0.8, abs=0.03)
