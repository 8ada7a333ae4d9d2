"""Encoded blocks as one vector of features a row, on which a linear map needs no table to look anything up in.

Numbers are as they are, a category is 1 at its code among all its codes, pixels are parts of 255. Texts have no such vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from weighbridge.preprocessing import Block


def width_of(block: Block) -> int:
    """Return how many features a block has. Raises ValueError for a text."""
    if block.kind == "text":
        raise ValueError(f"the text '{block.columns[0]}' has no features")
    return sum(block.cardinalities) if block.kind == "category" else prod(block.shape)


def features_of(blocks: Sequence[Block], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return float64 [rows, n] of each block's array, side by side in the order of the blocks. Raises ValueError for a text."""
    return np.concatenate([_features(block, np.asarray(arrays[block.name])) for block in blocks], axis=1)


def _features(block: Block, array: np.ndarray) -> np.ndarray:
    rows, width = len(array), width_of(block)
    if block.kind != "category":
        return array.reshape(rows, width).astype(np.float64) / (255.0 if block.kind == "image" else 1.0)
    out = np.zeros((rows, width))
    starts = np.concatenate([[0], np.cumsum(block.cardinalities)[:-1]]).astype(np.int64)
    out[np.arange(rows)[:, None], array + starts] = 1.0
    return out
