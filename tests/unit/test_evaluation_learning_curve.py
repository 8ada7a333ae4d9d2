"""Law: a learning curve says what its runs support: the form is found again, a plateau is a plateau, and what it can not tell it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.evaluation.learning_curve import Run, curve_json, fit_curve, held_out, shown
from weighbridge.evaluation.learning_verdict import curve_findings, judged_change
from weighbridge.stages.learning_curve import share_of_training, sizes_of
from weighbridge.training import subset_rows


def runs(a: float, b: float, c: float, *, noise: float = 0.0, rows: int = 2000, seed: int = 0) -> list[Run]:
    random = np.random.default_rng(seed)
    sizes = [rows // 2**step for step in range(5)]
    return [
        Run(rows=size, repeat=repeat, error=(a + b * size**-c) * (1 + noise * random.normal())) for size in sizes for repeat in range(3)
    ]


def test_runs_without_noise_give_their_curve_back() -> None:
    curve = fit_curve(runs(0.1, 1.5, 0.5), seed=0, refits=50)
    assert curve.error(2000) == pytest.approx(0.1 + 1.5 * 2000**-0.5, rel=1e-3)
    assert curve.error(4000) == pytest.approx(0.1 + 1.5 * 4000**-0.5, rel=5e-3)


def test_one_training_that_went_astray_moves_the_curve_little() -> None:
    """The naive fit, plain least squares of the same form, moves more."""
    good = runs(0.1, 1.5, 0.5, noise=0.01)
    astray = [Run(rows=run.rows, repeat=run.repeat, error=run.error * (3 if place == 4 else 1)) for place, run in enumerate(good)]
    truth = 0.1 + 1.5 * 4000**-0.5
    sizes = np.array([run.rows for run in astray], float)
    table = np.stack([np.ones_like(sizes), sizes**-0.5], axis=1)
    a, b = np.linalg.lstsq(table, np.array([run.error for run in astray]), rcond=None)[0]
    assert abs(fit_curve(astray, seed=0, refits=20).error(4000) - truth) < 0.5 * abs(a + b * 4000**-0.5 - truth)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.5), st.floats(0, 5), st.floats(0.1, 1.5), st.floats(0, 0.2), st.integers(0, 10_000))
def test_a_curve_never_rises_and_its_intervals_hold_it(a: float, b: float, c: float, noise: float, seed: int) -> None:
    curve = fit_curve(runs(a, b, c, noise=noise, seed=seed), seed=seed, refits=60)
    errors = [curve.error(size) for size in (100, 500, 2000, 8000)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(errors))
    low, high = curve.change(2000, 4000)
    assert 0 <= low <= errors[2] - curve.error(4000) + 1e-12
    assert high >= errors[2] - curve.error(4000) - 1e-12


def test_the_verdict_follows_the_interval_of_the_gain() -> None:
    assert judged_change((0.01, 0.03), 0.1, "accuracy") == "limitation"
    assert judged_change((0.0, 0.004), 0.1, "accuracy") == "advantage"
    assert judged_change((0.002, 0.03), 0.1, "accuracy") == "neutral"
    assert judged_change((0.6, 2.0), 50.0, "rmse") == "limitation"
    assert judged_change((0.0, 0.4), 50.0, "rmse") == "advantage"


def statements(made: list[Run], times: float = 2.0) -> list[str]:
    found = curve_findings(
        fit_curve(made, seed=0), made, metric="accuracy", rows=2000, n=300, times=times, seed=0, command="weigh evaluate runs/a"
    )
    return [f"{one.verdict}: {one.reason} {one.method}" for one in found]


def test_more_data_and_a_plateau_are_said_in_words() -> None:
    assert "2 times the training rows (4,000) would change accuracy from 0.91" in statements(runs(0.02, 3.0, 0.5, noise=0.02))[0]
    assert statements(runs(0.02, 3.0, 0.5, noise=0.02))[0].startswith("limitation")
    assert "a plateau" in statements(runs(0.1, 50.0, 1.5, noise=0.02))[0]


def test_beyond_four_times_the_rows_it_says_that_nothing_supports_the_form() -> None:
    made = runs(0.02, 3.0, 0.5, noise=0.02)
    assert "nothing supports its form" in statements(made, times=5.0)[0]
    assert "nothing supports its form" not in statements(made, times=4.0)[0]


def test_a_curve_that_misses_its_own_largest_size_decides_nothing() -> None:
    """The largest size is suddenly worse: an instrument that looked at the fit alone would still state a verdict."""
    made = runs(0.02, 3.0, 0.5, noise=0.01)
    broken = [Run(rows=run.rows, repeat=run.repeat, error=run.error * (2 if run.rows == 2000 else 1)) for run in made]
    assert held_out(made, seed=0).holds
    assert not held_out(broken, seed=0).holds
    gain, check = statements(broken)
    assert gain.startswith("neutral")
    assert "misses its own largest size" in gain
    assert check.startswith("limitation")


def test_the_evidence_shows_the_metric_and_not_the_error() -> None:
    made = runs(0.1, 1.5, 0.5, noise=0.02)
    evidence = curve_json(fit_curve(made, seed=0), made, metric="accuracy", times=2.0, all_rows=2000)
    assert evidence["runs"][0]["value"] == pytest.approx(1 - made[0].error)
    assert all(point["low"] <= point["value"] <= point["high"] for point in evidence["curve"])
    assert shown(3.0, "rmse") == 3.0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 100_000), st.integers(5, 12))
def test_sizes_rise_to_all_rows_and_none_is_too_small(rows: int, count: int) -> None:
    sizes = sizes_of(rows, count)
    if sizes:
        assert len(set(sizes)) == count
        assert sizes == sorted(sizes)
        assert sizes[-1] == rows
        assert sizes[0] >= 40
    else:
        assert rows < 40 * 1.3 ** (count - 1) + 1 or rows < 2 ** (count - 1) * 1.3**4


def test_the_cost_of_a_curve_is_its_share_of_whole_trainings() -> None:
    assert share_of_training(1600, 0, [100, 200, 400, 800, 1600], 3) == pytest.approx(3 * 3100 / 1600)


@given(st.integers(1, 50), st.integers(0, 5), st.booleans())
@settings(max_examples=30, deadline=None)
def test_subsets_are_nested_within_a_repeat_and_keep_groups_whole(size: int, repeat: int, grouped: bool) -> None:
    group = np.repeat(np.arange(20), 5) if grouped else None
    small, large = (subset_rows(100, count, seed=1, repeat=repeat, group=group) for count in (size, 2 * size))
    assert set(small) <= set(large)
    assert len(small) >= size
    if group is None:
        assert len(small) == size
    else:
        assert all(np.isin(np.flatnonzero(group == one), small).all() for one in set(group[small]))
    assert len(subset_rows(100, 100, seed=1, repeat=repeat, group=group)) == 100
