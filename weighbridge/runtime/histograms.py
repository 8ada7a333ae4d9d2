"""Histograms and frequencies of a contract: edges and names laid by some rows, counted on others, no figure of a single row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from weighbridge.runtime.contract import FEWEST, Frequencies, Histogram

BINS = 64
ROWS_PER_BIN = 10  # of the counted rows, on average
NAMES = 50
LEAST_EXPECTED = 15  # counted rows that a name must be expected to have: fewer than 5 then come with a chance of 1 in 1,000
FENCES = (1, 2, 4, 8)
BESIDE = 1e-9  # beside a value that many rows share: its own bin ends there


def histogram(laid: np.ndarray, counted: np.ndarray) -> Histogram:
    """Return the counts of some rows' numbers between edges laid by other rows'."""
    edges = edges_of(laid, len(counted))
    counts = np.bincount(Histogram(edges=edges).places(counted), minlength=len(edges) + 1)
    return merged(edges, counts.tolist())


def edges_of(laid: np.ndarray, counted: int) -> tuple[float, ...]:
    """Return rising edges between numbers, for at most 64 bins of at least 5 laid rows and about 10 counted ones.

    An edge lies half way between two neighbours and shows neither. The smallest and the largest number get an edge outside them where at
    least 5 rows share them (a column of zeros, a scale that ends): a later value beyond is then in a bin of its own. Where they do not,
    a fence stands as far beyond the outermost edge as that lies from the middle one, or twice, 4 or 8 times as far: the nearest that no
    row lies beyond. What is beyond it is unlike anything that was seen.
    """
    values = np.sort(laid[np.isfinite(laid)])
    n = len(values)
    bins = int(np.clip(min(n // FEWEST, counted // ROWS_PER_BIN), 1, BINS))
    edges, last = [], 0
    for wanted in (np.arange(1, bins) * n) // bins:
        place = int(np.searchsorted(values, values[wanted - 1], side="right")) if values[wanted - 1] == values[wanted] else int(wanted)
        if place - last >= FEWEST and n - place >= FEWEST:
            edges.append(float(values[place - 1] / 2 + values[place] / 2))
            last = place
    return tuple(sorted({*edges, *_ends(values), *_fences(edges, values)}))


def _fences(edges: Sequence[float], values: np.ndarray) -> list[float]:
    """An edge stands for at least 5 rows on each side, so its mirror image, once, twice, 4 or 8 times as far, shows no single one."""
    if len(edges) < 3:
        return []
    low, middle, high = edges[0], edges[len(edges) // 2], edges[-1]
    below = [] if values[FEWEST - 1] == values[0] else [low - far * (middle - low) for far in FENCES]
    above = [] if values[-FEWEST] == values[-1] else [high + far * (high - middle) for far in FENCES]
    found = [next((edge for edge in below if edge < values[0]), None), next((edge for edge in above if edge > values[-1]), None)]
    return [edge for edge in found if edge is not None and np.isfinite(edge)]


def _ends(values: np.ndarray) -> list[float]:
    if len(values) < FEWEST:
        return []
    low, high = float(values[0]), float(values[-1])
    below = [low - BESIDE * max(1.0, abs(low))] if values[FEWEST - 1] == low else []
    above = [high + BESIDE * max(1.0, abs(high))] if values[-FEWEST] == high else []
    return below + above


def merged(edges: Sequence[float], counts: Sequence[int]) -> Histogram:
    """Return the histogram without bins of 1 to 4 rows: each is merged with the smaller neighbour that has rows."""
    bounds, held = list(edges), list(counts)
    while len(held) > 1 and any(0 < count < FEWEST for count in held):
        at = min((place for place, count in enumerate(held) if 0 < count < FEWEST), key=held.__getitem__)
        beside = [place for place in (at - 1, at + 1) if 0 <= place < len(held)]
        other = min(beside, key=lambda place: (held[place] == 0, held[place]))
        low = min(at, other)
        held[low : low + 2] = [held[low] + held[low + 1]]
        del bounds[low]
    return Histogram(edges=tuple(bounds), counts=tuple(held))


def frequent(names: Mapping[str, int], *, share: float) -> list[str]:
    """Return at most 50 names, the most frequent of some rows first, that a further `share` of as many rows will hold 15 times."""
    often = sorted((-count, name) for name, count in names.items() if count >= FEWEST and count * share >= LEAST_EXPECTED)
    return [name for _, name in often[:NAMES]]


def frequencies(counts: Mapping[str, int], *, named: Sequence[str] | None = None) -> Frequencies:
    """Return the counts of the named values (all, where none are named) that at least 5 rows have; the rest together."""
    kept = {name: counts[name] for name in (counts if named is None else named) if counts.get(name, 0) >= FEWEST}
    return Frequencies(counts=kept, other=sum(counts.values()) - sum(kept.values()))
