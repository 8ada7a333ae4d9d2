"""Calibration: do rows that were given a probability of 0.8 come true 8 times in 10?

The calibration error here is the root of the mean squared distance between stated and observed rate over bins of equal mass,
with the sampling noise of the bins taken away before the root (Kumar 2019; Roelofs 2022): a perfectly calibrated model on few
rows would otherwise look miscalibrated. n rows, B bins, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.intervals import Interval, rate_interval, root_of_squares
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


@dataclass(frozen=True, kw_only=True)
class BinnedError:
    """Mean squared distance of the bins as seen, and of the noise in it the trace of the bins' covariance and of its square."""

    plain: float
    noise: float
    noise_of_squares: float

    def estimated(self, level: float) -> tuple[float, Interval]:
        """Return the debiased error with its interval."""
        return root_of_squares(self.plain, self.noise, self.noise_of_squares, level)


def top_label_error(predictions: Predictions) -> BinnedError:
    """The error of the stated probability."""
    return _binned_error([stated(predictions)], predictions.group)


def classwise_error(predictions: Predictions) -> BinnedError:
    """The error of every class's or label's probability, root mean square over them."""
    return _binned_error([_pair(predictions, c) for c in range(len(predictions.classes))], predictions.group)


def class_error(predictions: Predictions, code: int) -> BinnedError:
    """The error of one class's or label's probability."""
    return _binned_error([_pair(predictions, code)], predictions.group)


def reliability(predictions: Predictions, level: float) -> dict[str, list[dict[str, float | int]] | dict[str, list[float]]]:
    """Return the reliability curve with its band, and the histogram of stated probabilities, as evidence for plots.

    For labels all of them stand in one curve; its band then takes a row's labels for independent.
    """
    score, true = (predictions.output.ravel(), predictions.target.ravel()) if predictions.kind == "set" else stated(predictions)
    bins = equal_mass_bins(score)
    counts, edges = np.histogram(score, bins=HISTOGRAM_BINS, range=(0, 1))
    return {
        "curve": [_point(score[bins == b], true[bins == b], level) for b in range(bins.max() + 1)],
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def brier_decomposition(predictions: Predictions) -> dict[str, float]:
    """Return Murphy's parts (1973): Brier = reliability - resolution + uncertainty + what varies within bins (Stephenson 2008)."""
    parts = [_murphy(*_pair(predictions, c)) for c in _columns(predictions)]
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def debiased_decomposition(predictions: Predictions) -> dict[str, float]:
    """Return the parts without the noise of the bins' shares (Ferro and Fricker 2012): Brier = reliability - resolution + uncertainty.

    What the probabilities tell apart within bins is part of the resolution (Stephenson 2008).
    """
    parts, columns = brier_decomposition(predictions), _columns(predictions)
    noise = sum(_binned_error([_pair(predictions, c)], predictions.group).noise for c in columns)
    own = parts["uncertainty"] / max(len(predictions) - 1, 1)
    return {
        "reliability": parts["reliability"] - noise,
        "resolution": parts["resolution"] - parts["within_bins"] - noise + own,
        "uncertainty": parts["uncertainty"] + own,
    }


def brier_skill(predictions: Predictions) -> Statistic:
    """The share of the uncertainty that the probabilities remove: 1 - Brier / that of stating the shares of these rows for each row."""
    pairs = [_pair(predictions, c) for c in _columns(predictions)]
    truth = np.stack([true for _, true in pairs], axis=1).astype(np.float64)
    loss = sum((score - true) ** 2 for score, true in pairs)

    def of(weights: Floats) -> Floats:
        total = weights.sum(axis=1, keepdims=True)
        share = weights @ truth / total
        without = (share * (1 - share)).sum(axis=1, keepdims=True)
        lost = (weights @ loss)[:, None] / total
        return np.asarray(1 - np.divide(lost, without, out=np.full_like(lost, np.nan), where=without > 0))

    return Statistic(names=("brier_skill",), of=of)


def _columns(predictions: Predictions) -> list[int]:
    """Return the columns that the Brier score is a sum over: the second class of two, else every class or label."""
    two = predictions.kind == "category" and len(predictions.classes) == 2
    return [1] if two else list(range(len(predictions.classes)))


def _pair(predictions: Predictions, code: int) -> tuple[Floats, Array]:
    """Return what was stated of a class or label, and whether it came true."""
    true = predictions.target[:, code] if predictions.kind == "set" else predictions.target == code
    return predictions.output[:, code], true


def _binned_error(pairs: Sequence[tuple[Floats, Array]], group: Array | None) -> BinnedError:
    """Mean over pairs of the squared bin errors, weighted by the bins' mass; rows of a group vary together, and so do one row's classes."""
    parts = [_influences(score, true - score, group) for score, true in pairs]
    influences = np.concatenate([part for _, part in parts], axis=1) / math.sqrt(len(pairs))
    if group is not None:
        influences = unit_sums(influences, group)
    covariance = influences.T @ influences
    noise, squares = float(np.trace(covariance)), float((covariance**2).sum())
    if len(pairs) > 1 or group is not None:  # covariances that are not 0 by construction are noisy, which adds to their squares
        squares = max(squares - noise**2 / len(influences), noise**2 / len(covariance))
    return BinnedError(plain=float(np.mean([plain for plain, _ in parts])), noise=noise, noise_of_squares=squares)


def _influences(score: Floats, gap: Floats, group: Array | None) -> tuple[float, Floats]:
    """Return the mean squared bin error of one score, and [n, B] what each row adds to the root of each bin's share of it."""
    bins, n = equal_mass_bins(score), len(score)
    rows = np.bincount(bins)
    means = np.bincount(bins, gap) / rows
    units = rows if group is None else np.bincount(np.unique(np.stack([bins, np.unique(group, return_inverse=True)[1]]), axis=1)[0])
    small = np.sqrt(units / np.maximum(units - 1, 1))  # the mean was taken from the same rows
    own = (gap - means[bins]) * (small / np.sqrt(n * rows))[bins]
    return float((rows * means**2).sum() / n), np.eye(len(rows))[bins] * own[:, None]


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
