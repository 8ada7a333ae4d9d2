"""Near copies among texts: MinHash over shingles of five characters proposes pairs (Broder 1997), each verified at Jaccard 0.8 on the
shingles themselves. Letters of either case are one, any run of spaces is one space.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from weighbridge.storage.progress import Progress, silent
from weighbridge.storage.seeds import rng

SHINGLE = 5
LEAST_LIKENESS = 0.8
BANDS, ROWS = 20, 5  # a pair at Jaccard 0.8 is proposed with probability 1 - (1 - 0.8^5)^20 = 0.9996
MOST_PARTNERS = 32  # of one text in one band: texts of one form fill a band with thousands
BLOCK = 512
ABSENT = np.uint64(2**64 - 1)


def normal(text: str) -> str:
    """Return the text as it is compared: casefolded, spaces as one."""
    return " ".join(text.casefold().split())


def shingles(text: str) -> frozenset[str]:
    """Return all runs of SHINGLE characters of a normal text; a shorter one is its own only shingle, an empty one has none."""
    if len(text) < SHINGLE:
        return frozenset([text] if text else [])
    return frozenset(text[start : start + SHINGLE] for start in range(len(text) - SHINGLE + 1))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of common shingles; 0 where both have none."""
    common = len(one & other)
    return common / max(len(one) + len(other) - common, 1)


def minhash(texts: Sequence[str]) -> np.ndarray:
    """Return BANDS * ROWS minima over the shingles of each normal text, as uint64 [n, BANDS * ROWS]; ABSENT for an empty text.

    The share of equal minima of two texts estimates their Jaccard likeness without bias.
    """
    random = rng(0, "data.leaks_text")  # not the recipe's seed: what is near does not hang on it
    weights, odd, shift = (random.integers(0, 2**63, size, dtype=np.uint64) for size in (SHINGLE, BANDS * ROWS, BANDS * ROWS))
    found = np.full((len(texts), BANDS * ROWS), ABSENT, dtype=np.uint64)
    for start in range(0, len(texts), BLOCK):
        part = list(texts[start : start + BLOCK])
        held = np.flatnonzero([bool(text) for text in part])
        if len(held):
            hashes, starts = _hashed([part[row] for row in held.tolist()], weights | np.uint64(1))
            for column in range(BANDS * ROWS):
                spread = mixed(hashes * (odd[column] | np.uint64(1)) + shift[column])
                found[start + held, column] = np.minimum.reduceat(spread, starts)
    return found


def near_texts(texts: np.ndarray, later: np.ndarray, progress: Progress = silent) -> np.ndarray:
    """Return int64 [k, 2]: each text before the split (`later` False) with a `later` one (bool [n]) of Jaccard 0.8 or more.

    `texts` object [n] of str or None; what is missing or empty is near to nothing. Equal texts are near copies.
    """
    number: dict[str, int] = {"": 0}
    code = np.array([number.setdefault(normal(text or ""), len(number)) for text in texts.tolist()], dtype=np.int64)
    words = list(number)
    is_later, is_earlier = (np.zeros(len(words), dtype=bool) for _ in range(2))
    is_later[code[later]], is_earlier[code[~later]] = True, True
    is_later[0] = is_earlier[0] = False
    partner = np.where(is_later & is_earlier, np.arange(len(words)), -1)
    left = is_earlier & ~is_later
    if left.any() and is_later.any():
        _propose(words, np.flatnonzero(left), np.flatnonzero(is_later), partner, progress)
    first = np.full(len(words), -1, dtype=np.int64)
    rows = np.flatnonzero(later)[::-1]
    first[code[rows]] = rows  # the first row is written last
    early = np.flatnonzero(~later)
    early = early[partner[code[early]] >= 0]
    return np.column_stack([early, first[partner[code[early]]]]).astype(np.int64)


def _propose(words: list[str], earlier: np.ndarray, later: np.ndarray, partner: np.ndarray, progress: Progress) -> None:
    """`partner` of each earlier text is a later one that is near to it, where a band proposes one."""
    ours, theirs = _bands([words[row] for row in earlier]), _bands([words[row] for row in later])
    cut = lru_cache(maxsize=4096)(lambda row: shingles(words[row]))
    for band in range(BANDS):
        order = np.argsort(theirs[:, band], kind="stable")
        place = theirs[order, band]
        low, high = (np.searchsorted(place, ours[:, band], side=side) for side in ("left", "right"))
        for number in np.flatnonzero((high > low) & (partner[earlier] < 0)).tolist():
            mine = shingles(words[earlier[number]])
            for candidate in later[order[low[number] : min(high[number], low[number] + MOST_PARTNERS)]].tolist():
                if jaccard(mine, cut(candidate)) >= LEAST_LIKENESS:
                    partner[earlier[number]] = candidate
                    break
        progress("texts compared", band + 1, BANDS)


def _bands(texts: Sequence[str]) -> np.ndarray:
    """Return one hash of each band's minima. uint64 [n, BANDS]."""
    minima = minhash(texts).reshape(len(texts), BANDS, ROWS)
    found = np.zeros((len(texts), BANDS), dtype=np.uint64)
    for row in range(ROWS):
        found = mixed(found * np.uint64(0x9E3779B97F4A7C15) + minima[:, :, row])
    return found


def _hashed(texts: Sequence[str], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (a hash of each shingle of all texts, one text after the other; where each text begins). No text is empty."""
    padded = [text.ljust(SHINGLE, "\0") for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    lengths = np.array([len(text) for text in padded])
    ends = np.cumsum(lengths)
    hashes = np.zeros(len(points) - SHINGLE + 1, dtype=np.uint64)
    for position in range(SHINGLE):
        hashes += mixed(points[position : position + len(hashes)] + np.uint64(1)) * weights[position]
    inside = np.ones(len(points), dtype=bool)
    for back in range(1, SHINGLE):
        inside[ends - back] = False
    counts = lengths - SHINGLE + 1
    return mixed(hashes[inside[: len(hashes)]]), np.cumsum(counts) - counts


def mixed(values: np.ndarray) -> np.ndarray:
    """Return the values with every bit spread over all (the finisher of SplitMix64, Steele 2014). uint64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
