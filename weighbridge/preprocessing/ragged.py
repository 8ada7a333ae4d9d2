"""Sequences of different lengths as two flat arrays: what text is encoded to, on disk and in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

PAD = 0  # no token has this code


@dataclass(frozen=True, eq=False)
class Ragged:
    """Row i is `tokens[offsets[i]:offsets[i + 1]]`; tokens int32 [T] may be memory-mapped, offsets int64 [n + 1].

    Indexing with a slice, row numbers int [k] or a mask bool [n] gives these rows int32 [k, L], padded with PAD to the longest of
    them (at least 1): what a network reads. One row number gives its tokens.
    So rows of text are asked for as rows of any other block are.
    """

    tokens: np.ndarray
    offsets: np.ndarray

    dtype = np.dtype(np.int32)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 [n]."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, int | np.integer):
            return np.asarray(self.tokens[self.offsets[:-1][rows] : self.offsets[1:][rows]])
        lengths = self.lengths[rows]
        starts = self.offsets[:-1][rows]
        padded = np.full((len(lengths), max(1, int(lengths.max(initial=0)))), PAD, dtype=np.int32)
        total = int(lengths.sum())
        if total:
            before = np.repeat(np.cumsum(lengths) - lengths, lengths)
            padded[np.arange(padded.shape[1]) < lengths[:, None]] = self.tokens[np.arange(total) - before + np.repeat(starts, lengths)]
        return padded

    def subset(self, rows: np.ndarray | slice) -> Ragged:
        """Return these rows, in memory."""
        return ragged(self[rows]) if len(self) else self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)


def lengths_of(padded: np.ndarray) -> np.ndarray:
    """Return the tokens of each row of a padded array [n, L], int64 [n]."""
    return np.asarray((padded != PAD).sum(axis=1), dtype=np.int64)


def ragged(padded: np.ndarray) -> Ragged:
    """Return padded rows [n, L] as Ragged; PAD stands at the end of a row only."""
    lengths = lengths_of(padded)
    return Ragged(padded[padded != PAD].astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
