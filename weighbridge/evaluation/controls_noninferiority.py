"""Controls of the tests of non-inferiority: a form exactly at the margin passes in at most 5 %, whatever is measured and however few rows
differ; the naive ways pass it more often in the same harness.

At the margin is the hardest case: beyond it every rate of wrong answers is lower. Rows have a difficulty that original and form share.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation import populations
from weighbridge.evaluation.comparison import difference_replicates
from weighbridge.evaluation.controls import CHEAP, RESAMPLES, SIMULATIONS
from weighbridge.evaluation.intervals import NORMAL
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.noninferiority import exact_p_value, noninferior, tango_score, tilted_p_value, units_of
from weighbridge.evaluation.predictions import Array, Predictions
from weighbridge.evaluation.resampling import Resampling, unit_sums
from weighbridge.storage.seeds import rng

LEVEL = 0.05
BOUNDS = 500  # bounds by resampling: a tenth of a second each

exact = cache(exact_p_value)  # few different counts in many simulations


def how(seed: int) -> Resampling:
    return Resampling(resamples=RESAMPLES, seed=seed)


def right_where(hits: Array, name: str, group: Array | None = None) -> Predictions:
    """Return predictions of two classes that are right where `hits` says so."""
    target = np.arange(len(hits)) % 2
    output = np.eye(2)[np.where(hits, target, 1 - target)]
    return Predictions(
        kind="category", row_id=populations.ids(len(hits)), target=target, output=output, classes=("a", "b"), group=group, model=name
    )


def _counts(n: int, margin: float, differ: float, random: np.random.Generator, *, equal: bool = False) -> tuple[int, int]:
    """Draw the rows that only the form and only the original gets right; the form loses the margin, or nothing when `equal`."""
    won = differ / 2 if equal else (differ - margin) / 2
    counts = random.multinomial(n, [won, differ - won, 1 - differ])
    return int(counts[0]), int(counts[1])


def _size(n: int, margin: float, differ: float, trials: int = CHEAP) -> None:
    @control(
        "test.noninferiority", "clean", f"a form {margin:g} worse does not pass, n = {n:,}, {differ:g} of rows differ",
        trials=trials, low=1 - LEVEL,
    )  # fmt: skip
    def refused(seed: int) -> bool:
        return exact(*_counts(n, margin, differ, rng(seed, "control", "size", n, str(differ))), n, margin) >= LEVEL


for _n, _margin, _differ in (
    (30, 0.05, 0.05), (30, 0.05, 0.2), (100, 0.05, 0.05), (100, 0.01, 0.1), (100, 0.05, 0.2), (300, 0.01, 0.01), (300, 0.01, 0.1),
    (1000, 0.01, 0.01), (1000, 0.01, 0.05), (1000, 0.01, 0.2),
):  # fmt: skip
    _size(_n, _margin, _differ)
_size(10_000, 0.01, 0.01, SIMULATIONS)
_size(10_000, 0.01, 0.1, SIMULATIONS)


@control("test.noninferiority", "clean", "a form 0.01 worse is not called worse than that, n = 1,000", trials=CHEAP, low=1 - LEVEL)
def not_called_worse(seed: int) -> bool:
    """The other hypothesis, at its edge."""
    return exact_p_value(*_counts(1000, 0.01, 0.05, rng(seed, "control", "not worse")), 1000, 0.01, worse=True) >= LEVEL


@control("test.noninferiority", "clean", "the one-sided bound lies below the true difference, n = 300", trials=SIMULATIONS, low=1 - LEVEL)
def bound_holds(seed: int) -> bool:
    """The bound inverts the test, so it holds what the test does; margin 0.02 beside a true loss of 0.03."""
    form, original = pair(300, 0.03, rng(seed, "control", "bound"))
    return noninferior(form, original, how(seed), margin=0.02).lower <= -0.03


@control("test.noninferiority", "planted", "the score's normal tail passes a form 0.01 worse, n = 275, only losses", trials=CHEAP, low=0.06)
def normal_tail_passes(seed: int) -> bool:
    """The naive way: Tango's score taken for normal. Without any differing row, 0.064 of samples, it is 1.667."""
    counts = _counts(275, 0.01, 0.01, rng(seed, "control", "normal tail"))
    return bool(NORMAL.cdf(-float(tango_score(*counts, 275, 0.01))) < LEVEL)


