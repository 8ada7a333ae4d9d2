"""Every row comes at most once an epoch, in an order that the seed, the epoch and the plan fix; larger data are shuffled in windows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import RunError
from weighbridge.preprocessing import Arrays
from weighbridge.storage.seeds import rng
from weighbridge.training.batches import Batches, each_once
from weighbridge.training.memory import free_bytes
from weighbridge.training.order import MOST_WINDOW, WHOLE, Order, choose_order

CPU = torch.device("cpu")


def mapped(folder: Path, rows: int, width: int = 3) -> Arrays:
    """Return arrays whose values tell the row, mapped from the disk."""
    np.save(folder / "number.npy", np.arange(rows * width, dtype=np.float32).reshape(rows, width))
    np.save(folder / "target.npy", np.arange(rows, dtype=np.int64))
    number, target = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("number", "target"))
    return Arrays(blocks={"number": number}, target=target, stored_ids=np.arange(rows).astype("S8"))


def batches(arrays: Arrays, order: Order, batch_size: int = 8) -> Batches:
    return Batches(arrays=arrays, batch_size=batch_size, seed=5, device=CPU, order=order)


@given(rows=st.integers(1, 300), batch_size=st.integers(1, 40), block=st.integers(0, 30), window=st.integers(1, 9), epoch=st.integers(0, 3))
def test_an_epoch_is_whole_batches_of_different_rows(rows: int, batch_size: int, block: int, window: int, epoch: int) -> None:
    order = Order(block=block, window=window)
    batch_size = min(batch_size, rows)
    parts = list(order.windows(rows, batch_size, seed=1, epoch=epoch))
    assert all(len(part) and len(part) % batch_size == 0 for part in parts)
    joined = np.concatenate(parts)
    assert len(joined) == rows // batch_size * batch_size
    assert len(np.unique(joined)) == len(joined)
    assert joined.min() >= 0
    assert joined.max() < rows


def test_data_that_fit_are_shuffled_whole_by_the_same_order_as_ever() -> None:
    (order,) = WHOLE.windows(100, 16, seed=3, epoch=2)
    assert order.tolist() == rng(3, "order", 2).permutation(100)[:96].tolist()


@pytest.mark.parametrize("order", [WHOLE, Order(block=5, window=4)])
def test_a_batch_holds_the_rows_that_it_names_and_a_later_start_gives_the_same_ones(tmp_path: Path, order: Order) -> None:
    arrays = mapped(tmp_path, 203)
    made = [(rows, batch["number"].clone(), target.clone()) for batch, target, rows in batches(arrays, order).epoch(1)]
    assert len(made) == 25
    for rows, number, target in made:
        assert target.tolist() == rows.tolist()
        np.testing.assert_array_equal(number.numpy(), np.asarray(arrays.blocks["number"])[rows])
    for start in (1, 7, 24, 25):
        later = [rows.tolist() for _, _, rows in batches(arrays, order).epoch(1, start)]
        assert later == [rows.tolist() for rows, _, _ in made[start:]]
    assert [rows.tolist() for _, _, rows in batches(arrays, order).epoch(2)] != [rows.tolist() for rows, _, _ in made]


def test_larger_data_than_half_of_the_free_memory_are_shuffled_by_blocks() -> None:
    assert choose_order("auto", row_bytes=1000, rows=1000, free_bytes=2_000_000) == WHOLE
    cut = choose_order("auto", row_bytes=1000, rows=1001, free_bytes=2_000_000)
    assert cut.block == 65
    assert choose_order("whole", row_bytes=1000, rows=10**9, free_bytes=0) == WHOLE
    assert choose_order("blocks", row_bytes=1000, rows=10, free_bytes=10**12).window == MOST_WINDOW // 65_000
    assert choose_order("auto", row_bytes=10**9, rows=10, free_bytes=10**9) == Order(block=1, window=1)
    assert free_bytes() > 1 << 20


def test_rows_sorted_by_class_are_mixed_nearly_as_by_a_whole_shuffle() -> None:
    """The spread of a batch's share of one class, against that of a whole shuffle: 1,000 blocks a window leave it as it is."""
    rows, batch_size = 200_000, 128
    target = np.arange(rows) * 10 // rows

    def spread(order: Order) -> float:
        joined = np.concatenate(list(order.windows(rows, batch_size, seed=0, epoch=0)))
        return float(np.std((target[joined].reshape(-1, batch_size) == 3).mean(1)))

    whole = spread(WHOLE)
    assert spread(Order(block=20, window=1000)) < 1.1 * whole
    assert spread(Order(block=2000, window=4)) > 2 * whole  # the control: few large blocks a window are no shuffle


def test_a_file_that_ends_early_is_named(tmp_path: Path) -> None:
    arrays = mapped(tmp_path, 100)
    with open(tmp_path / "number.npy", "r+b") as file:
        file.truncate(600)
    with pytest.raises(RunError, match=r"number\.npy ends before its last row"):
        list(batches(arrays, Order(block=4, window=5)).epoch(0))


def test_rows_in_memory_and_rows_on_disk_are_copied_alike(tmp_path: Path) -> None:
    arrays = mapped(tmp_path, 50)
    held = replace(arrays, blocks={"number": np.array(arrays.blocks["number"])}, target=np.array(arrays.target))
    rows = np.array([0, 1, 2, 9, 30, 31, 49])
    for one in (arrays, held):
        copy = one.copied(rows)
        assert copy.target is not None
        assert copy.target.tolist() == rows.tolist()
        np.testing.assert_array_equal(copy.blocks["number"], held.blocks["number"][rows])
    arrays.release()
    seen = np.concatenate([batch["number"].numpy() for batch, _ in each_once(arrays, CPU, size=7)])
    np.testing.assert_array_equal(seen, held.blocks["number"])
