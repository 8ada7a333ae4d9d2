"""Controls of the intervals: what is stated at 95 % holds the truth in 94 to 96 % of simulations; the naive way misses in the same harness.

A range that is wider is one that mathematics gives: counts come in steps (rates, order statistics), a true error of 0 can be missed
from one side only (calibration), and no interval of a mean has a level over all heavy tails (Bahadur and Savage 1956).
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation import populations
from weighbridge.evaluation.calibration import equal_mass_bins, stated
from weighbridge.evaluation.intervals import Interval, delong, quantile_interval, rate_interval
from weighbridge.evaluation.metrics import correct
from weighbridge.evaluation.populations import Population
from weighbridge.evaluation.resampling import Resampling, Sampler
from weighbridge.evaluation.results import results_of
from weighbridge.storage.seeds import rng

RESAMPLES = 400  # of 2,000 in use: quantiles are taken at share * (R + 1), so fewer resamples cost width, not coverage
SIMULATIONS = 2000
CHEAP = 20_000  # simulations of what costs microseconds
LOW, HIGH = 0.94, 0.96
ONE_SIDE = {"low": 0.97, "high": 0.98}  # the truth is 0 and only the lower end, at 2.5 %, can miss it


def holds(interval: Interval | None, truth: float) -> bool:
    """Return whether there is an interval and it holds the truth."""
    return interval is not None and interval[0] <= truth <= interval[1]


def _metric(name: str, case: str, population: Population, n: int, truth: float | None = None, **stated: float) -> None:
    """Register: the interval of a metric, as a finding would show it, holds the population's value."""

    @control(f"interval.{name.split('.')[0]}", "clean", f"{case}, n = {n}", trials=SIMULATIONS, **{"low": LOW, "high": HIGH, **stated})
    def covers(seed: int) -> bool:
        rows = population(n, rng(seed, "control", name, case, n))
        found = results_of(rows, Resampling(resamples=RESAMPLES, seed=seed), wanted=lambda one: one == name)[name]
        return holds(found.interval, populations.truths(population)[name] if truth is None else truth)


_rate_interval = cache(rate_interval)  # few different counts in many simulations


def _rate(n: int, rate: float) -> None:
    @control("interval.rate", "clean", f"rate {rate:g} give or take a standard error, n = {n}", trials=CHEAP, low=LOW, high=HIGH)
    def covers(seed: int) -> bool:
        random = rng(seed, "control", "rate", n, str(rate))
        true = populations.jittered(rate, n, random)
        return holds(_rate_interval(int(random.binomial(n, true)), n), true)


def _few_misses(n: int, rate: float) -> None:
    """With about one miss expected, counts allow 0.92 or 0.98 and nothing between; at 0 misses the interval is exact by design."""

    @control("interval.rate", "clean", f"rate {rate:g}, n = {n}", trials=CHEAP, low=LOW, high=1.0)
    def covers(seed: int) -> bool:
        return holds(_rate_interval(int(rng(seed, "control", "misses", n, str(rate)).binomial(n, rate)), n), rate)


@cache
def worst_rate(n: int) -> tuple[float, float]:
    """Return the rate at which n rows are covered least, and that coverage: an exact sum over counts at 4,000 rates, no simulation."""
    from scipy.stats import binom

    rates = np.geomspace(0.5 / n, 0.5, 4000)
    covered = np.zeros(len(rates))
    for hits in range(n + 1):
        low, high = rate_interval(hits, n)
        covered += np.where((low <= rates) & (rates <= high), binom.pmf(hits, n, rates), 0.0)
    return float(rates[covered.argmin()]), float(covered.min())


def _worst(n: int) -> None:
    @control("interval.rate", "clean", f"the rate that is covered least, n = {n}", trials=CHEAP, low=0.92, high=HIGH)
    def covers(seed: int) -> bool:
        rate, _ = worst_rate(n)
        return holds(_rate_interval(int(rng(seed, "control", "worst", n).binomial(n, rate)), n), rate)


for _n, _share in ((30, 0.5), (30, 0.8), (100, 0.5), (100, 0.8), (100, 0.93), (1000, 0.93), (1000, 0.99)):
    _rate(_n, _share)
