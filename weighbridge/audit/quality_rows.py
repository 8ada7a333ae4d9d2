"""Rows as points: which lie far from all others, which are nearly the same, and whether test rows lie where training rows do.

Every input column counts alike: the numbers, codes, pixels (shrunk) or directions of texts of a column together have variance 1 per column.
k is the number of neighbours; n rows, D coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.models.baseline_inputs import Inputs, shrunk_sizes
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Block

NEIGHBOURS = 5
FENCE = 3.0  # quartile ranges beyond the upper quartile: Tukey's outer fence
FAR = 0.95  # quantile of the training rows' own distances beyond which a row lies far from them
CHUNK = 1024
MOST_CODES = 200  # of a category; those beyond are one
ALIKE = 1e-3  # distance, in deviations of a column, of rows of a table that differ in last digits only


@dataclass(frozen=True, kw_only=True)
class Points:
    """Training rows [n, D] and test rows [m, D], scaled by the training rows."""

    train: np.ndarray
    test: np.ndarray


def points_of(inputs: Inputs, train: Arrays, test: Arrays) -> Points:
    """Return the rows as points. Raises ValueError where no block can be read."""
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for block in inputs.encoder.blocks:
        if block.kind == "present":
            continue
        ours, theirs = (_block(inputs, block, arrays) for arrays in (train, test))
        columns = max(1, len(block.columns))
        middle, spread = ours.mean(axis=0), math.sqrt(float(ours.var(axis=0).sum()) / columns)
        for side, values in zip(sides, (ours, theirs), strict=True):
            side.append((values - middle) / spread if spread > 0 else np.zeros_like(values))
    return Points(train=np.concatenate(sides[0], axis=1), test=np.concatenate(sides[1], axis=1))


def nearest(rows: np.ndarray, among: np.ndarray, count: int = NEIGHBOURS, *, itself: bool = False) -> tuple[Floats, Array]:
    """Return distances [n, k], rising, and places int64 [n, k] of the nearest points; `itself`: rows are `among`, and no row is its own."""
    count = max(1, min(count, len(among) - itself))
    squares = (among * among).sum(axis=1)
    distance, place = np.empty((len(rows), count)), np.empty((len(rows), count), dtype=np.int64)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        apart = squares[None, :] - 2 * (part @ among.T) + (part * part).sum(axis=1)[:, None]
        if itself:
            apart[np.arange(len(part)), start + np.arange(len(part))] = np.inf
        near = np.argpartition(apart, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(apart, near, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        place[start : start + CHUNK] = np.take_along_axis(near, order, axis=1)
        distance[start : start + CHUNK] = np.sqrt(np.maximum(np.take_along_axis(values, order, axis=1), 0))
    return distance, place


def outliers(distance: Floats) -> Array:
    """Return bool [n]: rows whose mean distance to their neighbours lies beyond Tukey's outer fence, on the logarithmic scale where the
    distances allow it (a few rows with no distance at all would pull it down without end).
    """
    mean = distance.mean(axis=1)
    low, high = np.quantile(mean, [0.25, 0.75])
    if low > 0:
        ends = np.log([low, high])
        return np.asarray(mean > math.exp(ends[1] + FENCE * max(ends[1] - ends[0], 1e-9)))
    return np.asarray(mean > high + FENCE * max(high - low, 1e-9)) if high > 0 else np.zeros(len(mean), dtype=bool)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Which test rows lie farther from training rows than all but 5 % of other training rows do; `own` is the share of those that do.

    far: bool [m]; of `held` training rows that were kept apart `beyond` lie beyond the limit too.
    """

    far: Array
    held: int
    beyond: int


def coverage(points: Points, seed: int) -> Coverage:
    """Return which test rows lie far from the training rows: a third of these are kept apart and say how far is usual."""
    order = rng(seed, "audit", "coverage").permutation(len(points.train))
    apart, known = order[: len(order) // 3], order[len(order) // 3 :]
    usual = nearest(points.train[apart], points.train[known])[0].mean(axis=1)
    limit = float(np.quantile(usual, FAR))
    ours = nearest(points.test, points.train[known])[0].mean(axis=1)
    return Coverage(far=ours > limit, held=len(apart), beyond=int((usual > limit).sum()))


def near_pairs(place: Array, alike: Callable[[Array], Array]) -> Array:
    """Return int64 [k, 2], each pair once, the smaller number first: neighbours that `alike` (pairs [k, 2] -> bool [k]) verifies."""
    pairs = np.stack([np.repeat(np.arange(len(place)), place.shape[1]), place.ravel()], axis=1)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    return np.asarray(pairs[alike(pairs)] if len(pairs) else pairs)


def alike_texts(texts: Sequence[str | None]) -> Callable[[Array], Array]:
    """Return what says of pairs of texts whether they are near copies: Jaccard of their runs of characters 0.8 or more."""
    from weighbridge.data.leaks_near_text import LEAST_LIKENESS
    from weighbridge.data.leaks_text import jaccard, least_shingles, normal, shingles

    known: dict[int, np.ndarray | None] = {}

    def runs(row: int) -> np.ndarray | None:
        if row not in known:
            plain = normal(texts[row] or "")
            known[row] = shingles(plain) if len(plain) >= least_shingles(plain) + 4 else None
        return known[row]

    def alike(pairs: Array) -> Array:
        both = [(runs(one), runs(other)) for one, other in pairs.tolist()]
        return np.array([a is not None and b is not None and jaccard(a, b) >= LEAST_LIKENESS for a, b in both], dtype=bool)

    return alike


def alike_images(images: np.ndarray) -> Callable[[Array], Array]:
    """Return what says of pairs of pictures (uint8 [n, H, W, C]) whether they are near copies: the leak gate's rule on thumbnails."""
    from weighbridge.data.leaks_images import LEAST_CONTRAST, LEAST_LIKENESS, MOST_DARKER, likeness, thumbnail_of

    small = thumbnail_of(np.asarray(images, np.float32).mean(axis=3))
    told = small.std(axis=1) >= LEAST_CONTRAST

    def alike(pairs: Array) -> Array:
        ours, theirs = small[pairs[:, 0]], small[pairs[:, 1]]
        darker = np.abs(ours.astype(np.int16) - theirs).mean(axis=1)
        return np.asarray(
            (likeness(ours, theirs) >= LEAST_LIKENESS) & (darker <= MOST_DARKER) & told[pairs[:, 0]] & told[pairs[:, 1]], dtype=bool
        )

    return alike


def alike_points(points: np.ndarray, columns: int) -> Callable[[Array], Array]:
    """Return what says of pairs of rows of a table whether they differ in the last digits of numbers at most."""
    least = ALIKE * math.sqrt(columns)
    return lambda pairs: np.asarray(np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1) <= least)


def _block(inputs: Inputs, block: Block, arrays: Arrays) -> np.ndarray:
    """Return a block as float32 [n, D]."""
    values: Any = arrays.blocks[block.name]
    if block.kind == "text":
        return inputs.texts[block.name].dense(values)
    values = np.asarray(values)
    if block.kind == "category":
        sizes = [min(size, MOST_CODES) for size in block.cardinalities]
        return np.concatenate([np.eye(size, dtype=np.float32)[np.minimum(values[:, k], size - 1)] for k, size in enumerate(sizes)], axis=1)
    if block.kind == "image":
        step, high, wide = shrunk_sizes(block.shape)
        cut = values[:, : high * step, : wide * step].reshape(len(values), high, step, wide, step, block.shape[2])
        return np.asarray(cut.mean((2, 4), dtype=np.float32)).reshape(len(values), -1) / 255
    return np.asarray(values, np.float32)
