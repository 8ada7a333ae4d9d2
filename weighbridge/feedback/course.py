"""Expected against actual over time: a served name's answers in windows of equally many rows, each with what is known of it.

A window is told by the place of its first answer among all of its name, so a later look cuts the same windows and adds new ones.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np

from weighbridge.errors import DataError
from weighbridge.evaluation.intervals import Interval, rate_interval
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Floats, Predictions
from weighbridge.evaluation.selective import sureness_of
from weighbridge.feedback.log import Log
from weighbridge.feedback.windows import Window, predictions_of
from weighbridge.runtime.contract import Contract
from weighbridge.storage.seeds import rng

ROWS, MOST = 200, 60
RESAMPLES = 400
DIGITS = 12


def course(log: Log, name: str, contract: Contract | None, *, rows: int = ROWS, most: int = MOST) -> list[dict[str, Any]]:
    """Return the last `most` windows of `rows` answers of a name, oldest first; the first and the last may hold fewer. Raises StorageError.

    Each: first, last (ISO 8601 UTC), n, labelled, value and interval of the headline metric over labelled rows (None without any), stated
    (how often the model expects to be right, by its own probabilities as the contract corrects them), latency_s (99th percentile), models
    (rows by the beginning of the model's hash).
    """
    answers = sum(one["answers"] for one in log.status()["models"] if one["package"] == name)
    found = log.window(package=name, newest=rows * most)
    before = max(answers - len(found), 0)
    starts = [*dict.fromkeys([0, *range(-before % rows, len(found), rows)])]
    ends = [*starts[1:], len(found)]
    return [_told(found.rows(np.arange(start, end)), contract) for start, end in zip(starts, ends, strict=True) if end > start]


def _told(window: Window, contract: Contract | None) -> dict[str, Any]:
    latency = window.latency_s[np.isfinite(window.latency_s)]
    value, interval = _quality(window)
    return {
        "first": _iso(window.time_us[0]), "last": _iso(window.time_us[-1]), "n": len(window), "labelled": int(window.labelled.sum()),
        "value": value, "interval": interval, "stated": _stated(window, contract),
        "latency_s": float(np.quantile(latency, 0.99)) if len(latency) else None,
        "models": {window.served[place].model[:DIGITS]: int((window.model == place).sum()) for place in np.unique(window.model)},
    }  # fmt: skip


def _quality(window: Window) -> tuple[float | None, Interval | None]:
    """The headline metric over the labelled rows; of models that answer different questions, None."""
    if not window.labelled.any():
        return None, None
    try:
        seen = predictions_of(window)
    except DataError:
        return None, None
    return headline_with_interval(seen)


def headline_with_interval(seen: Predictions) -> tuple[float, Interval]:
    """Return the metric that the kind is judged by, with a 95 % interval: exact for a share of rows, else by the bootstrap's quantiles."""
    headline = HEADLINES[seen.kind]
    value = float(headline.value(seen))
    if seen.kind == "category":
        return value, rate_interval(round(value * len(seen)), len(seen))
    features = headline.features(seen)
    weights = rng(0, "feedback", "course").multinomial(len(seen), np.full(len(seen), 1 / len(seen)), size=RESAMPLES)
    low, high = np.quantile(headline.of_sums(weights @ features), [0.025, 0.975])
    return value, (min(float(low), value), max(float(high), value))


def _stated(window: Window, contract: Contract | None) -> float | None:
    """How often the model expects to be right, None for what says nothing of it."""
    parts = [one for one in _by_kind(window) if one is not None]
    if not parts or contract is None or contract.kind != "category" or not contract.calibration:
        return None
    return float(np.concatenate([_right(one, contract) for one in parts]).mean())


def _by_kind(window: Window) -> Iterator[Floats | None]:
    for place in np.unique(window.model):
        rows = window.rows(window.model == place)
        yield rows.output if window.served[place].kind == "category" and rows.output.ndim == 2 else None


def _right(output: Floats, contract: Contract) -> Floats:
    """float64 [n]: the share right among the contract's test rows of about the same stated probability, read between its bins."""
    stated, seen = (np.array([getattr(one, name) for one in contract.calibration]) for name in ("stated", "seen"))
    if output.shape[1] > 2:
        return np.asarray(np.interp(sureness_of("category", output), stated, seen))
    second = np.interp(output[:, 1], stated, seen)  # the curve of two classes is that of the second
    return np.asarray(np.where(output[:, 1] > 0.5, second, 1 - second))


def _iso(moment_us: Any) -> str:
    return datetime.datetime.fromtimestamp(int(moment_us) / 1e6, datetime.UTC).isoformat(timespec="milliseconds")
