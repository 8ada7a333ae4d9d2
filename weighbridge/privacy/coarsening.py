"""The ladders of steps that columns climb, from as they came to all alike; each rung joins what the rung under it tells apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from weighbridge.privacy.steps import OTHER, PERIODS, Bins, Parents, Period, Step

FINEST_BINS = 64
DIGITS = 2  # significant ones that a cut keeps: a quantile is some person's value
LONGEST_CODE = 12
Rung = Step | None  # None: as it came


def ladder_of(kind: str, column: np.ndarray, least: int, parents: Mapping[str, str] | None = None) -> list[Rung]:
    """Return the rungs of a column from fine to coarse; `least`: how many rows must share a value before it is worth a bucket.

    column: canonical training rows. Raises ValueError for a kind that has no ladder.
    """
    if kind == "number":
        return number_ladder(column)
    if kind == "date":
        return [None, *(Period(period=name) for name in PERIODS)]
    if kind == "category":
        return category_ladder(column, least, parents or {})
    raise ValueError(f"a column of type {kind} has no ladder")


def number_ladder(column: np.ndarray) -> list[Rung]:
    """As it came, then 64, 32, ... 2 bins of about equally many rows, cut at round numbers, then one; what joins nothing is left out."""
    known = column[np.isfinite(column)]
    if not len(known):
        return [None, Bins(cuts=())]
    ranks = np.arange(1, FINEST_BINS) / FINEST_BINS
    spread = float(np.quantile(known, 0.9) - np.quantile(known, 0.1)) or float(np.ptp(known)) or 1.0
    cuts = np.array([_round(float(cut), spread) for cut in np.quantile(known, ranks)])
    rungs: list[Rung] = [None]
    step = 1
    while step < FINEST_BINS:
        chosen = np.unique(cuts[step - 1 :: step])
        chosen = chosen[(chosen > known.min()) & (chosen <= known.max())]  # a cut beyond all rows parts nothing
        bins = Bins(cuts=tuple(chosen.tolist()))
        if len(chosen) and bins != rungs[-1]:
            rungs.append(bins)
        step *= 2
    return [*rungs, Bins(cuts=())]


def category_ladder(column: np.ndarray, least: int, parents: Mapping[str, str]) -> list[Rung]:
    """As it came; then parents, or for codes of one length fewer and fewer first characters; then only what is frequent; then all alike."""
    counts = Counter(value for value in column.tolist() if value is not None)
    rungs: list[Rung] = [None]
    rungs += [Parents(parents=chain) for chain in _chains(parents)]
    lengths = {len(value) for value in counts}
    if not parents and len(lengths) == 1 and 1 < (length := lengths.pop()) <= LONGEST_CODE and all(map(_is_code, counts)):
        rungs += [Parents(parents={}, prefix=size) for size in range(length - 1, 0, -1)]
    base = rungs[-1] if isinstance(rungs[-1], Parents) else Parents(parents={})
    found = Counter(base.apply(column).tolist())
    found.pop(None, None)
    threshold, total = least, sum(found.values())
    before = frozenset(found)
    while threshold <= total:
        kept = frozenset(value for value, count in found.items() if count >= threshold and value != OTHER)
        if kept and kept != before and len(kept) < len(found):
            rungs.append(Parents(parents=base.parents, prefix=base.prefix, kept=kept))
            before = kept
        threshold *= 2
    return [*rungs, Parents(parents={}, kept=frozenset())]


def _chains(parents: Mapping[str, str]) -> list[dict[str, str]]:
    """Return {value: parent}, {value: parent of the parent}, ... until nothing moves; each maps its own results to themselves."""
    found: list[dict[str, str]] = []
    now = dict(parents)
    for _ in range(len(parents) + 1):
        if not now or (found and now == found[-1]):
            break
        found.append({**{parent: parent for parent in now.values()}, **now} if not found else now)
        known = found[-1]
        now = {value: parents.get(parent, parent) for value, parent in known.items()}
    return [_closed(chain) for chain in found]


def _closed(chain: Mapping[str, str]) -> dict[str, str]:
    """Return the chain with its results mapped to themselves, so that a second time changes nothing."""
    return {**chain, **{parent: parent for parent in chain.values()}}


def _is_code(value: str) -> bool:
    return value.isalnum() and any(letter.isdigit() for letter in value)


def _round(value: float, spread: float) -> float:
    """Return the value with DIGITS significant digits of the column's spread."""
    unit = 10.0 ** (math.floor(math.log10(spread)) - DIGITS + 1)
    return float(f"{round(value / unit) * unit:.12g}")


def entropy(codes: np.ndarray) -> float:
    """Return the bits that a column of codes tells of a row (Shannon)."""
    shares = np.unique(codes, return_counts=True)[1] / max(1, len(codes))
    return max(0.0, float(-(shares * np.log2(shares)).sum()))


def codes_of(column: np.ndarray, rungs: Sequence[Rung]) -> list[np.ndarray]:
    """Return the column under each rung as int64 codes [n]; missing values are a value."""
    return [_codes(column if rung is None else rung.apply(column)) for rung in rungs]


def _codes(column: np.ndarray) -> np.ndarray:
    if column.dtype == object:
        known: dict[object, int] = {}
        return np.fromiter((known.setdefault(value, len(known)) for value in column.tolist()), dtype=np.int64, count=len(column))
    return np.unique(column, return_inverse=True, equal_nan=True)[1].astype(np.int64)
