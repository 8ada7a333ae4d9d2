"""Explanations and their checks as findings, and the checks as the evidence that a report draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from weighbridge.audit import explain_checks as checks
from weighbridge.audit.explain_checks import Mean, Status
from weighbridge.audit.explain_importance import REPEATS, Importance
from weighbridge.audit.explain_measure import FEWEST_ROWS, NAMES, RANDOM_ORDERS, Checked, Told, agreement
from weighbridge.audit.subject import Subject
from weighbridge.findings import Finding, Message, Reference, Verdict
from weighbridge.runtime.curves import GRID, Curves
from weighbridge.storage import write_json

CHECKS, ROWS, IMPORTANCE = "explanation_checks.json", "explanation_rows.json", "explanation_importance.json"
LISTED = 12  # names of columns in a sentence
LEAD = Message("Explanation by {method}: ahead of a random order by")
LEAD_WORDS: dict[Status, Message] = {
    "holds": Message(
        "it holds: parts taken out in its order leave an area of {deletion} ({random_deletion} in a random order), put in they reach "
        "{insertion} ({random_insertion})"
    ),
    "fails": Message(
        "it fails, and is not to be shown as an explanation: parts taken out in its order leave an area of {deletion} "
        "({random_deletion} in a random order), put in they reach {insertion} ({random_insertion})"
    ),
    "open": Message(
        "these rows can not tell it from a random order: parts taken out in its order leave an area of {deletion} "
        "({random_deletion} in a random order), put in they reach {insertion} ({random_insertion})"
    ),
}
LEAD_METHOD = Message(
    "mean of what deletion falls and insertion rises faster by than in {orders} random orders; Student's interval over rows"
)
LEAD_METHOD_NUMBER = Message(
    "mean of what deletion falls and insertion rises faster by than in {orders} random orders, in deviations of the target; Student's "
    "interval over rows"
)
REDRAWN = Message("Explanation by {method}: rank correlation with that of other weights")
REDRAWN_WORDS: dict[Status, Message] = {
    "holds": Message("it holds: with weights drawn anew it says something else"),
    "fails": Message("it fails: with weights drawn anew it says much the same, so it tells of the input and not of the model"),
    "open": Message("whether it tells of the model or of the input alone can not be said"),
}
REDRAWN_METHOD = Message("Spearman's correlation of a row's parts, mean over rows and {nets} drawings; Student's interval over both")
AGREEMENT_WORDS: dict[Status, Message] = {
    "holds": Message("methods that hold their checks tend to rank the parts of a row alike; least so {one} and {other}"),
    "fails": Message(
        "methods that hold their checks rank the parts of a row differently: what is read from one of them is not the whole reason; "
        "least alike are {one} and {other}"
    ),
    "open": Message("whether methods that hold their checks rank the parts of a row alike is open; least so {one} and {other}"),
}
COMPLETE_WORDS: dict[Status, Message] = {
    "holds": Message("the parts sum to the answer but for this share"),
    "fails": Message("the parts do not sum to the answer: the network is too steep for so few steps"),
    "open": Message("whether the parts sum to the answer is open"),
}


def of_methods(subject: Subject, told: Told) -> list[Finding]:
    """Return the findings of each method, first how many hold."""
    found = [_held(subject, told)]
    for method in NAMES:
        if method in told.missing:
            found.append(subject.unmeasured(f"explanation.lead.{method}", _named(LEAD, method), told.missing[method]))
        elif method in told.methods:
            found += _of_method(told, told.methods[method])
    if any(one.redrawn is None for one in told.methods.values()):
        reason = Message("fewer than {least} rows have {parts} parts that can be ranked", least=FEWEST_ROWS, parts=checks.FEWEST_PARTS)
        title = Message("Explanations after the weights were drawn anew")
        found.append(subject.unmeasured("explanation.redrawn", title, told.no_weights or reason))
    return [_again(subject, one) for one in [*found, _agreement(subject, told), *_completeness(told)]]


def of_importance(subject: Subject, found: Sequence[Importance]) -> list[Finding]:
    """Return the column that matters most and how many are not seen to matter; the file of evidence holds all."""
    if not found:
        return []
    first, number = found[0], subject.kind == "number"
    write_json(subject.place / IMPORTANCE, importance_json(found, subject.kind))
    silent = [one.column for one in found if not one.told]
    title = (
        Message("Mean absolute error rises without {column} by", column=first.column)
        if number
        else Message("Share of wrong answers rises without {column} by", column=first.column)
    )
    reason = Message("the column that the answers rest on most, of {n}", n=len(found))
    if not first.told:
        reason = Message(
            "no column of {n} is seen to matter on these rows: without any one of them the answers are not seen to get worse", n=len(found)
        )
    method = Message(
        "the column's values shuffled among test rows, {repeats} times; Student's interval over rows and shuffles, all {n} columns "
        "together (Bonferroni)", repeats=REPEATS, n=len(found),
    )  # fmt: skip
    source = "Breiman 2001; Fisher 2019"
    worth = Finding(
        key="audit.explanation.importance", title=title, value=first.rise.value, interval=first.rise.interval, n=first.rise.n,
        unit="" if number else "share", reason=reason, method=method, source=source, evidence=(f"audit/{IMPORTANCE}",),
        verdict="limitation" if not first.told and not number and first.rise.interval[1] < checks.LEAST_LEAD else "neutral",
    )  # fmt: skip
    names = ", ".join(silent[:LISTED]) + (", ..." if len(silent) > LISTED else "")
    unused = Finding(
        key="audit.explanation.unused", title=Message("Columns without which the answers are not seen to get worse"), value=len(silent),
        n=len(found), n_of="columns", method=method, source=source, evidence=(f"audit/{IMPORTANCE}",),
        reason=Message("{names}; together they may matter, where one can stand in for another", names=names) if silent
        else Message("each column is needed"),
    )  # fmt: skip
    return [_again(subject, worth), _again(subject, unused)]


def unmeasured_rows(subject: Subject, reason: Message) -> Finding:
    """Return the finding that says why single rows are not explained."""
    return _again(subject, subject.unmeasured("explanation.rows", Message("Explanations of single rows"), reason))


def checks_json(told: Told) -> dict[str, Any]:
    """Return each method's checks and curves."""
    methods = [_checked_json(one) for one in sorted(told.methods.values(), key=lambda one: list(NAMES).index(one.method))]
    random = next(iter(told.methods.values())).random
    kind = told.rows.encoder.learnt.kind
    return {"kind": kind, "n": len(told.rows), "grid": GRID.tolist(), "methods": methods, "random": _curves_json(random)}


