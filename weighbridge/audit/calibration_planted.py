"""Rows that are strange on purpose, made of encoded test rows: a model that knows what it knows is less sure of them.

Shapes: n rows, D numbers, K categories, B H W C image, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.findings import Message
from weighbridge.preprocessing.ragged import Ragged, ragged
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Block

FAR = (5.0, 10.0)  # deviations: beyond nearly all training rows, within what the preprocessing lets pass
TILES = 4  # a side of a picture is cut into so many
WORDS = {
    "columns": Message("columns shuffled"),
    "far": Message("numbers far away"),
    "noise": Message("pictures of noise"),
    "tiles": Message("pictures cut up and laid anew"),
    "tokens": Message("words drawn at random"),
}


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Strange rows in the order of the rows that they were made of."""

    name: str
    rows: Arrays

    @property
    def words(self) -> Message:
        return WORDS[self.name]


def planted(rows: Arrays, blocks: Sequence[Block], seed: int) -> list[Planted]:
    """Return every kind of strange rows that these blocks allow; other blocks stay as they are."""
    random = rng(seed, "audit", "strange")
    kinds = {block.kind for block in blocks}
    found = []
    columns = [block.name for block in blocks if block.kind in ("number", "category")]
    if sum(np.asarray(rows.blocks[name]).shape[1] for name in columns) > 1:
        found.append(_changed("columns", rows, columns, lambda values: _shuffled(values, random)))
    if "number" in kinds:
        found.append(_changed("far", rows, _named(blocks, "number"), lambda values: _far(values, random)))
    if "image" in kinds:
        found.append(_changed("noise", rows, _named(blocks, "image"), lambda values: _noise(values, random)))
        found.append(_changed("tiles", rows, _named(blocks, "image"), lambda values: _tiles(values, random)))
    texts = _named(blocks, "text")
    if texts:
        blocks_of = {name: _drawn(rows.blocks[name], random) for name in texts}
        found.append(Planted(name="tokens", rows=replace(rows, blocks={**rows.blocks, **blocks_of})))
    return found


def _named(blocks: Sequence[Block], kind: str) -> list[str]:
    return [block.name for block in blocks if block.kind == kind]


def _changed(name: str, rows: Arrays, names: Sequence[str], change: Callable[[np.ndarray], np.ndarray]) -> Planted:
    changed = {one: change(np.asarray(rows.blocks[one])) for one in names}
    return Planted(name=name, rows=replace(rows, blocks={**rows.blocks, **changed}))


def _shuffled(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return columns shuffled each on its own: every value is usual, the rows are not."""
    return np.asarray(random.permuted(values, axis=0))


def _far(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return numbers [n, D] far from 0; what holds 0 and 1 only (a value is missing) stays."""
    away = random.uniform(*FAR, values.shape) * random.choice([-1.0, 1.0], values.shape)
    flags = np.isin(values, (0.0, 1.0)).all(axis=0)
    return np.asarray(np.where(flags, values, away), dtype=values.dtype)


def _noise(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return normal noise uint8 [n, H, W, C] with the mean and deviation of each picture's channels."""
    as_float = values.astype(np.float32)
    middle, spread = (getattr(as_float, name)(axis=(1, 2), keepdims=True) for name in ("mean", "std"))
    made = middle + spread * random.standard_normal(values.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(made), 0, 255), dtype=values.dtype)


def _tiles(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return each picture's tiles in an order of its own; a rest at the right and below stays. Pictures under TILES pixels: every pixel."""
    n, height, width, channels = values.shape
    down, across = min(TILES, height), min(TILES, width)
    tall, wide = height // down, width // across
    inner = values[:, : down * tall, : across * wide]
    cut = inner.reshape(n, down, tall, across, wide, channels).transpose(0, 1, 3, 2, 4, 5).reshape(n, down * across, tall, wide, channels)
    order = random.permuted(np.tile(np.arange(down * across), (n, 1)), axis=1)
    laid = cut[np.arange(n)[:, None], order].reshape(n, down, across, tall, wide, channels).transpose(0, 1, 3, 2, 4, 5)
    made = values.copy()
    made[:, : down * tall, : across * wide] = laid.reshape(inner.shape)
    return made


def _drawn(texts: np.ndarray | Ragged, random: np.random.Generator) -> Ragged:
    """Return texts of the same lengths, their tokens drawn from all; a first or last token that all texts share is a mark and stays."""
    padded = np.asarray(texts[:])
    lengths = (padded != 0).sum(axis=1)
    held = np.arange(padded.shape[1]) < lengths[:, None]
    free = held.copy()
    some = lengths > 2
    last = padded[np.arange(len(padded)), np.maximum(lengths - 1, 0)]
    if some.any() and len(np.unique(padded[some, 0])) == 1:
        free[:, 0] = False
    if some.any() and len(np.unique(last[some])) == 1:
        free[np.arange(len(padded)), np.maximum(lengths - 1, 0)] = False
    made = padded.copy()
    made[free] = random.permutation(padded[free]) if free.any() else padded[free]
    return ragged(made)
