"""Controls of quality without labels, and of the diagnosis: shifts of inputs where the truth is known, a changed relation that nobody can
see without labels, broken units, and worlds that only changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation.calibration import reliability
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.feedback.diagnose import diagnose
from weighbridge.feedback.estimate import curve_of, estimated_accuracy, is_outside
from weighbridge.feedback.streams import Stream
from weighbridge.runtime.contract import Bin, ColumnSketch
from weighbridge.runtime.histograms import histogram
from weighbridge.storage.seeds import rng

ESTIMATE, DIAGNOSIS = "feedback.estimate", "feedback.diagnosis"
WAYS = np.array([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])  # of three classes
TOO_SURE = 1.4  # the model's logits are that much too large
Made = tuple[Floats, Floats, Array]  # inputs [n, 2], outputs [n, 3], class [n]


def _rows(random: np.random.Generator, n: int, *, middle: float = 0.0, spread: float = 1.0, relation: float = 1.0) -> Made:
    inputs = middle + spread * random.normal(size=(n, 2))
    logits = inputs @ WAYS.T
    true = _softmax(relation * logits)
    return inputs, _softmax(TOO_SURE * logits), (true.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)


def _softmax(logits: Floats) -> Floats:
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _covered(seed: int, case: str, *, middle: float = 0.0, spread: float = 1.0, relation: float = 1.0) -> bool:
    random = rng(seed, "control", ESTIMATE, case)
    inputs, output, target = _rows(random, 2000)
    told = Predictions(kind="category", row_id=np.arange(2000).astype(str), target=target, output=output, classes=("a", "b", "c"))
    laid, streams = _rows(random, 4000)[0], []
    for place in range(2):
        made = histogram(laid[:, place], inputs[:, place])
        streams.append(Stream(column=str(place), trait="value", counts=made.counts, edges=made.edges))
    now, answers, truth = _rows(random, 1000, middle=middle, spread=spread, relation=relation)
    outside = is_outside(streams, np.stack([one.places(now[:, place]) for place, one in enumerate(streams)], axis=1))
    low, high = estimated_accuracy(_curve(told), answers, outside).interval
    return low <= float((answers.argmax(axis=1) == truth).mean()) <= high


def _curve(told: Predictions) -> tuple[Bin, ...]:
    curve: Any = reliability(told, 0.95)["curve"]
    return curve_of(curve)


@control(ESTIMATE, "clean", "nothing has changed: the interval holds the share right", trials=300, low=0.9)
def unchanged_is_held(seed: int) -> bool:
    return _covered(seed, "clean")


@control(ESTIMATE, "clean", "inputs a deviation away: the interval holds the share right", trials=300, low=0.9)
def near_shift_is_held(seed: int) -> bool:
    return _covered(seed, "near", middle=1.0)


@control(ESTIMATE, "clean", "inputs half as far apart, most rows unsure: the interval holds the share right", trials=300, low=0.9)
def unsure_rows_are_held(seed: int) -> bool:
    return _covered(seed, "unsure", spread=0.5)


@control(ESTIMATE, "clean", "inputs three deviations away, many outside: the interval holds the share right", trials=300, low=0.9)
def far_shift_is_held(seed: int) -> bool:
    return _covered(seed, "far", middle=3.0)


@control(
    ESTIMATE,
    "planted",
    "the relation of input and label changed: no estimate without labels can know, the interval misses",
    trials=300,
    low=0.9,
)
def changed_relation_is_missed(seed: int) -> bool:
    return not _covered(seed, "relation", relation=0.3)


def _sketch(random: np.random.Generator) -> tuple[ColumnSketch, Floats]:
    """Return the sketch of heights in cm and 500 new ones."""
    laid, counted, new = (np.concatenate([random.normal(178, 7, n), random.normal(165, 6, n)]) for n in (1000, 500, 250))
    return ColumnSketch(name="height", type="number", rows=1000, missing=0, traits={"value": histogram(laid, counted)}), new


@control(DIAGNOSIS, "planted", "heights in cm come in inches, in metres or in mm: the input is broken, by a unit", trials=300, low=0.95)
def unit_is_named(seed: int) -> bool:
    random = rng(seed, "control", DIAGNOSIS, "unit")
    sketch, new = _sketch(random)
    scale, unit = ((1 / 2.54, "cm -> inch"), (0.01, "/ 100"), (10.0, "x 10"))[seed % 3]
    found = diagnose(sketch, new * scale)
    return found.cause == "unit" and unit in str(found.words)


@control(
    DIAGNOSIS, "planted", "missing, constant, or cut off at the upper quarter: the input is broken, each by its cause", trials=300, low=0.95
)
def breaks_are_named(seed: int) -> bool:
    random = rng(seed, "control", DIAGNOSIS, "breaks")
    sketch, new = _sketch(random)
    gone = np.where(random.random(len(new)) < 0.2, np.nan, new)
    cause, values = (("missing", gone), ("constant", np.full(len(new), 170.0)), ("clipped", np.minimum(new, np.quantile(new, 0.75))))[
        seed % 3
    ]
    return diagnose(sketch, values).cause == cause


@control(
    DIAGNOSIS,
    "clean",
    "people half a deviation taller, more alike or of one kind only: the world has changed, nothing is broken",
    trials=300,
    low=0.95,
)
def changed_world_is_not_broken(seed: int) -> bool:
    random = rng(seed, "control", DIAGNOSIS, "world")
    sketch, new = _sketch(random)
    values = (new + 5, 171 + 0.7 * (new - 171), random.normal(180, 7, 500))[seed % 3]
    return not diagnose(sketch, values).broken
