"""Families of near copies among texts, so that a recipe can keep each on one side of the split (data.group).

Two texts are near copies where their sets of runs of five characters are alike by a Jaccard of LIKE, estimated on bottom-k sketches
(Broder 1997). The bound is lower than that of the leak gate (0.8), so that nothing at its edge is left apart. Standard library only.
"""

from __future__ import annotations

import heapq
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

SKETCH = 192  # smallest hashes of a text that are kept; the likeness of shorter texts is exact
LIKE = 0.65
KEYS = 16  # smallest hashes of long runs, one of which two near copies share
LONG = 12  # characters of a long run: of five, a small alphabet has too few to tell texts apart
SHORT = 60  # characters: of a text that has fewer, runs of five are keys, too
WORDS = 4  # words of a long run, of texts that have at least MANY
MANY = 24
MOST_COMPARED = 60  # texts before it that share a key with a text and are compared with it


def families(texts: Sequence[str]) -> list[int]:
    """Return for each text the number of the first text of its family; near copies of near copies are one family."""
    sketch = cache(lambda place: frozenset(_sketch(texts[place])))  # of candidates only
    parent, apart = list(range(len(texts))), set[tuple[int, int]]()
    by_key: dict[int, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        for key in _keys(text):
            by_key[key].append(place)
    for places in by_key.values():
        for number, place in enumerate(places):
            for other in places[max(0, number - MOST_COMPARED) : number]:
                if (other, place) in apart or _root(parent, other) == _root(parent, place):
                    continue
                if _alike(sketch(place), sketch(other)) >= LIKE:
                    first, second = sorted((_root(parent, other), _root(parent, place)))
                    parent[second] = first
                else:
                    apart.add((other, place))
    return [_root(parent, place) for place in range(len(texts))]


def _root(parent: list[int], place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place


def _keys(text: str) -> list[int]:
    """Return what near copies share, and the whole text, so that equal ones always meet."""
    words = text.casefold().split()
    plain = " ".join(words)
    if len(words) >= MANY:
        runs = {" ".join(words[start : start + WORDS]) for start in range(len(words) - WORDS + 1)}
    else:
        runs = {plain[start : start + LONG] for start in range(max(1, len(plain) - LONG + 1))}
    short = {plain[start : start + 5] for start in range(len(plain) - 4)} if len(plain) < SHORT else set()
    return [_hash(plain), *_smallest(runs, KEYS), *_smallest(short, KEYS)]


def _sketch(text: str) -> list[int]:
    plain = " ".join(text.casefold().split())
    return _smallest({plain[start : start + 5] for start in range(max(1, len(plain) - 4))}, SKETCH)


def _smallest(runs: Iterable[str], count: int) -> list[int]:
    return heapq.nsmallest(count, {_hash(run) for run in runs})


def _hash(run: str) -> int:
    """Return 32 bits that do not follow the text's order."""
    mixed = zlib.crc32(run.encode("utf-8", "surrogatepass")) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    return mixed >> 32


def _alike(one: frozenset[int], other: frozenset[int]) -> float:
    """Return the share of the smallest hashes of both that both hold: an estimate of their Jaccard likeness; 0 where it is below LIKE."""
    common, both = one & other, one | other
    if len(common) < LIKE * min(SKETCH, len(both)):
        return 0.0
    smallest = heapq.nsmallest(SKETCH, both)
    return sum(key in common for key in smallest) / max(1, len(smallest))
