"""Bootstrap weights: how often each row (or group of rows) is drawn in each resample.

Every statistic of this stage is written in weighted form, weights [R, n] -> values [R, k], so that one stream of weights serves
all metrics, and the same stream serves a model and its baselines: their differences are paired by construction.
R resamples, n rows, U units (rows, or groups where rows belong together), k metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats, Ints
from weighbridge.storage.progress import Progress, silent
from weighbridge.storage.seeds import rng

CHUNK_WEIGHTS = 500_000  # 4 MB of float64: stays in the cache of a core
JACKKNIFE_BLOCKS = 250  # leave-one-out up to here, leave-one-block-out beyond: the skewness of a sum does not depend on it
UNITS = 5000  # sums over more units are first added up in blocks: the bootstrap of a sum is the same to first order


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One or more metrics in weighted form.

    Attributes:
        names: k names.
        of: weights [R, n] -> values [R, k]; NaN where a resample has no value (one class only). Ones give the plain metric.
    """

    names: tuple[str, ...]
    of: Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """A metric's estimate, its value in R resamples, and the acceleration of BCa from the jackknife; `units` drawn a resample."""

    value: float
    draws: Floats
    acceleration: float
    units: int


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are made: how many resamples, for which two-sided level, from which seed."""

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A stream of weights that depends on the seed, the name and the number of units only."""

    n: int
    resamples: int
    seed: int
    group: Array | None = None
    name: str = "rows"

    @property
    def codes(self) -> Ints | None:
        """int64 [n] the unit of each row; None where each row is its own."""
        return None if self.group is None else np.unique(self.group, return_inverse=True)[1].astype(np.int64)

    def draws(self) -> Iterator[Floats]:
        """Give weights [c, n] until `resamples` rows were given."""
        codes, generator = self.codes, rng(self.seed, "evaluation", "bootstrap", self.name)
        units = self.n if codes is None else int(codes.max()) + 1
        chunk = max(1, CHUNK_WEIGHTS // self.n)
        for start in range(0, self.resamples, chunk):
            size = min(chunk, self.resamples - start)
            picks = generator.integers(0, units, size=(size, units)) + np.arange(size)[:, None] * units
            counts = np.bincount(picks.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)
            yield counts if codes is None else counts[:, codes]

    def left_out(self) -> Iterator[Floats]:
        """Give weights [c, n] of the jackknife: each row of weights leaves one unit, or one block of units, out."""
        codes = np.arange(self.n) if (known := self.codes) is None else known
        blocks = min(int(codes.max()) + 1, JACKKNIFE_BLOCKS)
        if blocks == 1:  # nothing would be left
            yield np.ones((1, self.n))
            return
        chunk = max(1, CHUNK_WEIGHTS // self.n)
        for start in range(0, blocks, chunk):
            yield (codes % blocks != np.arange(start, min(start + chunk, blocks))[:, None]).astype(np.float64)

    @property
    def units(self) -> int:
        return self.n if (codes := self.codes) is None else int(codes.max()) + 1


def values_of(statistics: Sequence[Statistic], n: int) -> dict[str, float]:
    """Return the plain metrics over n rows, without resampling."""
    result: dict[str, Floats] = {}
    for statistic in statistics:
        result |= dict(zip(statistic.names, statistic.of(np.ones((1, n)))[0], strict=True))
    return {name: float(value) for name, value in result.items()}


def replicate(statistics: Sequence[Statistic], sampler: Sampler, progress: Progress = silent) -> dict[str, Replicates]:
    """Return each metric's replicates; one pass over the weights for all of them."""
    draws: list[list[Floats]] = [[] for _ in statistics]
    done = 0
    for weights in sampler.draws():
        for kept, statistic in zip(draws, statistics, strict=True):
            kept.append(statistic.of(weights))
        done += len(weights)
        progress("bootstrap", done, sampler.resamples)
    jackknife: list[list[Floats]] = [[] for _ in statistics]
    for weights in sampler.left_out():
        for kept, statistic in zip(jackknife, statistics, strict=True):
            kept.append(statistic.of(weights))
    result: dict[str, Replicates] = {}
    for statistic, drawn, left in zip(statistics, draws, jackknife, strict=True):
        result |= _by_name(statistic, sampler, np.concatenate(drawn), np.concatenate(left))
    return result


def acceleration(influences: Floats) -> float:
    """Return the acceleration of BCa: a sixth of the skewness of the estimate (Efron 1987). 0 where nothing varies."""
    kept = influences[np.isfinite(influences)]
    kept = kept - kept.mean() if len(kept) else kept
    spread = float((kept**2).sum()) ** 1.5
    return float((kept**3).sum()) / (6 * spread) if spread > 1e-300 else 0.0


def unit_sums(features: Floats, group: Array | None) -> Floats:
    """Return sums [U, k] of features [n, k] over groups; more than UNITS units are added up in blocks of interleaved ones."""
    codes = np.arange(len(features)) if group is None else np.unique(group, return_inverse=True)[1]
    codes = codes % UNITS
    return np.stack([np.bincount(codes, column) for column in features.T], axis=1)


def _by_name(statistic: Statistic, sampler: Sampler, drawn: Floats, left: Floats) -> dict[str, Replicates]:
    plain = statistic.of(np.ones((1, sampler.n)))[0]
    units = sampler.units
    return {
        name: Replicates(
            value=float(plain[k]),
            draws=drawn[:, k],
            units=units,
            acceleration=acceleration(-left[:, k]),
        )
        for k, name in enumerate(statistic.names)
    }