for _n, _share in ((30, 0.97), (100, 0.99), (400, 0.995)):
    _few_misses(_n, _share)
for _n in (30, 100, 1000):
    _worst(_n)


@control("interval.rate", "planted", "normal approximation misses, rate 0.99, n = 100", trials=CHEAP, low=0.10)
def wald_misses(seed: int) -> bool:
    """The naive way: 1.96 standard errors around a rate near 1."""
    rate = float(rng(seed, "control", "wald").binomial(100, 0.99)) / 100
    half = 1.96 * math.sqrt(rate * (1 - rate) / 100)
    return not holds((rate - half, rate + half), 0.99)


_BINARY, _TEN, _THREE = populations.two_classes(), populations.many_classes(10, 3.0), populations.many_classes(3, 1.5)
_RARE = populations.two_classes(distance=2.0, share=0.2)
_NORMAL, _TAILS = populations.errors(), populations.errors(freedom=5)

_metric("rmse", "normal errors", _NORMAL, 30, 1.0)
_metric("rmse", "normal errors", _NORMAL, 200, 1.0)
_metric("mae", "normal errors", _NORMAL, 30, math.sqrt(2 / math.pi))
_metric("mae", "heavy tails (t with 5)", _TAILS, 200)
_metric("r2", "half of the variance explained", populations.errors(spread=math.sqrt(0.5)), 200, 0.5)
_metric("auroc", "two classes", _BINARY, 30, NormalDist().cdf(1.2 / math.sqrt(2)))
_metric("auroc", "two classes", _BINARY, 200, NormalDist().cdf(1.2 / math.sqrt(2)))
_metric("auroc", "one class in five", _RARE, 200, NormalDist().cdf(2.0 / math.sqrt(2)))
_metric("auroc", "one class in twenty", populations.two_classes(2.0, 0.05), 200, NormalDist().cdf(2.0 / math.sqrt(2)), high=0.98)
_metric("auroc", "one class in ten, area 0.98", populations.two_classes(3.0, 0.1), 200, NormalDist().cdf(3.0 / math.sqrt(2)), high=0.98)
_metric("auroc", "mean of three classes", _THREE, 100)
_metric("auprc", "two classes", _BINARY, 200)
_metric("log_loss", "two classes", _BINARY, 200)
_metric("brier", "two classes", _BINARY, 200)
_metric("f1", "mean of two classes", _BINARY, 30)
_metric("f1", "mean of two classes", _BINARY, 200)
_metric("f1", "mean of ten classes", _TEN, 200)
_metric("f1.c0", "one of ten classes", _TEN, 400, populations.true_f1_of_first_class(_TEN))
_metric("balanced_accuracy", "two classes", _BINARY, 200)
_metric("precision", "one class in five", _RARE, 200)
_metric("calibration_error", "off by 0.1", populations.stated_above(0.1), 500, 0.1)
_metric("calibration_error", "off by 0.03", populations.stated_above(0.03), 2000, 0.03)
_metric("calibration_error", "calibrated: 0 is missed from one side only", populations.stated_above(0.0), 500, 0.0, **ONE_SIDE)
_metric("calibration_error_classwise", "three classes, calibrated: one side only", _THREE, 500, 0.0, **ONE_SIDE)
_metric("accuracy", "40 groups of 5", populations.clustered(5), 200, 0.65)
_metric("accuracy", "15 groups of 20", populations.clustered(20), 300, 0.65)


@control("interval.rmse", "clean", "heavy tails (t with 5): holds, or says that it may be too short, n = 30", trials=SIMULATIONS, low=LOW)
def tails_of_few(seed: int) -> bool:
    """No level can be promised here (Bahadur and Savage 1956); what can is that the reader is told."""
    return _held_or_told(30, seed)


@control("interval.rmse", "clean", "heavy tails (t with 5): holds, or says that it may be too short, n = 200", trials=SIMULATIONS, low=LOW)
def tails_of_many(seed: int) -> bool:
    """The same on more rows."""
    return _held_or_told(200, seed)


@control("interval.rmse", "clean", "heavy tails (t with 5), no level is promised, n = 30", trials=SIMULATIONS, low=0.0, high=HIGH)
def tails_alone_of_few(seed: int) -> bool:
    """What it covers without the warning: for the table."""
    return _tails(30, seed)[0]