def importance_json(found: Sequence[Importance], kind: str) -> dict[str, Any]:
    """Return every column's importance, largest first."""
    columns = [
        {"column": one.column, "value": one.rise.value, "low": one.rise.interval[0], "high": one.rise.interval[1], "told": one.told}
        for one in found
    ]
    return {"kind": kind, "columns": columns}


def _checked_json(one: Checked) -> dict[str, Any]:
    redrawn = None if one.redrawn is None else _mean_json(one.redrawn)
    return {"method": one.method, "name": NAMES[one.method], "status": one.status, "lead": _mean_json(one.lead), "redrawn": redrawn,
            **_curves_json(one.curves)}  # fmt: skip


def _mean_json(mean: Mean) -> dict[str, float]:
    return {"value": mean.value, "low": mean.interval[0], "high": mean.interval[1], "n": mean.n}


def _curves_json(curves: Curves) -> dict[str, list[float]]:
    return {"deletion": curves.deletion_curve.round(4).tolist(), "insertion": curves.insertion_curve.round(4).tolist()}


def _held(subject: Subject, told: Told) -> Finding:
    """Return how many methods hold every check."""
    by: dict[Status, list[Checked]] = {"holds": [], "fails": [], "open": []}
    for one in told.methods.values():
        by[one.status].append(one)
    verdict: Verdict = "advantage" if by["holds"] else "limitation" if not by["open"] else "neutral"
    if not by["holds"]:
        words = (
            Message("no explanation of single answers holds its checks") if not by["open"] else Message("no explanation is sure to hold")
        )
    else:
        best = NAMES[max(by["holds"], key=lambda one: one.lead.value).method]
        words = Message("single answers can be explained; furthest ahead of a random order is {best}", best=best)
        if by["fails"]:
            worst = NAMES[min(by["fails"], key=lambda one: one.lead.value).method]
            words = Message(
                "single answers can be explained; furthest ahead of a random order is {best}; {failed} of {n} methods fail, last {worst}",
                best=best, failed=len(by["fails"]), n=len(told.methods), worst=worst,
            )  # fmt: skip
    return Finding(
        key="audit.explanation.held", title=Message("Methods of explanation that hold their checks"), value=len(by["holds"]),
        n=len(told.methods), n_of="methods", verdict=verdict, reason=words, evidence=(f"audit/{CHECKS}", f"audit/{ROWS}"),
        method=Message("deletion and insertion against random orders; the same with weights drawn anew, where there are weights"),
        source="Petsiuk 2018; Adebayo 2018", command=subject.command,
    )  # fmt: skip