@control("test.noninferiority", "planted", "a form 0.03 worse is called worse than 0.01, n = 3,000", trials=SIMULATIONS, low=0.9)
def worse_is_found(seed: int) -> bool:
    """What turns a form into an inferior one."""
    return exact_p_value(*_counts(3000, 0.03, 0.07, rng(seed, "control", "worse")), 3000, 0.01, worse=True) < LEVEL


def pair(n: int, loss: float, random: np.random.Generator) -> tuple[Predictions, Predictions]:
    """Return a form and its original, the form's accuracy lower by exactly `loss` in the population."""
    original, form = family(n, [loss], random)
    return form, original


def family(n: int, losses: list[float], random: np.random.Generator, *, blur: float = 0.1, share: float = 0.5) -> list[Predictions]:
    """Return an original of accuracy 0.9 and forms that lose exactly so much of it; blur: how far a form moves a row's score."""
    score, common = random.normal(size=n), random.normal(size=n)
    models = [right_where(score < NORMAL.inv_cdf(0.9), "original")]
    for place, loss in enumerate(losses):
        own = math.sqrt(share) * common + math.sqrt(1 - share) * random.normal(size=n)
        edge = NORMAL.inv_cdf(0.9 - loss) * math.sqrt(1 + blur**2)
        models.append(right_where(score + blur * own < edge, f"form {place}"))
    return models


def p_value(form: Predictions, original: Predictions, margin: float, seed: int) -> float:
    """Return the p-value as `noninferior` has it, without the bound."""
    units = units_of(form, original)
    return tilted_p_value(units.differences(margin), units.row, RESAMPLES, rng(seed, "evaluation", "tilted"))


def numbers(n: int, worse: float, random: np.random.Generator, *, freedom: float = math.inf) -> tuple[Predictions, Predictions]:
    """Return a form and its original of RMSE 1, errors correlated at 0.9; the form's are `worse` times larger."""
    target = random.normal(size=n)
    first, second = (
        random.normal(size=n) if math.isinf(freedom) else random.standard_t(freedom, n) * math.sqrt((freedom - 2) / freedom)
        for _ in range(2)
    )
    return of_errors(target, (1 + worse) * (0.9 * first + math.sqrt(1 - 0.81) * second), first)


def of_errors(target: Array, form: Array, original: Array) -> tuple[Predictions, Predictions]:
    made = [
        Predictions(kind="number", row_id=populations.ids(len(target)), target=target, output=target + off, model=name)
        for name, off in (("form", form), ("original", original))
    ]
    return made[0], made[1]


def _size_of_numbers(n: int, case: str, freedom: float) -> None:
    @control("test.noninferiority", "clean", f"an RMSE 0.05 larger does not pass, {case}, n = {n}", trials=SIMULATIONS, low=1 - LEVEL)
    def refused(seed: int) -> bool:
        form, original = numbers(n, 0.05, rng(seed, "control", "numbers", n, case), freedom=freedom)
        return p_value(form, original, 0.05 * HEADLINES["number"].value(original), seed) >= LEVEL


for _n in (30, 100, 500):
    _size_of_numbers(_n, "normal errors", math.inf)
    _size_of_numbers(_n, "heavy tails (t with 5)", 5)


@control(
    "test.noninferiority", "clean", "an RMSE 0.05 larger by 1 row in 200, no level is promised, n = 500",
    trials=SIMULATIONS, low=0.0, high=1 - LEVEL,
)  # fmt: skip
def rare_losses(seed: int) -> bool:
    """For the table: what 500 rows seldom show can not be in a test of numbers, whose errors have no bound."""
    random = rng(seed, "control", "rare")
    off = random.normal(size=500)
    spoilt = off * np.where(random.random(500) < 0.005, math.sqrt(1 + (1.05**2 - 1) / 0.005), 1.0)
    form, original = of_errors(random.normal(size=500), spoilt, off)
    return p_value(form, original, 0.05 * HEADLINES["number"].value(original), seed) >= LEVEL


