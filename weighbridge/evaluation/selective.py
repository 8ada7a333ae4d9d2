"""Answering only when sure: how many of the answered rows are right, by the share that is answered (El-Yaniv and Wiener 2010).

Weights [R, n] -> values [R, k], as in metrics.py. n rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.intervals import NORMAL, Interval, newcombe_area
from weighbridge.evaluation.metrics import correct
from weighbridge.evaluation.predictions import Array, Floats, Kind, Predictions
from weighbridge.evaluation.resampling import Resampling, Statistic, unit_sums
from weighbridge.evaluation.results import rate

SHARES = (0.9, 0.8, 0.5)
FEW = 30  # rows, or groups, with fewer of which a spread is no guide


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The rows that are answered under a limit found on validation rows: their share of all judged rows, and how many are right."""

    wanted: float
    limit: float
    share: float
    accuracy: float
    interval: Interval | None
    n: int


def sureness(predictions: Predictions) -> Floats:
    """float [n]: the probability of what is chosen; for labels the mean over them. Raises ValueError for numbers, which state none."""
    return sureness_of(predictions.kind, predictions.output)


def sureness_of(kind: Kind, output: Floats) -> Floats:
    """Return the same for outputs [n, C] alone."""
    if kind == "number":
        raise ValueError("a number states no probability")
    return np.asarray(np.maximum(output, 1 - output).mean(axis=1) if kind == "set" else output.max(axis=1))


def risk_area(predictions: Predictions) -> Statistic:
    """The area under the curve of wrong answers by share answered (Geifman 2019), and how much the order by sureness takes off it.

    Rows that are answered in a random order have the error rate for their area. Ties are answered together.
    """
    wrong, score = ~correct(predictions), sureness(predictions)
    order = np.argsort(-score, kind="stable")
    last = np.searchsorted(-score[order], -score[order], "right") - 1

    def of(weights: Floats) -> Floats:
        ordered = weights[:, order]
        answered, missed = np.cumsum(ordered, axis=1), np.cumsum(ordered * wrong[order], axis=1)
        risk = np.divide(missed[:, last], answered[:, last], out=np.zeros_like(missed), where=answered[:, last] > 0)
        total = answered[:, -1]
        found = (ordered * risk).sum(axis=1) / total
        return np.stack([found, missed[:, -1] / total - found], axis=1)

    return Statistic(names=("aurc", "saved"), of=of)


def answered(validation: Predictions, judged: Predictions, how: Resampling) -> list[Answered]:
    """Return what is answered and right under limits that let 90, 80 and 50 % of the validation rows pass."""
    known, score, hits = np.sort(sureness(validation))[::-1], sureness(judged), correct(judged)
    found = []
    for wanted in SHARES:
        least = float(known[max(0, round(wanted * len(known)) - 1)])
        rows = score >= least
        if not rows.any():
            continue
        result = rate(hits[rows], None if judged.group is None else judged.group[rows], how)
        found.append(
            Answered(
                wanted=wanted, limit=least, share=float(rows.mean()), accuracy=result.value, interval=result.interval, n=int(rows.sum())
            )
        )
    return found


def curve(predictions: Predictions, level_interval: Callable[[int, int], Interval], points: int = 60) -> list[dict[str, float]]:
    """Return the share that is right by the share answered, the surest first, at evenly spaced shares, with the interval of each."""
    hits = correct(predictions)[np.argsort(-sureness(predictions), kind="stable")]
    n, right = len(hits), np.cumsum(hits)
    least = min(n, max(20, n // 50))  # fewer rows draw a line that is all noise
    found = []
    for count in np.unique(np.linspace(least, n, min(points, n - least + 1)).astype(int)):
        low, high = level_interval(int(right[count - 1]), int(count))
        found.append({"answered": count / n, "accuracy": float(right[count - 1] / count), "low": low, "high": high})
    return found


def apart(usual: Floats, strange: Floats, level: float, group: Array | None = None) -> tuple[float, Interval]:
    """Return the area under the ROC curve by which a score tells usual rows [n] from the strange ones [n] made of them, and its interval.

    DeLong's (1988) on the logit scale, with both scores of a row, or all of a group, as one unit; Newcombe's (2006) at 0 and 1 and for few.
    """
    from scipy.stats import rankdata

    n = len(usual)
    ranks = rankdata(np.concatenate([usual, strange]))
    over = (ranks[:n] - rankdata(usual)) / n
    under = 1 - (ranks[n:] - rankdata(strange)) / n
    area = float(over.mean())
    units = unit_sums((over + under - 2 * area)[:, None], group)[:, 0] / n
    error = math.sqrt(float((units**2).sum()) * len(units) / max(len(units) - 1, 1))
    if len(units) < FEW or not 0 < area < 1 or error == 0:
        return area, newcombe_area(area, len(units), len(units), level)
    middle, half = math.log(area / (1 - area)), NORMAL.inv_cdf((1 + level) / 2) * error / (area * (1 - area))
    return area, (1 / (1 + math.exp(half - middle)), 1 / (1 + math.exp(-half - middle)))


def passing(usual: Floats, strange: Floats) -> float:
    """Return the share of strange rows that pass where a limit lets 95 % of the usual rows pass (Hendrycks and Gimpel 2017)."""
    return float((strange >= np.quantile(usual, 0.05, method="lower")).mean())
