"""Law: what a contract says of outputs is counted on test rows, between edges that validation rows laid, for every kind of target."""

from __future__ import annotations

import numpy as np
import pytest

from weighbridge.deployment.contract import _of_predictions
from weighbridge.evaluation import Predictions
from weighbridge.evaluation.promises import class_mix, conformal_limit

RANDOM = np.random.default_rng(0)


def ids(n: int) -> np.ndarray:
    return np.array([f"{row:06d}" for row in range(n)])


def classes(n: int, split: str = "test", *, hard: bool = False) -> Predictions:
    truth = RANDOM.choice(3, n, p=[0.6, 0.39, 0.01])
    output = RANDOM.dirichlet([1, 1, 1], n) * 0.5 + 0.5 * np.eye(3)[truth]
    output = np.eye(3)[output.argmax(axis=1)] if hard else output
    return Predictions(kind="category", row_id=ids(n), target=truth, output=output, classes=("a", "b", "c"), split=split, hard=hard)


def values(n: int) -> Predictions:
    truth = RANDOM.normal(size=n)
    return Predictions(kind="number", row_id=ids(n), target=truth, output=truth + RANDOM.normal(size=n) / 4)


def labels(n: int) -> Predictions:
    truth = RANDOM.random((n, 2)) < 0.4
    return Predictions(kind="set", row_id=ids(n), target=truth, output=np.where(truth, 0.8, 0.1), classes=("x", "y"))


def test_classes_have_a_mix_a_curve_confidence_and_a_limit() -> None:
    test, validation = classes(400), classes(300, "validation")
    found = _of_predictions(test, validation)
    true = np.bincount(test.target, minlength=3)
    rare = int(true[2]) if true[2] < 5 else 0
    assert found["true"].other == rare
    assert found["true"].counts["a"] == true[0]
    assert found["output"].n == 400
    assert sum(one.n for one in found["calibration"]) == 400
    assert found["target"] is None
    held = 1 - test.output[np.arange(400), test.target] <= found["conformal"].limit
    assert held.mean() > found["conformal"].level - 0.05


def test_numbers_have_the_spread_of_answers_and_of_truth_and_no_mix() -> None:
    test, validation = values(500), values(400)
    found = _of_predictions(test, validation)
    assert "predicted" not in found
    assert (found["output"].n, found["target"].n) == (500, 500)
    assert len(found["output"].counts) > 30
    assert (np.abs(test.output - test.target) <= found["conformal"].limit).mean() == pytest.approx(0.9, abs=0.06)


def test_labels_have_a_mix_by_label_and_no_limit() -> None:
    test, validation = labels(300), labels(300)
    found = _of_predictions(test, validation)
    assert found["conformal"] is None
    assert found["true"].counts == {name: int(test.target[:, code].sum()) for code, name in enumerate(("x", "y"))}
    assert sum(one.n for one in found["calibration"]) == 600


def test_chosen_classes_without_probabilities_have_no_curve_and_no_limit() -> None:
    found = _of_predictions(classes(200, hard=True), classes(200, hard=True))
    assert found["calibration"] == ()
    assert found["conformal"] is None


def test_too_few_rows_give_no_limit() -> None:
    assert conformal_limit(values(8)) is None
    assert conformal_limit(classes(8)) is None
    assert class_mix(values(8)) == ({}, {})
