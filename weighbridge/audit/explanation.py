"""Why does it answer as it does? Explanations of test rows by every method that the model allows, each with the checks that it must hold.

audit/explanation_checks.json       of each method the curves, the lead over a random order, the correlation after weights were drawn anew
audit/explanation_rows.json         a few rows, right and wrong ones, with what each part of them weighs
audit/explanation_importance.json   what every column is worth
"""

from __future__ import annotations

from math import prod

import numpy as np

from weighbridge.audit import explain_findings as findings
from weighbridge.audit.explain_importance import REPEATS, ROWS, Importance, importances, screened
from weighbridge.audit.explain_measure import (
    BACKGROUND,
    FEWER_ROWS,
    FEWEST_ROWS,
    LARGE,
    RANDOM_ORDERS,
    drawings,
    groups_of,
    measured,
    parameters,
    parts_of,
)
from weighbridge.audit.explain_measure import ROWS as EXPLAINED_ROWS
from weighbridge.audit.explain_pictures import shown_rows
from weighbridge.audit.registry import audit
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.findings import Finding, Message
from weighbridge.storage import write_json
from weighbridge.storage.seeds import rng

TITLE = Message("Why the model answers as it does")
CAPTUM_S, SHAP_S = 2.0, 6.0  # to load a library, and shap's first call
STEPS_S = 3.0  # a step of a gradient in units of an answer


def estimate(subject: Subject) -> float:
    """Return about how many seconds it takes: answers of switched rows, gradients, shuffled columns, loading libraries."""
    parts = float(np.minimum(parts_of(subject), 64).mean())
    table = bool(subject.blocks("number") or subject.blocks("category"))
    only_columns = table and not any(subject.blocks(kind) for kind in ("image", "audio", "text"))
    rows = min(FEWER_ROWS if parameters(subject) > LARGE else EXPLAINED_ROWS, len(subject.arrays["test"]))
    each = BACKGROUND if table else 1
    answers = rows * each * (parts + (4 + RANDOM_ORDERS) * 2 * min(parts, 16)) + (rows * each * 10 * parts if only_columns else 0)
    if subject.is_network:
        answers += prod(drawings(subject)) * (each * parts * (11 if only_columns else 1) + 16 * STEPS_S) + rows * 32 * STEPS_S
    columns = len(subject.encoder.columns)
    answers += 0 if columns < 2 else columns * REPEATS * min(ROWS, len(subject.arrays["test"]))
    libraries = CAPTUM_S * subject.is_network + SHAP_S * only_columns
    return libraries + subject.seconds_of(int(answers))


@audit("explanation", TITLE, seconds=estimate)
def explanation(subject: Subject) -> list[Finding]:
    """Return what explains the model's answers, each explanation with its checks. Raises Unmeasured for too few rows or parts."""
    known = subject.said["test"].group
    if known is not None and len(set(known.tolist())) < 2:
        raise Unmeasured(Message("all test rows belong to one group: what holds for others can not be told"))
    found = importance_of(subject)
    try:
        told = measured(subject)
    except Unmeasured as error:
        if not found:
            raise
        return [*findings.of_importance(subject, found), findings.unmeasured_rows(subject, error.reason)]
    write_json(subject.place / findings.CHECKS, findings.checks_json(told))
    write_json(subject.place / findings.ROWS, shown_rows(subject, told))
    return [*findings.of_methods(subject, told), *findings.of_importance(subject, found)]


def importance_of(subject: Subject) -> list[Importance]:
    """Return the importance of each raw column by test rows; none where there is one column, or too few rows."""
    test = subject.arrays["test"]
    columns = screened(subject.answer, subject.encoder, subject.arrays["validation"], subject.seed)
    if len(columns) < 2 or len(test) < FEWEST_ROWS:
        return []
    picked = np.sort(rng(subject.seed, "audit", "explanation", "shuffled").choice(len(test), min(ROWS, len(test)), replace=False))
    arrays = test.subset(picked)
    return importances(subject.answer, subject.encoder, arrays, columns, groups_of(subject, arrays), subject.seed)
