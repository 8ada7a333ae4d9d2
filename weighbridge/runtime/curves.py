"""What a model still says while the parts of a row are taken out in some order, or put in: whether an explanation's order tells anything.

U parts of a row, M masks, O orders, T steps of a curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Shares = Callable[[np.ndarray], np.ndarray]  # masks bool [M, U], parts kept -> what the model still says [M]
STEPS = 16  # of a curve, at most
GRID = np.linspace(0, 1, 11)  # shares of the parts at which curves of rows of any length are averaged


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Areas and curves of one order of a row's parts: the share kept while parts are taken out, and while they are put in."""

    deletion: float
    insertion: float
    deletion_curve: np.ndarray
    insertion_curve: np.ndarray


def curves(shares: Shares, orders_OU: np.ndarray) -> list[Curves]:
    """Return the curves of each order (a permutation of the parts, the first to go first), all asked of the model together.

    Deletion takes parts out of the whole row, insertion puts them into an empty one (Petsiuk 2018); areas by the trapezoid rule.
    """
    gone_OTU, gone_T = _gone(orders_OU, STEPS)
    x = gone_T / orders_OU.shape[1]
    said = _said(shares, np.stack([~gone_OTU, gone_OTU]))
    areas = np.trapezoid(said, x, axis=2)
    return [
        Curves(
            deletion=float(areas[0, one]), insertion=float(areas[1, one]),
            deletion_curve=np.interp(GRID, x, said[0, one]), insertion_curve=np.interp(GRID, x, said[1, one]),
        )
        for one in range(len(orders_OU))
    ]  # fmt: skip


def deletion_curves(shares: Shares, orders_OU: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what is still said while parts are taken out in each order, float64 [O, T], and how many are gone at each step, int [T]."""
    gone_OTU, gone_T = _gone(orders_OU, steps)
    return _said(shares, ~gone_OTU), gone_T


def _gone(orders_OU: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts that are gone after each step, bool [O, T, U], at most so many steps, and how many parts they are, int [T]."""
    size = orders_OU.shape[1]
    steps = np.unique(np.round(np.linspace(0, size, min(size, most) + 1)).astype(int))
    return np.argsort(orders_OU, axis=1)[:, None] < steps[:, None], steps


def _said(shares: Shares, keep: np.ndarray) -> np.ndarray:
    """Return what is said under masks [..., U], each different one asked once, in their shape."""
    masks, place = np.unique(keep.reshape(-1, keep.shape[-1]), axis=0, return_inverse=True)
    return np.asarray(shares(masks)[place.reshape(-1)].reshape(keep.shape[:-1]))


def order_of(attribution: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the parts from the one that speaks most for the answer to the one that speaks most against it; ties in random order."""
    return np.lexsort((generator.random(len(attribution)), -attribution))


def lead(explained: Curves, randoms: Sequence[Curves]) -> float:
    """Return how much more an order tells than random ones: the mean of what deletion falls and insertion rises faster by."""
    deletion = float(np.mean([one.deletion for one in randoms])) - explained.deletion
    insertion = explained.insertion - float(np.mean([one.insertion for one in randoms]))
    return (deletion + insertion) / 2
