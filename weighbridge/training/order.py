"""In which order rows are trained on. Data that fit into memory are shuffled whole; larger ones by blocks within windows.

Rows in random order from a disk cost a seek each. So data that do not fit are cut into blocks of neighbouring rows (about 64 KiB); the
blocks come in random order, a window of many of them is held in memory, and its rows are shuffled over the whole window. Every row
still comes at most once an epoch. A batch is drawn from the rows of one window, not of the whole set: with far more blocks in a window
than rows in a batch its make-up varies little more than that of a uniform draw, even where the stored rows are sorted by class
(measured in docs/large.md). The order depends on (seed, epoch, rows, batch size, block, window) only, and the plan of a training
keeps the latter two: a resumed run follows them on whatever machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from weighbridge.storage.seeds import rng

BLOCK_BYTES = 1 << 16  # read at once: at 4 KiB a cloud disk gave 24 MB/s, at 64 KiB 312, read ahead 562 (docs/large.md)
LEAST_WINDOW, MOST_WINDOW = 8 << 20, 256 << 20  # bytes; two are held at a time
SHARE_OF_ROOM = 10  # a window takes at most this part of the free memory
FITS = 0.5  # data are shuffled whole where they take at most this share of the free memory

Wish = Literal["auto", "whole", "blocks"]


@dataclass(frozen=True, kw_only=True)
class Order:
    """How rows are shuffled: blocks of `block` neighbouring rows, `window` blocks at a time. 0 and 0: all rows at once."""

    block: int = 0
    window: int = 0

    def windows(self, rows: int, batch_size: int, *, seed: int, epoch: int) -> Iterator[np.ndarray]:
        """Yield the row numbers of an epoch, window after window, int64 and a multiple of `batch_size` each.

        Rows that do not fill a batch go into the next window; those of the last wait for the next epoch's order.
        """
        generator = rng(seed, "order", epoch)
        if not self.block:
            order = generator.permutation(rows)
            yield order[: max(1, rows // batch_size) * batch_size]
            return
        blocks = generator.permutation(-(-rows // self.block))
        rest = np.empty(0, dtype=np.int64)
        for place in range(0, len(blocks), self.window):
            members = (blocks[place : place + self.window, None] * self.block + np.arange(self.block)).ravel()
            pool = np.concatenate([rest, members[members < rows]])
            order = pool[generator.permutation(len(pool))]
            whole = len(order) // batch_size * batch_size
            rest = order[whole:]
            if whole:
                yield order[:whole]


WHOLE = Order()


def choose_order(wish: Wish, *, row_bytes: int, rows: int, free_bytes: int) -> Order:
    """Return how rows are shuffled; auto: whole where the encoded rows take at most half of the free memory, else by blocks."""
    if wish == "whole" or (wish == "auto" and row_bytes * rows <= FITS * free_bytes):
        return WHOLE
    block = max(1, BLOCK_BYTES // row_bytes)
    window_bytes = min(max(free_bytes // SHARE_OF_ROOM, LEAST_WINDOW), MOST_WINDOW)
    return Order(block=block, window=max(1, window_bytes // (block * row_bytes)))