def _of_method(told: Told, one: Checked) -> list[Finding]:
    number = told.rows.encoder.learnt.kind == "number"
    areas = {
        "deletion": round(one.curves.deletion, 3), "random_deletion": round(one.random.deletion, 3),
        "insertion": round(one.curves.insertion, 3), "random_insertion": round(one.random.insertion, 3),
    }  # fmt: skip
    found = [
        Finding(
            key=f"audit.explanation.lead.{one.method}", title=_named(LEAD, one.method), value=one.lead.value, interval=one.lead.interval,
            n=one.lead.n, verdict="limitation" if one.faithful == "fails" else "neutral",
            reference=Reference(name=Message("a random order"), value=0.0), evidence=(f"audit/{CHECKS}",),
            reason=Message(LEAD_WORDS[one.faithful].template, **areas), source="Petsiuk 2018",
            method=Message((LEAD_METHOD_NUMBER if number else LEAD_METHOD).template, orders=RANDOM_ORDERS),
        )
    ]  # fmt: skip
    if one.redrawn is not None:
        status = checks.follows_weights(one.redrawn)
        found.append(
            Finding(
                key=f"audit.explanation.redrawn.{one.method}", title=_named(REDRAWN, one.method), value=one.redrawn.value,
                interval=one.redrawn.interval, n=one.redrawn.n, verdict="limitation" if status == "fails" else "neutral",
                reference=Reference(name=Message("nothing in common"), value=0.0), evidence=(f"audit/{CHECKS}",),
                reason=REDRAWN_WORDS[status], source="Adebayo 2018", method=Message(REDRAWN_METHOD.template, nets=told.nets),
            )
        )  # fmt: skip
    return found


def _agreement(subject: Subject, told: Told) -> Finding:
    title = Message("Agreement of the explanations that hold: rank correlation")
    found = agreement(told)
    if found is None:
        reason = Message("fewer than two methods hold, or fewer than {least} rows have parts enough to be ranked", least=FEWEST_ROWS)
        return subject.unmeasured("explanation.agreement", title, reason)
    mean, (one, other) = found
    status = checks.agrees(mean)
    return Finding(
        key="audit.explanation.agreement", title=title, value=mean.value, interval=mean.interval, n=mean.n, source="Krishna 2022",
        verdict="limitation" if status == "fails" else "neutral", evidence=(f"audit/{CHECKS}",),
        reason=Message(AGREEMENT_WORDS[status].template, one=NAMES[one], other=NAMES[other]),
        method=Message("Spearman's correlation of a row's parts, mean over pairs of methods; Student's interval over rows"),
    )  # fmt: skip


def _completeness(told: Told) -> list[Finding]:
    if told.left_out is None:
        return []
    status = checks.complete(told.left_out)
    return [
        Finding(
            key="audit.explanation.completeness", title=Message("Share of the answer that integrated gradients leave out"), unit="share",
            value=told.left_out.value, interval=told.left_out.interval, n=told.left_out.n, reason=COMPLETE_WORDS[status],
            verdict="limitation" if status == "fails" else "neutral", source="Sundararajan 2017", evidence=(f"audit/{CHECKS}",),
            method=Message(
                "mean distance of the sum of parts from what it should be, over the mean size of that; Student's interval over rows"
            ),
        )
    ]  # fmt: skip


def _named(title: Message, method: str) -> Message:
    return Message(title.template, method=NAMES[method])


def _again(subject: Subject, finding: Finding) -> Finding:
    return replace(finding, command=f"{subject.command} --only explanation")
