"""Rows with one kind of input hidden: as if its column were missing in every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Block, Encoder


def hidden_inputs(encoder: Encoder, arrays: Arrays) -> Iterator[tuple[str, Arrays]]:
    """Yield (name, the rows with that input as a missing value encodes): each image, clip and text, and numbers with categories as `table`.

    Nothing is yielded where there is one input only.
    """
    parts: dict[str, list[str]] = {}
    for block in encoder.blocks:
        parts.setdefault(_input_of(block, encoder.blocks), []).append(block.name)
    if len(parts) < 2:
        return
    blank = encoder.encode({column: _nothing(encoder, column) for column in encoder.columns})
    for name, blocks in parts.items():
        yield name, replace(arrays, blocks=arrays.blocks | {block: _repeated(blank[block], len(arrays), block) for block in blocks})


def _input_of(block: Block, blocks: Sequence[Block]) -> str:
    """Return which input a block belongs to; what says that there is an image or a clip belongs to it."""
    if block.kind == "present":
        return next(one.name for one in blocks if one.kind == "image" and one.columns == block.columns)
    return block.name if block.kind in ("image", "text") else "table"


def _nothing(encoder: Encoder, column: str) -> np.ndarray:
    """Return one missing value in the column's canonical form."""
    kind = next(feature.type for feature in encoder.features if feature.column == column)
    if kind == "number":
        return np.array([np.nan])
    if kind == "date":
        return np.array(["NaT"], dtype="datetime64[us]")
    return np.array([None], dtype=object)


def _repeated(row: np.ndarray, count: int, block: str) -> Any:
    from weighbridge.preprocessing import Ragged

    if block.startswith("text."):
        return Ragged(np.empty(0, np.int32), np.zeros(count + 1, np.int64))
    return np.broadcast_to(row, (count, *row.shape[1:]))
