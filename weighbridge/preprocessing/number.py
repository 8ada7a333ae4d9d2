"""Numbers: scaled to about unit deviation, a missing one replaced and marked, outliers kept within bounds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any, ClassVar, Literal, Self

import numpy as np

from weighbridge.preprocessing.feature import BlockKind
from weighbridge.preprocessing.sample import NumberSample

Scale = Literal["standard", "robust", "quantile", "none"]
QUANTILES = 1000
LARGEST = 1e150  # squares of larger values leave float64
LARGEST_FLOAT32 = 3e38
IQR_OF_NORMAL = 1.3489795003921634  # quartile range of a normal distribution with deviation 1


@dataclass(frozen=True, kw_only=True)
class NumberFeature:
    """A fitted number column.

    `center` and `spread` are mean and standard deviation, or median and quartile range / 1.349 for `robust`. For
    `quantile`, `values` (rising) are mapped to `scores` of a normal distribution and joined by lines, so the map is
    monotone. `clip` bounds the result in units of `spread`; with `none` the raw value is bounded at the same place.
    A value of infinite size lands on the bound; NaN is missing and becomes `fill`.
    """

    type: ClassVar[str] = "number"
    kind: ClassVar[BlockKind] = "number"

    column: str
    scale: Scale
    center: float
    spread: float
    fill: float
    indicator: bool
    clip: float
    rows: int
    missing: int
    least: float = 0.0
    largest: float = 0.0
    values: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column, f"{self.column} is missing") if self.indicator else (self.column,)

    def encode(self, column: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return float32 [n, 1 or 2]: the scaled value and, with `indicator`, 1 where it was missing. Always finite."""
        values = np.asarray(column, dtype=np.float64)
        lost = np.isnan(values)
        out = np.empty((len(values), len(self.names)), dtype=np.float32)
        out[:, 0] = self._scaled(np.where(lost, self.fill, values))
        if self.indicator:
            out[:, 1] = lost
        return out

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Return float64 [n] in the column's own units; clipped values come back as the bound, marked ones as NaN."""
        scaled = np.asarray(array[:, 0], dtype=np.float64)
        if self.scale == "none":
            values = scaled
        elif self.scale == "quantile":
            values = np.interp(scaled, *self._line[::-1])
        else:
            values = scaled * self.spread + self.center
        return np.where(array[:, 1] > 0.5, np.nan, values) if self.indicator else values

    def to_json(self) -> dict[str, Any]:
        return {"type": self.type, **asdict(self), "values": list(self.values), "scores": list(self.scores)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Return the feature. Raises ValueError, TypeError or KeyError for a state that is not one."""
        known = {**state, "values": tuple(map(float, state["values"])), "scores": tuple(map(float, state["scores"]))}
        known.pop("type")
        feature = cls(**known)
        numbers = np.array([feature.center, feature.spread, feature.fill, feature.clip, *feature.values, *feature.scores])
        if not np.isfinite(numbers).all() or feature.spread <= 0 or len(feature.values) != len(feature.scores):
            raise ValueError(f"the state of number column {feature.column!r} is not finite")
        if feature.scale == "quantile" and not feature.values:
            raise ValueError(f"number column {feature.column!r} has no quantiles")
        return feature

    @cached_property
    def _line(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.values), np.array(self.scores)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        values = np.clip(values, -LARGEST, LARGEST)
        if self.scale == "none":
            reach = self.clip * self.spread
            bounded = np.clip(values, self.center - reach, self.center + reach)
            return np.asarray(np.clip(bounded, -LARGEST_FLOAT32, LARGEST_FLOAT32))
        if self.scale == "quantile":
            scaled = np.interp(values, *self._line)
        else:
            with np.errstate(over="ignore"):
                scaled = (values - self.center) / self.spread
        return np.asarray(np.clip(scaled, -self.clip, self.clip))


class NumberFit:
    """Streams a number column: mean and deviation exact (Chan 1979, float64), quantiles on at most 200,000 rows."""

    def __init__(
        self,
        column: str,
        *,
        scale: Scale,
        generator: np.random.Generator,
        missing: Literal["median", "mean"] = "median",
        indicator: bool = True,
        clip: float = 10.0,
    ) -> None:
        self._column, self._scale, self._fill_by, self._indicator, self._clip = column, scale, missing, indicator, clip
        self._sample = NumberSample(generator)
        self._rows, self._count, self._mean, self._squares = 0, 0, 0.0, 0.0
        self._least, self._largest = np.inf, -np.inf

    def add(self, column: np.ndarray, rows: np.ndarray | None = None) -> None:
        values = np.asarray(column, dtype=np.float64)
        self._rows += len(values)
        values = np.clip(values[np.isfinite(values)], -LARGEST, LARGEST)
        if not len(values):
            return
        self._merge(len(values), float(values.mean()), values)
        self._least = min(self._least, float(values.min()))
        self._largest = max(self._largest, float(values.max()))
        self._sample.add(values)

    def _merge(self, count: int, mean: float, values: np.ndarray) -> None:
        squares = float(np.square(values - mean).sum())
        total, apart = self._count + count, mean - self._mean
        self._squares += squares + apart * apart * self._count * count / total
        self._mean += apart * count / total
        self._count = total

    def finish(self) -> NumberFeature:
        """Return the feature. A column without any value encodes as 0, a constant one without scaling."""
        sample = self._sample.values()
        quartiles = np.quantile(sample, [0.25, 0.5, 0.75]) if len(sample) else np.zeros(3)
        deviation = float(np.sqrt(self._squares / self._count)) if self._count else 0.0
        center, spread = self._mean, deviation
        if self._scale == "robust":
            center, spread = float(quartiles[1]), float(quartiles[2] - quartiles[0]) / IQR_OF_NORMAL or deviation
        if not spread > 1e-12 * max(abs(center), 1e-280):
            spread = 1.0
        values, scores = normal_scores(sample) if self._scale == "quantile" else ((), ())
        missing = self._rows - self._count
        return NumberFeature(
            column=self._column, scale=self._scale, center=center, spread=spread, clip=self._clip,
            fill=float(quartiles[1]) if self._fill_by == "median" else self._mean,
            indicator=self._indicator and missing > 0, rows=self._rows, missing=missing,
            least=self._least if self._count else 0.0, largest=self._largest if self._count else 0.0,
            values=values, scores=scores,
        )  # fmt: skip


def normal_scores(sample: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return rising values and their normal scores: at most 1,000 quantiles, equal values share their mean rank.

    The ends lie at rank 0.5 / n (Hazen), so the scores are finite.
    """
    if not len(sample):
        return (0.0,), (0.0,)
    ranks = np.linspace(0, 1, min(QUANTILES, max(len(sample), 2)))
    values, place = np.unique(np.quantile(sample, ranks), return_inverse=True)
    mean_rank = np.bincount(place, weights=ranks) / np.bincount(place)
    edge = 0.5 / len(sample)
    inverse = NormalDist().inv_cdf
    return tuple(values.tolist()), tuple(inverse(float(rank)) for rank in np.clip(mean_rank, edge, 1 - edge))
