"""Rare classes come more often: an epoch of the usual length whose rows are drawn by class (Kang 2020, Mahajan 2018).

`resample`: all classes come alike, `square_root`: as the square roots of their rows. Rows of frequent classes wait for a later epoch, rows
of rare ones come again; within an epoch two rows of a class differ by one at most in how often they come, and over the epochs every row
comes. The length of an epoch, and so of the training, stays: what balance is worth is not mixed up with more updates, as it is
where rare rows are only added (over-sampling) or frequent ones only left out (under-sampling).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from weighbridge.storage.seeds import rng

Way = Literal["resample", "square_root"]
POWERS: dict[Way, float] = {"resample": 0.0, "square_root": 0.5}


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Orders of an epoch's rows in which classes come as `way` says; `target` int64 [n] are the codes of the training rows."""

    target: np.ndarray
    way: Way

    @cached_property
    def members(self) -> list[np.ndarray]:
        """The row numbers of each class that has rows, int64."""
        codes = np.asarray(self.target)
        order = np.argsort(codes, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)

    def quotas(self, rows: int, *, seed: int, epoch: int) -> np.ndarray:
        """Return how many rows each class of `members` gives to an epoch of `rows`; what does not divide goes to classes by lot."""
        wanted = np.array([len(one) for one in self.members]) ** POWERS[self.way]
        exact = rows * wanted / wanted.sum()
        quotas = np.floor(exact).astype(np.int64)
        short = rows - int(quotas.sum())
        if short:
            left = exact - quotas
            quotas[rng(seed, "balance rest", epoch).choice(len(quotas), short, replace=False, p=left / left.sum())] += 1
        return np.asarray(quotas)

    def order(self, batch_size: int, *, seed: int, epoch: int) -> np.ndarray:
        """Return the row numbers of an epoch, int64, as many whole batches as the training rows fill."""
        generator = rng(seed, "balance", epoch)
        rows = max(1, len(self.target) // batch_size) * batch_size
        quotas = self.quotas(min(rows, len(self.target)), seed=seed, epoch=epoch)
        drawn = [_repeated(members, int(quota), generator) for members, quota in zip(self.members, quotas, strict=True)]
        return np.asarray(generator.permutation(np.concatenate(drawn)))


def _repeated(members: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return `count` of the members in random order, all of them before one comes again."""
    rounds = [generator.permutation(members) for _ in range(-(-count // len(members)))]
    return np.concatenate([members[:0], *rounds])[:count]
