"""Findings that hold the model against something: its baselines, and its own training rows."""

from __future__ import annotations

from weighbridge.errors import DataError
from weighbridge.evaluation import verdicts
from weighbridge.evaluation.case import Case
from weighbridge.evaluation.comparison import Comparison, Test, compare, holm
from weighbridge.evaluation.gap import gap
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.results import Result, headline_of
from weighbridge.evaluation.wording import said
from weighbridge.findings import Finding, Message, Reference

Compared = list[tuple[Comparison, float]]  # with the p-value corrected by Holm
TESTS: dict[Test, tuple[Message, str]] = {
    "mcnemar_exact": (
        Message("McNemar's exact test, corrected over baselines by Holm; Bonett and Price's interval"),
        "Dietterich 1998; Holm 1979; Bonett and Price 2012",
    ),
    "mcnemar": (
        Message("McNemar's mid-p test, corrected over baselines by Holm; Bonett and Price's interval"),
        "Dietterich 1998; Fagerland 2013; Holm 1979; Bonett and Price 2012",
    ),
    "permutation": (
        Message("paired permutation test, corrected over baselines by Holm; symmetric studentised interval of the paired bootstrap"),
        "Dror 2018; Phipson and Smyth 2010; Hall 1988; Holm 1979",
    ),
}


def compared(case: Case) -> Compared:
    """Return the comparison with each baseline; none where what is asked for does not need them."""
    if case.only not in (None, case.headline) and not str(case.only).startswith("against"):
        return []
    found = [compare(case.model, baseline, case.how) for baseline in case.baselines]
    return list(zip(found, holm([one.p_value for one in found]), strict=True))


def best_baseline(pairs: Compared) -> tuple[Comparison, float] | None:
    """Return the comparison that the model is least ahead in."""
    return min(pairs, key=lambda pair: pair[0].difference) if pairs else None


def reference(case: Case, pair: tuple[Comparison, float] | None) -> Reference | None:
    """Return the baseline's own headline with the paired difference and the corrected p-value."""
    if pair is None:
        return None
    comparison, corrected = pair
    baseline = next(one for one in case.baselines if one.model == comparison.name)
    return Reference(
        name=Message("{name}", name=said(comparison.name)),
        value=HEADLINES[case.model.kind].value(baseline),
        difference=comparison.difference,
        difference_interval=comparison.interval,
        p_value=corrected,
    )


def against_baselines(case: Case, pairs: Compared) -> list[Finding]:
    """Return each baseline's headline and the paired difference to it; one unmeasured finding where there are no baselines."""
    if not case.baselines:
        return [case.unmeasured("against", Message("Comparison with baselines"), Message("no predictions of a baseline were given"))]
    own = []
    for baseline in case.baselines:
        key = f"baseline.{baseline.model}"
        if case.wants(key):
            own.append(
                case.finding(key, Message("Baseline: {name}", name=said(baseline.model)), headline_of(baseline, case.how), unit=case.unit)
            )
    return own + [_against(case, pair) for pair in pairs]


def training_gap(case: Case) -> list[Finding]:
    """Return the gap between training rows and held-out rows; a tenth of the RMSE is the threshold for numbers."""
    title = Message("Gap between training rows and unseen rows")
    if case.train is None:
        return [case.unmeasured("gap", title, Message("no predictions on training rows were given"))]
    if case.train.kind != case.model.kind or case.train.classes != case.model.classes:
        raise DataError("predictions on training rows and on held-out rows differ in their classes", do="predict both with the same model")
    if not case.wants("gap"):
        return []
    found = gap(case.train, case.model, case.how)
    threshold = verdicts.GAP_OF_RMSE * found.held_out if case.model.kind == "number" else verdicts.GAP
    method = Message(
        "score on {rows} training rows minus score on unseen rows, same class weights; BCa of two independent bootstraps",
        rows=found.n_train,
    )
    result = Result(value=found.value, interval=found.interval, n=found.n_held_out, method=method)
    scores = Reference(name=Message("training rows"), value=found.train, difference=found.value, difference_interval=found.interval)
    judged = verdicts.of_gap(found.interval, threshold)
    return [case.finding("gap", title, result, judged, files=(), unit=case.unit, source="Efron 1987", reference=scores)]


def _against(case: Case, pair: tuple[Comparison, float]) -> Finding:
    comparison = pair[0]
    method, source = TESTS[comparison.test]
    result = Result(value=comparison.difference, interval=comparison.interval, n=comparison.n, method=method)
    key, title = f"against.{comparison.name}", Message("Better than {name} by", name=said(comparison.name))
    judged = verdicts.of_comparison(*pair)
    return case.finding(key, title, result, judged, unit=case.unit, source=source, reference=reference(case, pair))
