"""Two-sided confidence intervals. All contain their estimate and are ordered; rates stay within [0, 1]."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.evaluation.resampling import Replicates

Interval = tuple[float, float]
EXACT_BELOW = 40  # rows under which a rate gets the exact interval
EDGE_EVENTS = 10  # hits or misses under which it does: Wilson covers 0.84 to 0.92 of the time there (measured: docs, controls)
NORMAL = NormalDist()


def wilson(hits: float, n: float, level: float = 0.95) -> Interval:
    """Return the score interval of a rate (Wilson 1927)."""
    z = NORMAL.inv_cdf((1 + level) / 2)
    rate, scale = hits / n, 1 + z * z / n
    middle = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return _around(rate, middle - half, middle + half, 0.0, 1.0)


def clopper_pearson(hits: float, n: float, level: float = 0.95) -> Interval:
    """Return the exact interval of a rate (Clopper and Pearson 1934): covers in at least `level` for every true rate."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return _around(hits / n, low, high, 0.0, 1.0)


def is_exact(hits: float, n: float) -> bool:
    """Return whether `rate_interval` is the exact one: few rows, or a rate near 0 or 1."""
    return n < EXACT_BELOW or min(hits, n - hits) < EDGE_EVENTS


def rate_interval(hits: float, n: float, level: float = 0.95) -> Interval:
    """Return Wilson's interval; Clopper-Pearson when n < 40 or with fewer than 10 hits or misses."""
    return clopper_pearson(hits, n, level) if is_exact(hits, n) else wilson(hits, n, level)


def bca(replicates: Replicates, level: float = 0.95, *, low: float = -math.inf, high: float = math.inf) -> Interval:
    """Return the bias-corrected, accelerated bootstrap interval (Efron 1987), within [low, high].

    The tails are widened for few units by Student's t and n / (n - 1) (Hesterberg 2015, "expanded percentiles"): the bootstrap
    takes the sample's spread for the truth's, which is too narrow at n = 30.
    """
    draws = replicates.draws[np.isfinite(replicates.draws)]
    value = replicates.value
    if len(draws) == 0 or not math.isfinite(value):
        return (math.nan, math.nan)
    share = (np.mean(draws < value) + np.mean(draws <= value)) / 2  # middle of ties: metrics of few rows are discrete
    bias = NORMAL.inv_cdf(float(np.clip(share, 0.5 / len(draws), 1 - 0.5 / len(draws))))
    reach = _expanded(level, replicates.units)
    ends = [float(np.quantile(draws, _moved(bias, side * reach, replicates.acceleration))) for side in (-1, 1)]
    lower, upper = _around(value, ends[0], ends[1], low, high)
    return (math.sqrt(max(lower, 0)), math.sqrt(max(upper, 0))) if replicates.root else (lower, upper)


def studentized(replicates: Replicates, log_errors: Replicates, level: float = 0.95) -> Interval:
    """Return the bootstrap-t interval (Efron 1979; Hall 1988) of a positive metric on the log scale.

    For a root mean square, whose spread grows with its value, it covers better than BCa at n = 30 (measured: docs, controls).
    `log_errors` holds the standard error of the metric's logarithm in each resample.
    """
    good = np.isfinite(replicates.draws) & np.isfinite(log_errors.draws) & (replicates.draws > 0) & (log_errors.draws > 0)
    value, error = replicates.value, log_errors.value
    if not good.any() or not (value > 0 and error > 0):
        return bca(replicates, level, low=0.0)
    pivots = np.log(replicates.draws[good] / value) / log_errors.draws[good]
    tail = (1 - level) / 2
    high, low = np.quantile(pivots, [tail, 1 - tail])
    return _around(value, value * math.exp(-low * error), value * math.exp(-high * error), 0.0, math.inf)


def estimate(replicates: Replicates) -> float:
    """Return the metric itself, with its root taken where the replicates are squares."""
    return math.sqrt(max(replicates.value, 0)) if replicates.root else replicates.value


def is_degenerate(replicates: Replicates) -> bool:
    """Return whether no resample differs from the estimate, so that the bootstrap can not tell how sure it is."""
    draws = replicates.draws[np.isfinite(replicates.draws)]
    return len(draws) == 0 or float(np.ptp(draws)) < 1e-12


def standard_error(replicates: Replicates) -> float:
    """Return the standard deviation over resamples, widened by n / (n - 1)."""
    draws = replicates.draws[np.isfinite(replicates.draws)]
    return float(np.std(draws)) * math.sqrt(replicates.units / max(replicates.units - 1, 1))


def delong(positive: Array, score: Array, level: float = 0.95) -> tuple[float, Interval]:
    """Return the area under the ROC curve and DeLong's interval (1988; ranks by Sun and Xu 2014), on the logit scale.

    positive bool [n], score float [n]. At an area of 0 or 1 the interval is the point: use an exact bound there.
    """
    from scipy.stats import rankdata

    ones, zeros = score[positive], score[~positive]
    ranks = rankdata(np.concatenate([ones, zeros]))
    above = (ranks[: len(ones)] - rankdata(ones)) / len(zeros)
    below = 1 - (ranks[len(ones) :] - rankdata(zeros)) / len(ones)
    area = float(above.mean())
    if min(len(ones), len(zeros)) < 2 or not 0 < area < 1:
        return area, (area, area)
    error = math.sqrt(above.var(ddof=1) / len(ones) + below.var(ddof=1) / len(zeros))
    middle, half = math.log(area / (1 - area)), NORMAL.inv_cdf((1 + level) / 2) * error / (area * (1 - area))
    return area, _around(area, 1 / (1 + math.exp(half - middle)), 1 / (1 + math.exp(-half - middle)), 0.0, 1.0)


def quantile_interval(values: Floats, q: float = 0.5, level: float = 0.95) -> Interval:
    """Return the order-statistic interval of a quantile: free of the distribution (David and Nagaraja 2003, 7.1).

    For the latency at q = 0.5 or 0.99; where the sample is too small for an end, that end is the smallest or largest value.
    """
    from scipy.stats import binom

    ordered, n, tail = np.sort(values), len(values), (1 - level) / 2
    low = int(binom.ppf(tail, n, q))
    high = int(binom.ppf(1 - tail, n, q))
    return float(ordered[max(low - 1, 0)]), float(ordered[min(high, n - 1)])


def _expanded(level: float, units: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(units - 1, (1 + level) / 2)) * math.sqrt(units / (units - 1)) if units > 1 else NORMAL.inv_cdf((1 + level) / 2)


def _moved(bias: float, z: float, skew: float) -> float:
    """Return the share of resamples under BCa's end; the tail's own end where the acceleration is too strong for the formula."""
    stretch = 1 - skew * (bias + z)
    return NORMAL.cdf(bias + (bias + z) / stretch) if stretch > 0 else NORMAL.cdf(math.copysign(8.0, z))


def _around(value: float, lower: float, upper: float, low: float, high: float) -> Interval:
    return max(low, min(lower, value)), min(high, max(upper, value))
