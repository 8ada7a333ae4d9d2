"""Have the inputs, or the answers, moved away from what evaluation saw? Asked at every row, with one rate of false alarms for ever.

Ranks. A row's rank in a stream among the contract's reference rows and all rows that came before it, ties broken at random, is uniform
and independent of earlier ranks while rows are exchangeable with the reference: a conformal p-value (Vovk, Gammerman and Shafer 2005).
That is exact for any data and any bins, whatever the number of reference rows.

Bets. Histograms of the ranks so far bet on the next (plug-in martingale, Fedorova, Gammerman, Nouretdinov and Vovk 2012): two partitions
by two memories, all ranks and about the last 300. Beside them lie six plain bets that learn nothing and so are fast: that ranks are
higher, lower (those of Vovk's simple jumper 2021), nearer to the ends or to the middle. All start anew at every row (restarts.py): a late
change is found.

Many streams. Each stream's martingale is one among its own past only; an average of several need not be one when they are looked at
together (Choe and Ramdas 2024). So the limits are divided (Bonferroni): by columns, and within a column by its streams, such as the 60
numbers that are made of an image. The probability that any stream of any column that has not moved ever gives an alarm is at most alpha,
under any dependence; which columns have moved is told by Holm's steps over anytime-valid p-values, with the same rate. Controlling the
rate of any false alarm controls the false-discovery rate as well. n rows, S streams, B bins, W memories, P partitions, K parts of one, E
bets in all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from weighbridge.errors import StorageError
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.feedback.restarts import log_stakes, purse
from weighbridge.feedback.streams import NONE, Stream
from weighbridge.storage.seeds import key_of

ALPHA = 0.05
PARTS = (4, 16)  # of the unit interval, by partition
MEMORY = (1.0, 1 - 1 / 300)  # what is left of a rank's weight after one more row
PRIOR = 8.0  # ranks that a histogram starts with, evenly spread: its first bets are small
TILTS = (-1.5, -0.75, 0.75, 1.5)  # plain bets 1 + tilt (rank - 1/2)
SPREADS = (-1.0, 1.0)  # plain bets 1 + spread (|2 rank - 1| - 1/2)
BETS = len(PARTS) * len(MEMORY) + len(TILTS) + len(SPREADS)
PIECE = 128  # rows at a time
GOLDEN, MIX, MIX_2 = (np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What is known of one column ("": the answers): its anytime-valid p-value, the streams that gave it the alarm, and since which row.

    `since` counts rows from the start of the watch, 1 for the first; None while there is no alarm.
    """

    column: str
    p_value: float
    since: int | None
    traits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drift:
    """The watch over S streams after `rows` rows.

    Attributes:
        seen: int64 [S, B] watched rows by bin. ranks: float64 [W, S, P, K] weight of ranks by part.
        totals: float64 [W, S], all of it. log_tables: float64 [S, E].
        peak: float64 [S], largest logarithm of the capital so far. since: int64 [S], the row of the alarm, 0 for none.
    """

    streams: tuple[Stream, ...]
    seed: int
    alpha: float
    rows: int
    seen: Array
    ranks: Floats
    totals: Floats
    log_tables: Floats
    peak: Floats
    since: Array

    @classmethod
    def start(cls, streams: Sequence[Stream], *, seed: int, alpha: float = ALPHA) -> Self:
        """Return the watch before its first row; also what follows an acknowledged alarm or a new champion."""
        count, bins = len(streams), max((len(one.counts) for one in streams), default=1)
        return cls(
            streams=tuple(streams), seed=seed, alpha=alpha, rows=0, seen=np.zeros((count, bins), dtype=np.int64),
            ranks=np.zeros((len(MEMORY), count, len(PARTS), max(PARTS))), peak=np.zeros(count), since=np.zeros(count, dtype=np.int64),
            totals=np.zeros((len(MEMORY), count)), log_tables=np.full((count, BETS), -np.inf),
        )  # fmt: skip

    def add(self, bins: Array) -> Drift:
        """Return the state after rows with these bins [n, S], -1 for none; the same however the rows were cut into pieces."""
        state = self
        for start in range(0, len(bins), PIECE):
            state = state._after(bins[start : start + PIECE])
        return state

    def _after(self, bins: Array) -> Drift:
        if not self.streams:
            return replace(self, rows=self.rows + len(bins))
        p_values, seen = self._ranks(bins)
        present = bins != NONE
        order = self.seen.sum(axis=1) + np.cumsum(present, axis=0)
        ranks, totals, tables, capital = self._bet(p_values, present, order)
        over = capital >= self._limits
        first = np.where(over.any(axis=0), self.rows + 1 + over.argmax(axis=0), 0)
        return replace(
            self, rows=self.rows + len(bins), seen=seen, ranks=ranks, totals=totals, log_tables=tables,
            peak=np.maximum(self.peak, capital.max(axis=0)), since=np.where(self.since > 0, self.since, first),
        )  # fmt: skip

    def _ranks(self, bins: Array) -> tuple[Floats, Array]:
        """Return p-values [n, S] of the ranks, the largest value's near 0, and the rows by bin after all."""
        n, width = len(bins), self.seen.shape[1]
        own = bins[:, :, None] == np.arange(width)
        after = np.cumsum(own, axis=0)
        counts = self._reference + self.seen + after
        up_to = np.cumsum(counts, axis=2)
        place = np.maximum(bins, 0)[:, :, None]
        equal = np.take_along_axis(counts, place, axis=2)[:, :, 0]
        above = up_to[:, :, -1] - np.take_along_axis(up_to, place, axis=2)[:, :, 0]
        chance = uniforms(self._keys, self.rows + np.arange(n))
        return (above + chance * equal) / np.maximum(up_to[:, :, -1], 1), self.seen + after[-1]

    def _bet(self, p_values: Floats, present: Array, order: Array) -> tuple[Floats, Floats, Floats, Floats]:
        """Return ranks, totals and tables after all rows, and the logarithm of the capital [n, S] after each."""
        cuts, widths = self._partitions
        parts = (p_values[:, :, None, None] >= cuts).sum(axis=3)  # [n, S, P]
        flat = np.arange(parts[0].size).reshape(parts[0].shape) * max(PARTS) + parts
        shares = widths.reshape(-1)[flat]
        ranks, tables = self.ranks.reshape(len(MEMORY), -1).copy(), self.log_tables
        totals = self.totals
        stakes = log_stakes(np.maximum(order, 1))
        left = np.array(MEMORY)[:, None]
        made, plain = np.empty((len(parts), *tables.shape)), plain_bets(p_values)
        for row, here in enumerate(present):
            found = ranks[:, flat[row]]
            density = (found + PRIOR * shares[row]) / ((totals[:, :, None] + PRIOR) * shares[row])
            factors = np.concatenate([density.transpose(1, 0, 2).reshape(len(here), -1), plain[row]], axis=1)
            tables = np.where(here[:, None], np.logaddexp(tables, stakes[row][:, None]) + np.log(factors), tables)
            kept = np.where(here, left, 1.0)
            ranks *= np.repeat(kept, ranks.shape[1] // len(here), axis=1)
            ranks[:, flat[row]] += here[:, None]
            totals = totals * kept + here
            made[row] = tables
        capital = np.log(purse(order) + np.exp(np.minimum(made, 600)).mean(axis=2))
        return ranks.reshape(self.ranks.shape), totals, tables, np.where(present, capital, 0.0)

    @cached_property
    def _reference(self) -> Array:
        found = np.zeros(self.seen.shape, dtype=np.int64)
        for place, one in enumerate(self.streams):
            found[place, : len(one.counts)] = one.counts
        return found

    @cached_property
    def _keys(self) -> Array:
        return np.array([key_of(self.seed, "drift", one.column, one.trait) % 2**64 for one in self.streams], dtype=np.uint64)

    @cached_property
    def _limits(self) -> Floats:
        """Logarithm of the capital [S] at which a stream gives an alarm."""
        names = [one.column for one in self.streams]
        return np.array([math.log(len(set(names)) * names.count(name) / self.alpha) for name in names])

    @cached_property
    def _partitions(self) -> tuple[Floats, Floats]:
        """Inner cuts [S, P, K - 1] of the unit interval, infinite where there are fewer, and widths [S, P, K]."""
        cuts = np.full((len(self.streams), len(PARTS), max(PARTS) - 1), np.inf)
        widths = np.ones((len(self.streams), len(PARTS), max(PARTS)))
        for place, one in enumerate(self.streams):
            for which, parts in enumerate(PARTS):
                inner = _own_cuts(one, parts) if which else np.arange(1, parts) / parts
                cuts[place, which, : len(inner)] = inner
                widths[place, which, : len(inner) + 1] = np.diff([0.0, *inner, 1.0])
        return cuts, widths

    @property
    def alarm(self) -> bool:
        """Whether any column ever gave an alarm."""
        return bool((self.since > 0).any())

    def columns(self) -> list[Moved]:
        """Return what is known of each column, in the order of the streams."""
        found = []
        for name in dict.fromkeys(one.column for one in self.streams):
            places = [place for place, one in enumerate(self.streams) if one.column == name]
            peak = max(self.peak[place] for place in places)
            rows = [int(self.since[place]) for place in places if self.since[place]]
            traits = [self.streams[place].trait for place in sorted(places, key=lambda one: -self.peak[one]) if self.since[place]]
            p_value = min(1.0, len(places) * math.exp(-peak))
            found.append(Moved(column=name, p_value=p_value, since=min(rows, default=None), traits=tuple(traits)))
        return found

    def moved(self) -> list[Moved]:
        """Return the columns that have moved, by Holm's steps: none falsely, ever, with probability 1 - alpha."""
        told, order = [], sorted(self.columns(), key=lambda one: one.p_value)
        for place, one in enumerate(order):
            if one.p_value > self.alpha / (len(order) - place):
                break
            told.append(one)
        return told

    def to_json(self) -> dict[str, Any]:
        """Return the state without its streams, which the contract gives again."""
        tables = np.where(np.isfinite(self.log_tables), self.log_tables, -1e300)
        arrays = {
            "seen": self.seen,
            "ranks": self.ranks,
            "totals": self.totals,
            "log_tables": tables,
            "peak": self.peak,
            "since": self.since,
        }
        return {"seed": self.seed, "alpha": self.alpha, "rows": self.rows} | {name: one.tolist() for name, one in arrays.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], streams: Sequence[Stream]) -> Self:
        """Return the state over these streams. Raises StorageError when it is one over others."""
        empty = cls.start(streams, seed=value["seed"], alpha=value["alpha"])
        arrays = {
            name: np.array(value[name], dtype=getattr(empty, name).dtype)
            for name in ("seen", "ranks", "totals", "log_tables", "peak", "since")
        }
        for name, one in arrays.items():
            if one.shape != getattr(empty, name).shape and len(streams):
                raise StorageError("the watch was kept for another contract", do="delete the watch's state: it is made again from the log")
        arrays["log_tables"] = np.where(arrays["log_tables"] <= -1e300, -np.inf, arrays["log_tables"])
        return cls(streams=empty.streams, seed=empty.seed, alpha=empty.alpha, rows=value["rows"], **arrays)


