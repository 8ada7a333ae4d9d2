"""Which labels are probably wrong, and how many: answers of a model that did not see them against the labels that the rows carry.

Confident learning (Northcutt 2021) names single rows. Where classes overlap it names right labels too: of two Gaussians two deviations
apart it flagged 7 % of clean rows. So the number is not counted there but estimated among the rows that the model is surest of, where
overlap is least: the share of them that carry another label. A label that is wrong by chance is as often wrong there as anywhere; errors
that sit where classes meet are not seen by it, and what overlap is left makes it too large. No more rows are named than that estimate
allows. n rows, C classes.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from weighbridge.errors import DependencyError
from weighbridge.evaluation.intervals import Interval, rate_interval
from weighbridge.evaluation.predictions import Array, Floats

SUREST, LEAST_SUREST = 0.1, 200  # share of the rows by whose answers the rate is judged; of few rows up to a fifth


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The share of wrong labels with its interval, judged on the n rows that the model is surest of; `hits` of them carry another label."""

    value: float
    interval: Interval
    n: int
    hits: int


def noise_rate(probabilities: Floats, target: Array, level: float = 0.95) -> Rate:
    """Return the share of wrong labels among the rows with the highest probability of any class."""
    n = len(target)
    count = max(math.ceil(SUREST * n), min(LEAST_SUREST, n // 5), 1)
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")[:count]
    hits = int((probabilities[surest].argmax(axis=1) != target[surest]).sum())
    return Rate(value=hits / count, interval=rate_interval(hits, count, level), n=count, hits=hits)


def suspects(probabilities: Floats, target: Array) -> Array:
    """Return the rows whose label confident learning takes for wrong, the surest first, at most as many as `noise_rate` estimates
    and half of what it leaves open above.
    int64 [k]. Raises DependencyError without cleanlab.
    """
    rate = noise_rate(probabilities, target)
    if not rate.hits:  # no library is asked for where there is nothing to name
        return np.empty(0, dtype=np.int64)
    flagged = np.flatnonzero(_flags(probabilities, target))
    odds = probabilities[flagged].max(axis=1) / np.maximum(probabilities[flagged, target[flagged]], 1e-12)
    return np.asarray(
        flagged[np.argsort(-odds, kind="stable")][: math.ceil((rate.value + rate.interval[1]) / 2 * len(target))], dtype=np.int64
    )


def _flags(probabilities: Floats, target: Array) -> Array:
    """Return bool [n]: cleanlab's label issues, those that both of its rules name, over the classes that rows carry."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise DependencyError("label errors are found by cleanlab, which is not installed", do="pip install 'weighbridge[audit]'") from None
    present, codes = np.unique(target, return_inverse=True)
    inside = probabilities[:, present] + 1e-12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(find_label_issues(codes, inside / inside.sum(axis=1, keepdims=True), filter_by="both", n_jobs=1), dtype=bool)
