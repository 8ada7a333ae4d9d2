"""Calibration: do rows that were given a probability of 0.8 come true 8 times in 10?

The calibration error here is the root of the mean squared distance between stated and observed rate over bins of equal mass,
with the sampling noise of the bins taken away before the root (Kumar 2019; Roelofs 2022): a perfectly calibrated model on few
rows would otherwise look miscalibrated. Squares are bootstrapped, the root is taken last. n rows, B bins, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weighbridge.evaluation.intervals import rate_interval
from weighbridge.evaluation.predictions import Array, Floats, Ints, Predictions
from weighbridge.evaluation.resampling import Statistic, unit_sums

BINS = 15
ROWS_PER_BIN = 20
HISTOGRAM_BINS = 20


def stated(predictions: Predictions) -> tuple[Floats, Array]:
    """Return float [n] the probability a reader is shown and bool [n] whether it came true.

    Two classes: probability of the second class. More: of the chosen class (top label).
    """
    if len(predictions.classes) == 2:
        return predictions.output[:, 1], predictions.target == 1
    return predictions.output.max(axis=1), predictions.chosen == predictions.target


def equal_mass_bins(score: Floats) -> Ints:
    """int64 [n]: the bin of each row; at most 15, of at least 20 rows each on average; equal scores share a bin."""
    bins = int(np.clip(len(score) // ROWS_PER_BIN, 1, BINS))
    edges = np.quantile(score, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
    return np.unique(np.searchsorted(edges, score, side="left"), return_inverse=True)[1].astype(np.int64)


def top_label_error(predictions: Predictions) -> Statistic:
    """Debiased calibration error of the stated probability."""
    score, true = stated(predictions)
    return _squared_error("calibration_error", [(score, true)], predictions.group)


def classwise_error(predictions: Predictions) -> Statistic:
    """Debiased calibration error of every class's probability, root mean square over classes."""
    pairs = [(predictions.output[:, c], predictions.target == c) for c in range(len(predictions.classes))]
    return _squared_error("calibration_error_classwise", pairs, predictions.group)


def reliability(predictions: Predictions, level: float) -> dict[str, list[dict[str, float | int]] | dict[str, list[float]]]:
    """Return the reliability curve with its band, and the histogram of stated probabilities, as evidence for plots."""
    score, true = stated(predictions)
    bins = equal_mass_bins(score)
    counts, edges = np.histogram(score, bins=HISTOGRAM_BINS, range=(0, 1))
    return {
        "curve": [_point(score[bins == b], true[bins == b], level) for b in range(bins.max() + 1)],
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def brier_decomposition(predictions: Predictions) -> dict[str, float]:
    """Return Murphy's parts (1973): Brier = reliability - resolution + uncertainty + what varies within bins (Stephenson 2008)."""
    columns = [1] if len(predictions.classes) == 2 else range(len(predictions.classes))
    parts = [_murphy(predictions.output[:, c], predictions.target == c) for c in columns]
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def _squared_error(name: str, pairs: Sequence[tuple[Floats, Array]], group: Array | None) -> Statistic:
    """Mean over pairs of the squared bin errors, weighted by bin; its noise is estimated once, over groups where there are some."""
    binned = [(equal_mass_bins(score), true - score) for score, true in pairs]
    matrices = [np.eye(bins.max() + 1)[bins] for bins, _ in binned]

    def of(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        squares = np.zeros(len(weights))
        for (_, gap), matrix in zip(binned, matrices, strict=True):
            mass, sums = weights @ matrix, weights @ (matrix * gap[:, None])
            squares += np.divide(sums**2, mass, out=np.zeros_like(sums), where=mass > 0).sum(axis=1) / total
        return (squares / len(pairs))[:, None]

    noise = float(np.mean([_noise(bins, gap, group) for bins, gap in binned]))
    return Statistic(names=(name,), of=of, bias=noise, root=True)


def _noise(bins: Ints, gap: Floats, group: Array | None) -> float:
    """Return the expected squared bin error of a calibrated model: over bins, the mass times the variance of the mean gap."""
    noise = 0.0
    for b in range(bins.max() + 1):
        inside = gap[bins == b]
        centred = (inside - inside.mean())[:, None]
        sums = unit_sums(centred, np.arange(len(inside)) if group is None else group[bins == b])[:, 0]
        noise += float((sums**2).sum()) * len(sums) / max(len(sums) - 1, 1) / len(inside)
    return noise / len(gap)


def _point(score: Floats, true: Array, level: float) -> dict[str, float | int]:
    hits, n = int(true.sum()), len(true)
    low, high = rate_interval(hits, n, level)
    return {"confidence": float(score.mean()), "accuracy": hits / n, "low": low, "high": high, "n": n}


def _murphy(score: Floats, true: Array) -> dict[str, float]:
    bins = equal_mass_bins(score)
    mass = np.bincount(bins) / len(bins)
    said, seen = np.bincount(bins, score) / np.bincount(bins), np.bincount(bins, true) / np.bincount(bins)
    base = float(true.mean())
    reliability_part, resolution = float(mass @ (said - seen) ** 2), float(mass @ (seen - base) ** 2)
    total = float(((score - true) ** 2).mean())
    return {
        "reliability": reliability_part,
        "resolution": resolution,
        "uncertainty": base * (1 - base),
        "within_bins": total - reliability_part + resolution - base * (1 - base),
    }
