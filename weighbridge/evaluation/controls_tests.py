"""Controls of the tests: one at 5 % is wrong in at most 5 % of simulations, alone and corrected; a difference that is there is found."""

from __future__ import annotations

import math

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation import populations
from weighbridge.evaluation.comparison import benjamini_hochberg, compare, holm, mcnemar, rows_for_power
from weighbridge.evaluation.controls import CHEAP, HIGH, LOW, RESAMPLES, SIMULATIONS, holds
from weighbridge.evaluation.gap import gap
from weighbridge.evaluation.predictions import Array, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.storage.seeds import rng

LEVEL = 0.05


def _how(seed: int) -> Resampling:
    return Resampling(resamples=RESAMPLES, seed=seed)


def _differs(n: int, ours: float, theirs: float, random: np.random.Generator) -> bool:
    """Two models, right at these rates independently in each row: does McNemar's test say that they differ?"""
    a, b = random.random(n) < ours, random.random(n) < theirs
    return mcnemar(int((a & ~b).sum()), int((b & ~a).sum()))[0] < LEVEL


def _equal_classes(n: int) -> None:
    @control("test.mcnemar", "clean", f"equal models are not called different, n = {n}", trials=CHEAP, low=1 - LEVEL)
    def quiet(seed: int) -> bool:
        return not _differs(n, 0.8, 0.8, rng(seed, "control", "mcnemar", n))


_equal_classes(100)
_equal_classes(1000)


@control("test.mcnemar", "planted", "0.05 better, at the rows said to give a power of 0.8", trials=SIMULATIONS, low=0.78, high=0.83)
def found_at_the_rows_for_power(seed: int) -> bool:
    """Rows come from the true rates."""
    rows = rows_for_power(0.05, math.sqrt(0.85 * 0.2 + 0.8 * 0.15 - 0.05**2), 1)
    return rows is not None and _differs(rows, 0.85, 0.8, rng(seed, "control", "power"))


def number_pair(n: int, random: np.random.Generator, theirs: float = 1.0) -> tuple[Predictions, Predictions]:
    """Return two models of numbers on the same rows, with RMSE 1 and `theirs`."""
    target, ids = random.normal(size=n), populations.ids(n)
    ours, other = (target + spread * random.normal(size=n) for spread in (1.0, theirs))
    return (
        Predictions(kind="number", row_id=ids, target=target, output=ours),
        Predictions(kind="number", row_id=ids, target=target, output=other, model="other"),
    )


def group_pair(groups: int, size: int, random: np.random.Generator) -> tuple[Predictions, Predictions]:
    """Return two models of classes with equal rates; what is easy for one in a group is so for all of its rows, and not for the other."""
    pair = [populations.clustered(size)(groups * size, random) for _ in range(2)]
    first, second = pair
    second = Predictions(
        kind="category",
        row_id=first.row_id,
        target=first.target,
        output=np.where((second.chosen == second.target)[:, None], np.eye(2)[first.target], np.eye(2)[1 - first.target]),
        classes=first.classes,
        group=first.group,
        model="other",
    )
    return first, second


def _equal_numbers(n: int) -> None:
    @control("test.permutation", "clean", f"equal RMSE is not called different, n = {n}", trials=SIMULATIONS, low=1 - LEVEL)
    def quiet(seed: int) -> bool:
        return compare(*number_pair(n, rng(seed, "control", "permutation", n)), _how(seed)).p_value >= LEVEL


_equal_numbers(30)
_equal_numbers(200)


@control("test.permutation", "clean", "equal accuracy in 40 groups of 5 is not called different", trials=SIMULATIONS, low=1 - LEVEL)
def quiet_over_groups(seed: int) -> bool:
    """Groups are swapped whole."""
    return compare(*group_pair(40, 5, rng(seed, "control", "permutation groups")), _how(seed)).p_value >= LEVEL


@control("test.permutation", "planted", "RMSE 1 against 1.3, n = 200", trials=SIMULATIONS, low=0.9)
def worse_numbers_are_found(seed: int) -> bool:
    """A difference that the rows can show."""
    return compare(*number_pair(200, rng(seed, "control", "worse"), 1.3), _how(seed)).p_value < LEVEL


def _difference(case: str, n: int, theirs: float) -> None:
    @control("interval.difference", "clean", f"{case}, n = {n}", trials=SIMULATIONS, low=LOW, high=HIGH)
    def covers(seed: int) -> bool:
        found = compare(*number_pair(n, rng(seed, "control", "difference", n, str(theirs)), theirs), _how(seed))
        return holds(found.interval, theirs - 1.0)


_difference("RMSE of equal models", 30, 1.0)
_difference("RMSE of equal models", 200, 1.0)
_difference("RMSE 1 against 1.3", 100, 1.3)


@control("interval.difference", "clean", "accuracy of equal models, 40 groups of 5", trials=SIMULATIONS, low=LOW, high=HIGH)
def difference_over_groups(seed: int) -> bool:
    """Groups are drawn whole."""
    return holds(compare(*group_pair(40, 5, rng(seed, "control", "difference groups")), _how(seed)).interval, 0.0)


