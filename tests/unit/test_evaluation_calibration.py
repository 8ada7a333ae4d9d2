"""Law: a calibrated model is not called miscalibrated for having few rows, and a miscalibrated one is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.evaluation.calibration import brier_decomposition, classwise_error, equal_mass_bins, reliability, top_label_error
from weighbridge.evaluation.conformal import coverage, radius
from weighbridge.evaluation.intervals import root_of_squares
from weighbridge.evaluation.metrics import brier_scores
from weighbridge.evaluation.predictions import Predictions


def stated(n: int, off: float, seed: int, classes: int = 2) -> Predictions:
    random = np.random.default_rng(seed)
    ids = np.char.zfill(np.arange(n).astype(str), 6)
    if classes == 2:
        true = random.uniform(0.1, 0.8, n)
        p = true + off
        target, output = (random.random(n) < true).astype(int), np.stack([1 - p, p], axis=1)
    else:
        output = random.dirichlet(np.ones(classes), n)
        target = np.array([random.choice(classes, p=row) for row in output])
    return Predictions(kind="category", row_id=ids, target=target, output=output, classes=tuple(f"c{c}" for c in range(classes)))


def test_the_squared_error_is_unbiased_where_the_plain_one_is_not() -> None:
    debiased, plain = [], []
    for seed in range(600):
        error = top_label_error(stated(300, 0.1, seed))
        plain.append(error.plain)
        debiased.append(error.plain - error.noise)
    assert np.mean(debiased) == pytest.approx(0.01, abs=0.001)
    assert np.mean(plain) > 0.015


def test_a_calibrated_model_of_three_classes_has_a_small_error_over_all_classes() -> None:
    p = stated(3000, 0, 0, classes=3)
    assert classwise_error(p).estimated(0.95)[0] < 0.02
    assert top_label_error(p).estimated(0.95)[0] < 0.03


@given(st.integers(20, 400), st.floats(-0.1, 0.2), st.integers(0, 50), st.sampled_from([0.5, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_its_estimate_and_grows_with_the_level(n: int, off: float, seed: int, level: float) -> None:
    p = stated(n, off, seed)
    value, (low, high) = top_label_error(p).estimated(level)
    wider = top_label_error(p).estimated((1 + level) / 2)[1]
    assert 0 <= wider[0] <= low <= value <= high <= wider[1]


def test_rows_of_a_group_count_once() -> None:
    once = stated(200, 0.1, 3)
    twice = Predictions(
        kind="category",
        row_id=np.char.add(np.repeat(once.row_id, 2), np.tile(["a", "b"], 200)),
        target=np.repeat(once.target, 2),
        output=np.repeat(once.output, 2, axis=0),
        classes=once.classes,
        group=np.repeat(once.row_id, 2),
    )
    assert top_label_error(twice).noise == pytest.approx(2 * top_label_error(replace(twice, group=None)).noise, rel=0.1)


def test_the_inverted_test_has_its_level_at_both_ends() -> None:
    from scipy.stats import ncx2

    seen, freedom = 30.0, 12.0
    _, (low, high) = root_of_squares(seen, freedom, freedom)
    assert ncx2.cdf(seen, freedom, low**2) == pytest.approx(0.975, abs=1e-6)
    assert ncx2.cdf(seen, freedom, high**2) == pytest.approx(0.025, abs=1e-6)
    assert root_of_squares(4.0, freedom, freedom)[1][0] == 0.0
    assert root_of_squares(0.04, 0.0, 0.0) == (pytest.approx(0.2), (pytest.approx(0.2), pytest.approx(0.2)))


def test_bins_hold_equal_mass_and_equal_scores_share_one() -> None:
    assert np.bincount(equal_mass_bins(np.arange(300.0))).tolist() == [20] * 15
    assert equal_mass_bins(np.full(300, 0.5)).max() == 0
    assert equal_mass_bins(np.arange(5.0)).max() == 0


def test_the_curve_and_its_histogram_count_every_row() -> None:
    evidence = reliability(stated(500, 0.0, 1), 0.95)
    assert sum(point["n"] for point in evidence["curve"]) == 500
    assert sum(evidence["histogram"]["counts"]) == 500
    assert len(evidence["histogram"]["edges"]) == len(evidence["histogram"]["counts"]) + 1
    assert all(point["low"] <= point["accuracy"] <= point["high"] for point in evidence["curve"])


@pytest.mark.parametrize("classes", [2, 4])
def test_the_parts_of_the_brier_score_add_up(classes: int) -> None:
    p = stated(400, 0.05, 2, classes)
    parts = brier_decomposition(p)
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within_bins"]
    assert total == pytest.approx(brier_scores(p).mean())
    assert min(parts["reliability"], parts["resolution"]) >= 0


def numbers(n: int, seed: int, spread: float = 1.0) -> Predictions:
    random = np.random.default_rng(seed)
    target = 5 * random.normal(size=n)
    ids = np.char.zfill(np.arange(n).astype(str), 6)
    return Predictions(kind="number", row_id=ids, target=target, output=target + spread * random.normal(size=n))


def test_conformal_intervals_cover_as_stated_and_their_width_is_told() -> None:
    covered = [coverage(numbers(200, seed), numbers(200, seed + 1000), 0.95) for seed in range(100)]
    assert np.mean([one.value for one in covered if one]) == pytest.approx(0.9, abs=0.01)
    halves = coverage(numbers(400, 0), None, 0.95)
    assert halves is not None
    assert halves.halves
    assert halves.width == pytest.approx(2 * 1.645, rel=0.15)
    assert halves.width_without > 4 * halves.width
    assert coverage(numbers(10, 0), None, 0.95) is None


def test_the_radius_is_the_order_statistic_of_split_conformal() -> None:
    assert radius(np.arange(1.0, 10.0)) == 9
    assert radius(np.arange(1.0, 20.0)) == 18
    assert radius(np.arange(8.0)) == np.inf
