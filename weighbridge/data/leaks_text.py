"""What texts look like to the leak gate: runs of characters (shingles), hashed, and a short sketch of each text (MinHash).

A run is 5 characters long, 3 in a text of mostly Chinese, Japanese or Korean characters, which say more each and stand without spaces.
Letters of either case and width are one, any run of spaces is one space. Runs that stand in more than a fifth of all texts (a footer, a
form) tell nothing of one text and are not looked at: what is left is compared. Broder 1997 leaves out the commonest runs likewise.

The sketch is one-permutation MinHash (Li 2012) whose empty places are filled from others (Shrivastava 2017): each run is hashed once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from weighbridge.storage.seeds import rng

SHINGLE, SHINGLE_DENSE = 5, 3
LEAST_SHINGLES, LEAST_SHINGLES_DENSE = 20, 10  # different runs that a text must have to be compared: of short ones many agree by chance
DENSE = 0.3  # share of ideographs, kana and hangul from which on a text is dense
PLACES = 125  # minima of a sketch
FILLS = 64  # other places that an empty one asks; then it takes the text's least hash
PIECE = 1 << 18  # characters that are hashed at once, whatever the texts' lengths
BUCKET_BITS = 22  # runs are counted by so many bits of their hash; 4 MB while they are counted
COMMON_SHARE, COMMON_TEXTS = 0.2, 20  # a run in more texts than both is common
COUNTED_TEXTS = 2000
ABSENT = np.uint32(2**32 - 1)


class Texts(Protocol):
    """n texts that need not be in memory; None where one is missing."""

    def __len__(self) -> int: ...

    def at(self, rows: np.ndarray) -> list[str | None]:
        """Return the texts of these places (ascending)."""

    def pieces(self) -> Iterator[list[str | None]]:
        """Yield all texts in their order, some at a time."""


class Held:
    """Texts in memory."""

    def __init__(self, texts: Sequence[str | None]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, rows: np.ndarray) -> list[str | None]:
        return [self.texts[row] for row in rows.tolist()]

    def pieces(self) -> Iterator[list[str | None]]:
        for start in range(0, len(self.texts), COUNTED_TEXTS):
            yield list(self.texts[start : start + COUNTED_TEXTS])


def normal(text: str, *, folded: bool = True) -> str:
    """Return the text as it is compared: one form of each letter, spaces as one; not folded, as it stands but for spaces at its ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()) if folded else text.strip()


def is_dense(points: np.ndarray) -> bool:
    """Say whether the characters (uint32) are mostly ideographs, kana or hangul."""
    wide = (points >= 0x3040) & (points < 0xD7B0) | (points >= 0x20000) & (points < 0x32000)
    return bool(len(points)) and float(wide.mean()) >= DENSE


def is_sequence(text: str) -> bool:
    """Say whether a text is one long word, as a molecule, a gene or a key is: its copies with small changes are often other things."""
    return len(text) >= LEAST_SHINGLES and not any(mark.isspace() for mark in text) and not is_dense(points_of(text))


def points_of(text: str) -> np.ndarray:
    """Return the characters as numbers, unpaired surrogates too. uint32 [length]."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def hashed(texts: Iterable[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (which text int64 [k], hash of each of its runs uint64 [k]), a bounded number at once; a run may come again.

    A long text comes in several pieces; one shorter than a run has none.
    """
    waiting: dict[int, list[tuple[int, np.ndarray]]] = {SHINGLE: [], SHINGLE_DENSE: []}
    held = dict.fromkeys(waiting, 0)
    for number, text in enumerate(texts):
        points = points_of(text)
        size = SHINGLE_DENSE if is_dense(points) else SHINGLE
        for start in range(0, len(points) - size + 1, PIECE):
            part = points[start : start + PIECE + size - 1]
            waiting[size].append((number, part))
            held[size] += len(part)
            if held[size] >= PIECE:
                yield _hashed(waiting[size], size)
                waiting[size], held[size] = [], 0
    for size, parts in waiting.items():
        if parts:
            yield _hashed(parts, size)


def shingles(text: str, common: np.ndarray | None = None) -> np.ndarray:
    """Return the different hashes of the runs of a normal text, those that are `common` (`common_shingles`) left out. uint64, ascending."""
    found = [hashes if common is None else hashes[~common[_bucket(hashes)]] for _, hashes in hashed([text])]
    return np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.uint64)


