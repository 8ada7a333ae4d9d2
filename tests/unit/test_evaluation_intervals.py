"""Law: an interval is ordered, holds its estimate, stays where the metric can be, and covers what it states (controls, quick form)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from sklearn.metrics import roc_auc_score

from weighbridge.evaluation.intervals import (
    bca,
    clopper_pearson,
    delong,
    effective_score,
    is_degenerate,
    mid_p,
    newcombe_area,
    quantile_interval,
    rate_interval,
    studentized,
    symmetric,
    wilson,
)
from weighbridge.evaluation.metrics import ranking
from weighbridge.evaluation.populations import two_classes
from weighbridge.evaluation.resampling import Replicates, Resampling, Sampler, Statistic, acceleration, replicate, unit_sums
from weighbridge.evaluation.results import results_of


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_of_rates_are_those_of_scipy_and_hold_the_rate(n: int, data: st.DataObject, level: float) -> None:
    hits = data.draw(st.integers(0, n))
    test = binomtest(hits, n)
    for found, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        low, high = found(hits, n, level)
        expected = test.proportion_ci(level, method)
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert 0 <= low <= hits / n <= high <= 1


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
@settings(deadline=None)
def test_the_mid_p_interval_lies_within_the_exact_one_and_counts_what_was_seen_half(n: int, data: st.DataObject, level: float) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = mid_p(hits, n, level)
    exact = clopper_pearson(hits, n, level)
    assert exact[0] - 1e-12 <= low <= hits / n <= high <= exact[1] + 1e-12
    tail = (1 - level) / 2
    if hits > 0:
        assert binom.sf(hits, n, low) + binom.pmf(hits, n, low) / 2 == pytest.approx(tail, rel=1e-6)
    if hits < n:
        assert binom.cdf(hits, n, high) - binom.pmf(hits, n, high) / 2 == pytest.approx(tail, rel=1e-6)
    mirrored = mid_p(n - hits, n, level)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


def test_rates_get_the_mid_p_interval_and_the_exact_one_where_all_rows_agree() -> None:
    assert rate_interval(15, 30) == mid_p(15, 30)
    assert rate_interval(995, 1000) == mid_p(995, 1000)
    assert rate_interval(100, 100) == clopper_pearson(100, 100)
    assert rate_interval(0, 12) == clopper_pearson(0, 12)


@pytest.mark.parametrize("n", [10, 30, 100])
def test_a_rate_is_covered_95_percent_on_average_and_never_under_92(n: int) -> None:
    """Exact sums over counts; Wilson's interval, which is not used, falls to 0.84 in the same harness."""
    rates = np.linspace(0.1 / n, 0.5, 1000)

    def covered(interval: Callable[[int, int], tuple[float, float]]) -> np.ndarray:
        ends = [interval(hits, n) for hits in range(n + 1)]
        return sum(np.where((low <= rates) & (rates <= high), binom.pmf(hits, n, rates), 0) for hits, (low, high) in enumerate(ends))

    ours = covered(rate_interval)
    assert ours.min() > 0.92
    assert 0.95 <= ours.mean() < (0.965 if n >= 30 else 0.975)
    rates = np.linspace(0.05 / n, 0.5 / n, 500)
    assert covered(wilson).min() < 0.85


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
    p = two_classes()(200, np.random.default_rng(0))
    area, interval = delong(p.target == 1, p.output[:, 1])
    assert area == pytest.approx(roc_auc_score(p.target, p.output[:, 1]))
    resampled = bca(replicate([ranking(p)], Sampler(n=200, resamples=500, seed=0))["auroc"])
    assert interval == pytest.approx(resampled, abs=0.02)
    assert delong(np.array([True, False]), np.array([1.0, 0.0])) == (1.0, (1.0, 1.0))


@given(st.floats(0, 1), st.integers(1, 400), st.integers(1, 400))
def test_the_interval_of_an_area_from_few_rows_holds_it_and_shrinks(area: float, ones: int, zeros: int) -> None:
    low, high = newcombe_area(area, ones, zeros)
    assert 0 <= low <= area <= high <= 1
    assert high > low, "an area of 1 in a few rows is no proof of 1"
    closer = newcombe_area(area, 4 * ones, 4 * zeros)
    assert closer[1] - closer[0] < high - low
    turned = newcombe_area(1 - area, ones, zeros)
    np.testing.assert_allclose((1 - turned[1], 1 - turned[0]), (low, high), atol=1e-9)


def test_an_area_from_few_rows_of_a_class_says_so_and_is_wider_than_the_bootstrap() -> None:
    p = two_classes(distance=3.0, share=0.05)(200, np.random.default_rng(1))
    found = results_of(p, Resampling(resamples=300, seed=0), wanted=lambda one: one == "auroc")["auroc"]
    resampled = bca(replicate([ranking(p)], Sampler(n=200, resamples=500, seed=0))["auroc"])
    assert "Newcombe" in str(found.method)
    assert found.interval is not None
    assert found.interval[1] - found.interval[0] > resampled[1] - resampled[0]


def test_the_order_statistics_of_a_quantile_are_values_of_the_sample() -> None:
    values = np.arange(100.0)
    assert quantile_interval(values, 0.5) == (39.0, 60.0)
    low, high = quantile_interval(values, 0.99)
    assert high == 99.0
    assert low < 99.0


@given(st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=30), st.integers(0, 50), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=40, deadline=None)
def test_studentised_intervals_hold_their_estimate_and_grow_with_the_level(values: list[float], seed: int, level: float) -> None:
    rows = np.array(values)

    def of(weights: np.ndarray) -> np.ndarray:
        mean = weights @ rows / len(rows)
        return np.stack([mean, np.sqrt(np.maximum(weights @ rows**2 / len(rows) - mean**2, 0) / len(rows))], axis=1)

    found = replicate([Statistic(names=("mean", "error"), of=of)], Sampler(n=len(rows), resamples=200, seed=seed))
    low, high = symmetric(found["mean"], found["error"], level)
    wider = symmetric(found["mean"], found["error"], (1 + level) / 2)
    assert wider[0] <= low <= found["mean"].value <= high <= wider[1]


@given(st.lists(st.booleans(), min_size=8, max_size=60), st.integers(0, 50), st.booleans())
@settings(max_examples=40, deadline=None)
def test_shares_over_effective_rows_stay_within_0_and_1_and_hold_their_estimate(hits: list[bool], seed: int, grouped: bool) -> None:
    rows = np.array(hits, dtype=float)
    statistic = Statistic(names=("share",), of=lambda w: w @ rows[:, None] / w.sum(axis=1, keepdims=True))
    found = replicate([statistic], Sampler(n=len(rows), resamples=200, seed=seed))["share"]
    low, high = effective_score(found, grouped=grouped)
    assert 0 <= low <= found.value <= high <= 1


def test_effective_rows_of_independent_rows_are_the_rows() -> None:
    rows = (np.arange(400) % 10 < 7).astype(float)
    statistic = Statistic(names=("share",), of=lambda w: w @ rows[:, None] / w.sum(axis=1, keepdims=True))
    found = replicate([statistic], Sampler(n=400, resamples=4000, seed=0))["share"]
    assert effective_score(found) == pytest.approx(wilson(280, 400), abs=0.003)
