"""What is measured of each group, from predictions alone: rates of classes and labels, errors of numbers, calibration within groups.

Of two classes one is the selected one; of more, and of labels, each against the rest, and only like is compared with like. Rates equal
those of Fairlearn's MetricFrame (a test holds them to it); here they keep the rows that they are over, of which their intervals are made.
n rows, P parts (classes or labels), k groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from weighbridge.audit.fairness_gaps import LEVEL, Cell, mean_cell, rate_cell, root_cell
from weighbridge.audit.fairness_groups import Grouping
from weighbridge.evaluation.calibration import top_label_error
from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.metrics import correct
from weighbridge.evaluation.predictions import Array, Predictions

MOST_PARTS = 20  # classes or labels that are compared, the most frequent
LEAST_CALIBRATED = 100  # rows of a group: five bins of twenty
CLASS_MEASURES = ("selected", "true_positive", "false_positive", "precision", "error", "stated", "base_rate")
NUMBER_MEASURES = ("mean_answer", "mean_error", "rmse", "base_rate")
NEUTRAL = ("base_rate",)  # of the rows, not of the model

Cells = dict[str, list[Cell]]


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The calibration error of a group with its interval, which is so sure that those of all groups hold together."""

    group: int
    value: float
    interval: Interval
    n: int


def parts_of(predictions: Predictions, selected: int) -> list[int]:
    """Return the classes or labels that are compared: of two classes the selected one, else the most frequent."""
    if predictions.kind == "number":
        return [0]
    if predictions.kind == "category" and len(predictions.classes) == 2:
        return [selected]
    counts = [int(_is(predictions.target, code).sum()) for code in range(len(predictions.classes))]
    return sorted(sorted(range(len(counts)), key=lambda code: -counts[code])[:MOST_PARTS])


def cells_of(predictions: Predictions, grouping: Grouping, selected: int) -> Cells:
    """Return the figures of each group by measure; a figure that no row of a group can show is left out."""
    if predictions.kind == "number":
        return _of_numbers(predictions, grouping)
    made: Cells = {name: [] for name in CLASS_MEASURES}
    wrong = ~correct(predictions)
    for group in range(len(grouping.names)):
        inside = grouping.rows(group)
        made["error"] += _cells(wrong, inside, predictions, group, 0)
        for code in parts_of(predictions, selected):
            truth, said = _is(predictions.target, code), _is(predictions.chosen, code)
            for name, hits, rows in _rates(truth, said):
                made[name] += _cells(hits, inside & rows, predictions, group, code)
            if not predictions.hard:
                made["stated"] += _cells(predictions.output[:, code] - truth, inside, predictions, group, code, mean_cell)
    return made


def _rates(truth: Array, said: Array) -> Iterator[tuple[str, Array, Array]]:
    """Yield (measure, what is counted, among which rows)."""
    everywhere = np.ones(len(truth), dtype=bool)
    yield "selected", said, everywhere
    yield "base_rate", truth, everywhere
    yield "true_positive", said, truth
    yield "false_positive", said, ~truth
    yield "precision", truth, said


def _of_numbers(predictions: Predictions, grouping: Grouping) -> Cells:
    error = predictions.output - predictions.target
    kinds: dict[str, tuple[Array, Callable[..., Cell]]] = {
        "mean_answer": (predictions.output, mean_cell),
        "mean_error": (error, mean_cell),
        "rmse": (error, root_cell),
        "base_rate": (predictions.target, mean_cell),
    }
    groups = range(len(grouping.names))
    return {
        name: [one for group in groups for one in _cells(values, grouping.rows(group), predictions, group, 0, make)]
        for name, (values, make) in kinds.items()
    }


def calibrated(predictions: Predictions, grouping: Grouping) -> list[Calibrated]:
    """Return the calibration error of each group of enough rows; none where probabilities are not known."""
    if predictions.kind != "category" or predictions.hard:
        return []
    large = [int(group) for group in np.flatnonzero(grouping.sizes >= LEAST_CALIBRATED)]
    found = []
    for group in large:
        rows = predictions.rows(grouping.rows(group))
        value, interval = top_label_error(rows).estimated(1 - (1 - LEVEL) / len(large))
        found.append(Calibrated(group=group, value=value, interval=interval, n=len(rows)))
    return found


def _is(values: Array, code: int) -> Array:
    """Return bool [n]: the row is of this class, or has this label."""
    return np.asarray(values[:, code] if values.ndim == 2 else values == code, dtype=bool)


def _cells(
    values: Array, rows: Array, predictions: Predictions, group: int, part: int, make: Callable[..., Cell] = rate_cell
) -> list[Cell]:
    units = None if predictions.group is None else predictions.group[rows]
    return [make(values[rows], group, part=part, units=units)] if rows.any() else []
