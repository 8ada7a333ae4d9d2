"""Controls of seed spread, learning curve and weak slices: simulated cases with known answers, and the naive ways that fail."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation.learning_curve import Curve, Run, fit_curve, held_out
from weighbridge.evaluation.learning_verdict import judged_change
from weighbridge.evaluation.predictions import Array, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.seeds import mean_over_seeds
from weighbridge.evaluation.slice_inputs import Feature
from weighbridge.evaluation.slices import find_slices, losses, one_sided

RESAMPLES = 300  # the Monte Carlo error of an end is far below the sampling error that is judged
TRIALS = 1000
SLICE_TRIALS = 300  # a third of a second each


def _answers(right: Array) -> Predictions:
    """Return predictions of two classes that are right where `right` says so."""
    n = len(right)
    target = np.arange(n) % 2
    chosen = np.where(right, target, 1 - target)
    output = np.stack([1 - chosen, chosen], axis=1).astype(np.float64)
    return Predictions(kind="category", row_id=np.char.zfill(np.arange(n).astype(str), 6), target=target, output=output, classes=("a", "b"))


def _of_seeds(seed: int, *, seeds: int, rows: int, between: float) -> tuple[list[Predictions], float]:
    """Return networks whose ability differs by `between`, on rows that are equally hard for all of them; and their true mean accuracy."""
    random = np.random.default_rng(seed)
    hard = random.normal(size=rows)
    models = [_answers(0.8 * hard + 0.6 * random.normal(size=rows) < 1 + between * random.normal()) for _ in range(seeds)]
    return models, 0.5 * (1 + math.erf(1 / math.sqrt(1 + between**2) / math.sqrt(2)))


def _covered(seed: int, **case: Any) -> bool:
    models, truth = _of_seeds(seed, **case)
    low, high = mean_over_seeds(models, Resampling(resamples=RESAMPLES, seed=seed)).interval
    return low <= truth <= high


@control("evaluation.seeds", "clean", "interval of the mean over 5 seeds, 400 rows", trials=TRIALS, low=0.94, high=0.98)
def five_seeds(seed: int) -> bool:
    return _covered(seed, seeds=5, rows=400, between=0.1)


@control("evaluation.seeds", "clean", "interval of the mean over 3 seeds, 400 rows", trials=TRIALS, low=0.94, high=0.98)
def three_seeds(seed: int) -> bool:
    return _covered(seed, seeds=3, rows=400, between=0.1)


@control(
    "evaluation.seeds",
    "clean",
    "interval of the mean over 5 seeds that differ much (7 points), 2,000 rows",
    trials=TRIALS,
    low=0.91,
    high=0.97,
)
def five_different_seeds(seed: int) -> bool:
    return _covered(seed, seeds=5, rows=2000, between=0.3)


@control("evaluation.seeds", "planted", "the naive way, rows of all seeds pooled, misses", trials=TRIALS, low=0.2)
def pooled_rows_miss(seed: int) -> bool:
    models, truth = _of_seeds(seed, seeds=5, rows=400, between=0.1)
    rate = float(np.mean([(model.chosen == model.target).mean() for model in models]))
    return abs(rate - truth) > 1.96 * math.sqrt(rate * (1 - rate) / (5 * 400))


def _curve(seed: int, a: float, b: float, c: float, *, rows: int, noise: float, level: float = 0.95) -> Curve:
    return fit_curve(_runs(seed, a, b, c, rows=rows, noise=noise), seed=seed, refits=400, level=level)


def _runs(seed: int, a: float, b: float, c: float, *, rows: int, noise: float) -> list[Run]:
    """Return 5 sizes, each half of the next, and 3 repeats: errors around the true curve, `noise` relative."""
    random = np.random.default_rng(seed)
    sizes = [rows // 2**step for step in range(5)]
    return [
        Run(rows=size, repeat=repeat, error=max(0.0, (a + b * size**-c) * (1 + noise * random.normal())))
        for size in sizes
        for repeat in range(3)
    ]


def _change_covered(seed: int, a: float, b: float, c: float, *, rows: int, noise: float) -> bool:
    low, high = _curve(seed, a, b, c, rows=rows, noise=noise).change(rows, 2 * rows)
    return bool(low <= b * rows**-c - b * (2 * rows) ** -c <= high)


@control("evaluation.learning_curve", "clean", "interval of the gain at twice the rows, a 0.1, b 1.5, c 0.5", trials=TRIALS, low=0.93)
def gain_of_a_middling_curve(seed: int) -> bool:
    return _change_covered(seed, 0.1, 1.5, 0.5, rows=2000, noise=0.03)


@control("evaluation.learning_curve", "clean", "interval of the gain at twice the rows, slow: a 0.05, b 1, c 0.25", trials=TRIALS, low=0.93)
def gain_of_a_slow_curve(seed: int) -> bool:
    return _change_covered(seed, 0.05, 1.0, 0.25, rows=4000, noise=0.03)


@control(
    "evaluation.learning_curve", "clean", "interval of the gain at twice the rows, no floor: a 0, b 2, c 0.35", trials=TRIALS, low=0.93
)
def gain_without_a_floor(seed: int) -> bool:
    return _change_covered(seed, 0.0, 2.0, 0.35, rows=2000, noise=0.05)


@control("evaluation.learning_curve", "clean", "interval of the gain at twice the rows, much noise: 10 %", trials=TRIALS, low=0.93)
def gain_under_noise(seed: int) -> bool:
    return _change_covered(seed, 0.1, 1.5, 0.5, rows=2000, noise=0.10)


@control("evaluation.learning_curve", "clean", "largest size foretold by the smaller ones", trials=TRIALS, low=0.93)
def largest_size_foretold(seed: int) -> bool:
    return held_out(_runs(seed, 0.1, 1.5, 0.5, rows=2000, noise=0.03), seed=seed).holds


def _says(seed: int, verdict: str, a: float, b: float, c: float, *, noise: float) -> bool:
    curve = _curve(seed, a, b, c, rows=2000, noise=noise)
    return judged_change(curve.change(2000, 4000), curve.error(2000), "accuracy") == verdict


@control("evaluation.learning_curve", "planted", "twice the rows bring 2 points more: said so", trials=TRIALS, low=0.9)
def more_rows_help(seed: int) -> bool:
    return _says(seed, "limitation", 0.02, 3.0, 0.5, noise=0.05)


@control("evaluation.learning_curve", "planted", "a plateau (0.02 points more) is said to be one", trials=TRIALS, low=0.9)
def plateau(seed: int) -> bool:
    return _says(seed, "advantage", 0.10, 50.0, 1.5, noise=0.03)


@control("evaluation.learning_curve", "clean", "a flat curve is never said to need rows", trials=TRIALS, low=0.99)
def flat_curve_needs_no_rows(seed: int) -> bool:
    return not _says(seed, "limitation", 0.2, 0.0, 1.0, noise=0.03)


@control(
    "evaluation.learning_curve",
    "planted",
    "the naive way, the last two sizes carried on by a straight line, misses",
    trials=TRIALS,
    low=0.2,
)
def straight_line_misses(seed: int) -> bool:
    runs = _runs(seed, 0.1, 1.5, 0.5, rows=2000, noise=0.03)
    last, before = ([run.error for run in runs if run.rows == size] for size in (2000, 1000))
    fall = 2 * (float(np.mean(before)) - float(np.mean(last)))  # 1,000 rows brought this, so 2,000 more bring twice that
    spread = 1.96 * 2 * math.sqrt((np.var(before, ddof=1) + np.var(last, ddof=1)) / 3)
    return bool(abs(fall - (1.5 * 2000**-0.5 - 1.5 * 4000**-0.5)) > spread)


def _split(random: np.random.Generator, n: int, *, weak: str) -> tuple[Predictions, list[Feature], Array]:
    """Return predictions that are right in 85 % of rows and in 65 % of the planted tenth, the inputs, and which rows that is."""
    number, other = random.uniform(0, 100, n), random.normal(size=n)
    kind = random.choice(["a", "b", "c", "d"], n, p=[0.4, 0.3, 0.2, 0.1])
    sex = random.choice(["f", "m"], n)
    extra = [Feature(name=f"x{place}", kind="number", values=random.normal(size=n)) for place in range(4)]
    places = {"value": kind == "d", "range": number < 10, "both": (number < 20) & (sex == "f"), "": np.zeros(n, dtype=bool)}
    planted = places[weak]
    predictions = _answers(random.random(n) < np.where(planted, 0.65, 0.85))
    features = [
        Feature(name="number", kind="number", values=number, middle=50.0),
        Feature(name="other", kind="number", values=other),
        Feature(name="kind", kind="category", values=kind.astype(object)),
        Feature(name="sex", kind="category", values=sex.astype(object)),
        *extra,
    ]
    return predictions, features, planted


def _is_found(seed: int, weak: str) -> bool:
    """Whether a slice that is listed shares at least half of its rows (of both together) with the planted one."""
    from weighbridge.evaluation.slice_inputs import holds

    random = np.random.default_rng(seed)
    chooser, chooser_inputs, _ = _split(random, 1500, weak=weak)
    judge, inputs, planted = _split(random, 2000, weak=weak)
    named = {feature.name: feature for feature in inputs}
    for one in find_slices(chooser, chooser_inputs, judge, inputs, seed=seed).slices:
        mask = np.all([holds(condition, named[condition.name]) for condition in one.conditions], axis=0)
        if (mask & planted).sum() >= 0.5 * (mask | planted).sum():
            return True
    return False


@control("evaluation.slices", "planted", "a tenth of rows 20 points worse: one value of a category", trials=SLICE_TRIALS, low=0.95)
def weak_value(seed: int) -> bool:
    return _is_found(seed, "value")


@control("evaluation.slices", "planted", "a tenth of rows 20 points worse: a range of a number", trials=SLICE_TRIALS, low=0.9)
def weak_range(seed: int) -> bool:
    return _is_found(seed, "range")


@control("evaluation.slices", "planted", "a tenth of rows 20 points worse: a range and a value together", trials=SLICE_TRIALS, low=0.8)
def weak_range_of_a_value(seed: int) -> bool:
    return _is_found(seed, "both")


@control("evaluation.slices", "clean", "no slice is weaker: none is listed", trials=SLICE_TRIALS, low=0.95)
def no_weak_slice(seed: int) -> bool:
    random = np.random.default_rng(seed)
    chooser, chooser_inputs, _ = _split(random, 1500, weak="")
    judge, inputs, _ = _split(random, 2000, weak="")
    return not find_slices(chooser, chooser_inputs, judge, inputs, seed=seed).slices


@control("evaluation.slices", "clean", "no slice is weaker, numbers with heavy tails: none is listed", trials=SLICE_TRIALS, low=0.95)
def no_weak_slice_of_numbers(seed: int) -> bool:
    random = np.random.default_rng(seed)
    sides = [
        (_numbers(random, 500), [Feature(name=f"x{i}", kind="number", values=random.normal(size=500)) for i in range(6)]) for _ in range(2)
    ]
    return not find_slices(*sides[0], *sides[1], seed=seed).slices


def _numbers(random: np.random.Generator, n: int) -> Predictions:
    ids = np.char.zfill(np.arange(n).astype(str), 6)
    return Predictions(kind="number", row_id=ids, target=np.zeros(n), output=random.standard_t(5, n))


@control("evaluation.slices", "planted", "the naive way, judged on the rows that found it, alarms", trials=SLICE_TRIALS, low=0.5)
def judged_on_its_own_rows(seed: int) -> bool:
    random = np.random.default_rng(seed)
    model, inputs, _ = _split(random, 1500, weak="")
    return bool(find_slices(model, inputs, model, inputs, seed=seed).slices)


@control(
    "evaluation.slices",
    "planted",
    "the naive way, every value and quarter at 5 % uncorrected, alarms",
    trials=SLICE_TRIALS,
    low=0.5,
)
def uncorrected_alarms(seed: int) -> bool:
    model, inputs, _ = _split(np.random.default_rng(seed), 2000, weak="")
    loss = losses(model)
    masks = [feature.values == value for feature in inputs if feature.kind == "category" for value in set(feature.values)]
    for feature in inputs:
        if feature.kind == "number":
            quarter = np.digitize(feature.values, np.quantile(feature.values, [0.25, 0.5, 0.75]))
            masks += [quarter == place for place in range(4)]
    return bool(min(one_sided(loss, mask, None) for mask in masks) < 0.05)
