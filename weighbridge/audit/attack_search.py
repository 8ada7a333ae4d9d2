"""An attack that asks for no gradient: random squares of a picture, or random columns, at the edge of the ball (Andriushchenko 2020).

It sees only what the model says, so what it finds and the gradients do not shows that the gradients hide the way (Carlini 2019).
Shape suffixes: B rows, D coordinates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from weighbridge.audit.attack_space import Space

QUERIES = 100
FIRST_SHARE, LEAST_SHARE = 0.5, 0.02  # of the coordinates that are changed at a time; halved as the search goes on
HALVED_AT = (0.05, 0.15, 0.3, 0.5, 0.75)  # of all queries
Harm = Callable[[torch.Tensor, np.ndarray], np.ndarray]  # points [B, D], rows -> harm [B]; above 0 the row is broken


def random_search(
    space: Space, rows: np.ndarray, epsilon: float, harm: Harm, random: np.random.Generator, queries: int = QUERIES
) -> torch.Tensor:
    """Return the point of the most harm that was found for each row, [B, D], within epsilon; rows that are broken are left as they are."""
    start_BD = space.start_ND[rows]
    point_BD = space.settled(space.within(start_BD + epsilon * _first(space, len(rows), random), rows, epsilon))
    best = harm(point_BD, rows)
    for query in range(1, queries):
        going = np.flatnonzero(best <= 0)
        if not len(going):
            break
        share = max(LEAST_SHARE, FIRST_SHARE / 2 ** sum(query >= part * queries for part in HALVED_AT))
        inside = torch.from_numpy(_patches(space, len(going), share, random))
        signs = torch.from_numpy(_signs(space, len(going), random))
        tried_BD = torch.where(inside, start_BD[going] + epsilon * signs, point_BD[going])
        tried_BD = space.settled(space.within(tried_BD, rows[going], epsilon))
        found = harm(tried_BD, rows[going])
        better = found > best[going]
        point_BD[torch.from_numpy(going[better])] = tried_BD[torch.from_numpy(better)]
        best[going[better]] = found[better]
    return point_BD


def _first(space: Space, count: int, random: np.random.Generator) -> torch.Tensor:
    """Return signs [B, D] to begin with: of a picture, stripes from top to bottom."""
    if space.picture is None:
        return torch.from_numpy(random.choice(np.array([-1.0, 1.0], np.float32), size=(count, space.start_ND.shape[1])))
    height, width, channels = space.picture
    stripes = random.choice(np.array([-1.0, 1.0], np.float32), size=(count, 1, width, channels))
    return torch.from_numpy(np.broadcast_to(stripes, (count, height, width, channels)).reshape(count, -1).copy())


def _patches(space: Space, count: int, share: float, random: np.random.Generator) -> np.ndarray:
    """Return bool [B, D]: a square of a picture, or some columns, one at least."""
    size = space.start_ND.shape[1]
    if space.picture is None:
        inside = random.random((count, size)) < share
        inside[np.arange(count), random.integers(0, size, count)] = True
        return inside
    height, width, channels = space.picture
    side = max(1, round((share * height * width) ** 0.5))
    high, wide = min(side, height), min(side, width)
    top, left = random.integers(0, height - high + 1, (count, 1)), random.integers(0, width - wide + 1, (count, 1))
    row, column = np.arange(height)[None], np.arange(width)[None]
    square = ((row >= top) & (row < top + high))[:, :, None] & ((column >= left) & (column < left + wide))[:, None, :]
    return np.repeat(square[..., None], channels, axis=3).reshape(count, size)


def _signs(space: Space, count: int, random: np.random.Generator) -> np.ndarray:
    """Return float32 [B, D] of -1 and 1: one sign a channel of a picture's square, one a column."""
    if space.picture is None:
        return random.choice(np.array([-1.0, 1.0], np.float32), size=(count, space.start_ND.shape[1]))
    height, width, channels = space.picture
    signs = random.choice(np.array([-1.0, 1.0], np.float32), size=(count, 1, channels))
    return np.broadcast_to(signs, (count, height * width, channels)).reshape(count, -1).copy()
