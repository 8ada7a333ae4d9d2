"""Evaluation: predictions in, findings with intervals out. No model is needed here, and no torch."""

from weighbridge.evaluation.answers import predictions_of
from weighbridge.evaluation.evidence import Mistake, worst_mistakes
from weighbridge.evaluation.intervals import quantile_interval
from weighbridge.evaluation.measure import measure, resampling_of
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Predictions, write_predictions
from weighbridge.evaluation.reading import read_predictions
from weighbridge.evaluation.worth import HIDDEN, worth

__all__ = [
    "HEADLINES",
    "HIDDEN",
    "Mistake",
    "Predictions",
    "measure",
    "predictions_of",
    "quantile_interval",
    "read_predictions",
    "resampling_of",
    "worst_mistakes",
    "worth",
    "write_predictions",
]
