"""A batch is an index gather from memory-mapped arrays; the next rows are gathered on a thread while these are computed.

The order of rows depends on (seed, epoch) only, so the state to go on from is a step number.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from weighbridge.preprocessing import Arrays, Ragged
from weighbridge.storage.seeds import rng

Batch = dict[str, Tensor]
BUCKET = 50  # batches in which rows are sorted by length
TEXT_ROWS = 128  # rows judged at once where there are texts: like lengths, little padding
ROWS_AHEAD = 2048  # rows gathered at once: large enough that a hand-over between threads costs nothing a row


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batches of one split: `epoch(e)` gives (blocks, targets, row numbers) for every whole batch of that epoch."""

    arrays: Arrays
    batch_size: int
    seed: int
    device: torch.device

    @property
    def rows(self) -> int:
        return len(self.arrays)

    @property
    def per_epoch(self) -> int:
        """Batches an epoch; rows that do not fill one wait for the next epoch's order."""
        return max(1, self.rows // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Return the row numbers of an epoch in their order, int64 [rows used]; texts of like length come in one batch."""
        generator = rng(self.seed, "order", epoch)
        order = generator.permutation(self.rows)[: self.per_epoch * self.batch_size]
        return order if self._lengths is None else self._bucketed(order, generator)

    @cached_property
    def _lengths(self) -> np.ndarray | None:
        """int64 [n] the tokens of each row's texts; None where there is no text."""
        texts = [values.lengths for values in self.arrays.blocks.values() if isinstance(values, Ragged)]
        return np.sum(texts, axis=0) if texts else None

    def _bucketed(self, order: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return the order sorted by length within windows of BUCKET batches, the batches then shuffled: little padding, random batches."""
        assert self._lengths is not None
        window = BUCKET * self.batch_size
        parts = [order[place : place + window] for place in range(0, len(order), window)]
        ordered = np.concatenate([part[np.argsort(self._lengths[part], kind="stable")] for part in parts])
        if len(ordered) % self.batch_size:  # fewer rows than one batch
            return ordered
        batches = ordered.reshape(-1, self.batch_size)
        return np.asarray(batches[generator.permutation(len(batches))].reshape(-1))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Batch, Tensor, np.ndarray]]:
        """Yield the epoch's batches from batch number `start` on."""
        order = self.order(epoch)[start * self.batch_size :]
        size = max(1, ROWS_AHEAD // self.batch_size) * self.batch_size
        pieces = [order[place : place + size] for place in range(0, len(order), size)]
        with ThreadPoolExecutor(1, thread_name_prefix="gather") as pool:
            ahead = pool.submit(self.gather, pieces[0]) if pieces else None
            for number, piece in enumerate(pieces):
                assert ahead is not None
                batch, target = ahead.result()
                ahead = pool.submit(self.gather, pieces[number + 1]) if number + 1 < len(pieces) else None
                for place in range(0, len(piece), self.batch_size):
                    part = slice(place, place + self.batch_size)
                    yield {name: self._cut(name, value, piece, part) for name, value in batch.items()}, target[part], piece[part]

    def _cut(self, name: str, value: Tensor, piece: np.ndarray, part: slice) -> Tensor:
        """Return a batch of the gathered rows; of texts no column that is empty in all of them."""
        values = self.arrays.blocks[name]
        if not isinstance(values, Ragged):
            return value[part]
        return value[part, : max(1, int(values.lengths[piece[part]].max()))]

    def gather(self, rows: np.ndarray) -> tuple[Batch, Tensor]:
        """Return the blocks and targets of these rows on the device."""
        if self.arrays.target is None:
            raise ValueError("these arrays have no target")
        batch = {name: self._tensor(taken(values, rows)) for name, values in self.arrays.blocks.items()}
        return batch, self._tensor(np.take(self.arrays.target, rows, axis=0))

    def _tensor(self, values: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(values)
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)


def taken(values: np.ndarray | Ragged, rows: np.ndarray) -> np.ndarray:
    """Return these rows of a block, texts padded to the longest."""
    return values[rows] if isinstance(values, Ragged) else np.take(values, rows, axis=0)


def each_once(arrays: Arrays, device: torch.device, size: int = 1024) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yield (blocks, row numbers) until each row came once: in stored order, or from short to long where there are texts."""
    texts = [values.lengths for values in arrays.blocks.values() if isinstance(values, Ragged)]
    order = np.argsort(np.sum(texts, axis=0), kind="stable") if texts else np.arange(len(arrays))
    step = size if not texts else TEXT_ROWS
    for place in range(0, len(arrays), step):
        rows = order[place : place + step]
        yield {name: torch.from_numpy(taken(values, rows)).to(device) for name, values in arrays.blocks.items()}, rows
