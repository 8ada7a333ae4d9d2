"""Fixed numbers of an image or a text, the same for every model: what a shift of pictures or of language shows in, without a network.

No parameter is learnt, so a number means the same at release and in service, and none of them needs the model that is watched.
"""

from __future__ import annotations

import re
from functools import lru_cache
from zlib import crc32

import numpy as np

Numbers = dict[str, np.ndarray]
POOLED = 7  # cells on a side
ORIENTATIONS = 8
PROJECTED = 16
MOST_WORDS = 256  # of one text
MOST_CHARACTERS = 4000
WORDS = re.compile(r"\w+")


def image_features(grey: np.ndarray) -> Numbers:
    """Return float64 [n] by name for grey pictures [n, H, W] in 0..1: the mean of each of 7 x 7 cells, and how much of the gradient's
    length points each of 8 ways (orientation histogram, Dalal and Triggs 2005, over the whole picture; sums to 1)."""
    found = {f"cell {row + 1},{column + 1}": values for (row, column), values in _cells(grey).items()}
    return found | {f"edges {round(180 * place / ORIENTATIONS)}°": share for place, share in enumerate(_orientations(grey).T)}


def _cells(grey: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    rows, columns = (np.linspace(0, size, min(POOLED, size) + 1).astype(int) for size in grey.shape[1:])
    return {
        (i, j): grey[:, rows[i] : rows[i + 1], columns[j] : columns[j + 1]].mean(axis=(1, 2))
        for i in range(len(rows) - 1)
        for j in range(len(columns) - 1)
    }


def _orientations(grey: np.ndarray) -> np.ndarray:
    """float64 [n, 8]; an even picture has the same share everywhere."""
    if min(grey.shape[1:]) < 2:
        return np.full((len(grey), ORIENTATIONS), 1 / ORIENTATIONS)
    down, right = np.gradient(grey, axis=(1, 2))
    length = np.hypot(down, right)
    way = (np.floor((np.arctan2(down, right) % np.pi) / np.pi * ORIENTATIONS + 0.5) % ORIENTATIONS).astype(int)
    shares = np.stack([np.where(way == place, length, 0).sum(axis=(1, 2)) for place in range(ORIENTATIONS)], axis=1)
    return np.asarray((shares + 1e-9) / (shares.sum(axis=1, keepdims=True) + ORIENTATIONS * 1e-9))


def text_features(texts: list[str | None]) -> Numbers:
    """Return float64 [n] by name, NaN for None: shares of letters and of digits among characters, and 16 projections of the words, each
    word with a fixed sign in each (feature hashing, Weinberger 2009), divided by the root of their number."""
    found = np.array([_of_text(text) for text in texts]).reshape(len(texts), 2 + PROJECTED)
    names = ["letters", "digits", *(f"words {place + 1}" for place in range(PROJECTED))]
    return dict(zip(names, found.T, strict=True))


def _of_text(text: str | None) -> np.ndarray:
    if text is None:
        return np.full(2 + PROJECTED, np.nan)
    read = text[:MOST_CHARACTERS]
    size = max(len(read), 1)
    words = WORDS.findall(read.lower())[:MOST_WORDS]
    drawn = sum((_signs(word) for word in words), np.zeros(PROJECTED)) / np.sqrt(max(len(words), 1))
    return np.array([sum(map(str.isalpha, read)) / size, sum(map(str.isdigit, read)) / size, *drawn])


@lru_cache(maxsize=65_536)
def _signs(word: str) -> np.ndarray:
    code = crc32(word.encode("utf-8", "surrogatepass"))
    return np.array([1.0 if code >> place & 1 else -1.0 for place in range(PROJECTED)])
