"""Every metric of some predictions as value, interval and method; no verdict yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.evaluation.calibration import brier_decomposition, classwise_error, top_label_error
from weighbridge.evaluation.intervals import (
    FEW_ERRORS,
    Interval,
    bca,
    clopper_pearson,
    delong,
    effective_score,
    is_degenerate,
    is_exact,
    newcombe_area,
    rate_interval,
    studentized,
)
from weighbridge.evaluation.metrics import HEADLINES, RMSE_LOG_ERROR, correct, mean_of, row_f1, statistics_of
from weighbridge.evaluation.predictions import Array, Predictions
from weighbridge.evaluation.resampling import Replicates, Resampling, Sampler, Statistic, replicate, values_of
from weighbridge.evaluation.wording import (
    BINNED,
    EXACT,
    METRICS_OF,
    MID_P,
    bootstrap_method,
    few_errors_method,
    score_method,
    studentized_method,
)
from weighbridge.findings import Message
from weighbridge.storage.progress import Progress, silent

FEW_OF_A_CLASS = 30  # rows: with fewer, resamples of an area near 1 show too few of the errors that there are
LEAST_UNITS = 8  # fewer rows or groups can not show how much a metric varies
RATES = ("accuracy", "subset_accuracy")
BINNED_ERRORS = {"calibration_error": top_label_error, "calibration_error_classwise": classwise_error}
SHARES = ("balanced_accuracy", "precision", "recall", "f1", "f1_micro", "f1_macro", "f1_rows")  # and f1.<class>
BOUNDS = {"r2": (-math.inf, 1.0)} | dict.fromkeys(("log_loss", "brier", "mae", "rmse"), (0.0, math.inf))
TOO_FEW = Message("no interval: the rows hold fewer than {least} independent units", least=LEAST_UNITS)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A metric's value with its interval (None where there are too few units) over n rows."""

    value: float
    interval: Interval | None
    n: int
    method: Message

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "interval": self.interval and list(self.interval), "n": self.n}


def results_of(
    predictions: Predictions, how: Resampling, *, wanted: Callable[[str], bool] = bool, progress: Progress = silent
) -> dict[str, Result]:
    """Return the wanted metrics, `f1.<class>` among them; those that these rows can not have (one class only) are left out."""
    results = {
        name: rate(correct(predictions), predictions.group, how) for name in RATES if name in METRICS_OF[predictions.kind] and wanted(name)
    }
    statistics = [statistic for statistic in statistics_of(predictions) if any(map(wanted, statistic.names))]
    drawn = replicate(statistics, _sampler(predictions, how), progress) if statistics else {}
    for name, replicates in drawn.items():
        if name != RMSE_LOG_ERROR and wanted(name) and math.isfinite(replicates.value):
            results[name] = _result(name, drawn, predictions, how)
    if predictions.kind == "category" and not predictions.hard:
        results |= {name: _binned(name, predictions, how.level) for name in BINNED_ERRORS if wanted(name)}
    return results


def headline_of(predictions: Predictions, how: Resampling) -> Result:
    """Return the headline metric alone, the same as among all."""
    return results_of(predictions, how, wanted=lambda name: name == HEADLINES[predictions.kind].name)[HEADLINES[predictions.kind].name]


def row_f1_result(predictions: Predictions, how: Resampling) -> Result:
    """Return the mean over rows of each row's F1, of labels of sets."""
    statistic = Statistic(names=("f1_rows",), of=mean_of(row_f1(predictions)[:, None]))
    return _result("f1_rows", replicate([statistic], _sampler(predictions, how)), predictions, how)


def plain_values(predictions: Predictions) -> dict[str, float]:
    """Return the metrics without intervals."""
    values = values_of(statistics_of(predictions), len(predictions))
    names = METRICS_OF[predictions.kind]
    rates = {name: float(correct(predictions).mean()) for name in RATES if name in names}
    if predictions.kind == "category" and not predictions.hard:
        values |= {name: error(predictions).estimated(level=0.95)[0] for name, error in BINNED_ERRORS.items()}
    return rates | {name: value for name, value in values.items() if name in names and math.isfinite(value)}


def rate(hits: Array, group: Array | None, how: Resampling) -> Result:
    """Return the share of true rows; over groups it is bootstrapped, since rows of a group are not independent."""
    count, n = int(hits.sum()), len(hits)
    if group is None:
        method = EXACT if is_exact(count, n) else MID_P
        return Result(value=count / n, interval=rate_interval(count, n, how.level), n=n, method=method)
    statistic = Statistic(names=("rate",), of=mean_of(hits.astype(np.float64)[:, None]))
    sampler = Sampler(n=n, resamples=how.resamples, seed=how.seed, group=group)
    drawn = replicate([statistic], sampler)["rate"]
    if is_degenerate(drawn):  # the groups agree: their number stands for the number of independent rows
        return Result(value=drawn.value, interval=clopper_pearson(drawn.value * drawn.units, drawn.units, how.level), n=n, method=EXACT)
    return Result(
        value=drawn.value, interval=effective_score(drawn, how.level, grouped=True), n=n, method=score_method(how.resamples, grouped=True)
    )


def by_class(predictions: Predictions, results: dict[str, Result], how: Resampling) -> dict[str, dict[str, Any]]:
    """Return precision, recall and F1 of each class as JSON; null where no row is of the class or none was given it."""
    table = {}
    for code, name in enumerate(predictions.classes):
        hit = predictions.target == code
        given = predictions.chosen == code
        f1 = results.get(f"f1.{name}")
        table[name] = {
            "precision": _part(hit, given, predictions.group, how),
            "recall": _part(given, hit, predictions.group, how),
            "f1": f1.to_json() if f1 and (hit | given).any() else None,
        }
    return table


