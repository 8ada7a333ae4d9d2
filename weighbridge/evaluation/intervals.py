"""Two-sided confidence intervals. All contain their estimate and are ordered; rates stay within [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.evaluation.resampling import Replicates

Interval = tuple[float, float]
FEW_ERRORS = 0.07  # standard error of log RMSE from which large errors yet unseen may carry it: that of 100 normal errors
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


def mid_p(hits: float, n: float, level: float = 0.95) -> Interval:
    """Return the mid-P interval of a rate (Lancaster 1961; Berry and Armitage 1995): an outcome as seen counts half in both tails.

    An exact interval pays for the steps of the count with length; this one covers `level` on average over rates, less at some.
    """
    from scipy.special import betainc

    tail = (1 - level) / 2

    def above(rate: float) -> float:  # P(more than hits) + P(hits) / 2
        at_least = betainc(hits, n - hits + 1, rate) if hits > 0 else 1.0
        return float(at_least + (betainc(hits + 1, n - hits, rate) if hits < n else 0.0)) / 2

    low = _where(above, tail) if hits > 0 else 0.0
    high = _where(above, 1 - tail) if hits < n else 1.0
    return _around(hits / n, low, high, 0.0, 1.0)


def is_exact(hits: float, n: float) -> bool:
    """Return whether `rate_interval` is the exact one: no hit, or no miss."""
    return hits in (0, n)


def rate_interval(hits: float, n: float, level: float = 0.95) -> Interval:
    """Return the mid-P interval; Clopper and Pearson's where all rows agree."""
    return clopper_pearson(hits, n, level) if is_exact(hits, n) else mid_p(hits, n, level)


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
    ends = [_quantile(draws, _moved(bias, side * reach, replicates.acceleration)) for side in (-1, 1)]
    return _around(value, ends[0], ends[1], low, high)


def studentized(replicates: Replicates, log_errors: Replicates, level: float = 0.95) -> Interval:
    """Return the bootstrap-t interval (Efron 1979; Hall 1988) of a positive metric on the log scale, widened for few units as `bca` is.

    For a root mean square, whose spread grows with its value, it covers better than BCa at n = 30 (measured: docs, controls).
    `log_errors` holds the standard error of the metric's logarithm in each resample.
    """
    good = np.isfinite(replicates.draws) & np.isfinite(log_errors.draws) & (replicates.draws > 0) & (log_errors.draws > 0)
    value, error = replicates.value, log_errors.value
    if not good.any() or not (value > 0 and error > 0):
        return bca(replicates, level, low=0.0)
    pivots = np.log(replicates.draws[good] / value) / log_errors.draws[good]
    tail = (1 - level) / 2
    wider = error * _expanded(level, replicates.units) / NORMAL.inv_cdf(1 - tail)
    low, high = (-_quantile(pivots, share) * wider for share in (1 - tail, tail))
    return _around(value, value * math.exp(low), value * math.exp(high), 0.0, math.inf)


def symmetric(
    replicates: Replicates, errors: Replicates, level: float = 0.95, *, low: float = -math.inf, high: float = math.inf
) -> Interval:
    """Return the symmetric bootstrap-t interval (Hall 1988) of a metric that may have either sign, such as a paired difference.

    `errors` holds the standard error of the metric in each resample; resamples without one are left out.
    """
    good = np.isfinite(replicates.draws) & np.isfinite(errors.draws) & (errors.draws > 0)
    value, error = replicates.value, errors.value
    if not good.any() or not error > 0:
        return bca(replicates, level, low=low, high=high)
    half = error * _quantile(np.abs(replicates.draws[good] - value) / errors.draws[good], level)
    return _around(value, value - half, value + half, low, high)


def effective_score(replicates: Replicates, level: float = 0.95, *, grouped: bool = False) -> Interval:
    """Return Wilson's interval of a share over as many rows as the bootstrap's standard error is worth (Korn and Graubard 1998).

    For shares whose denominator is random (precision, F1) or whose rows come in groups; BCa covers 0.98 of them at n = 30. Over groups
    the reach is Student's: there the spread is estimated, while a rate of single rows fixes its own.
    """
    value, error = replicates.value, standard_error(replicates)
    if not (0 < value < 1 and error > 0):
        return bca(replicates, level, low=0.0, high=1.0)
    z = NORMAL.inv_cdf((1 + level) / 2)
    if grouped:
        error *= _expanded(level, replicates.units) / z
    rows = value * (1 - value) / error**2
    return wilson(value * rows, rows, level)


