"""Law: an interval is ordered, holds its estimate, stays where the metric can be, and covers what it states (controls, quick form)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from tests.controls import test_intervals as controls
from weighbridge.evaluation.intervals import (
    bca,
    clopper_pearson,
    delong,
    is_degenerate,
    quantile_interval,
    rate_interval,
    studentized,
    wilson,
)
from weighbridge.evaluation.resampling import Replicates, Sampler, Statistic, acceleration, replicate, unit_sums

QUICK = 200
STARTS = (
    "Wilson",
    "Clopper",
    "rate,",
    "normal approximation",
    "RMSE, normal errors, n = 30",
    "AUROC, n = 30",
    "mean over 40",
    "median",
    "McNemar",
    "Holm",
)
IN_A_SECOND = [control for control in controls.CONTROLS if control.name.startswith(STARTS)]


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_of_rates_are_those_of_scipy_and_hold_the_rate(n: int, data: st.DataObject, level: float) -> None:
    hits = data.draw(st.integers(0, n))
    test = binomtest(hits, n)
    for found, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        low, high = found(hits, n, level)
        expected = test.proportion_ci(level, method)
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert 0 <= low <= hits / n <= high <= 1


def test_few_rows_and_rates_at_the_edge_get_the_exact_interval() -> None:
    assert rate_interval(15, 30) == clopper_pearson(15, 30)
    assert rate_interval(100, 100) == clopper_pearson(100, 100)
    assert rate_interval(995, 1000) == clopper_pearson(995, 1000)
    assert rate_interval(50, 100) == wilson(50, 100)


@given(st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=40), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_bootstrap_intervals_hold_their_estimate_and_are_ordered(values: list[float], seed: int) -> None:
    rows = np.array(values)
    statistic = Statistic(names=("mean",), of=lambda w: w @ rows[:, None] / w.sum(axis=1, keepdims=True))
    found = replicate([statistic], Sampler(n=len(rows), resamples=200, seed=seed))["mean"]
    low, high = bca(found)
    assert low <= found.value <= high
    assert math.isfinite(low + high)
    assert min(values) - 1e-6 <= low
    assert high <= max(values) + 1e-6


def test_bca_of_a_mean_agrees_with_scipy() -> None:
    from scipy.stats import bootstrap

    rows = np.random.default_rng(0).exponential(size=200)
    statistic = Statistic(names=("mean",), of=lambda w: w @ rows[:, None] / w.sum(axis=1, keepdims=True))
    ours = bca(replicate([statistic], Sampler(n=200, resamples=20000, seed=0))["mean"])
    theirs = bootstrap((rows,), np.mean, n_resamples=20000, method="BCa", rng=1).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_a_metric_that_never_varies_is_told_apart() -> None:
    still = Replicates(value=1.0, draws=np.ones(50), acceleration=0.0, units=50)
    assert is_degenerate(still)
    assert bca(still) == (1.0, 1.0)
    nothing = Replicates(value=math.nan, draws=np.full(3, math.nan), acceleration=0.0, units=3)
    assert all(map(math.isnan, bca(nothing)))
    assert studentized(still, Replicates(value=0.0, draws=np.zeros(50), acceleration=0.0, units=50)) == (1.0, 1.0)
    assert acceleration(np.zeros(5)) == 0


def test_weights_of_a_stream_depend_on_its_name_and_not_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(n=50, resamples=30, seed=1)
    whole = np.concatenate(list(sampler.draws()))
    monkeypatch.setattr("weighbridge.evaluation.resampling.CHUNK_WEIGHTS", 100)
    np.testing.assert_array_equal(np.concatenate(list(sampler.draws())), whole)
    assert (whole.sum(axis=1) == 50).all()
    other = np.concatenate(list(Sampler(n=50, resamples=30, seed=1, name="gap").draws()))
    assert not np.array_equal(other, whole)


def test_rows_of_a_group_are_drawn_together() -> None:
    group = np.array(["a", "b", "a", "c"])
    for weights in Sampler(n=4, resamples=20, seed=0, group=group).draws():
        np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
        assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    left_out = np.concatenate(list(Sampler(n=4, resamples=20, seed=0, group=group).left_out()))
    assert left_out.tolist() == [[0, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 0]]
    assert unit_sums(np.ones((4, 1)), group).tolist() == [[2], [1], [1]]


def test_sums_over_many_rows_are_added_up_in_blocks() -> None:
    sums = unit_sums(np.ones((12_001, 2)), None)
    assert sums.shape == (5000, 2)
    assert sums.sum() == 24_002


def test_delong_gives_the_area_and_an_interval_like_the_bootstrap() -> None:
    p = controls.two_classes(200, np.random.default_rng(0))
    area, interval = delong(p.target == 1, p.output[:, 1])
    assert area == pytest.approx(roc_auc_score(p.target, p.output[:, 1]))
    resampled = bca(controls.drawn(controls.ranking(p), 200, 0)["auroc"])
    assert interval == pytest.approx(resampled, abs=0.02)
    assert delong(np.array([True, False]), np.array([1.0, 0.0])) == (1.0, (1.0, 1.0))


def test_the_order_statistics_of_a_quantile_are_values_of_the_sample() -> None:
    values = np.arange(100.0)
    assert quantile_interval(values, 0.5) == (39.0, 60.0)
    low, high = quantile_interval(values, 0.99)
    assert high == 99.0
    assert low < 99.0


@pytest.mark.parametrize("control", IN_A_SECOND, ids=lambda control: control.name)
def test_controls_hold_in_their_quick_form(control: controls.Control) -> None:
    found = controls.share(control, QUICK)
    assert controls.within(control, found, QUICK), f"{found:.3f} is outside {control.low} to {control.high}"