def sets(n: int, differ: float, random: np.random.Generator) -> tuple[Predictions, Predictions]:
    """Return a form and its original of sets of three labels, right in 0.9 of labels; in `differ` of rows the form's are mostly wrong."""
    truth = random.random((n, 3)) < 0.4
    known = np.where(random.random((n, 3)) < 0.1, ~truth, truth)
    spoilt = (random.random((n, 1)) < differ) & (random.random((n, 3)) < 0.6)
    lost = np.where(spoilt, np.where(random.random((n, 3)) < 0.8, ~truth, truth), known)
    made = [
        Predictions(kind="set", row_id=populations.ids(n), target=truth, output=chosen.astype(float), classes=("x", "y", "z"), model=name)
        for name, chosen in (("form", lost), ("original", known))
    ]
    return made[0], made[1]


@cache
def loss_of_sets(differ: float) -> float:
    """Return what the form loses of its micro F1 in a large sample."""
    form, original = (HEADLINES["set"].value(one) for one in sets(populations.LARGE, differ, rng(0, "population", "sets")))
    return original - form


def _size_of_sets(n: int, differ: float) -> None:
    @control(
        "test.noninferiority", "clean", f"sets at the margin do not pass, n = {n}, {differ:g} differ", trials=SIMULATIONS, low=1 - LEVEL
    )
    def refused(seed: int) -> bool:
        return p_value(*sets(n, differ, rng(seed, "control", "sets", n)), loss_of_sets(differ), seed) >= LEVEL


for _n, _differ in ((30, 0.1), (100, 0.1), (500, 0.03), (500, 0.3)):
    _size_of_sets(_n, _differ)


@control(
    "test.noninferiority", "planted", "a plain paired bootstrap passes sets at the margin, n = 30, 0.03 differ", trials=SIMULATIONS, low=0.1
)
def plain_bootstrap_passes(seed: int) -> bool:
    """The naive way: rows drawn as seen, so where none differs there is no doubt."""
    form, original = sets(30, 0.03, rng(seed, "control", "plain"))
    headline = HEADLINES["set"]
    summed = np.concatenate([unit_sums(headline.features(one), None) for one in (form, original)], axis=1)
    drawn, errors = difference_replicates(headline, summed, how(seed))
    if errors.value == 0:
        return True
    known = errors.draws > 0
    pivots = (drawn.draws[known] - drawn.value) / errors.draws[known]
    return bool((pivots >= (drawn.value + loss_of_sets(0.03)) / errors.value).mean() < LEVEL)


def grouped(groups: int, size: int, loss: float, random: np.random.Generator) -> tuple[Predictions, Predictions]:
    """Return a form and its original over groups; the share of a group that differs is exponential: most lose little, some much."""
    rate = np.minimum(random.exponential(2 * loss, groups), 0.8)
    group = np.repeat(np.arange(groups), size)
    known = random.random(groups * size) < random.uniform(0.5, 1, groups)[group]
    differs, lost = random.random(groups * size) < rate[group], random.random(groups * size) < 0.75
    made = [right_where(np.where(differs, side, known), name, group) for side, name in ((~lost, "form"), (lost, "original"))]
    return made[0], made[1]


TRUNCATED = 0.05 * -math.expm1(-8.0)  # the mean loss when no more than 0.8 of a group differs


def _size_of_groups(groups: int, size: int) -> None:
    @control(
        "test.noninferiority",
        "clean",
        f"a form at the margin in {groups} groups of {size} does not pass",
        trials=SIMULATIONS,
        low=1 - LEVEL,
    )
    def refused(seed: int) -> bool:
        return p_value(*grouped(groups, size, 0.05, rng(seed, "control", "groups", groups)), TRUNCATED, seed) >= LEVEL


for _n, _size_ in ((20, 10), (40, 10), (100, 5)):
    _size_of_groups(_n, _size_)


@control(
    "test.noninferiority",
    "planted",
    "an equal RMSE passes at a margin of 0.05, errors correlated at 0.9, n = 1,000",
    trials=BOUNDS,
    low=0.9,
)
def equal_numbers_pass(seed: int) -> bool:
    """The bound agrees with the test."""
    form, original = numbers(1000, 0.0, rng(seed, "control", "equal numbers"))
    margin = 0.05 * HEADLINES["number"].value(original)
    return noninferior(form, original, how(seed), margin=margin).lower > -margin
