"""Law: quality in service is the same however outcomes come in pieces, holds the mean at every look, and a late fall is found as well."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.feedback.restarts import log_stakes, purse
from weighbridge.feedback.sequences import Fall, Mean, fall_bets, grid

VALUES = st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=1, max_size=120)


@settings(max_examples=40, deadline=None)
@given(VALUES, st.lists(st.integers(0, 120), max_size=6), st.floats(0.05, 0.95))
def test_pieces_give_the_state_of_the_whole_and_json_loses_nothing(values: list[float], cuts: list[int], bound: float) -> None:
    outcomes = np.array(values)
    mean, fall = Mean(), Fall(bound=bound)
    for piece in np.split(outcomes, sorted(cuts)):
        mean = Mean.from_json(json.loads(json.dumps(mean.add(piece).to_json())))
        fall = Fall.from_json(json.loads(json.dumps(fall.add(piece).to_json())))
    assert mean == Mean().add(outcomes)
    assert fall == Fall(bound=bound).add(outcomes)


def test_a_mean_that_moves_empties_the_interval_and_is_no_error() -> None:
    random = np.random.default_rng(0)
    outcomes = np.concatenate([random.random(2000) < 0.9, random.random(2000) < 0.2]).astype(float)
    whole, pieces = Mean().add(outcomes), Mean()
    for piece in np.split(outcomes, [1, 1999, 2050, 2051, 3000]):
        pieces = pieces.add(piece)
    assert whole == pieces
    assert whole.interval[0] <= whole.interval[1]


def test_the_interval_only_shrinks_and_ends_near_the_mean() -> None:
    outcomes = (np.random.default_rng(1).random(20_000) < 0.93).astype(float)
    state, widths = Mean(), [1.0]
    for piece in np.split(outcomes, 20):
        state = state.add(piece)
        widths.append(state.interval[1] - state.interval[0])
        assert state.interval[0] <= 0.93 <= state.interval[1]
    assert all(after <= before for before, after in pairwise(widths))
    assert widths[-1] < 0.02


def test_all_right_and_all_wrong_stay_inside_0_and_1() -> None:
    assert Mean().add(np.ones(500)).interval[1] == 1
    assert Mean().add(np.zeros(500)).interval[0] == 0
    assert grid()[[0, -1]].tolist() == [0, 1]


@pytest.mark.parametrize("bad", [1.01, -0.1, float("nan")])
def test_an_outcome_outside_0_and_1_is_refused(bad: float) -> None:
    for state in (Mean(), Fall(bound=0.5)):
        with pytest.raises(ValueError, match="in \\[0, 1\\]"):
            state.add(np.array([0.5, bad]))


@pytest.mark.parametrize("bound", [0.05, 0.5, 0.9, 0.999])
def test_a_bet_can_not_ruin_and_is_fair_at_the_bound(bound: float) -> None:
    bets = fall_bets(bound)
    right, wrong = 1 + bets * (bound - 1), 1 + bets * bound
    assert right.min() > 0
    assert np.allclose(bound * right + (1 - bound) * wrong, 1)
    assert (bets > 0).all()


def test_purse_and_stakes_are_all_of_the_capital() -> None:
    rows = np.arange(1, 100_000)
    assert purse(rows[:1])[0] + np.exp(log_stakes(rows[:1]))[0] == pytest.approx(1)
    assert np.exp(log_stakes(rows)).sum() + purse(rows[-1:])[0] == pytest.approx(1)
    assert purse(np.array([10**12]))[0] > 0.1  # there is always something left to bet


def test_a_fall_of_five_points_is_found_early_and_after_fifty_thousand_labels() -> None:
    random = np.random.default_rng(2)
    for quiet in (0, 50_000):
        outcomes = np.concatenate([random.random(quiet) < 0.9, random.random(4000) < 0.85]).astype(float)
        found = Fall(bound=0.9).add(outcomes)
        assert found.since is not None
        assert quiet < found.since < quiet + 3000
        assert found.p_value < 0.025
    assert Fall(bound=0.9).add((random.random(20_000) < 0.92).astype(float)).since is None


def test_a_mean_that_an_outcome_has_ruled_out_goes_through_json() -> None:
    import json

    state = Mean().add(np.concatenate([np.zeros(300), np.ones(3)]))
    assert not np.isfinite(state.log_up).all()
    assert Mean.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False))) == state
