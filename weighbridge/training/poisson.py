"""Batches that are drawn as the promise of private training counts them: each row is in each step by equal chance, apart from all others.

A batch has as many rows as chance gives it, some have none (Poisson sampling). Whoever shuffles rows and counts them as drawn so
promises more than he keeps (Chua 2024). What a step draws follows from the seed and its number alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from weighbridge.storage.seeds import rng
from weighbridge.training.batches import Batch, Batches


@dataclass(frozen=True, kw_only=True)
class PoissonBatches(Batches):
    """`epoch(e)` gives as many steps as `Batches` would; `batch_size` is how many rows a step has on average."""

    @property
    def rate(self) -> float:
        """The chance of a row to be in a step."""
        return min(1.0, self.batch_size / self.rows)

    def drawn(self, step: int) -> np.ndarray:
        """Return the numbers of the rows of a step, int64, rising."""
        return np.flatnonzero(rng(self.seed, "poisson", step).random(self.rows) < self.rate)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Batch, Tensor, np.ndarray]]:
        """Yield the epoch's steps from number `start` on; a step without rows has tensors of none."""
        for place in range(start, self.per_epoch):
            rows = self.drawn(epoch * self.per_epoch + place)
            known = rows if len(rows) else np.zeros(1, dtype=np.int64)
            batch, target = self.gather(known)
            count = len(rows)
            yield {name: self._trimmed(name, value, known)[:count] for name, value in batch.items()}, target[:count], rows


def private_batch(rows: int) -> int:
    """Return how many rows a private step has on average where the recipe leaves it open: the power of two from 2 sqrt(n) on, 64 to 1024.

    Noise is added once a step: at as many passes over the rows, larger steps lose less to it, and smaller ones move oftener. Abadi 2016
    advises about sqrt(n).
    """
    power: int = 1 << math.ceil(math.log2(2 * math.sqrt(max(1, rows))))
    return min(rows, max(64, min(1024, power)))
