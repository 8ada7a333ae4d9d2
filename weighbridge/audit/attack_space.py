"""Where an attack moves: the coordinates of encoded rows that an adversary may change, in units in which epsilon is counted.

Pictures: every pixel, in steps of 1/255. Numbers: the scaled value of every number column, in deviations of the column (in normal scores
where the recipe scales by quantiles); missing cells, marks of missing cells, dates and sets stay as they are. Only what a server would take
is reached: pixels stay in 0..255, numbers within the bounds to which the encoder clips.

Shape suffixes: N rows of the space, B rows of a batch, D coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Encoder

Batch = dict[str, Tensor]
Put = Callable[[Batch, Tensor], Batch]


@dataclass(frozen=True, kw_only=True)
class Space:
    """Rows as points.

    Attributes:
        of: `image` or `table`.
        arrays: the undamaged rows, encoded.
        start_ND: where each row is, float32.
        free_ND: 1 where a coordinate may move, else 0.
        low_D, high_D: the bounds of each coordinate.
        put: (blocks of some rows, their points) -> the blocks with the points in them, differentiable.
        whole: points become whole numbers before they are sent (pixels).
        picture: height, width, channels of the first picture; None for numbers.
    """

    of: str
    arrays: Arrays
    start_ND: Tensor
    free_ND: Tensor
    low_D: Tensor
    high_D: Tensor
    put: Put
    whole: bool = False
    picture: tuple[int, int, int] | None = None

    def __len__(self) -> int:
        return len(self.start_ND)

    def batch(self, point_BD: Tensor, rows: np.ndarray) -> Batch:
        """Return the blocks of these rows at these points, as a network reads them."""
        blocks = {name: torch.from_numpy(np.ascontiguousarray(values[rows])) for name, values in self.arrays.blocks.items()}
        return self.put(blocks, point_BD)

    def sent(self, point_BD: Tensor, rows: np.ndarray) -> Arrays:
        """Return these rows at these points as encoded rows, pixels as bytes: what any form of the model takes."""
        part = self.arrays.subset(rows)
        placed = self.put({name: torch.from_numpy(np.ascontiguousarray(values[:])) for name, values in part.blocks.items()}, point_BD)
        moved = {name: values.numpy().astype(part.blocks[name].dtype) for name, values in placed.items() if self._moves(name)}
        return replace(part, blocks={**part.blocks, **moved})

    def _moves(self, name: str) -> bool:
        return name.startswith("image.") if self.of == "image" else name == "number"

    def within(self, point_BD: Tensor, rows: np.ndarray, epsilon: float) -> Tensor:
        """Return the nearest points that lie at most epsilon from where the rows are, and within the bounds."""
        start_BD, reach_BD = self.start_ND[rows], epsilon * self.free_ND[rows]
        return torch.minimum(torch.maximum(point_BD, start_BD - reach_BD), start_BD + reach_BD).clamp(self.low_D, self.high_D)

    def settled(self, point_BD: Tensor) -> Tensor:
        """Return the points as they can be sent: whole pixels, which stay within a whole epsilon."""
        return point_BD.round() if self.whole else point_BD


def picture_space(arrays: Arrays, encoder: Encoder) -> Space | None:
    """Return the space of all pixels of all pictures; None where the rows have no picture."""
    blocks = [block for block in encoder.blocks if block.of == "image"]
    if not blocks:
        return None
    pixels = [np.asarray(arrays.blocks[block.name]).reshape(len(arrays), -1) for block in blocks]
    present = {block.columns[0]: block.name for block in encoder.blocks if block.kind == "present"}
    held = [_held(arrays, present.get(block.columns[0]), part) for block, part in zip(blocks, pixels, strict=True)]
    ends = np.cumsum([part.shape[1] for part in pixels])

    def put(batch: Batch, point_BD: Tensor) -> Batch:
        parts = torch.tensor_split(point_BD, ends[:-1].tolist(), dim=1)
        return {**batch, **{block.name: part.reshape(-1, *block.shape) for block, part in zip(blocks, parts, strict=True)}}

    height, width, channels = blocks[0].shape
    size = int(ends[-1])
    return Space(
        of="image", arrays=arrays, put=put, whole=True, picture=(height, width, channels) if len(blocks) == 1 else None,
        start_ND=torch.from_numpy(np.concatenate(pixels, axis=1).astype(np.float32)),
        free_ND=torch.from_numpy(np.concatenate(held, axis=1)), low_D=torch.zeros(size), high_D=torch.full((size,), 255.0),
    )  # fmt: skip


def _held(arrays: Arrays, present: str | None, pixels: np.ndarray) -> np.ndarray:
    """Return float32 [N, D]: 1 in rows that have the picture."""
    rows = np.ones(len(pixels)) if present is None else np.asarray(arrays.blocks[present])[:, 0]
    return np.repeat(rows[:, None], pixels.shape[1], axis=1).astype(np.float32)


def number_space(arrays: Arrays, encoder: Encoder) -> Space | None:
    """Return the space of all number columns; None where the rows have none."""
    places, scales, lows, highs, missing = [], [], [], [], []
    at = 0
    for feature in encoder.features:
        if feature.kind != "number":
            continue
        if feature.type == "number":
            low, high, scale = _bounds(feature)
            places.append(at)
            scales.append(scale)
            lows.append(low / scale)
            highs.append(high / scale)
            missing.append(at + 1 if len(feature.names) > 1 else -1)
        at += len(feature.names)
    if not places:
        return None
    values = np.asarray(arrays.blocks["number"])
    free = np.stack([np.ones(len(values)) if mark < 0 else values[:, mark] < 0.5 for mark in missing], axis=1)
    columns, scale_D = torch.tensor(places), torch.tensor(scales, dtype=torch.float32)

    def put(batch: Batch, point_BD: Tensor) -> Batch:
        return {**batch, "number": batch["number"].index_copy(1, columns, point_BD * scale_D)}

    return Space(
        of="table", arrays=arrays, put=put, start_ND=torch.from_numpy((values[:, places] / np.array(scales)).astype(np.float32)),
        free_ND=torch.from_numpy(free.astype(np.float32)), low_D=torch.tensor(lows, dtype=torch.float32),
        high_D=torch.tensor(highs, dtype=torch.float32),
    )  # fmt: skip


def _bounds(feature: Any) -> tuple[float, float, float]:
    """Return the bounds of a number's encoded value, and how much of it is one deviation of its column."""
    if feature.scale == "none":
        reach = feature.clip * feature.spread
        return feature.center - reach, feature.center + reach, feature.spread
    if feature.scale == "quantile":
        return max(feature.scores[0], -feature.clip), min(feature.scores[-1], feature.clip), 1.0
    return -feature.clip, feature.clip, 1.0
