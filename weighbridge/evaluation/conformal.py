"""Intervals around a number's prediction by split conformal prediction (Angelopoulos and Bates 2023), and what they cover."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.intervals import Interval, rate_interval
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.evaluation.verdicts import NOMINAL_COVERAGE


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Share of rows inside their interval, its own interval, the mean width, and the width that the target needs without a model."""

    value: float
    interval: Interval
    width: float
    width_without: float
    halves: bool  # calibrated by halves of the judged rows, not by validation rows
    n: int


def coverage(judged: Predictions, validation: Predictions | None, level: float) -> Coverage | None:
    """Return the measured coverage of intervals built for 90 %; None when too few rows calibrate them (9 give no finite interval)."""
    error, truth = np.abs(judged.output - judged.target), judged.target
    spread = np.abs(truth - np.median(truth))
    if validation is not None:
        reach = np.full(len(judged), radius(np.abs(validation.output - validation.target)))
    else:
        half = np.arange(len(judged)) % 2 == 0
        reach = np.where(half, radius(error[~half]), radius(error[half]))
    if not np.isfinite(reach).all():
        return None
    hits = int((error <= reach).sum())
    return Coverage(
        value=hits / len(judged),
        interval=rate_interval(hits, len(judged), level),
        width=float(2 * reach.mean()),
        width_without=float(2 * np.quantile(spread, NOMINAL_COVERAGE)),
        halves=validation is None,
        n=len(judged),
    )


def radius(errors: Floats | Array) -> float:
    """Return the half width that covers a new row with 90 %: the ceil(0.9 (m + 1))-th smallest of m errors; infinite for m < 9."""
    place = math.ceil(NOMINAL_COVERAGE * (len(errors) + 1))
    return float(np.sort(errors)[place - 1]) if place <= len(errors) else math.inf
