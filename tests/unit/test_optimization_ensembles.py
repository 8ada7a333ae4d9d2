"""Law: greedy selection adds what helps and leaves out what does not; the rows that choose members do not judge the average."""

from __future__ import annotations

import numpy as np
import pytest

from weighbridge.evaluation import Predictions
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.optimization.ensembles import _halves, rows_of, select_greedily
from weighbridge.optimization.networks import _mean


def classes(name: str, target: np.ndarray, right: np.ndarray, sure: float = 0.8, group: np.ndarray | None = None) -> Predictions:
    """Answers that are right in these rows, with this confidence."""
    output = np.full((len(target), 2), 1 - sure)
    output[np.arange(len(target)), np.where(right, target, 1 - target)] = sure
    ids = np.array([f"r{i:04d}" for i in range(len(target))])
    return Predictions(kind="category", row_id=ids, target=target, output=output, classes=("a", "b"), model=name, group=group)


def mean_of(said: dict[str, Predictions], weights: dict[str, float]) -> np.ndarray:
    return np.sum([weight * said[name].output for name, weight in weights.items()], axis=0)


def test_members_that_err_in_different_rows_are_joined_and_a_bad_one_stays_out() -> None:
    target = np.arange(90) % 2
    block = np.arange(90) // 30
    said = {f"m{k}": classes(f"m{k}", target, block != k) for k in range(3)}
    said["bad"] = classes("bad", target, np.zeros(90, bool))
    chosen = select_greedily(said, most=5)
    assert "bad" not in chosen
    assert sum(chosen.values()) == pytest.approx(1)
    best = max(HEADLINES["category"].value(one) for one in said.values())
    joined = (mean_of(said, chosen).argmax(1) == target).mean()
    assert joined > best


def test_copies_of_one_model_add_nothing() -> None:
    target = np.arange(60) % 2
    right = np.arange(60) % 5 != 0
    said = {name: classes(name, target, right) for name in ("one", "two", "three")}
    assert list(select_greedily(said, most=5)) == ["one"]


def test_no_more_members_than_asked_for() -> None:
    rng = np.random.default_rng(0)
    target = np.arange(400) % 2
    said = {f"m{k}": classes(f"m{k}", target, rng.random(400) < 0.7, sure=0.55 + 0.05 * k) for k in range(8)}
    assert len(select_greedily(said, most=2)) <= 2


def test_numbers_are_averaged_where_their_errors_cancel() -> None:
    rng = np.random.default_rng(1)
    target, error = rng.normal(size=200), rng.normal(size=200)
    ids = np.array([f"r{i:04d}" for i in range(200)])
    said = {
        name: Predictions(kind="number", row_id=ids, target=target, output=target + sign * error, model=name)
        for name, sign in (("high", 1.0), ("low", -1.0))
    }
    weights = select_greedily(said, most=2)
    assert weights == {"high": 0.5, "low": 0.5}


def test_the_halves_share_no_row_and_no_group() -> None:
    target = np.arange(200) % 2
    group = np.array([f"g{i // 5}" for i in range(200)])
    said = classes("m", target, np.ones(200, bool), group=group)
    chooses, judges = _halves(said, 0)
    assert sorted([*chooses, *judges]) == list(range(200))
    assert not set(rows_of(said, chooses).group) & set(rows_of(said, judges).group)  # type: ignore[arg-type]
    assert not np.array_equal(chooses, _halves(said, 1)[0])


def test_a_soup_is_the_mean_of_weights_and_counters_stay() -> None:
    import torch

    parts = [{"w": torch.tensor([1.0, 3.0]), "steps": torch.tensor(4)}, {"w": torch.tensor([3.0, 5.0]), "steps": torch.tensor(9)}]
    mixed = _mean(parts)
    assert mixed["w"].tolist() == [2.0, 4.0]
    assert mixed["steps"].item() == 4
