"""Predictions in, findings out: the whole evaluation stage in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from weighbridge.errors import DataError, UsageError, did_you_mean
from weighbridge.evaluation import contrasts, verdicts
from weighbridge.evaluation.case import STAGE, Case
from weighbridge.evaluation.conformal import Coverage, coverage
from weighbridge.evaluation.evidence import write_evidence
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.results import Result, class_recall, metrics_json, results_of
from weighbridge.evaluation.wording import FROM_PROBABILITIES, METRICS_OF, WORDS
from weighbridge.findings import Finding, Message
from weighbridge.storage.progress import Progress, silent

LEVEL = 0.95  # of every interval; the reports say so

EVIDENCE = {"accuracy": "confusion.json", "calibration_error": "reliability.json", "rmse": "residuals.json"}


class Options(Protocol):
    """What this stage needs of the recipe's `evaluation` section."""

    @property
    def resamples(self) -> int: ...
    @property
    def worst(self) -> int: ...


def resampling_of(resamples: int, seed: int) -> Resampling:
    """Return how the intervals of a run are made."""
    return Resampling(resamples=resamples, level=LEVEL, seed=seed)


def measure(
    model: Predictions,
    *,
    baselines: Sequence[Predictions] = (),
    train: Predictions | None = None,
    validation: Predictions | None = None,
    options: Options,
    seed: int,
    folder: Path,
    command: str,
    only: str | None = None,
    progress: Progress = silent,
) -> list[Finding]:
    """Return the findings `evaluation.*` of a model's predictions, and leave their evidence in `folder`.

    `only` names one finding (`accuracy`, `against.linear`): it alone is measured, to the same figures, and no evidence is written.
    `command` is what measures all of it again; each finding's own command adds `--only`.
    Raises DataError when rows do not agree, UsageError when `only` is unknown, StorageError when the evidence can not be written.
    """
    case = Case(
        model=model,
        baselines=_aligned(baselines, model),
        train=train,
        validation=validation,
        how=resampling_of(options.resamples, seed),
        folder=folder,
        command=command,
        only=only.removeprefix(f"{STAGE}.") if only else None,
    )
    _check_only(case)
    results = results_of(
        model, case.how, wanted=lambda name: case.wants(name) or (only is None and name.startswith("f1.")), progress=progress
    )
    spread = coverage(model, validation, case.how.level) if model.kind == "number" and case.wants("interval_coverage") else None
    if case.only is None:
        metrics = metrics_json(model, results, case.baselines, case.how)
        write_evidence(folder, model, metrics, coverage=spread, worst=options.worst, how=case.how)
    return _findings(case, results, spread)


def _findings(case: Case, results: dict[str, Result], spread: Coverage | None) -> list[Finding]:
    pairs = contrasts.compared(case)
    own = [_metric(case, name, results.get(name), pairs) for name in _names(case)]
    if case.model.kind == "category" and case.wants("weakest_class"):
        own.append(_weakest_class(case))
    if case.model.kind == "number" and case.wants("interval_coverage"):
        own.append(_coverage(case, spread))
    found = [*own, *contrasts.against_baselines(case, pairs), *contrasts.training_gap(case)]
    return [finding for finding in found if case.wants(finding.key.removeprefix(f"{STAGE}."))]


def _names(case: Case) -> list[str]:
    """Return the metrics asked for; with two classes the error over all classes is the error of the one."""
    binary = len(case.model.classes) == 2
    return [name for name in METRICS_OF[case.model.kind] if case.wants(name) and not (binary and name == "calibration_error_classwise")]


def _metric(case: Case, name: str, result: Result | None, pairs: contrasts.Compared) -> Finding:
    words = WORDS[name]
    if result is None:
        return case.unmeasured(name, words.title, _why_not(case.model, name))
    files = ["metrics.json", *([EVIDENCE[name]] if name in EVIDENCE else [])]
    if name != case.headline:
        return case.finding(name, words.title, result, _judged(case, name, result), files=files, unit=words.unit, source=words.source)
    files.append("mistakes.json")
    best = contrasts.best_baseline(pairs)
    reference, judged = contrasts.reference(case, best), verdicts.of_headline(best)
    return case.finding(name, words.title, result, judged, files=files, unit=words.unit, source=words.source, reference=reference)


