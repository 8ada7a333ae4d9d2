"""Law: a queue for labels is made of rows that teach most and a random share with known inclusion probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import UsageError
from weighbridge.feedback.controls_promotion import estimates
from weighbridge.feedback.select import projected, select, unsureness


@given(st.integers(1, 60), st.integers(1, 40), st.floats(0.01, 1), st.integers(0, 99))
def test_a_queue_holds_each_row_once_and_its_random_share(n: int, rows: int, random: float, seed: int) -> None:
    score = np.random.default_rng(seed).random(n)
    asked = select(score, score[:, None], rows=rows, random=random, seed=seed)
    assert len(asked.place) == len(set(asked.place.tolist())) == min(rows, n)
    assert asked.random.sum() >= min(1, n)
    assert asked.random.mean() >= random - 1e-9
    assert (asked.probability[~asked.random] == 1).all()
    assert (asked.probability > 0).all()
    assert (asked.probability <= 1).all()
    again = select(score, score[:, None], rows=rows, random=random, seed=seed)
    assert again.place.tolist() == asked.place.tolist()


def test_of_a_hundred_copies_of_one_hard_row_few_are_asked_for() -> None:
    score = np.concatenate([np.ones(100), np.full(100, 0.5)])
    features = np.concatenate([np.zeros((100, 2)), np.random.default_rng(0).normal(size=(100, 2))])
    asked = select(score, features, rows=20, random=0.1, seed=0)
    assert (asked.place[~asked.random] < 100).sum() <= 2


def test_unsureness_is_0_for_the_sure_and_1_for_the_torn() -> None:
    assert unsureness(np.array([[1, 0, 0], [0.5, 0.5, 0]]), "category").tolist() == [0, 1]
    assert np.allclose(unsureness(np.array([[0.5, 0], [1, 0]]), "set"), [1, 0], atol=1e-6)
    assert unsureness(np.array([3.0, 4.0]), "number").tolist() == [1, 1]


def test_the_weighted_estimate_is_unbiased_where_the_plain_one_is_not() -> None:
    truth, weighted, plain = estimates(0, rounds=150)
    assert abs(weighted - truth) < 0.03 < plain - truth


def test_many_features_become_few() -> None:
    assert projected(np.random.default_rng(0).normal(size=(10, 300)), 0).shape == (10, 32)


def test_a_queue_without_a_random_share_is_refused() -> None:
    with pytest.raises(UsageError, match="random share of 0"):
        select(np.ones(3), None, rows=2, random=0, seed=0)
