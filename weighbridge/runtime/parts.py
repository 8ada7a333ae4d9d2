"""The parts of a row that an explanation speaks of, and rows in which some of them are switched off.

A part is a column of a table, a square of an image, a run of tokens or a word. What is switched off is replaced: a column by its value in
other training rows, a square by the mean colour of the training images, a token by the code that stands for a hidden one.
U parts of a row, M masks, K background rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.preprocessing import Arrays, Ragged

if TYPE_CHECKING:
    from weighbridge.preprocessing import Block, Encoder

SQUARES = 8  # an image is cut into at most so many squares a side
RUNS = 64  # and a text into at most so many runs of tokens, of equal length
Row = Mapping[str, np.ndarray]  # blocks of one row: number [D], category [K], image [H, W, C], present [1], text [L]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a row: `place` is (0, 0) for a column, (down, across) for a square, (first, past the last) for tokens."""

    block: str
    column: str
    place: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The parts of a row, and the part that each entry of each block belongs to: int [D], [K], [H, W] or [L].

    An entry of part U, one more than there are, belongs to none and is always kept.
    """

    parts: tuple[Part, ...]
    owner: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.parts)

    def of(self, block: str) -> np.ndarray:
        """Return the numbers of a block's parts, rising."""
        found = np.unique(self.owner[block])
        return found[found < len(self)]

    @property
    def columns_only(self) -> bool:
        """Whether every part is a column of a table."""
        return all(part.block in ("number", "category") for part in self.parts)


def layout_of(encoder: Encoder, row: Row, words: Mapping[str, np.ndarray] | None = None) -> Layout:
    """Return the parts of a row: its columns, then the squares of its images, then the runs of its texts.

    `words`, by block: the run that each token belongs to, rising from 0, -1 for none; runs of equal length where there are none.
    """
    parts: list[Part] = []
    owner: dict[str, np.ndarray] = {}
    for block in encoder.blocks:
        if block.kind in ("number", "category"):
            columns, owner[block.name] = _columns(encoder, block, len(parts))
            parts += columns
        elif block.kind == "image":
            down, across = squares(block.shape)
            owner[block.name] = len(parts) + down[:, None] * (across.max() + 1) + across[None, :]
            parts += [Part(block=block.name, column=block.columns[0], place=(d, a)) for d in np.unique(down) for a in np.unique(across)]
        elif block.kind == "text":
            run = runs(len(row[block.name])) if words is None else words[block.name]
            owner[block.name] = np.where(run < 0, -1, len(parts) + run)
            places = [np.flatnonzero(run == one) for one in range(int(run.max(initial=-1)) + 1)]
            parts += [Part(block=block.name, column=block.columns[0], place=(int(one[0]), int(one[-1]) + 1)) for one in places]
    return Layout(parts=tuple(parts), owner={name: np.where(places < 0, len(parts), places) for name, places in owner.items()})


def squares(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the square that each line [H] and each column [W] of pixels lies in."""
    side = -(-max(shape[0], shape[1]) // SQUARES)
    return np.arange(shape[0]) // side, np.arange(shape[1]) // side


def runs(length: int) -> np.ndarray:
    """Return the run that each of `length` tokens belongs to."""
    return np.arange(length) // max(1, -(-length // RUNS))


def word_runs(text: str, spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the run of each token of a text, at most RUNS: those of one word together, signs and Chinese characters by themselves.

    `spans`: where in the text each token begins and ends. A token without letters of its own, such as one that only the model knows,
    belongs to none (-1).
    """
    found, word, end = [], -1, -1
    for start, stop in spans:
        start += len(text[start:stop]) - len(text[start:stop].lstrip())
        if start >= stop:
            found.append(-1)
            continue
        if start > end or (start == end and not (_spelled(text[end - 1]) and _spelled(text[start]))):
            word += 1
        found.append(word)
        end = max(end, stop)
    runs_of = np.array(found, dtype=int)
    return np.where(runs_of < 0, -1, runs_of // max(1, -(-(word + 1) // RUNS)))


def _spelled(letter: str) -> bool:
    """Whether a character belongs to words that are spelled by several: letters before the scripts of East Asia, digits."""
    return letter.isalnum() and letter < "\u2e80"


def _columns(encoder: Encoder, block: Block, first: int) -> tuple[list[Part], np.ndarray]:
    features = [feature for feature in encoder.features if feature.kind == block.kind and feature.names]
    widths = [len(feature.names) if block.kind == "number" else 1 for feature in features]
    return [Part(block=block.name, column=feature.column) for feature in features], first + np.repeat(np.arange(len(features)), widths)


def row_of(arrays: Arrays, place: int) -> dict[str, np.ndarray]:
    """Return the blocks of one row; of a text its tokens alone."""
    return {name: np.asarray(values[place]) for name, values in arrays.blocks.items()}


def background_of(encoder: Encoder, arrays: Arrays, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the table blocks of these rows: number [K, D], category [K, C]."""
    return {block.name: np.asarray(arrays.blocks[block.name][rows]) for block in encoder.blocks if block.kind in ("number", "category")}


def switched(encoder: Encoder, row: Row, layout: Layout, keep_MU: np.ndarray, background: Mapping[str, np.ndarray]) -> Arrays:
    """Return the row with the parts kept that each mask (bool) says, M x K rows, the K backgrounds of a mask side by side.

    K is 1 where the row has no columns. Rows have no ids and no target.
    """
    count = max([len(values) for values in background.values()], default=1)
    kept = np.pad(keep_MU, ((0, 0), (0, 1)), constant_values=True)
    blocks: dict[str, np.ndarray | Ragged] = {}
    for block in encoder.blocks:
        value = row[block.name]
        if block.kind == "present":
            blocks[block.name] = np.repeat(value[None], len(keep_MU) * count, axis=0)
            continue
        keep = kept[:, layout.owner[block.name]]
        if block.kind in ("number", "category"):
            mixed = np.where(keep[:, None], value, background[block.name][None])
            blocks[block.name] = mixed.reshape(-1, *value.shape)
        elif block.kind == "image":
            blocks[block.name] = np.repeat(np.where(keep[..., None], value, blank(block)), count, axis=0)
        else:
            blocks[block.name] = _texts(np.repeat(np.where(keep, value, block.hidden), count, axis=0))
    return Arrays(blocks=blocks, target=None, stored_ids=np.empty(len(keep_MU) * count, dtype="S1"))


def blank(block: Block) -> np.ndarray:
    """Return the mean colour of the training images, uint8 [C]."""
    return np.round(np.asarray(block.mean) * 255).astype(np.uint8)


def _texts(codes: np.ndarray) -> Ragged:
    """Return rows of equally many codes [n, L] as Ragged; L may be 0."""
    rows, length = codes.shape
    return Ragged(np.ascontiguousarray(codes, np.int32).reshape(-1), np.arange(rows + 1, dtype=np.int64) * length)
