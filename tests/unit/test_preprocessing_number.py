"""Scaling is what its name says, exact over a stream, monotone, and bounded for any value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from weighbridge.preprocessing.number import NumberFeature, NumberFit, Scale, normal_scores
from weighbridge.preprocessing.sample import ItemSample, NumberSample
from weighbridge.storage.seeds import rng

SCALES: tuple[Scale, ...] = ("standard", "robust", "quantile", "none")
ANY = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(allow_nan=True, allow_infinity=True))


def _fit(values: np.ndarray, scale: Scale = "standard", *, pieces: int = 1, **options: object) -> NumberFeature:
    fit = NumberFit("x", scale=scale, generator=rng(0, "x"), **options)  # type: ignore[arg-type]
    for part in np.array_split(values, pieces):
        fit.add(part)
    return fit.finish()


@settings(max_examples=60, deadline=None)
@given(ANY, ANY, st.sampled_from(SCALES))
def test_any_column_fits_and_any_value_encodes_to_a_finite_number_in_order(train: np.ndarray, new: np.ndarray, scale: Scale) -> None:
    feature = _fit(train, scale)
    encoded = feature.encode(new)
    assert NumberFeature.from_json(feature.to_json()) == feature
    assert np.isfinite(encoded).all()
    if scale != "none":
        assert np.abs(encoded[:, 0]).max() <= 10
    known = ~np.isnan(new)
    order = np.argsort(new[known], kind="stable")
    assert (np.diff(encoded[known][order, 0].astype(np.float64)) >= 0).all()


def test_mean_and_deviation_of_a_stream_are_those_of_numpy_also_far_from_zero() -> None:
    values = np.random.default_rng(0).normal(1e9, 3, 50_000)
    feature = _fit(values, pieces=37)
    assert feature.center == pytest.approx(values.mean(), rel=1e-14)
    assert feature.spread == pytest.approx(values.std(), rel=1e-9)


def test_standard_gives_mean_0_and_deviation_1() -> None:
    values = np.random.default_rng(1).gamma(2, 5, 5000)
    encoded = _fit(values).encode(values)
    assert encoded.shape == (5000, 1)
    assert encoded.mean() == pytest.approx(0, abs=1e-5)
    assert encoded.std() == pytest.approx(1, abs=1e-5)


def test_robust_is_not_moved_by_a_tenth_of_wild_values() -> None:
    values = np.random.default_rng(2).normal(0, 1, 9000)
    feature = _fit(np.concatenate([values, np.full(1000, 1e6)]), "robust")
    assert feature.center == pytest.approx(0, abs=0.2)
    assert feature.spread == pytest.approx(1, abs=0.25)


def test_quantile_gives_a_normal_distribution_from_any_other() -> None:
    from scipy.stats import kstest

    values = np.random.default_rng(3).lognormal(0, 3, 20_000)
    encoded = _fit(values, "quantile").encode(values)[:, 0]
    assert kstest(encoded, "norm").statistic < 0.005


def test_quantile_gives_equal_values_their_mean_rank() -> None:
    values, scores = normal_scores(np.sort(np.array([0.0] * 50 + [1.0] * 50)))
    assert values[0] == 0
    assert scores[0] == pytest.approx(-0.674, abs=0.02)
    assert scores[-1] == pytest.approx(0.674, abs=0.02)


def test_a_missing_value_becomes_the_median_or_mean_and_is_marked() -> None:
    values = np.array([1.0, 2.0, 9.0, np.nan])
    median, mean = _fit(values), _fit(values, missing="mean")
    assert (median.fill, mean.fill) == (2.0, 4.0)
    assert median.names == ("x", "x is missing")
    assert median.encode(values)[:, 1].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(median.decode(median.encode(values)), values, rtol=1e-6)
    assert _fit(values, indicator=False).names == ("x",)


def test_a_constant_an_empty_and_a_missing_column_do_not_divide_by_zero() -> None:
    for values in (np.full(5, 7.0), np.full(5, 0.1 + 0.2), np.full(3, np.nan), np.empty(0), np.array([1e300, -1e300])):
        for scale in SCALES:
            assert np.isfinite(_fit(values, scale).encode(np.array([7.0, np.nan]))).all()


def test_none_leaves_usual_values_as_they_are_and_bounds_wild_ones() -> None:
    values = np.arange(100.0)
    feature = _fit(values, "none")
    np.testing.assert_array_equal(feature.encode(values)[:, 0], values)
    assert feature.encode(np.array([np.inf]))[0, 0] == pytest.approx(values.mean() + 10 * values.std())


@pytest.mark.parametrize("scale", SCALES)
def test_decode_returns_the_value(scale: Scale) -> None:
    values = np.random.default_rng(5).normal(100, 10, 500)
    feature = _fit(values, scale)
    np.testing.assert_allclose(feature.decode(feature.encode(values)), values, rtol=1e-4)


def test_a_sample_is_the_same_for_any_cut_of_the_stream_and_exact_while_it_fits() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    held = []
    for pieces in (1, 7, 5000):
        sample = NumberSample(rng(0, "s"), most=300)
        for part in np.array_split(values, pieces):
            sample.add(part)
        held.append(sample.values())
    np.testing.assert_array_equal(held[0], held[1])
    np.testing.assert_array_equal(held[0], held[2])
    assert len(held[0]) == 300
    whole = NumberSample(rng(0, "s"))
    whole.add(values)
    np.testing.assert_array_equal(whole.values(), np.sort(values))


def test_samples_are_uniform_over_the_stream() -> None:
    hits = np.zeros(10)
    for seed in range(200):
        numbers, items = NumberSample(rng(seed, "s"), most=50), ItemSample(rng(seed, "s"), 50)
        for part in np.array_split(np.arange(1000.0), 13):
            numbers.add(part)
            items.add(part)
        hits += np.histogram(numbers.values(), bins=10, range=(0, 1000))[0]
        assert sorted(items.items()) == numbers.values().tolist()
    assert np.abs(hits - 1000).max() < 150  # 5 deviations of a binomial with 10,000 draws