def root_of_squares(plain: float, noise: float, noise_of_squares: float, level: float = 0.95) -> tuple[float, Interval]:
    """Return the root of a sum of squared means without the noise that is in it, and the interval that inverts its test.

    plain: the sum of squares as seen; noise, noise_of_squares: trace of the covariance of the means, and of its square. The sum is taken
    as a multiple of a noncentral chi-square with both moments of that noise (Satterthwaite 1946); the interval holds every noncentrality
    that the seen sum does not refute. At a true value of 0 only the lower end can miss: coverage is 1 - (1 - level) / 2 there.
    """
    value = math.sqrt(max(plain - noise, 0.0))
    if not (noise > 0 and noise_of_squares > 0):
        return value, (value, value)
    scale, freedom, tail = noise_of_squares / noise, noise**2 / noise_of_squares, (1 - level) / 2
    ends = [math.sqrt(scale * _noncentrality(plain / scale, freedom, share)) for share in (1 - tail, tail)]
    return value, _around(value, ends[0], ends[1], 0.0, math.inf)


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


def newcombe_area(area: float, ones: int, zeros: int, level: float = 0.95) -> Interval:
    """Return Newcombe's interval of an area under the ROC curve (2006, method 5) from `ones` and `zeros` rows of the two classes.

    It holds the areas whose own standard error (Hanley and McNeil 1982, balanced) would let the one seen come about; few rows of a class
    that show no error are not taken for a proof. With 10 to 20 rows of a class DeLong and BCa covered 0.88 to 0.91, this 0.93 to 0.97.
    """
    z, half = NORMAL.inv_cdf((1 + level) / 2), (ones + zeros) / 2 - 1

    def apart(true: float) -> float:
        variance = true * (1 - true) * (1 + half * ((1 - true) / (2 - true) + true / (1 + true))) / (ones * zeros)
        return (area - true) ** 2 - z * z * variance

    low = area * _where(lambda part: -apart(part * area), 0.0) if area > 0 else 0.0
    high = area + (1 - area) * _where(lambda part: apart(area + part * (1 - area)), 0.0) if area < 1 else 1.0
    return _around(area, low, high, 0.0, 1.0)


def quantile_interval(values: Floats, q: float = 0.5, level: float = 0.95) -> Interval:
    """Return the order-statistic interval of a quantile: free of the distribution (David and Nagaraja 2003, 7.1).

    For the latency at q = 0.5 or 0.99; where the sample is too small for an end, that end is the smallest or largest value.
    """
    from scipy.stats import binom

    ordered, n, tail = np.sort(values), len(values), (1 - level) / 2
    low = int(binom.ppf(tail, n, q))
    high = int(binom.ppf(1 - tail, n, q))
    return float(ordered[max(low - 1, 0)]), float(ordered[min(high, n - 1)])


def _noncentrality(seen: float, freedom: float, share: float) -> float:
    """Return the noncentrality at which a chi-square falls under `seen` with probability `share`; 0 where it does not even at 0."""
    from scipy.special import chndtr

    if chndtr(seen, freedom, 0.0) <= share:
        return 0.0
    top = 2 * seen + 50
    while chndtr(seen, freedom, top) > share:
        top *= 2
    return top * _where(lambda part: -float(chndtr(seen, freedom, top * part)), -share)


def _where(rising: Callable[[float], float], value: float) -> float:
    """Return the point of [0, 1] at which a rising function takes a value, by bisection to the last digit."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return middle


def _quantile(draws: Floats, share: float) -> float:
    """Return the quantile whose place among R draws is share * (R + 1): numpy's own lies 0.1 % of probability inside at 2,000."""
    return float(np.quantile(draws, share, method="weibull"))


def _expanded(level: float, units: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(units - 1, (1 + level) / 2)) * math.sqrt(units / (units - 1)) if units > 1 else NORMAL.inv_cdf((1 + level) / 2)


def _moved(bias: float, z: float, skew: float) -> float:
    """Return the share of resamples under BCa's end; the tail's own end where the acceleration is too strong for the formula."""
    stretch = 1 - skew * (bias + z)
    return NORMAL.cdf(bias + (bias + z) / stretch) if stretch > 0 else NORMAL.cdf(math.copysign(8.0, z))


def _around(value: float, lower: float, upper: float, low: float, high: float) -> Interval:
    return max(low, min(lower, value)), min(high, max(upper, value))
