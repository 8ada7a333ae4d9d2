"""Law: every metric equals scikit-learn's, with any weights, and does not depend on the order of rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from weighbridge.evaluation import Predictions
from weighbridge.evaluation.metrics import rank_areas, statistics_of
from weighbridge.evaluation.resampling import values_of
from weighbridge.evaluation.results import plain_values


def category(n: int, classes: int, seed: int, *, ties: bool = False) -> Predictions:
    random = np.random.default_rng(seed)
    target = random.integers(0, classes, n)
    target[:classes] = np.arange(classes)  # scikit-learn refuses areas of absent classes
    output = np.exp(random.normal(size=(n, classes)) + np.eye(classes)[target])
    output /= output.sum(axis=1, keepdims=True)
    if ties:
        output[:, :-1] = np.floor(output[:, :-1] * 8) / 8
        output[:, -1] = 1 - output[:, :-1].sum(axis=1)
    return Predictions(kind="category", row_id=ids(n), target=target, output=output, classes=tuple(f"c{c:02}" for c in range(classes)))


def ids(n: int) -> np.ndarray:
    return np.char.zfill(np.arange(n).astype(str), 6)


def weighted(predictions: Predictions, weights: np.ndarray) -> dict[str, float]:
    found = {}
    for statistic in statistics_of(predictions):
        found |= dict(zip(statistic.names, statistic.of(weights[None])[0], strict=True))
    return found


def of_sklearn(p: Predictions, weights: np.ndarray) -> dict[str, float]:
    how: dict[str, Any] = {"average": "macro", "sample_weight": weights, "zero_division": 0}
    binary = len(p.classes) == 2
    one_hot = np.eye(len(p.classes))[p.target]
    score, truth = (p.output[:, 1], p.target) if binary else (p.output, one_hot)
    return {
        "balanced_accuracy": sk.balanced_accuracy_score(p.target, p.chosen, sample_weight=weights),
        "precision": sk.precision_score(p.target, p.chosen, **how),
        "recall": sk.recall_score(p.target, p.chosen, **how),
        "f1": sk.f1_score(p.target, p.chosen, **how),
        "auroc": sk.roc_auc_score(truth, score, sample_weight=weights, average="macro"),
        "auprc": sk.average_precision_score(truth, score, sample_weight=weights, average="macro"),
        "log_loss": sk.log_loss(p.target, p.output, sample_weight=weights, labels=range(len(p.classes))),
        "brier": sk.brier_score_loss(p.target, score, sample_weight=weights, **({} if binary else {"labels": range(len(p.classes))})),
    }


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("draw", [None, 1, 2])
def test_metrics_of_classes_equal_those_of_scikit_learn(classes: int, ties: bool, draw: int | None) -> None:
    predictions = category(120, classes, seed=classes, ties=ties)
    weights = np.ones(120) if draw is None else np.random.default_rng(draw).integers(0, 4, 120).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = of_sklearn(predictions, weights)
    found = weighted(predictions, weights)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_accuracy_and_metrics_of_numbers_equal_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    target = random.normal(1000, 2, 90)
    p = Predictions(kind="number", row_id=ids(90), target=target, output=target + random.normal(size=90))
    weights = random.integers(0, 4, 90).astype(float)
    expected = {
        "mae": sk.mean_absolute_error(target, p.output, sample_weight=weights),
        "rmse": sk.root_mean_squared_error(target, p.output, sample_weight=weights),
        "r2": sk.r2_score(target, p.output, sample_weight=weights),
    }
    found = weighted(p, weights)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    classes = category(50, 3, 0)
    assert plain_values(classes)["accuracy"] == pytest.approx(sk.accuracy_score(classes.target, classes.chosen))


def test_metrics_of_sets_equal_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    target = random.random((80, 4)) < 0.4
    output = np.clip(0.5 * target + 0.6 * random.random((80, 4)), 0.01, 0.99)
    p = Predictions(kind="set", row_id=ids(80), target=target, output=output, classes=tuple("abcd"))
    found = plain_values(p)
    expected = {
        "f1_micro": sk.f1_score(target, output >= 0.5, average="micro"),
        "f1_macro": sk.f1_score(target, output >= 0.5, average="macro"),
        "subset_accuracy": sk.accuracy_score(target, output >= 0.5),
        "auroc": sk.roc_auc_score(target, output, average="macro"),
        "auprc": sk.average_precision_score(target, output, average="macro"),
        "log_loss": np.mean([sk.log_loss(target[:, k], output[:, k]) for k in range(4)]),
    }
    assert found == pytest.approx(expected, abs=1e-9)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_areas_under_curves_hold_for_any_scores_and_any_weights(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 25))
    positive = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    score = np.array(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))) / 5
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    area, precision = rank_areas(positive, score)(weights[None])[0]
    if min(weights[positive].sum(), weights[~positive].sum()) == 0:
        assert not np.isfinite(area)
    else:
        assert area == pytest.approx(sk.roc_auc_score(positive, score, sample_weight=weights))
        assert precision == pytest.approx(sk.average_precision_score(positive, score, sample_weight=weights))


@given(st.integers(0, 1000), st.sampled_from([2, 3, 5]))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_and_repetition_as_weight_change_nothing(seed: int, classes: int) -> None:
    p = category(60, classes, seed)
    order = np.random.default_rng(seed).permutation(60)
    shuffled = Predictions(kind=p.kind, row_id=p.row_id[order], target=p.target[order], output=p.output[order], classes=p.classes)
    assert plain_values(shuffled) == plain_values(p)
    assert weighted(p, np.ones(60)) == pytest.approx(weighted(p, np.full(60, 3.0)), abs=1e-9)


def test_a_class_that_is_absent_counts_as_in_scikit_learn() -> None:
    p = Predictions(kind="category", row_id=ids(4), target=np.array([0, 0, 1, 1]), classes=("a", "b", "never"),
                    output=np.array([[0.6, 0.4, 0], [0.4, 0.6, 0], [0.3, 0.7, 0], [0, 1, 0]]))  # fmt: skip
    found = plain_values(p)
    assert found["f1"] == pytest.approx(sk.f1_score(p.target, p.chosen, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert found["auroc"] == pytest.approx(1.0 * sk.roc_auc_score([0, 0, 1, 1], [0.4, 0.6, 0.7, 1]))


def test_values_without_resampling_are_those_of_unit_weights() -> None:
    p = category(50, 3, 1)
    plain, unit = values_of(statistics_of(p), 50), weighted(p, np.ones(50))
    assert {name: plain[name] for name in ("f1", "auroc", "log_loss")} == {name: unit[name] for name in ("f1", "auroc", "log_loss")}
