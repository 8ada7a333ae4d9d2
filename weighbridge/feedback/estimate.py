"""How good is the model while nobody gives labels? Accuracy from stated probabilities, and how far the answer may be wrong.

Each answer is as often right as test rows with about the same stated probability were: the contract's reliability curve, read between its
bins (average confidence, Guillory 2021, after recalibration; the confidence-based estimate of NannyML). The interval holds the share
right of these very rows. It has four parts: the curve's own error (its bins' intervals), the luck of the rows, how much the answer hangs
on the form of the curve between its bins (a line or a step: the same while probabilities are spread as they were, apart when they move
within bins), and what the curve can not know: rows unlike any that evaluation saw may be right or wrong, so their share widens both ends
in full (worst case, Manski 2003). Where the model's errors differ between rows of the same stated probability, a shift towards the harder
of them biases the estimate; a changed relation between input and label is invisible to it. Both are said beside the number. n rows, B
bins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.evaluation.intervals import NORMAL
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.feedback.streams import MISSING, NONE, Stream
from weighbridge.runtime.contract import Bin, Contract

LEVEL = 0.95
FAR = 1e-3  # a bin with a smaller share of reference rows than this, at an end of a number's range, was never really seen


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Share right of n unlabelled rows, with an interval; `outside` of them lie where the reference had no rows.

    `by_class`: the mean probability of each class, the class mix as the model states it.
    """

    value: float
    interval: tuple[float, float]
    n: int
    outside: float
    by_class: tuple[float, ...]


def can_estimate(contract: Contract) -> bool:
    """Whether the contract has what it takes: a category with a reliability curve."""
    return contract.kind == "category" and bool(contract.calibration)


def curve_of(points: Iterable[Mapping[str, Any]]) -> tuple[Bin, ...]:
    """Return the bins of a reliability curve as evaluation draws it."""
    return tuple(Bin(stated=one["confidence"], seen=one["accuracy"], interval=(one["low"], one["high"]), n=one["n"]) for one in points)


def estimated_accuracy(curve: Sequence[Bin], output: Floats, outside: Array) -> Estimate:
    """Return the estimate for outputs [n, C], at least one, by a curve of at least one bin (that of the second class where C is 2).

    Args: outside, bool [n] as of `is_outside`.
    """
    two = output.shape[1] == 2
    score = output[:, 1] if two else output.max(axis=1)
    seen, weights, errors = curve_at(curve, score)
    if two:
        sign = np.where(score > 0.5, 1.0, -1.0)
        right, weights = np.where(score > 0.5, seen, 1 - seen), weights * sign[:, None]
    else:
        right = seen
    own = right[~outside]
    value = float(right.mean())
    n, far = len(score), float(outside.mean())
    of_curve = math.sqrt(float(((weights[~outside].sum(axis=0) / n) ** 2 * errors**2).sum()))
    of_rows = math.sqrt(float((own * (1 - own)).sum())) / n
    of_form = abs(float((steps_at(curve, score) - seen)[~outside].sum())) / n
    reach = NORMAL.inv_cdf((1 + LEVEL) / 2) * math.hypot(of_curve, of_rows) + of_form
    inside = float(own.sum()) / n
    interval = max(0.0, inside - reach), min(1.0, inside + far + reach)
    return Estimate(value=value, interval=interval, n=n, outside=far, by_class=tuple(output.mean(axis=0).tolist()))


def curve_at(curve: Sequence[Bin], score: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the share right at each stated probability [n], the weight of each bin in it [n, B], and each bin's standard error [B].

    Between two bins' means the curve is a line; beyond the first and the last it runs parallel to the diagonal, inside 0..1.
    """
    stated, seen = np.array([one.stated for one in curve]), np.array([one.seen for one in curve])
    errors = np.array([(one.interval[1] - one.interval[0]) / 2 for one in curve]) / NORMAL.inv_cdf(0.975)
    at = np.clip(score, stated[0], stated[-1])
    right = np.clip(np.searchsorted(stated, at, side="left"), 1, max(len(stated) - 1, 1))
    weights = np.zeros((len(score), len(stated)))
    rows = np.arange(len(score))
    if len(stated) == 1:
        weights[:, 0] = 1.0
    else:
        share = (at - stated[right - 1]) / np.maximum(stated[right] - stated[right - 1], 1e-12)
        weights[rows, right - 1], weights[rows, right] = 1 - share, share
    return np.clip(weights @ seen + (score - at), 0.0, 1.0), weights, errors


def steps_at(curve: Sequence[Bin], score: Floats) -> Floats:
    """Return float64 [n]: the share right in the bin whose mean is the nearest."""
    stated, seen = np.array([one.stated for one in curve]), np.array([one.seen for one in curve])
    return np.asarray(seen[np.searchsorted((stated[1:] + stated[:-1]) / 2, score)])


def is_outside(streams: Sequence[Stream], bins: Array) -> Array:
    """Return bool [n]: the row has, in some input, a value that reference rows do not have: beyond the ends of a number, or an unseen name.

    bins: int64 [n, S]. Bins at the ends are open, so they count where they hold less than 0.1 % of the reference; missing values where no
    reference row had one.
    """
    found = np.zeros(len(bins), dtype=bool)
    for place, one in enumerate(streams):
        if not one.column:
            continue
        empty = _never_seen(one)
        here = bins[:, place]
        found |= (here != NONE) & empty[np.maximum(here, 0)]
    return found


def _never_seen(stream: Stream) -> Array:
    """bool [B]."""
    counts = np.array(stream.counts)
    few = counts < FAR * max(counts.sum(), 1)
    if not stream.ordered or stream.trait == MISSING:
        return np.asarray(few)
    before, after = np.logical_and.accumulate(few), np.logical_and.accumulate(few[::-1])[::-1]
    return np.asarray(before | after)