@control("interval.rmse", "clean", "heavy tails (t with 5), no level is promised, n = 200", trials=SIMULATIONS, low=0.0, high=HIGH)
def tails_alone_of_many(seed: int) -> bool:
    """The same on more rows."""
    return _tails(200, seed)[0]


@control("interval.rmse", "clean", "normal errors get no warning of heavy tails, n = 200", trials=SIMULATIONS, low=0.95)
def no_warning(seed: int) -> bool:
    """A warning that is always there says nothing."""
    rows = _NORMAL(200, rng(seed, "control", "warning"))
    return not _warned(str(results_of(rows, Resampling(resamples=50, seed=seed), wanted=lambda one: one == "rmse")["rmse"].method))


def _held_or_told(n: int, seed: int) -> bool:
    held, told = _tails(n, seed)
    return held or told


def _tails(n: int, seed: int) -> tuple[bool, bool]:
    rows = _TAILS(n, rng(seed, "control", "tails", n))
    found = results_of(rows, Resampling(resamples=RESAMPLES, seed=seed), wanted=lambda one: one == "rmse")["rmse"]
    return holds(found.interval, 1.0), _warned(str(found.method))


def _warned(method: str) -> bool:
    return "yet unseen" in method


@control("interval.calibration_error", "planted", "plain percentiles miss a calibrated model, n = 500", trials=500, low=0.8)
def percentiles_miss(seed: int) -> bool:
    """The naive way: the biased error, resampled as it is, can not reach 0."""
    rows = populations.stated_above(0.0)(500, rng(seed, "control", "percentiles"))
    score, true = stated(rows)
    weights = np.concatenate(list(Sampler(n=500, resamples=RESAMPLES, seed=seed).draws()))
    low = math.sqrt(float(np.quantile(populations.weighted_squares(equal_mass_bins(score), true - score, weights), 0.025)))
    return low > 0.0


@control("interval.calibration_error", "planted", "off by 0.1: the interval lies above 0.05, n = 2,000", trials=500, low=0.95)
def miscalibrated_is_seen(seed: int) -> bool:
    """What turns the finding into a limitation."""
    rows = populations.stated_above(0.1)(2000, rng(seed, "control", "miscalibrated"))
    found = results_of(rows, Resampling(resamples=10, seed=seed), wanted=lambda one: one == "calibration_error")["calibration_error"]
    return found.interval is not None and found.interval[0] > 0.05


@control("interval.auroc", "planted", "DeLong's interval misses, one class in twenty, n = 200", trials=SIMULATIONS, low=0.08)
def delong_misses_few_positives(seed: int) -> bool:
    """The standard way: with 10 rows of a class its variance is that of the errors which they happen to show."""
    rows = populations.two_classes(2.0, 0.05)(200, rng(seed, "control", "delong"))
    return not holds(delong(rows.target == 1, rows.output[:, 1])[1], NormalDist().cdf(2.0 / math.sqrt(2)))


@control("interval.accuracy", "planted", "rows drawn instead of 40 groups of 20 miss", trials=SIMULATIONS, low=0.10)
def rows_for_groups_miss(seed: int) -> bool:
    """The naive way: a group's rows taken for independent ones."""
    rows = populations.clustered(20)(800, rng(seed, "control", "ignored groups"))
    return not holds(rate_interval(int(correct(rows).sum()), 800), 0.65)


def _order_statistics(n: int, q: float) -> None:
    """Its coverage is a sum of binomial probabilities, whatever the distribution: that sum is what is stated."""
    from scipy.stats import binom

    low, high = int(binom.ppf(0.025, n, q)), int(binom.ppf(0.975, n, q))
    exact = float(binom.cdf(high, n, q) - binom.cdf(low - 1, n, q))

    @control("interval.quantile", "clean", f"quantile {q:g} of times, n = {n}", trials=CHEAP, low=min(exact, LOW), high=max(exact, HIGH))
    def covers(seed: int) -> bool:
        times = rng(seed, "control", "quantile", n, str(q)).lognormal(size=n)
        return holds(quantile_interval(times, q), math.exp(NormalDist().inv_cdf(q)))


_order_statistics(30, 0.5)
_order_statistics(1000, 0.99)
