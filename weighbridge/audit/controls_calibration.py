"""Controls of the calibration audit and of what mends it: stated at 95 % is held by 94 to 96 % of simulations, give or take what is named.

An interval that is wider than stated at a true value of 0, or where counts come in steps, is said so in its range.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from statistics import NormalDist

import numpy as np

from weighbridge.audit.calibration_sets import of_held
from weighbridge.audit.calibration_stated import OFF, surer_than_right, worst_class
from weighbridge.audit.calibration_strange import NEAR_CHANCE
from weighbridge.controls import control
from weighbridge.evaluation import populations, sets
from weighbridge.evaluation.adjustment import Adjustment, Kind, Offsets
from weighbridge.evaluation.calibration import top_label_error
from weighbridge.evaluation.intervals import Interval, bca
from weighbridge.evaluation.predictions import Array, Floats, Ints, Predictions
from weighbridge.evaluation.recalibration import Saved, fit_isotonic, fit_temperature, saved_on_unseen, temperature_interval
from weighbridge.evaluation.resampling import Resampling, Sampler, replicate
from weighbridge.evaluation.results import rate
from weighbridge.evaluation.selective import apart, risk_area
from weighbridge.evaluation.thresholds import fit_thresholds
from weighbridge.evaluation.verdicts import CALIBRATION_ERROR
from weighbridge.storage.seeds import rng

RESAMPLES = 400
TRIALS, FEW, MANY = 1000, 300, 4000
SAMPLES = 100  # of which a bias is the mean
_TWO, _THREE = populations.two_classes(), populations.many_classes(3, 1.5)
_SURE = populations.surer(_TWO)


def _holds(interval: Interval | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def _how(seed: int) -> Resampling:
    return Resampling(resamples=RESAMPLES, seed=seed)


# --- the error, and in which direction


def _bias(off: float, seed: int, taken: Callable[[Predictions], float]) -> tuple[float, float]:
    """Return the mean over samples of a squared error less the true one, in its standard errors, and the mean itself."""
    random = rng(seed, "control", "bias", str(off))
    draw = populations.stated_above(off)
    found = np.array([taken(draw(300, random)) - off**2 for _ in range(SAMPLES)])
    return float(found.mean() / (found.std(ddof=1) / math.sqrt(SAMPLES))), float(found.mean())


def _debiased(rows: Predictions) -> float:
    error = top_label_error(rows)
    return error.plain - error.noise


@control("audit.calibration.error", "clean", "calibrated: mean debiased square within 3 errors of 0, n = 300", trials=FEW, low=0.985)
def no_bias_at_zero(seed: int) -> bool:
    """What is taken off is what sampling adds."""
    return abs(_bias(0.0, seed, _debiased)[0]) < 3


@control("audit.calibration.error", "clean", "off by 0.1: mean debiased square within 3 errors of 0.01, n = 300", trials=FEW, low=0.985)
def no_bias_when_off(seed: int) -> bool:
    """The same where there is an error to find."""
    return abs(_bias(0.1, seed, _debiased)[0]) < 3


@control(
    "audit.calibration.error", "planted", "calibrated: the plain square is too high by 3 errors and more, n = 300", trials=FEW, low=0.99
)
def plain_is_biased(seed: int) -> bool:
    """The usual ECE in the same harness."""
    return _bias(0.0, seed, lambda rows: top_label_error(rows).plain)[0] > 3


@control("audit.calibration.worst_class", "planted", "one class of three stated 0.2 too high is named, n = 1,000", trials=FEW, low=0.95)
def worst_is_named(seed: int) -> bool:
    """Its whole interval lies above 0.05, and no other class is called worse."""
    rows = _THREE(1000, rng(seed, "control", "worst class"))
    moved = rows.output + np.array([0.2, -0.1, -0.1])
    moved = np.clip(moved, 0.001, None)
    rows = replace(rows, output=moved / moved.sum(axis=1, keepdims=True))
    worst, interval = _worst(rows)
    return worst == 0 and interval[0] > CALIBRATION_ERROR


@control(
    "audit.calibration.worst_class", "clean", "three calibrated classes: none is called badly calibrated, n = 1,000", trials=FEW, low=0.97
)
def none_is_worst(seed: int) -> bool:
    """The worst of three is picked, and the interval allows for that."""
    return _worst(_THREE(1000, rng(seed, "control", "no worst class")))[1][0] <= CALIBRATION_ERROR


def _worst(rows: Predictions) -> tuple[int, Interval]:
    worst, error, level = worst_class(rows, 0.95)
    return worst, error.estimated(level)[1]


@cache
def _surer_by() -> float:
    """Return by how much the over-confident population states more than it keeps."""
    large = _SURE(populations.LARGE, rng(0, "population"))
    return float((large.output.max(axis=1) - (large.chosen == large.target)).mean())


@control("audit.calibration.overconfidence", "clean", "calibrated: the interval holds 0, n = 200", trials=TRIALS, low=0.935, high=0.965)
def sureness_of_calibrated(seed: int) -> bool:
    """Neither over- nor under-confident."""
    return _holds(surer_than_right(_TWO(200, rng(seed, "control", "sureness")), _how(seed))[1], 0.0)


@control("audit.calibration.overconfidence", "clean", "log-odds doubled: holds the truth, n = 200", trials=TRIALS, low=0.935, high=0.965)
def sureness_of_sure(seed: int) -> bool:
    """Over-confident, by what a large sample shows."""
    return _holds(surer_than_right(_SURE(200, rng(seed, "control", "sure")), _how(seed))[1], _surer_by())


@control("audit.calibration.overconfidence", "clean", "calibrated, about 4 wrong of 200: the interval holds 0", trials=TRIALS, low=0.94)
def sureness_with_few_errors(seed: int) -> bool:
    """Few wrong rows: the interval is that of the share that is right, wider than need be."""
    rows = populations.many_classes(3, 4.5)(200, rng(seed, "control", "few errors"))
    return _holds(surer_than_right(rows, _how(seed))[1], 0.0)


@control("audit.calibration.overconfidence", "planted", "log-odds doubled: called over-confident, n = 1,000", trials=FEW, low=0.95)
def over_confident_is_found(seed: int) -> bool:
    """The usual fault of networks that were trained for long."""
    interval = surer_than_right(_SURE(1000, rng(seed, "control", "over")), _how(seed))[1]
    return interval is not None and interval[0] > OFF


# --- sets


def _new_row_held(fit: sets.Fit, draw: populations.Population, seed: int, rows: int = 50) -> bool:
    random = rng(seed, "control", "sets", rows)
    fitting, new = draw(rows, random), draw(30, random).rows(np.arange(1))
    return bool(fit(fitting, new, 0.9)[0, new.target[0]])


@control(
    "audit.calibration.sets", "clean", "smallest sets for 0.9 of 50 rows hold a new row in 0.9 to 0.94", trials=MANY, low=0.9, high=0.94
)
def smallest_hold(seed: int) -> bool:
    """A promise over draws of fitting rows and of the new row together; never empty, so a little more than the law's 0.92 at most."""
    return _new_row_held(sets.least_ambiguous, _THREE, seed)


