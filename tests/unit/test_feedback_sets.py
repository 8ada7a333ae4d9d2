"""Law: labels of sets are held to the mean F1 of a row: an equal stream gives no alarm at the stated rate, a fall is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.test_runtime_contract import CONTRACT
from weighbridge.deployment.contract import row_metrics
from weighbridge.evaluation import Predictions
from weighbridge.evaluation.metrics import row_f1
from weighbridge.feedback.looking import Watch, quality_bound
from weighbridge.feedback.sequences import Fall
from weighbridge.runtime.contract import Contract, Frequencies

RARE = np.array([0.5, 0.3, 0.2, 0.1])


def labels(random: np.random.Generator, n: int, wrong: float) -> Predictions:
    """Rows of four labels, of which each is answered wrongly with this chance."""
    truth = random.random((n, len(RARE))) < RARE
    output = np.where(truth != (random.random(truth.shape) < wrong), 0.8, 0.2)
    return Predictions(kind="set", row_id=np.arange(n).astype(str), target=truth, output=output, classes=tuple("abcd"))


def contract(test: Predictions) -> Contract:
    mix = Frequencies(counts={"a": 100})
    return replace(CONTRACT, kind="set", classes=tuple("abcd"), predicted=mix, true=mix, metrics={**CONTRACT.metrics, **row_metrics(test)})


def fell(seed: int, later: float) -> int | None:
    """Return since which label the stream is told to be worse than the test rows."""
    random = np.random.default_rng(seed)
    bound = quality_bound(contract(labels(random, 600, 0.05)))
    assert bound is not None
    return Fall(bound=bound).add(row_f1(labels(random, 4000, later))).since


def test_the_f1_of_a_row_is_that_of_its_labels() -> None:
    rows = Predictions(
        kind="set", row_id=np.array(["1", "2", "3", "4"]), classes=("x", "y"),
        target=np.array([[True, True], [True, False], [False, False], [False, False]]),
        output=np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.1], [0.9, 0.1]]),
    )  # fmt: skip
    assert row_f1(rows).tolist() == pytest.approx([2 / 3, 0.0, 1.0, 0.0])


def test_the_promise_is_kept_by_equal_streams_and_a_fall_is_found() -> None:
    assert sum(fell(seed, 0.05) is not None for seed in range(60)) <= 6  # stated: at most 5 % of models
    found = [fell(1000 + seed, 0.1) for seed in range(20)]
    assert all(one is not None for one in found)


def test_the_interval_holds_the_mean_of_rows() -> None:
    truth = float(row_f1(labels(np.random.default_rng(1), 200_000, 0.05)).mean())
    made = [row_metrics(labels(np.random.default_rng(10 + seed), 300, 0.05))["f1_rows"].interval for seed in range(60)]
    held = [one is not None and one[0] <= truth <= one[1] for one in made]
    assert sum(held) >= 54  # 57 in the mean


def test_a_contract_without_it_has_no_bound_and_the_watch_starts_all_the_same() -> None:
    old = replace(contract(labels(np.random.default_rng(0), 50, 0.05)), metrics=CONTRACT.metrics)
    assert quality_bound(old) is None
    assert Watch.start(old).fall is None
    assert Contract.from_json(contract(labels(np.random.default_rng(0), 50, 0.05)).to_json()).of_rows is not None
