"""Law: under a balance classes come as they are said to, no epoch is longer, all rows of a class take turns, and a seed fixes all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import RecipeError
from weighbridge.preprocessing import Arrays
from weighbridge.recipe import TrainingSection, parse_recipe
from weighbridge.training.balance import Balance
from weighbridge.training.batches import Batches

COUNTS = st.lists(st.integers(0, 60), min_size=2, max_size=6).filter(lambda counts: sum(count > 0 for count in counts) >= 1)


def codes(counts: list[int]) -> np.ndarray:
    return np.random.default_rng(3).permutation(np.repeat(np.arange(len(counts)), counts))


@settings(deadline=None)
@given(counts=COUNTS, batch_size=st.integers(1, 40), epoch=st.integers(0, 3), way=st.sampled_from(["resample", "square_root"]))
def test_an_epoch_keeps_its_length_and_shares_it_out_by_class(counts: list[int], batch_size: int, epoch: int, way: str) -> None:
    target = codes(counts)
    balance = Balance(target=target, way=way)  # type: ignore[arg-type]
    batch_size = min(batch_size, len(target))
    order = balance.order(batch_size, seed=1, epoch=epoch)
    assert len(order) == len(target) // batch_size * batch_size
    wanted = np.array([0.0 if not count else count**0.5 if way == "square_root" else 1.0 for count in counts])
    came = np.bincount(target[order], minlength=len(counts))
    assert np.abs(came - len(order) * wanted / wanted.sum()).max() < 1
    for code, count in enumerate(counts):
        times = np.bincount(order, minlength=len(target))[target == code]
        assert not count or times.max() - times.min() <= 1, "all rows of a class before one comes again"


def test_every_row_comes_in_some_epoch_and_a_plain_order_leaves_the_rare_class_rare() -> None:
    target = codes([900, 100])
    seen = np.unique(np.concatenate([Balance(target=target, way="resample").order(50, seed=0, epoch=epoch) for epoch in range(12)]))
    assert len(seen) == 1000
    arrays = Arrays(blocks={"number": np.zeros((1000, 1), np.float32)}, target=target, stored_ids=np.arange(1000).astype("S8"))
    plain = Batches(arrays=arrays, batch_size=50, seed=0, device=torch.device("cpu"))
    even = dataclasses.replace(plain, balance=Balance(target=target, way="resample"))
    shares = [float(np.mean(target[np.concatenate([rows for *_, rows in one.epoch(0)])] == 1)) for one in (plain, even)]
    assert shares[0] == pytest.approx(0.1, abs=0.001)
    assert shares[1] == pytest.approx(0.5, abs=0.001)


def test_a_later_start_gives_the_same_batches_and_another_seed_gives_others() -> None:
    target = codes([70, 20, 10])
    arrays = Arrays(blocks={"number": np.arange(100, dtype=np.float32)[:, None]}, target=target, stored_ids=np.arange(100).astype("S8"))
    one = Batches(arrays=arrays, batch_size=8, seed=5, device=torch.device("cpu"), balance=Balance(target=target, way="resample"))
    whole = [rows.tolist() for *_, rows in one.epoch(2)]
    assert [rows.tolist() for *_, rows in one.epoch(2, 4)] == whole[4:]
    assert [rows.tolist() for *_, rows in dataclasses.replace(one, seed=6).epoch(2)] != whole


@pytest.mark.parametrize("keys", [{"class_weights": "balanced"}, {"order": "blocks"}])
def test_what_contradicts_a_balance_is_refused_in_one_line(keys: dict[str, str]) -> None:
    recipe = {"data": {"source": "x.csv"}, "training": {"balance": "resample", **keys}}
    with pytest.raises(RecipeError, match=r"training\.balance: resample and training\..* contradict each other"):
        parse_recipe(recipe)
    assert TrainingSection.model_validate({"balance": "resample"}).balance == "resample"
