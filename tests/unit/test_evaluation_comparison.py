"""Law: a comparison is paired, two-sided, oriented (positive: the model is better), and corrected for how many were made."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control

from weighbridge.evaluation.comparison import benjamini_hochberg, compare, holm, mcnemar, paired_rate_interval, rows_for_power
from weighbridge.evaluation.gap import gap
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling

HOW = Resampling(resamples=400, level=0.95, seed=0)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def right(hits: np.ndarray, name: str = "model", group: np.ndarray | None = None) -> Predictions:
    """Predictions of two classes that are right exactly where `hits` is true."""
    target = np.arange(len(hits)) % 2
    chosen = np.where(hits, target, 1 - target)
    ids = np.char.zfill(np.arange(len(hits)).astype(str), 6)
    return Predictions(kind="category", row_id=ids, target=target, output=np.eye(2)[chosen], classes=("a", "b"), model=name, group=group)


def number(errors: np.ndarray, name: str = "model") -> Predictions:
    ids = np.char.zfill(np.arange(len(errors)).astype(str), 6)
    return Predictions(kind="number", row_id=ids, target=np.zeros(len(errors)), output=errors, model=name)


def test_mcnemar_is_exact_under_25_discordant_rows() -> None:
    assert mcnemar(3, 12) == (pytest.approx(binomtest(3, 15).pvalue), "mcnemar_exact")
    assert mcnemar(0, 0) == (1.0, "mcnemar_exact")
    assert mcnemar(5, 20)[1] == "mcnemar"
    assert mcnemar(20, 20)[0] == pytest.approx(1.0, abs=0.01)
    assert mcnemar(40, 70) == mcnemar(70, 40)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
def test_the_interval_of_a_paired_difference_holds_it(only_ours: int, only_theirs: int, both: int) -> None:
    n = only_ours + only_theirs + both + 1
    low, high = paired_rate_interval(only_ours, only_theirs, n)
    assert -1 <= low <= (only_ours - only_theirs) / n <= high <= 1


@given(P_VALUES)
def test_corrections_agree_with_their_definitions(p_values: list[float]) -> None:
    assert benjamini_hochberg(p_values) == pytest.approx(list(false_discovery_control(p_values)), abs=1e-12)
    corrected = holm(p_values)
    order = np.argsort(p_values)
    steps = np.maximum.accumulate([min(1.0, (len(p_values) - k) * p_values[i]) for k, i in enumerate(order)])
    assert np.array(corrected)[order] == pytest.approx(steps)
    assert all(a >= b - 1e-12 for a, b in zip(corrected, benjamini_hochberg(p_values), strict=True))


def test_a_better_model_has_a_positive_difference() -> None:
    random = np.random.default_rng(0)
    found = compare(right(random.random(400) < 0.9), right(random.random(400) < 0.7, "linear"), HOW)
    assert found.name == "linear"
    assert 0 < found.interval[0] < found.difference < found.interval[1]
    assert found.p_value < 1e-6
    errors = compare(number(random.normal(size=200)), number(2 * random.normal(size=200), "linear"), HOW)
    assert errors.test == "permutation"
    assert 0 < errors.interval[0] < errors.difference < errors.interval[1]
    assert errors.p_value == pytest.approx(1 / 401)


def test_a_model_compared_with_itself_is_not_different() -> None:
    random = np.random.default_rng(0)
    same = compare(right(random.random(100) < 0.8), right(np.random.default_rng(0).random(100) < 0.8, "same"), HOW)
    assert (same.difference, same.p_value, same.rows) == (0, 1, None)
    errors = random.normal(size=50)
    assert compare(number(errors), number(errors, "same"), HOW).p_value == 1


def test_rows_of_groups_are_swapped_together() -> None:
    random = np.random.default_rng(1)
    group = np.repeat(np.arange(6).astype(str), 50)
    ours = right(np.repeat([1, 1, 1, 0, 1, 1], 50).astype(bool), group=group)
    theirs = right(random.random(300) < 0.5, "linear")
    found = compare(ours, theirs, HOW)
    assert found.test == "permutation"
    assert found.p_value > 0.02  # 6 groups allow 2^6 orders: the smallest p-value is 2 / 64
    alone = compare(right(np.repeat([1, 1, 1, 0, 1, 1], 50).astype(bool)), theirs, HOW)
    assert alone.p_value < 1e-6


def test_rows_for_power_follow_from_the_spread() -> None:
    assert rows_for_power(0.1, 0.1, 100) == math.ceil(100 * (1.959964 + 0.841621) ** 2)
    assert rows_for_power(0.0, 0.1, 100) is None
    assert rows_for_power(1e-9, 0.1, 100) is None


def test_the_gap_weighs_training_classes_as_held_out_ones() -> None:
    train = right(np.array([True] * 10 + [False, True] * 95))  # class 0 always wrong after the first ten rows
    held_out = right(np.array([True, True, False, True] * 50))
    found = gap(train, held_out, HOW)
    own = [np.mean((train.chosen == train.target)[train.target == c]) for c in (0, 1)]
    assert found.train == pytest.approx(np.mean(own))
    assert found.held_out == 0.75
    assert found.value == pytest.approx(found.train - found.held_out)
    assert found.interval[0] <= found.value <= found.interval[1]


def test_a_planted_gap_is_found_and_for_numbers_points_the_same_way() -> None:
    random = np.random.default_rng(0)
    assert gap(right(random.random(500) < 0.99), right(random.random(500) < 0.8), HOW).interval[0] > 0.1
    assert gap(number(0.5 * random.normal(size=300)), number(random.normal(size=300)), HOW).interval[0] > 0.3
