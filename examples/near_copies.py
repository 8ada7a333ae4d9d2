"""Families of near copies among texts, so that a recipe can keep each on one side of the split (data.group).

Two texts are near copies where their sets of short runs are alike by a Jaccard of `like`, estimated on bottom-k sketches (Broder 1997).
The bound is lower than that of the leak gate (0.8 of runs of five characters), so that nothing at its edge is left apart. Standard
library only.
"""

from __future__ import annotations

import heapq
import zlib
from collections import defaultdict
from collections.abc import Sequence

SKETCH = 128  # smallest hashes of a text that are kept; the likeness of shorter texts is exact
KEYS = 12  # smallest hashes of long runs, one of which two near copies share
LONG = 12  # characters of such a run: of five, a small alphabet has too few to tell texts apart
LIKE = {"characters": 0.65, "words": 0.5}  # runs of five characters, of three words
MOST_COMPARED = 12  # texts of different families that share a key and are compared with a further one


def families(texts: Sequence[str], *, of: str = "characters") -> list[int]:
    """Return for each text the number of the first text of its family; near copies of near copies are one family."""
    sketches = [frozenset(_sketch(text, of)) for text in texts]
    parent = list(range(len(texts)))
    by_key: dict[int, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        for key in _keys(text, sketches[place], of):
            by_key[key].append(place)
    for places in by_key.values():
        compared: list[int] = []
        for place in places:
            others = [other for other in compared if _root(parent, other) != _root(parent, place)]
            near = next((other for other in others if _alike(sketches[place], sketches[other]) >= LIKE[of]), None)
            if near is not None:
                first, second = sorted((_root(parent, near), _root(parent, place)))
                parent[second] = first
            elif len(others) == len(compared) < MOST_COMPARED:
                compared.append(place)
    return [_root(parent, place) for place in range(len(texts))]


def _root(parent: list[int], place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place


def _keys(text: str, sketch: frozenset[int], of: str) -> list[int]:
    """Return what near copies share, and the whole text, so that equal ones always meet."""
    plain = " ".join(text.casefold().split())
    runs = {plain[start : start + LONG] for start in range(max(1, len(plain) - LONG + 1))}
    return [_hash(plain), *heapq.nsmallest(KEYS, sketch if of == "words" else map(_hash, runs))]


def _sketch(text: str, of: str) -> list[int]:
    """Return the smallest hashes of the text's runs of words or characters, rising."""
    words = text.casefold().split()
    plain = " ".join(words)
    runs = {" ".join(words[start : start + 3]) for start in range(max(1, len(words) - 2))} if of == "words" else set()
    runs = runs or {plain[start : start + 5] for start in range(max(1, len(plain) - 4))}
    return heapq.nsmallest(SKETCH, {_hash(run) for run in runs if run})


def _hash(run: str) -> int:
    """Return 32 bits that do not follow the text's order."""
    mixed = zlib.crc32(run.encode("utf-8", "surrogatepass")) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
    return mixed >> 32


def _alike(one: frozenset[int], other: frozenset[int]) -> float:
    """Return the share of the smallest hashes of both that both hold: an estimate of their Jaccard likeness."""
    smallest = heapq.nsmallest(SKETCH, one | other)
    common = one & other
    return sum(key in common for key in smallest) / max(1, len(smallest))