@control(
    "audit.calibration.sets", "clean", "adaptive sets for 0.9 of 50 rows hold a new row in 0.9 to 0.94", trials=MANY, low=0.9, high=0.94
)
def adaptive_hold(seed: int) -> bool:
    """APS with its random share."""
    return _new_row_held(lambda fitting, new, level: sets.adaptive(fitting, new, level, seed=seed), _THREE, seed)


@control("audit.calibration.sets", "clean", "limits by class hold a new row of a rare class, 0.9 to 0.99", trials=MANY, low=0.9, high=0.99)
def classes_hold(seed: int) -> bool:
    """About 20 fitting rows of the class: its limit is the 19th or 20th of them."""
    random = rng(seed, "control", "by class")
    draw = populations.two_classes(1.2, 0.1)
    fitting, many = draw(200, random), draw(200, random)
    new = many.rows(np.flatnonzero(many.target == 1)[:1])
    return bool(sets.by_class(fitting, new, 0.9)[0, 1])


@control(
    "audit.calibration.sets",
    "clean",
    "label sets for 0.9 of 50 rows hold a label of a new row, 0.9 to 0.97",
    trials=MANY,
    low=0.9,
    high=0.97,
)
def labels_hold(seed: int) -> bool:
    """Conformal risk control: of a row's own labels 0.9 on average; a row without labels misses none."""
    random = rng(seed, "control", "label sets")
    fitting, new = populations.label_sets()(50, random), populations.label_sets()(30, random).rows(np.arange(1))
    own = np.flatnonzero(new.target[0])
    return not len(own) or bool(sets.least_missed(fitting, new, 0.9)[0, random.choice(own)])


def _called(fitting: Predictions, judged: Predictions) -> str:
    made = sets.sets_of(sets.least_ambiguous, fitting, judged, 0.9)
    return of_held(rate(made.hits(judged.target), None, Resampling()), made, law=True)[0]


@control(
    "audit.calibration.sets", "clean", "rows of one source are not called short of the promise, m = 200, n = 500", trials=TRIALS, low=0.97
)
def same_source_passes(seed: int) -> bool:
    """False alarms at most 2.5 %: the law counts what the draw of the fitting rows adds."""
    random = rng(seed, "control", "same source")
    return _called(_THREE(200, random), _THREE(500, random)) != "limitation"