@control("interval.difference", "clean", "accuracy 0.05 apart, n = 100", trials=CHEAP, low=LOW, high=HIGH)
def difference_of_rates(seed: int) -> bool:
    """Bonett and Price's interval, at rates that vary by a standard error around 0.85 and 0.8."""
    from weighbridge.evaluation.comparison import paired_rate_interval

    random = rng(seed, "control", "difference of rates")
    ours, theirs = (populations.jittered(rate, 100, random) for rate in (0.85, 0.8))
    a, b = random.random(100) < ours, random.random(100) < theirs
    return holds(paired_rate_interval(int((a & ~b).sum()), int((b & ~a).sum()), 100), ours - theirs)


@control("interval.difference", "planted", "RMSE 1 against 1.3: the interval lies above 0, n = 200", trials=500, low=0.9)
def difference_is_seen(seed: int) -> bool:
    """The interval agrees with the test."""
    return compare(*number_pair(200, rng(seed, "control", "seen"), 1.3), _how(seed)).interval[0] > 0


def _p_values(true: int, false: int, shift: float, random: np.random.Generator) -> list[float]:
    """Return two-sided p-values of normal tests: first `true` null hypotheses, then `false` ones that lie `shift` errors away."""
    from scipy.special import ndtr

    z = random.normal(size=true + false) + np.r_[np.zeros(true), np.full(false, shift)]
    return [float(p) for p in 2 * ndtr(-np.abs(z))]


def _holm(true: int, false: int) -> None:
    @control("test.holm", "clean", f"no false claim, {true} of {true + false} hypotheses true", trials=CHEAP, low=1 - LEVEL)
    def quiet(seed: int) -> bool:
        return min(holm(_p_values(true, false, 3.0, rng(seed, "control", "holm", true, false)))[:true]) >= LEVEL


def _benjamini_hochberg(true: int, false: int) -> None:
    """The false discovery rate is the chance that a claim drawn from those made is false: that draw makes it one answer a simulation."""

    @control(
        "test.benjamini_hochberg",
        "clean",
        f"a claim drawn from those made is right, {true} of {true + false} hypotheses true",
        trials=CHEAP,
        low=1 - LEVEL,
    )
    def right(seed: int) -> bool:
        random = rng(seed, "control", "benjamini-hochberg", true, false)
        claims = np.flatnonzero(np.array(benjamini_hochberg(_p_values(true, false, 3.0, random))) < LEVEL)
        return len(claims) == 0 or bool(random.choice(claims) >= true)


for _true, _false in ((10, 0), (7, 3), (30, 10)):
    _holm(_true, _false)
    _benjamini_hochberg(_true, _false)


@control("test.holm", "clean", "three baselines equal to the model, n = 500", trials=SIMULATIONS, low=1 - LEVEL)
def equal_baselines(seed: int) -> bool:
    """As `weigh evaluate` uses it: McNemar's tests that share the model's rows."""
    random = rng(seed, "control", "baselines")
    model, *others = (random.random(500) < 0.8 for _ in range(4))
    return min(holm([mcnemar(int((model & ~o).sum()), int((o & ~model).sum()))[0] for o in others])) >= LEVEL


@control("test.holm", "planted", "uncorrected, ten true hypotheses give a false claim", trials=SIMULATIONS, low=0.35)
def uncorrected_claims(seed: int) -> bool:
    """The naive way: the smallest of ten p-values taken as if it were the only one; 1 - 0.95^10 = 0.40."""
    return min(_p_values(10, 0, 0.0, rng(seed, "control", "uncorrected"))) < LEVEL


@control("test.holm", "planted", "a hypothesis 4.5 standard errors off is found among ten", trials=SIMULATIONS, low=0.9)
def holm_finds(seed: int) -> bool:
    """1 - Phi(2.81 - 4.5) = 0.95 by the first step alone."""
    return holm(_p_values(9, 1, 4.5, rng(seed, "control", "holm finds")))[9] < LEVEL


@control("test.benjamini_hochberg", "planted", "more than Holm's claims where 10 of 40 are false", trials=SIMULATIONS, low=0.5)
def search_finds_more(seed: int) -> bool:
    """What the weaker promise buys: counted where at least one more is claimed."""
    p_values = _p_values(30, 10, 3.0, rng(seed, "control", "search"))
    search, claims = (sum(p < LEVEL for p in correct(p_values)) for correct in (benjamini_hochberg, holm))
    return search > claims


@control("interval.gap", "clean", "no gap, 300 training and 100 held-out rows", trials=SIMULATIONS, low=LOW, high=HIGH)
def no_gap(seed: int) -> bool:
    """Two independent samples of one population."""
    random, population = rng(seed, "control", "gap"), populations.two_classes()
    return holds(gap(population(300, random), population(100, random), _how(seed)).interval, 0.0)


@control("interval.gap", "planted", "accuracy 0.98 in training, 0.88 held out: above 0.02, n = 400", trials=500, low=0.9)
def gap_is_seen(seed: int) -> bool:
    """What turns the finding into a limitation."""
    random = rng(seed, "control", "gap seen")
    train, held_out = (_right(random.random(400) < rate) for rate in (0.98, 0.88))
    return gap(train, held_out, _how(seed)).interval[0] > 0.02


def _right(hits: Array) -> Predictions:
    target = np.arange(len(hits)) % 2
    output = np.eye(2)[np.where(hits, target, 1 - target)]
    return Predictions(kind="category", row_id=populations.ids(len(hits)), target=target, output=output, classes=("a", "b"))
