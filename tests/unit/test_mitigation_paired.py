"""Law: a small change of every row's loss is seen in pairs where two separate intervals see nothing; other rows are not paired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from weighbridge.evaluation import Predictions, populations
from weighbridge.evaluation.adjustment import Temperature
from weighbridge.evaluation.resampling import Resampling
from weighbridge.mitigation.paired import changes_of
from weighbridge.storage.seeds import rng

HOW = Resampling(resamples=300, seed=0)
THREE = populations.many_classes(3, 1.5)


def sure(n: int = 600) -> Predictions:
    return populations.surer(THREE)(n, rng(0, "test"))


def test_what_a_temperature_saves_is_seen_in_pairs() -> None:
    before = sure()
    now = replace(before, output=Temperature(value=1.3).applied(before.output, "category"))
    found = changes_of(before, now, HOW)
    assert set(found) == {"evaluation.log_loss", "evaluation.brier"}
    difference, (low, high) = found["evaluation.log_loss"]
    assert low < difference < high < 0
    back = changes_of(now, before, HOW)["evaluation.log_loss"]
    assert back[0] == pytest.approx(-difference)
    assert back[1][0] > 0


def test_rows_are_paired_by_name_and_not_by_place() -> None:
    before = sure(60)
    mixed = replace(before, row_id=before.row_id[::-1], target=before.target[::-1], output=before.output[::-1])
    assert changes_of(before, mixed, HOW)["evaluation.brier"][0] == pytest.approx(0)


def test_labels_have_a_log_loss_only() -> None:
    labels = populations.label_sets()(100, rng(0, "test"))
    assert set(changes_of(labels, labels, HOW)) == {"evaluation.log_loss"}


def test_other_rows_numbers_and_bare_choices_are_not_paired() -> None:
    before = sure(60)
    other = replace(before, row_id=np.array([f"x{one}" for one in before.row_id]))
    numbers = populations.errors()(60, rng(0, "test"))
    hard = replace(before, output=np.eye(3)[before.chosen], hard=True)
    assert changes_of(before, other, HOW) == changes_of(numbers, numbers, HOW) == changes_of(before, hard, HOW) == {}
    assert changes_of(before, before.rows(np.arange(30)), HOW) == {}
    assert changes_of(before.rows(np.arange(5)), before.rows(np.arange(5)), HOW) == {}