@control("audit.calibration.sets", "planted", "sets fitted on easier rows are found short, m = 200, n = 500", trials=FEW, low=0.95)
def easier_rows_are_found(seed: int) -> bool:
    """Fitted on rows that the model knew: such as its own training rows."""
    random = rng(seed, "control", "easier")
    return _called(populations.many_classes(3, 2.5)(200, random), _harder(random)) == "limitation"


def _harder(random: np.random.Generator) -> Predictions:
    rows = populations.surer(populations.many_classes(3, 1.0))(500, random)
    return replace(rows, output=rows.output**2 / (rows.output**2).sum(axis=1, keepdims=True))


@control(
    "audit.calibration.sets", "planted", "the interval of the rate alone calls rows of one source short too often", trials=TRIALS, low=0.03
)
def rate_alone_misses(seed: int) -> bool:
    """The naive rule: it takes the limit for the true quantile, and so the draw of 50 fitting rows for a fault."""
    random = rng(seed, "control", "rate alone")
    made = sets.sets_of(sets.least_ambiguous, _THREE(50, random), judged := _THREE(2000, random), 0.9)
    interval = rate(made.hits(judged.target), None, Resampling()).interval
    return interval is not None and interval[1] < 0.9


# --- answering only when sure


@cache
def _true_area() -> float:
    rows = _THREE(100_000, rng(0, "population"))
    return float(risk_area(rows).of(np.ones((1, len(rows))))[0, 0])


def _areas(rows: Predictions, seed: int) -> tuple[Interval, Interval]:
    drawn = replicate([risk_area(rows)], Sampler(n=len(rows), resamples=RESAMPLES, seed=seed))
    return bca(drawn["aurc"], low=0.0, high=1.0), bca(drawn["saved"])


@control(
    "audit.calibration.answered", "clean", "the interval holds the true area, three classes, n = 300", trials=TRIALS, low=0.93, high=0.97
)
def area_is_held(seed: int) -> bool:
    """Area under wrong answers by share answered."""
    return _holds(_areas(_THREE(300, rng(seed, "control", "area")), seed)[0], _true_area())


@control("audit.calibration.answered", "clean", "sureness at random is not called a help, n = 300", trials=TRIALS, low=0.95)
def random_sureness_passes(seed: int) -> bool:
    """What is stated has nothing to do with what is right."""
    random = rng(seed, "control", "random sureness")
    stated, right = random.uniform(0.5, 1, 300), random.random(300) < 0.75
    output = np.stack([1 - stated, stated], axis=1)
    rows = Predictions(kind="category", row_id=populations.ids(300), target=right.astype(int), output=output, classes=("no", "yes"))
    return _areas(rows, seed)[1][0] <= 0


@control("audit.calibration.answered", "planted", "a model that is surer of its mistakes is found, n = 300", trials=FEW, low=0.95)
def surer_of_mistakes_is_found(seed: int) -> bool:
    """Then what it is surest of should be left to a person."""
    random = rng(seed, "control", "surer of mistakes")
    stated = random.uniform(0.5, 1, 300)
    right = random.random(300) < 1.3 - 0.8 * stated
    output = np.stack([1 - stated, stated], axis=1)
    rows = Predictions(kind="category", row_id=populations.ids(300), target=right.astype(int), output=output, classes=("no", "yes"))
    return _areas(rows, seed)[1][1] < 0


# --- strange rows


def _scores(seed: int, distance: float, n: int = 200) -> tuple[Floats, Floats]:
    random = rng(seed, "control", "strange", str(distance))
    shared, own = random.normal(size=n), random.normal(size=(2, n))
    usual, strange = math.sqrt(0.5) * shared + math.sqrt(0.5) * own
    return usual + distance, strange


@control(
    "audit.calibration.strange", "clean", "holds the true area, pairs that vary together, n = 200", trials=TRIALS, low=0.935, high=0.97
)
def strange_area_is_held(seed: int) -> bool:
    """Each strange row is made of a usual one, so their scores go together."""
    return _holds(apart(*_scores(seed, 1.0), 0.95)[1], NormalDist().cdf(1 / math.sqrt(2)))


@control("audit.calibration.strange", "clean", "an area near 1, n = 200", trials=TRIALS, low=0.92, high=0.98)
def strange_area_near_one(seed: int) -> bool:
    """The area of 3 deviations is 0.983."""
    return _holds(apart(*_scores(seed, 3.0), 0.95)[1], NormalDist().cdf(3 / math.sqrt(2)))


@control("audit.calibration.strange", "planted", "a model as sure of strange rows as of usual ones is found, n = 200", trials=FEW, low=0.99)
def blind_model_is_found(seed: int) -> bool:
    """Its whole interval lies nearer to chance than to a perfect order."""
    return apart(*_scores(seed, 0.0), 0.95)[1][1] < NEAR_CHANCE