def metrics_json(predictions: Predictions, results: dict[str, Result], baselines: Iterable[Predictions], how: Resampling) -> dict[str, Any]:
    """Return the content of metrics.json: the model's metrics, those of its baselines, and for categories each class."""
    names = METRICS_OF[predictions.kind]
    table: dict[str, Any] = {"model": {name: result.to_json() for name, result in results.items() if name in names}}
    table["baselines"] = {baseline.model: _plain_json(baseline, how) for baseline in baselines}
    if predictions.kind == "category":
        table["classes"] = by_class(predictions, results, how)
        if not predictions.hard:
            table["brier_decomposition"] = brier_decomposition(predictions)
    return table


def _plain_json(predictions: Predictions, how: Resampling) -> dict[str, Any]:
    table: dict[str, Any] = {
        name: {"value": value, "interval": None, "n": len(predictions)} for name, value in plain_values(predictions).items()
    }
    return table | {HEADLINES[predictions.kind].name: headline_of(predictions, how).to_json()}


def _part(hits: Array, among: Array, group: Array | None, how: Resampling) -> dict[str, Any] | None:
    if not among.any():
        return None
    return rate(hits[among], None if group is None else group[among], how).to_json()


def _result(name: str, drawn: dict[str, Replicates], predictions: Predictions, how: Resampling) -> Result:
    replicates = drawn[name]
    interval, method = _interval(name, drawn, predictions, how)
    if replicates.units < LEAST_UNITS:
        interval, method = None, TOO_FEW
    return Result(value=replicates.value, interval=interval, n=len(predictions), method=method)


def _binned(name: str, predictions: Predictions, level: float) -> Result:
    error, n = BINNED_ERRORS[name](predictions), len(predictions)
    value, interval = error.estimated(level)
    units = n if predictions.group is None else len(np.unique(predictions.group))
    if units < LEAST_UNITS:
        return Result(value=value, interval=None, n=n, method=TOO_FEW)
    if error.noise == 0:
        return Result(value=value, interval=_around_the_sure(value, predictions, level), n=n, method=_same(predictions))
    return Result(value=value, interval=(interval[0], min(interval[1], 1.0)), n=n, method=BINNED)


def _interval(name: str, drawn: dict[str, Replicates], predictions: Predictions, how: Resampling) -> tuple[Interval | None, Message]:
    replicates, grouped = drawn[name], predictions.group is not None
    if name == "rmse":
        log_errors = drawn[RMSE_LOG_ERROR]
        words = few_errors_method if log_errors.value > FEW_ERRORS else studentized_method
        return studentized(replicates, log_errors, how.level), words(how.resamples, grouped=grouped)
    if predictions.kind != "number" and replicates.value in (0.0, 1.0) and is_degenerate(replicates):
        return _around_the_sure(round(replicates.value), predictions, how.level), _same(predictions)
    if name in SHARES or name.startswith("f1."):
        return effective_score(replicates, how.level, grouped=grouped), score_method(how.resamples, grouped=grouped)
    low, high = BOUNDS.get(name, (0.0, 1.0))
    interval = bca(replicates, how.level, low=low, high=high)
    if name == "auroc" and predictions.kind == "category" and len(predictions.classes) == 2 and not grouped:
        return _area(predictions, how, interval, replicates.value)
    return interval, bootstrap_method(how.resamples, grouped=grouped)


def _around_the_sure(value: float, predictions: Predictions, level: float) -> Interval:
    rows = _rarest(predictions)
    return clopper_pearson(value * rows, rows, level)


def _same(predictions: Predictions) -> Message:
    return Message("no resample differs, so the interval is the exact one for the {n} rows of the rarest class", n=_rarest(predictions))


def _rarest(predictions: Predictions) -> int:
    if predictions.kind == "set":
        return len(predictions)
    counts = np.bincount(predictions.target)
    return int(counts[counts > 0].min())


def _area(predictions: Predictions, how: Resampling, resampled: Interval, value: float) -> tuple[Interval, Message]:
    """BCa with DeLong's interval named beside it; Newcombe's where a class has too few rows for a resample to show its errors."""
    ones, zeros = np.bincount(predictions.target == 0, minlength=2).tolist()
    if min(ones, zeros) < FEW_OF_A_CLASS:
        return newcombe_area(value, ones, zeros, how.level), Message(
            "Newcombe's interval (2006, method 5), which fits few rows: the rarer class has {n}", n=min(ones, zeros)
        )
    _, (low, high) = delong(predictions.target == 1, predictions.output[:, 1], how.level)
    return resampled, Message(
        "BCa bootstrap over rows, {resamples} resamples; DeLong's interval on the logit scale is {low} to {high}",
        resamples=how.resamples,
        low=low,
        high=high,
    )


def _sampler(predictions: Predictions, how: Resampling) -> Sampler:
    return Sampler(n=len(predictions), resamples=how.resamples, seed=how.seed, group=predictions.group)


def class_recall(predictions: Predictions, code: int, how: Resampling) -> Result:
    """Return the recall of one class, corrected over all classes since the weakest is picked after seeing them (Bonferroni)."""
    rows = predictions.target == code
    corrected = Resampling(resamples=how.resamples, level=1 - (1 - how.level) / len(predictions.classes), seed=how.seed)
    return rate(predictions.chosen[rows] == code, None if predictions.group is None else predictions.group[rows], corrected)
