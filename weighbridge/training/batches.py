"""A batch is an index gather from encoded arrays; the next rows are gathered on a thread while these are computed.

The order of rows depends on the seed, the epoch and the plan only, so the state to go on from is a step number. Data that fit into
memory are gathered from the memory map; of larger data a window is read into memory while the one before it is used (order.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from weighbridge.preprocessing import Arrays, Ragged
from weighbridge.runtime import session
from weighbridge.storage.seeds import rng
from weighbridge.training.balance import Balance
from weighbridge.training.order import WHOLE, Order

Batch = dict[str, Tensor]
BUCKET = 50  # batches in which rows are sorted by length
TEXT_ROWS = 128  # rows judged at once where there are texts: like lengths, little padding
ROWS_AHEAD = 2048  # rows gathered at once: large enough that a hand-over between threads costs nothing a row
BYTES_AHEAD = 8 << 20  # ... but no more than this: 2048 photographs of 224 x 224 would be 308 MB


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batches of one split: `epoch(e)` gives (blocks, targets, row numbers) for every whole batch of that epoch."""

    arrays: Arrays
    batch_size: int
    seed: int
    device: torch.device
    order: Order = WHOLE
    balance: Balance | None = None

    @property
    def rows(self) -> int:
        return len(self.arrays)

    @property
    def per_epoch(self) -> int:
        """Batches an epoch; rows that do not fill one wait for the next epoch's order."""
        return max(1, self.rows // self.batch_size)

    def windows(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """Yield the row numbers of an epoch in their order from batch number `start` on, int64, a window at a time.

        Texts of like length come in one batch.
        """
        skip, generator = start * self.batch_size, rng(self.seed, "bucket", epoch)
        for order in self._orders(epoch):
            order = order if self._lengths is None else self._bucketed(order, generator)
            if skip < len(order):
                yield order[skip:]
            skip = max(0, skip - len(order))

    def _orders(self, epoch: int) -> Iterator[np.ndarray]:
        if self.balance is None:
            return self.order.windows(self.rows, self.batch_size, seed=self.seed, epoch=epoch)
        return iter([self.balance.order(self.batch_size, seed=self.seed, epoch=epoch)])

    @cached_property
    def _lengths(self) -> np.ndarray | None:
        """int64 [n] the tokens of each row's texts; None where there is no text."""
        texts = [values.lengths for values in self.arrays.blocks.values() if isinstance(values, Ragged)]
        return np.sum(texts, axis=0) if texts else None

    def _bucketed(self, order: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return the order sorted by length within BUCKET batches at a time, the batches then shuffled: little padding, random batches."""
        assert self._lengths is not None
        size = BUCKET * self.batch_size
        parts = [order[place : place + size] for place in range(0, len(order), size)]
        ordered = np.concatenate([part[np.argsort(self._lengths[part], kind="stable")] for part in parts])
        if len(ordered) % self.batch_size:  # fewer rows than one batch
            return ordered
        batches = ordered.reshape(-1, self.batch_size)
        return np.asarray(batches[generator.permutation(len(batches))].reshape(-1))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Batch, Tensor, np.ndarray]]:
        """Yield the epoch's batches from batch number `start` on."""
        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader, ThreadPoolExecutor(1, thread_name_prefix="gather") as pool:
            ahead: Future[tuple[Batch, Tensor]] | None = None
            rows = np.empty(0, dtype=np.int64)
            for window, piece, place in self._pieces(reader, epoch, start):
                following = pool.submit(window.gather, place)
                if ahead is not None:
                    yield from self._cut(*ahead.result(), rows)
                ahead, rows = following, piece
            if ahead is not None:
                yield from self._cut(*ahead.result(), rows)

    def _pieces(self, reader: ThreadPoolExecutor, epoch: int, start: int) -> Iterator[tuple[Batches, np.ndarray, np.ndarray]]:
        """Yield (where to gather from, row numbers, their places there), one window read while another is used."""
        ahead = min(ROWS_AHEAD, BYTES_AHEAD // max(1, self.arrays.row_bytes))
        size = max(1, ahead // self.batch_size) * self.batch_size
        windows = self.windows(epoch, start)
        coming = next(windows, None)
        reading = reader.submit(self._held, coming) if coming is not None else None
        while coming is not None and reading is not None:
            rows, (source, places) = coming, reading.result()
            coming = next(windows, None)
            reading = reader.submit(self._held, coming) if coming is not None else None
            for place in range(0, len(rows), size):
                yield source, rows[place : place + size], places[place : place + size]
            del source

    def _held(self, rows: np.ndarray) -> tuple[Batches, np.ndarray]:
        """Return where these rows are gathered from, and their places there: the map itself, or a copy of the window in memory."""
        if not self.order.block:
            return self, rows
        known = np.sort(rows)
        return replace(self, arrays=self.arrays.copied(known)), np.searchsorted(known, rows)

    def _cut(self, batch: Batch, target: Tensor, rows: np.ndarray) -> Iterator[tuple[Batch, Tensor, np.ndarray]]:
        for place in range(0, len(rows), self.batch_size):
            part = slice(place, place + self.batch_size)
            yield {name: self._trimmed(name, value[part], rows[part]) for name, value in batch.items()}, target[part], rows[part]

    def _trimmed(self, name: str, value: Tensor, rows: np.ndarray) -> Tensor:
        """Return a block of these rows; of a text no place that is empty in all of them."""
        values = self.arrays.blocks[name]
        return value[:, : max(1, int(values.lengths[rows].max()))] if isinstance(values, Ragged) else value

    def gather(self, rows: np.ndarray) -> tuple[Batch, Tensor]:
        """Return the blocks and targets of these rows on the device."""
        if self.arrays.target is None:
            raise ValueError("these arrays have no target")
        batch = {name: self._tensor(session.taken(values, rows)) for name, values in self.arrays.blocks.items()}
        return batch, self._tensor(np.take(self.arrays.target, rows, axis=0))

    def _tensor(self, values: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(values)
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)


def each_once(arrays: Arrays, device: torch.device, size: int = 1024) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yield (blocks, row numbers) until each row came once: as stored, or TEXT_ROWS from short to long where there are texts.

    At most `size` rows and 4 MB a batch. What was read does not stay in the process.
    """
    for blocks, rows in session.each_once(arrays, rows=size, text_rows=TEXT_ROWS):
        yield {name: torch.from_numpy(values).to(device) for name, values in blocks.items()}, rows
