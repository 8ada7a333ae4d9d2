"""Sets of answers that hold the truth as often as promised: split conformal prediction for classes and labels, whatever the model.

Fitted on rows that the model was not trained on, judged on others. Shapes: n judged rows, m fitting rows, C classes or labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.predictions import Array, Floats, Ints, Predictions
from weighbridge.storage.seeds import rng

LEVELS = (0.9, 0.95, 0.99)
MOST_CLASSES = 30  # with more, rows of a class are too few for a limit of its own
TAIL = 0.025  # fewer hits than this share of all draws of fitting and judged rows would show is a limitation

Fit = Callable[[Predictions, Predictions, float], Array]


@dataclass(frozen=True, kw_only=True)
class Sets:
    """What was promised, and what each judged row was given: bool [n, C]; m rows fitted it, `crossed`: halves of the judged rows."""

    level: float
    held: Array
    fitting_rows: int
    crossed: bool

    @property
    def sizes(self) -> Ints:
        return np.asarray(self.held.sum(axis=1), dtype=np.int64)

    def hits(self, truth: Ints) -> Array:
        """bool [n]: the set holds the true class."""
        return np.asarray(np.take_along_axis(self.held, truth[:, None], axis=1)[:, 0])


def level_for(fitting: Predictions) -> float | None:
    """Return the lowest level of 0.9, 0.95, 0.99 that is above what the chosen class alone reaches; None where no level has enough rows.

    A level of p needs p / (1 - p) rows for a finite limit. For labels, whose sets grow with any level, it is 0.9.
    """
    possible = [level for level in LEVELS if place(level, len(fitting)) <= len(fitting)]
    if not possible:
        return None
    if fitting.kind == "set":
        return possible[0]
    alone = float((fitting.chosen == fitting.target).mean())
    return next((level for level in possible if level > alone), possible[-1])


def place(level: float, rows: int) -> int:
    """Return which of the ordered scores of `rows` rows is the limit: ceil(level (m + 1)); over m there is none."""
    return math.ceil(round(level * (rows + 1), 9))


def least_rows(level: float) -> int:
    """Return how many rows give a finite limit."""
    return next(rows for rows in range(1, 10_000) if place(level, rows) <= rows)


def limit(scores: Floats, level: float) -> float:
    """Return the limit under which a new row's score lies with `level`; infinite where the rows are too few."""
    wanted = place(level, len(scores))
    return float(np.sort(scores)[wanted - 1]) if wanted <= len(scores) else math.inf


def least_ambiguous(fitting: Predictions, judged: Predictions, level: float) -> Array:
    """Return the sets of all classes of at least a certain probability, never empty (Sadinle 2019): the smallest on average."""
    most = limit(1 - _of_truth(fitting.output, fitting.target), level)
    return _never_empty(1 - judged.output <= most, judged.output)


def by_class(fitting: Predictions, judged: Predictions, level: float) -> Array:
    """Return sets with a limit for each class, so that each class is held as often as promised (Vovk 2012).

    A class of too few fitting rows has the limit of all rows.
    """
    scores = 1 - _of_truth(fitting.output, fitting.target)
    own = np.array([limit(scores[fitting.target == c], level) for c in range(len(fitting.classes))])
    most = np.where(np.isfinite(own), own, limit(scores, level))
    return _never_empty(1 - judged.output <= most, judged.output)


def adaptive(fitting: Predictions, judged: Predictions, level: float, *, seed: int = 0) -> Array:
    """Return sets of the most probable classes until their sum passes a limit (APS, Romano 2020): larger where a row is harder."""
    fits, judges = (rng(seed, "conformal", name).random(len(rows)) for name, rows in (("fitting", fitting), ("judged", judged)))
    most = limit(_of_truth(_mass(fitting.output, fits), fitting.target), level)
    return _never_empty(_mass(judged.output, judges) <= most, judged.output)


def least_missed(fitting: Predictions, judged: Predictions, level: float) -> Array:
    """Return label sets of which a row's own labels are held by `level` on average: conformal risk control (Angelopoulos 2022)."""
    count = np.maximum(fitting.target.sum(axis=1), 1)
    stated = np.where(fitting.target, fitting.output, np.inf)
    limits = np.unique(stated[np.isfinite(stated)])  # the missed share only changes there
    order = np.argsort(stated, axis=None, kind="stable")
    ends = np.searchsorted(stated.ravel()[order], limits, "left")
    steps = np.cumsum(np.concatenate([[0.0], (1 / count).repeat(stated.shape[1])[order]]))
    missed = steps[ends] / len(fitting)
    allowed = (len(fitting) * missed + 1) / (len(fitting) + 1) <= 1 - level
    least = float(limits[allowed].max()) if allowed.any() else 0.0
    return np.asarray(judged.output >= least)


def sets_of(fit: Fit, validation: Predictions | None, judged: Predictions, level: float, *, seed: int = 0) -> Sets:
    """Return the sets of the judged rows, fitted on validation rows, or each half of the judged rows (whole groups) on the other half."""
    if validation is not None:
        return Sets(level=level, held=fit(validation, judged, level), fitting_rows=len(validation), crossed=False)
    first = _half(judged, seed)
    held = np.empty(judged.output.shape, dtype=bool)
    for own in (first, ~first):
        held[own] = fit(judged.rows(~own), judged.rows(own), level)
    return Sets(level=level, held=held, fitting_rows=len(judged) // 2, crossed=True)


def held_law(level: float, fitting_rows: int, rows: int) -> Interval:
    """Return between which shares 95 % of all draws of fitting and judged rows of one source come to lie: beta-binomial (Vovk 2012)."""
    from scipy.stats import betabinom

    wanted = place(level, fitting_rows)
    law = betabinom(rows, wanted, fitting_rows + 1 - wanted)
    return float(law.ppf(TAIL)) / rows, float(law.ppf(1 - TAIL)) / rows


def _of_truth(values: Floats, truth: Ints) -> Floats:
    return np.asarray(np.take_along_axis(values, truth[:, None], axis=1)[:, 0])


def _mass(output: Floats, chance: Floats) -> Floats:
    """Return [n, C] the probability of all classes above each, and a random share of its own."""
    order = np.argsort(-output, axis=1, kind="stable")
    falling = np.take_along_axis(output, order, axis=1)
    summed = np.cumsum(falling, axis=1) - falling * (1 - chance[:, None])
    found = np.empty_like(output)
    np.put_along_axis(found, order, summed, axis=1)
    return found


def _never_empty(held: Array, output: Floats) -> Array:
    held = np.asarray(held)
    held[np.arange(len(held)), output.argmax(axis=1)] = True
    return held


def _half(predictions: Predictions, seed: int) -> Array:
    units = predictions.row_id if predictions.group is None else predictions.group
    names, at = np.unique(units, return_inverse=True)
    return np.asarray((rng(seed, "conformal", "halves").permutation(len(names)) < len(names) // 2)[at])
