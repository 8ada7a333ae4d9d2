"""What predictions on held-out rows promise of later ones: the figures of a package's contract that are read from Predictions."""

from __future__ import annotations

import math

import numpy as np

from weighbridge.evaluation.conformal import radius
from weighbridge.evaluation.predictions import Floats, Predictions
from weighbridge.evaluation.selective import sureness
from weighbridge.evaluation.sets import level_for, limit
from weighbridge.evaluation.verdicts import NOMINAL_COVERAGE

Counts = dict[str, int]


def class_mix(predictions: Predictions) -> tuple[Counts, Counts]:
    """Return rows by class (for labels: rows that hold each) as they were answered, and as they are. Empty for a number."""
    if predictions.kind == "category":
        sides = [np.bincount(codes, minlength=len(predictions.classes)) for codes in (predictions.chosen, predictions.target)]
    elif predictions.kind == "set":
        sides = [predictions.chosen.sum(axis=0), predictions.target.sum(axis=0)]
    else:
        return {}, {}
    answered, true = (dict(zip(predictions.classes, map(int, side), strict=True)) for side in sides)
    return answered, true


def stated_output(predictions: Predictions) -> Floats:
    """float64 [n]: how sure the model is of its answer (0..1), or the value that it answers for a number."""
    return predictions.output if predictions.kind == "number" else sureness(predictions)


def conformal_limit(validation: Predictions) -> tuple[float, float] | None:
    """Return level and limit of split conformal prediction fitted on these rows; None where they are too few, and for labels.

    A class is in a row's set while 1 minus its probability is within the limit (Sadinle 2019); a number's interval reaches the limit to
    both sides (Angelopoulos and Bates 2023).
    """
    if validation.kind == "number":
        level, found = NOMINAL_COVERAGE, radius(np.abs(validation.output - validation.target))
    elif validation.kind == "category" and not validation.hard and (wanted := level_for(validation)) is not None:
        stated = np.take_along_axis(validation.output, validation.target[:, None], axis=1)[:, 0]
        level, found = wanted, limit(1 - stated, wanted)
    else:
        return None
    return (level, found) if math.isfinite(found) else None