def _why_not(model: Predictions, name: str) -> Message:
    if model.hard and name in FROM_PROBABILITIES:
        return Message("the predictions hold the chosen class only, no probabilities")
    if name == "r2":
        return Message("the target has the same value in all rows")
    return Message("the rows hold one class only")


def _judged(case: Case, name: str, result: Result) -> verdicts.Judged:
    interval, model = result.interval, case.model
    if interval is None:
        return verdicts.NEUTRAL
    if name.startswith("calibration_error"):
        return verdicts.of_calibration_error(interval)
    if name == "balanced_accuracy":
        return verdicts.of_balanced_accuracy(interval, float((model.chosen == model.target).mean()))
    if name in ("log_loss", "brier") and model.kind == "category":
        return verdicts.of_loss(interval, _loss_without(model, name))
    return {"auroc": verdicts.of_auroc, "r2": verdicts.of_r2}.get(name, lambda _: verdicts.NEUTRAL)(interval)


def _loss_without(model: Predictions, name: str) -> float:
    """The loss of stating the class frequencies of these rows for every row: the entropy, or Gini's impurity."""
    shares = np.bincount(model.target, minlength=len(model.classes)) / len(model)
    if name == "log_loss":
        return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
    return float(shares[0] * shares[1]) if len(shares) == 2 else float(1 - (shares**2).sum())


def _weakest_class(case: Case) -> Finding:
    model = case.model
    hits = model.chosen == model.target
    weakest = int(min(np.unique(model.target), key=lambda code: hits[model.target == code].mean()))
    found = class_recall(model, weakest, case.how)
    count = len(model.classes)
    method = Message("exact or mid-P interval, widened by Bonferroni because the weakest of {classes} classes is picked", classes=count)
    if model.group is not None:
        method = Message(
            "Wilson's interval with the effective number of rows by bootstrap over groups, widened by Bonferroni because the weakest of "
            "{classes} classes is picked",
            classes=count,
        )
    result = Result(value=found.value, interval=found.interval, n=found.n, method=method)
    judged = verdicts.of_weakest_class(found.interval, float(hits.mean())) if found.interval else verdicts.NEUTRAL
    title = Message("Weakest class: recall of {name}", name=model.classes[weakest])
    return case.finding(
        "weakest_class",
        title,
        result,
        judged,
        files=["metrics.json", "confusion.json"],
        source="Lancaster 1961; Clopper and Pearson 1934; Dunn 1961",
    )


def _coverage(case: Case, found: Coverage | None) -> Finding:
    key, title = "interval_coverage", Message("Coverage of the intervals around predictions")
    if found is None:
        return case.unmeasured(key, title, Message("too few rows to build intervals: at least 9 must calibrate them"))
    words = {"nominal": verdicts.NOMINAL_COVERAGE, "width": found.width}
    method = Message("split conformal intervals for {nominal}, calibrated on validation rows; mean width {width}", **words)
    if found.halves:
        method = Message(
            "split conformal intervals for {nominal}; no validation rows, so each half calibrates the other; mean width {width}", **words
        )
    result = Result(value=found.value, interval=found.interval, n=found.n, method=method)
    judged = verdicts.of_coverage(found.interval, found.width, found.width_without)
    return case.finding(key, title, result, judged, files=["residuals.json"], source="Angelopoulos and Bates 2023")


def _aligned(baselines: Sequence[Predictions], model: Predictions) -> tuple[Predictions, ...]:
    """Return the baselines on the model's rows. Raises DataError when one lacks a row or two have one name."""
    names = [baseline.model for baseline in baselines]
    if len(set(names)) < len(names):
        raise DataError(f"two baselines have the same name: {sorted(names)}", do="give each its own model name")
    return tuple(baseline.on_rows_of(model) for baseline in baselines)


def _check_only(case: Case) -> None:
    if case.only is not None and case.only not in case.keys:
        raise UsageError(
            f"there is no finding '{case.only}'{did_you_mean(case.only, case.keys)}", do=f"choose one of {', '.join(case.keys)}"
        )
