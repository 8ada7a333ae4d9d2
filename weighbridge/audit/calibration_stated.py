"""Are stated probabilities right: their error, the class where it is largest, its direction, its cost, what a temperature would save."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.audit.calibration_line import NEUTRAL, Judged, line, not_measured
from weighbridge.evaluation import verdicts
from weighbridge.evaluation.calibration import (
    BinnedError,
    brier_skill,
    class_error,
    classwise_error,
    debiased_decomposition,
    reliability,
    top_label_error,
)
from weighbridge.evaluation.intervals import Interval, bca, is_degenerate, rate_interval
from weighbridge.evaluation.metrics import mean_of
from weighbridge.evaluation.recalibration import fit_temperature, losses, temperature_interval
from weighbridge.evaluation.resampling import Replicates, Sampler, Statistic, replicate
from weighbridge.evaluation.results import LEAST_UNITS, TOO_FEW
from weighbridge.evaluation.wording import BINNED, bootstrap_method
from weighbridge.findings import Finding, Message, Reference
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.adjustment import Kind
    from weighbridge.evaluation.predictions import Array, Floats
    from weighbridge.evaluation.resampling import Resampling

OFF = 0.02  # mean stated probability over the share that is right: two answers in a hundred that are not as sure as they say
FEW_ERRORS = 10  # with fewer right, or fewer wrong rows, resamples of their difference say too little
WORTH = 0.02  # share of the log loss that a remedy must save to be named a limitation
LABELS = "label_reliability.json"
RELIABILITY = "evaluation/reliability.json"
ERROR = Message("Calibration error of the stated probabilities")
ALL = Message("Calibration error over the probabilities of all classes")
CLASS = Message("Worst calibrated class: {name}")
SURE = Message("Mean stated probability minus the share that is right")
SKILL = Message("Share of the uncertainty that the probabilities remove")
SAVED = Message("Log loss that a temperature would save")


def stated(subject: Subject) -> list[Finding]:
    """Return the figures of stated probabilities on test rows; the target is of classes or labels."""
    test, level = subject.said["test"], subject.how.level
    evidence = RELIABILITY
    if test.kind == "set":
        write_json(subject.place / LABELS, reliability(test, level))
        evidence = f"audit/{LABELS}"
    found = [_error(subject, "error", ERROR, test, evidence)]
    if test.kind == "category" and len(test.classes) > 2:
        found.append(_error(subject, "error_classwise", ALL, test, ""))
        found.append(_worst_class(subject, test))
    return [*found, _sureness(subject, test), _skill(subject, test), _temperature(subject, test)]


def _measured(name: str, predictions: Predictions) -> BinnedError:
    if name == "error_classwise" or predictions.kind == "set":
        return classwise_error(predictions)
    return top_label_error(predictions)


def _error(subject: Subject, name: str, title: Message, test: Predictions, evidence: str) -> Finding:
    error = _measured(name, test)
    value, interval, judged, method = _judged(test, error, subject.how.level)
    reference = None
    if subject.champion is not None:
        beside = _measured(name, subject.champion.said["test"]).estimated(subject.how.level)[0]
        reference = Reference(name=Message("{name}", name=subject.champion.kept.name), value=beside)
    if test.kind == "category" and interval is not None:
        judged = "neutral", Message("the verdict stands under evaluation.calibration_error, which is the same figure")
    source = "Kumar 2019; Roelofs 2022; Satterthwaite 1946"
    return line(
        subject, name, title, value, interval, judged, n=len(test), method=method, source=source, reference=reference,
        evidence=(evidence,) if evidence else (),
    )  # fmt: skip


def _judged(test: Predictions, error: BinnedError, level: float) -> tuple[float, Interval | None, Judged, Message]:
    """Return value, interval, verdict and method of a binned error."""
    value, interval = error.estimated(level)
    if _units(test) < LEAST_UNITS:
        return value, None, NEUTRAL, TOO_FEW
    if error.noise == 0:  # every bin agrees: what is not seen may still come once in so many rows
        interval = (min(interval[0], value), max(value, rate_interval(0, len(test), level)[1]))
    interval = interval[0], min(interval[1], 1.0)
    return value, interval, verdicts.of_calibration_error(interval), BINNED


def worst_class(predictions: Predictions, level: float) -> tuple[int, BinnedError, float]:
    """Return the class whose interval begins highest, its error, and the level of intervals that hold all classes together."""
    classes = [code for code in range(len(predictions.classes)) if (predictions.target == code).any()]
    errors = {code: class_error(predictions, code) for code in classes}
    wide = 1 - (1 - level) / len(classes)
    worst = max(classes, key=lambda code: (errors[code].estimated(wide)[1][0], errors[code].plain))
    return worst, errors[worst], wide


def _worst_class(subject: Subject, test: Predictions) -> Finding:
    worst, error, level = worst_class(test, subject.how.level)
    value, interval, judged, _ = _judged(test, error, level)
    method = Message(
        "as the error of all, widened by Bonferroni because the worst of {classes} classes is picked", classes=len(np.unique(test.target))
    )
    return line(
        subject, "worst_class", Message(CLASS.template, name=test.classes[worst]), value, interval, judged, n=len(test),
        method=method if interval else TOO_FEW, source="Kumar 2019; Kull 2019; Dunn 1961",
    )  # fmt: skip


def surer_than_right(predictions: Predictions, how: Resampling) -> tuple[float, Interval | None, Message]:
    """Return the mean stated probability of what was chosen less the share that is right (labels: of all), its interval and how."""
    from weighbridge.evaluation.selective import sureness

    score = sureness(predictions)
    right: Floats = np.asarray(predictions.chosen == predictions.target, dtype=np.float64)
    right = right.mean(axis=1) if predictions.kind == "set" else right
    drawn = _drawn(predictions, (score - right)[:, None], how)
    if drawn.units < LEAST_UNITS:
        return drawn.value, None, TOO_FEW
    hits = int(right.sum())
    few = predictions.kind == "category" and predictions.group is None and min(hits, len(right) - hits) < FEW_ERRORS
    if few or is_degenerate(drawn):
        low, high = rate_interval(float(right.sum()), len(right), how.level)
        return drawn.value, (float(score.mean()) - high, float(score.mean()) - low), Message("interval of the share that is right")
    return drawn.value, bca(drawn, how.level), bootstrap_method(how.resamples, grouped=predictions.group is not None)


def _sureness(subject: Subject, test: Predictions) -> Finding:
    value, interval, method = surer_than_right(test, subject.how)
    judged: Judged = NEUTRAL
    if interval is not None and interval[0] > OFF:
        judged = "limitation", Message("over-confident: it states more than it keeps, by more than {off}", off=OFF)
    elif interval is not None and interval[1] < -OFF:
        judged = "limitation", Message("under-confident: it keeps more than it states, by more than {off}", off=OFF)
    elif interval is not None and interval[0] >= -OFF and interval[1] <= OFF:
        judged = "advantage", Message("neither over- nor under-confident by more than {off}", off=OFF)
    return line(subject, "overconfidence", SURE, value, interval, judged, n=len(test), method=method, source="Guo 2017; Efron 1987")


def _skill(subject: Subject, test: Predictions) -> Finding:
    sampler = Sampler(n=len(test), resamples=subject.how.resamples, seed=subject.how.seed, group=test.group)
    drawn = replicate([brier_skill(test)], sampler)["brier_skill"]
    parts = debiased_decomposition(test)
    if not np.isfinite(drawn.value):
        return not_measured(subject, "brier", SKILL, Message("the rows hold one class only"))
    interval = None if drawn.units < LEAST_UNITS else bca(drawn, subject.how.level, high=1.0)
    words = Message(
        "Brier score {total} = {reliability} for being off - {resolution} for telling rows apart + {uncertainty} that classes leave open",
        total=parts["reliability"] - parts["resolution"] + parts["uncertainty"],
        reliability=parts["reliability"], resolution=parts["resolution"], uncertainty=parts["uncertainty"],
    )  # fmt: skip
    judged: Judged = ("limitation" if interval is not None and interval[0] <= 0 else "neutral"), words
    grouped = test.group is not None
    return line(
        subject, "brier", SKILL, drawn.value, interval, judged, n=len(test),
        method=bootstrap_method(subject.how.resamples, grouped=grouped) if interval else TOO_FEW,
        source="Murphy 1973; Stephenson 2008; Ferro and Fricker 2012",
        reference=Reference(name=Message("stating the shares of the classes"), value=0.0),
    )  # fmt: skip


def _temperature(subject: Subject, test: Predictions) -> Finding:
    """What a temperature fitted on validation rows would save on test rows: whether the remedy is worth a look."""
    validation = subject.said["validation"]
    key, title = "temperature", SAVED
    if len(validation) < LEAST_UNITS:
        return not_measured(subject, key, title, Message("{rows} validation rows are too few to fit one", rows=len(validation)))
    fitted = fit_temperature(validation)
    low, high = temperature_interval(validation, fitted)
    kind: Kind = "set" if test.kind == "set" else "category"
    before, after = losses(test), losses(replace(test, output=fitted.applied(test.output, kind)))
    drawn = _drawn(test, (before - after)[:, None], subject.how)
    interval = None if drawn.units < LEAST_UNITS else bca(drawn, subject.how.level)
    words = {"value": fitted.value, "low": low, "high": high}
    judged: Judged = "neutral", Message("of temperature {value} ({low} to {high}); 1 would change nothing", **words)
    if interval is not None and interval[0] > WORTH * float(before.mean()) and not low <= 1 <= high:
        more = Message(
            "of temperature {value} ({low} to {high}); more than a fiftieth of the loss: weigh mitigate RUN --for calibration", **words
        )
        judged = "limitation", more
    method = Message(
        "temperature fitted on {rows} validation rows, judged on test rows; BCa bootstrap of the paired difference", rows=len(validation)
    )
    return line(subject, key, title, drawn.value, interval, judged, n=len(test), unit="", method=method, source="Guo 2017; Efron 1987")


def _drawn(predictions: Predictions, features: Floats, how: Resampling) -> Replicates:
    sampler = Sampler(n=len(predictions), resamples=how.resamples, seed=how.seed, group=predictions.group)
    return replicate([Statistic(names=("mean",), of=mean_of(features))], sampler)["mean"]


def _units(predictions: Predictions) -> int:
    group: Array | None = predictions.group
    return len(predictions) if group is None else len(np.unique(group))