def _own_cuts(stream: Stream, parts: int) -> Array:
    """Inner cuts of the ranks where names (or yes and no) meet, by their share of reference rows; even ones for numbers and many names."""
    counts = np.array(stream.counts[::-1], dtype=np.float64) + 0.5
    if len(counts) > parts or (stream.ordered and len(counts) > 2):
        return np.arange(1, parts) / parts
    return np.asarray(np.cumsum(counts)[:-1] / counts.sum())


def plain_bets(p_values: Floats) -> Floats:
    """Return float64 [n, S, 6] densities on the unit interval at these ranks."""
    middle, ends = p_values[:, :, None] - 0.5, np.abs(2 * p_values[:, :, None] - 1) - 0.5
    return 1 + np.concatenate([middle * np.array(TILTS), ends * np.array(SPREADS)], axis=2)


def uniforms(keys: Array, rows: Array) -> Floats:
    """Return float64 [n, S] in [0, 1), a function of stream and row alone (SplitMix64, Steele 2014): resuming draws the same again."""
    with np.errstate(over="ignore"):
        mixed = keys + (rows.astype(np.uint64)[:, None] + np.uint64(1)) * GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * MIX
        mixed = (mixed ^ (mixed >> np.uint64(27))) * MIX_2
        mixed = mixed ^ (mixed >> np.uint64(31))
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53)
