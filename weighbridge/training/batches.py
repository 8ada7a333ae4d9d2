"""A batch is an index gather from memory-mapped arrays; the next rows are gathered on a thread while these are computed.

The order of rows depends on (seed, epoch) only, so the state to go on from is a step number.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weighbridge.preprocessing import Arrays
from weighbridge.storage.seeds import rng

Batch = dict[str, Tensor]
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
        """Return the row numbers of an epoch in their order, int64 [rows used]."""
        order = rng(self.seed, "order", epoch).permutation(self.rows)
        return order[: self.per_epoch * self.batch_size]

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
                    yield {name: value[part] for name, value in batch.items()}, target[part], piece[part]

    def gather(self, rows: np.ndarray) -> tuple[Batch, Tensor]:
        """Return the blocks and targets of these rows on the device."""
        if self.arrays.target is None:
            raise ValueError("these arrays have no target")
        batch = {name: self._tensor(np.take(values, rows, axis=0)) for name, values in self.arrays.blocks.items()}
        return batch, self._tensor(np.take(self.arrays.target, rows, axis=0))

    def _tensor(self, values: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(values)
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)


def in_order(arrays: Arrays, device: torch.device, size: int = 1024) -> Iterator[Batch]:
    """Yield all rows in their stored order, without targets."""
    for place in range(0, len(arrays), size):
        yield {name: torch.from_numpy(np.array(values[place : place + size])).to(device) for name, values in arrays.blocks.items()}