def least_shingles(text: str) -> int:
    """Return how many different runs the text must have to be compared."""
    return LEAST_SHINGLES_DENSE if is_dense(points_of(text)) else LEAST_SHINGLES


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of common runs of two texts (uint64, ascending, each once); 0 where both have none."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / max(len(one) + len(other) - common, 1)


def common_shingles(texts: Iterable[str]) -> np.ndarray:
    """Return which buckets hold runs that more than COMMON_SHARE, and COMMON_TEXTS, of these normal texts have. bool [buckets]."""
    counts, n = np.zeros(1 << BUCKET_BITS, dtype=np.uint16), 0
    last = np.full(1 << BUCKET_BITS, -1, dtype=np.int32)  # a long text comes in pieces: a bucket counts once

    def counted(given: Iterable[str]) -> Iterator[str]:
        nonlocal n
        for n, text in enumerate(given, 1):  # noqa: B007 - the number of texts is asked for afterwards
            yield text

    for owner, hashes in hashed(counted(texts)):
        bucket = _bucket(hashes)
        one = np.unique(owner.astype(np.uint64) << np.uint64(BUCKET_BITS) | bucket.astype(np.uint64))
        owner, bucket = (one >> np.uint64(BUCKET_BITS)).astype(np.int32), (one & np.uint64((1 << BUCKET_BITS) - 1)).astype(np.int64)
        new = last[bucket] != owner
        np.add.at(counts, bucket[new], np.uint16(1))
        last[bucket] = owner
    return np.asarray(counts > max(COMMON_TEXTS, COMMON_SHARE * n))


def minhash(texts: Sequence[str], common: np.ndarray | None = None) -> np.ndarray:
    """Return a sketch of each normal text, uint32 [n, PLACES]: the share of equal places of two estimates their Jaccard likeness.

    ABSENT everywhere for a text without runs that are not common.
    """
    found = np.full((len(texts), PLACES), ABSENT, dtype=np.uint32)
    flat = found.reshape(-1)
    for owner, hashes in hashed(texts):
        if common is not None:
            rare = ~common[_bucket(hashes)]
            owner, hashes = owner[rare], hashes[rare]
        place = ((hashes >> np.uint64(32)) * np.uint64(PLACES)) >> np.uint64(32)
        np.minimum.at(flat, owner * PLACES + place.astype(np.int64), (hashes & np.uint64(ABSENT)).astype(np.uint32))
    return _filled(found)


def _filled(found: np.ndarray) -> np.ndarray:
    """Return the sketches with each empty place taken from another of the same text, the same one for every text where both have it."""
    empty = found == ABSENT
    whole = found.copy()
    rows, places = np.nonzero(empty & ~empty.all(axis=1)[:, None])
    for step in range(FILLS):
        if not len(rows):
            return whole
        asked = (mixed((places + PLACES * step + 1).astype(np.uint64)) % np.uint64(PLACES)).astype(np.int64)
        there = ~empty[rows, asked]
        whole[rows[there], places[there]] = found[rows[there], asked[there]]
        rows, places = rows[~there], places[~there]
    least = found[rows].min(axis=1) if len(rows) else np.empty(0, dtype=np.uint32)
    whole[rows, places] = least
    return whole


def _bucket(hashes: np.ndarray) -> np.ndarray:
    return (hashes >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)


def _hashed(parts: list[tuple[int, np.ndarray]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (number of the text, hash) of each run of `size` characters of these parts, none of which is shorter."""
    random = rng(0, "data.leaks_text", size)  # not the recipe's seed: what is near does not hang on it
    weights = random.integers(0, 2**63, size, dtype=np.uint64) | np.uint64(1)
    points = np.concatenate([part for _, part in parts]).astype(np.uint64)
    lengths = np.array([len(part) for _, part in parts])
    spread = mixed(points + np.uint64(1))
    hashes = np.zeros(len(points) - size + 1, dtype=np.uint64)
    for position in range(size):
        hashes += spread[position : position + len(hashes)] * weights[position]
    inside = np.ones(len(points), dtype=bool)
    ends = np.cumsum(lengths)
    for back in range(1, size):
        inside[ends - back] = False
    owner = np.repeat(np.array([number for number, _ in parts], dtype=np.int64), lengths - size + 1)
    return owner, mixed(hashes[inside[: len(hashes)]])


def mixed(values: np.ndarray) -> np.ndarray:
    """Return the values with every bit spread over all (the finisher of SplitMix64, Steele 2014). uint64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
