"""Near copies among texts across sides: sketches propose pairs by bands (Broder 1997), each is verified at Jaccard 0.8 on all runs.

Texts are read piece by piece, twice, and the few that are verified once more: memory holds a sketch of each text, not the texts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from weighbridge.data.leaks_text import (
    ABSENT,
    COUNTED_TEXTS,
    PLACES,
    Held,
    Texts,
    common_shingles,
    is_sequence,
    jaccard,
    least_shingles,
    minhash,
    mixed,
    normal,
    shingles,
)
from weighbridge.storage.progress import Progress, silent
from weighbridge.storage.seeds import rng

LEAST_LIKENESS = 0.8
BANDS, ROWS = 25, 5  # a pair at Jaccard 0.8 is proposed with probability 1 - (1 - 0.8^5)^25 = 0.99995
LEAST_AGREEMENT = 0.6  # share of equal places below which a pair is not verified: five standard errors under 0.8
MOST_PARTNERS, MOST_VERIFIED = 256, 8  # of one text in one band: texts of one form fill a band with thousands
KEPT_BYTES = 64 << 20  # of runs of texts that were verified
FEW = 64  # texts read at once


@dataclass(frozen=True, kw_only=True)
class NearTexts:
    """Pairs int64 [k, 2] (a text, one of a later side that is near to it); whether the texts are sequences rather than prose."""

    pairs: np.ndarray
    sequences: bool


def near_texts(texts: Texts | Sequence[str | None], side: np.ndarray, progress: Progress = silent) -> NearTexts:
    """Return each text with one of a later side (`side` int [n], a higher number is later) of Jaccard 0.8 or more.

    Texts that are equal but for case, width and spaces are near copies. What is missing, empty or short is near to nothing.
    """
    return _Search(Held(texts) if isinstance(texts, Sequence) else texts, side, progress).run()


class _Search:
    """One search: the different texts are numbered in the order of their first rows, and sketched."""

    def __init__(self, texts: Texts, side: np.ndarray, progress: Progress) -> None:
        self.texts, self.side, self.progress = texts, side.astype(np.int8), progress
        sample = self._sample()
        self.sequences = len(sample) > 0 and sum(map(is_sequence, sample)) > len(sample) / 2
        self.common = common_shingles({normal(text, folded=not self.sequences): None for text in sample})
        self.kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self.kept_bytes = 0

    def run(self) -> NearTexts:
        code, first, long = self._number()
        n = len(first)
        low, high = np.full(n, 127, dtype=np.int8), np.full(n, -1, dtype=np.int8)
        known = code >= 0
        np.minimum.at(low, code[known], self.side[known])
        np.maximum.at(high, code[known], self.side[known])
        partner = np.where((high > low) & long, np.arange(n), -1)
        self._propose(first, low, high, partner)
        last = np.full(n, -1, dtype=np.int64)  # the first row of each text on its latest side
        rows = np.flatnonzero(known)[::-1]
        rows = rows[self.side[rows] == high[code[rows]]]
        last[code[rows]] = rows
        near = np.full(len(code), -1, dtype=np.int64)
        near[known] = partner[code[known]]
        early = np.flatnonzero(near >= 0)
        early = early[high[near[early]] > self.side[early]]
        return NearTexts(pairs=np.column_stack([early, last[near[early]]]).astype(np.int64), sequences=self.sequences)

    def _sample(self) -> list[str]:
        n = len(self.texts)
        rows = np.sort(rng(0, "data.leaks_text.sample").permutation(n)[:COUNTED_TEXTS])
        return [text for start in range(0, len(rows), FEW) for text in self.texts.at(rows[start : start + FEW]) if text]

    def _number(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (number of each row's text int64 [n], -1 where it has none; the first row of each text; whether it is long enough) and
        keep the sketches.
        """
        known: dict[bytes, int] = {}
        code, first, long = np.full(len(self.texts), -1, dtype=np.int64), list[int](), list[bool]()
        sketches = np.empty((len(self.texts), PLACES), dtype=np.uint32)  # what is not written takes no memory
        row = 0
        for piece in self.texts.pieces():
            new: list[str] = []
            for text in piece:
                plain = normal(text or "", folded=not self.sequences)
                if plain:
                    place = known.setdefault(blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest(), len(known))
                    code[row] = place
                    if place == len(first):
                        first.append(row)
                        new.append(plain)
                row += 1
            sketches[len(long) : len(first)] = minhash(new, self.common)
            long += [len(plain) >= least_shingles(plain) + 4 for plain in new]
            self.progress("texts hashed", row, len(self.texts))
        self.sketches = sketches[: len(first)]
        return code, np.array(first, dtype=np.int64), np.array(long, dtype=bool)

    def _propose(self, first: np.ndarray, low: np.ndarray, high: np.ndarray, partner: np.ndarray) -> None:
        """`partner` of each text that stands on an earlier side is one near to it, where a band proposes one."""
        told = (self.sketches != ABSENT).any(axis=1)
        for band in range(BANDS):
            keys = np.zeros(len(first), dtype=np.uint64)
            for place in range(band * ROWS, (band + 1) * ROWS):
                keys = mixed(keys * np.uint64(0x9E3779B97F4A7C15) + self.sketches[:, place])
            order = np.argsort(keys, kind="stable")
            order = order[told[order]]
            starts = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1])) if len(order) else np.empty(0, dtype=np.int64)
            sizes = np.diff(np.append(starts, len(order)))
            for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
                self._compare(order[start : start + size], first, low, high, partner)
            self.progress("texts compared", band + 1, BANDS)

    def _compare(self, group: np.ndarray, first: np.ndarray, low: np.ndarray, high: np.ndarray, partner: np.ndarray) -> None:
        latest = high[group].max()
        for mine in group[(partner[group] < 0) & (low[group] < latest)].tolist():
            others = group[(high[group] > low[mine]) & (group != mine)][:MOST_PARTNERS]
            agreement = (self.sketches[others] == self.sketches[mine]).mean(axis=1)
            others, agreement = others[agreement >= LEAST_AGREEMENT], agreement[agreement >= LEAST_AGREEMENT]
            for candidate in others[np.argsort(-agreement, kind="stable")][:MOST_VERIFIED].tolist():
                if self._near(int(first[mine]), int(first[candidate])):
                    partner[mine] = candidate
                    break

    def _near(self, one: int, other: int) -> bool:
        ours, theirs = self._runs(one), self._runs(other)
        return bool(len(ours)) and bool(len(theirs)) and jaccard(ours, theirs) >= LEAST_LIKENESS

    def _runs(self, row: int) -> np.ndarray:
        """Return the runs of a text that are not common; none where there are too few to tell."""
        if row in self.kept:
            self.kept.move_to_end(row)
            return self.kept[row]
        text = normal(self.texts.at(np.array([row]))[0] or "", folded=not self.sequences)
        found = shingles(text, self.common)
        if len(found) < least_shingles(text):
            found = found[:0]
        self.kept[row] = found
        self.kept_bytes += found.nbytes
        while self.kept_bytes > KEPT_BYTES and len(self.kept) > 2:
            self.kept_bytes -= self.kept.popitem(last=False)[1].nbytes
        return found