# --- what mends it


@control("optimization.adjust.temperature", "clean", "log-odds doubled: the interval holds 2, n = 500", trials=TRIALS, low=0.93, high=0.97)
def temperature_is_held(seed: int) -> bool:
    """Squares of calibrated probabilities have a temperature of 2 exactly."""
    rows = populations.surer(_THREE)(500, rng(seed, "control", "temperature"))
    return _holds(temperature_interval(rows, fit_temperature(rows)), 2.0)


def _saves(rows: Predictions, kind: Kind, step: str, seed: int) -> Saved:
    fit = fit_temperature if step == "temperature" else fit_isotonic
    return saved_on_unseen(rows, lambda part: Adjustment(kind=kind, steps=(fit(part),)), _how(seed))


@control("optimization.adjust.temperature", "planted", "log-odds doubled: what a temperature saves is seen, n = 500", trials=FEW, low=0.95)
def temperature_saves(seed: int) -> bool:
    """On rows that did not fit it."""
    return _saves(populations.surer(_THREE)(500, rng(seed, "control", "saves")), "category", "temperature", seed).interval[0] > 0


@control("optimization.adjust.temperature", "clean", "calibrated: nothing is claimed to be saved, n = 500", trials=FEW, low=0.96)
def temperature_saves_nothing(seed: int) -> bool:
    """There is nothing to save."""
    return _saves(_THREE(500, rng(seed, "control", "saves nothing")), "category", "temperature", seed).interval[0] <= 0


@control("optimization.adjust.isotonic", "planted", "log-odds doubled: what the map saves is seen, n = 1,500", trials=FEW, low=0.95)
def isotonic_saves(seed: int) -> bool:
    """On rows that did not fit it."""
    return _saves(populations.surer(_TWO)(1500, rng(seed, "control", "map saves")), "category", "isotonic", seed).interval[0] > 0


@control("optimization.adjust.isotonic", "clean", "calibrated: nothing is claimed to be saved, n = 1,500", trials=FEW, low=0.97)
def isotonic_saves_nothing(seed: int) -> bool:
    """The map follows the rows a little, which costs."""
    return _saves(_TWO(1500, rng(seed, "control", "map saves nothing")), "category", "isotonic", seed).interval[0] <= 0


def groups(n: int, random: np.random.Generator, shares: tuple[float, float]) -> tuple[Floats, Array, Ints]:
    """Return the true log-odds of rows, whether they came true, and their group: codes 2 and 3, of these shares of positives."""
    codes = random.integers(2, 4, n)
    share = np.asarray(shares)[codes - 2]
    positive = random.random(n) < share
    return 1.5 * (random.normal(size=n) + 1.5 * positive) - 1.5**2 / 2 + np.log(share / (1 - share)), positive, codes


def gap_and_accuracy(score: Floats, positive: Array, codes: Ints) -> tuple[float, float]:
    """Return the larger gap of the true and false positive rates between the two groups, and the accuracy."""
    chosen = score > 0
    rates = [[float(chosen[(codes == code) & (positive == side)].mean()) for code in (2, 3)] for side in (True, False)]
    return max(abs(one - other) for one, other in rates), float((chosen == positive).mean())


@control("optimization.adjust.thresholds", "planted", "groups of 0.5 and 0.2 positives: a third of the gap is left", trials=100, low=0.95)
def thresholds_close_a_gap(seed: int) -> bool:
    """Fitted on 2,000 rows, judged on 20,000 others; one threshold leaves gaps of about 0.3."""
    random = rng(seed, "control", "thresholds")
    offsets = fit_thresholds(*groups(2000, random, (0.5, 0.2)), 4, "equalized_odds").offsets
    score, positive, codes = groups(20_000, random, (0.5, 0.2))
    before, after = gap_and_accuracy(score, positive, codes)[0], gap_and_accuracy(score + offsets[codes], positive, codes)[0]
    return after < before / 3


@control("optimization.adjust.thresholds", "clean", "groups that fare alike lose at most 0.02 of accuracy, n = 2,000", trials=100, low=0.95)
def thresholds_leave_equals(seed: int) -> bool:
    """What is alike is left nearly as it is."""
    random = rng(seed, "control", "equal groups")
    step = Offsets(column="g", place=0, values=fit_thresholds(*groups(2000, random, (0.4, 0.4)), 4, "equalized_odds").offsets)
    score, positive, codes = groups(20_000, random, (0.4, 0.4))
    lost = gap_and_accuracy(score, positive, codes)[1] - gap_and_accuracy(score + step.values[codes], positive, codes)[1]
    return lost < 0.02
