"""Weak slices as findings: the weakest in words on the sheet, the others beside it, or that none was found."""

from __future__ import annotations

from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.slices import LEAST_ROWS, Found, Slice
from weighbridge.evaluation.verdicts import p_words
from weighbridge.findings import Finding, Message, Reference, Verdict

KEY = "evaluation.slices"
TITLE = Message("Weak slices of the inputs")
SOURCE = "Chung 2019; Benjamini and Hochberg 1995; Benjamini and Yekutieli 2005"
EVIDENCE = ("evaluation/slices.json",)


def slice_findings(found: Found, model: Predictions, chosen_on: int, command: str) -> list[Finding]:
    """Return `evaluation.slices` with the weakest slice or that there is none, then `evaluation.slice.2` and further.

    Args: chosen_on, validation rows that the slices were found on.
    """
    again, command = command, f"{command} --only slices"
    if not found.tested:
        reason = Message("no slice could be cut that holds {least} validation rows and {least} test rows", least=LEAST_ROWS)
        return [Finding(key=KEY, title=TITLE, verdict="unmeasured", reason=reason, command=command)]
    method = _method(found, model, chosen_on)
    if not found.slices:
        reason = Message("none of {tested} slices tested is measurably weaker than the rest", tested=found.tested)
        return [
            Finding(
                key=KEY, title=TITLE, value="none found", n=found.n, reason=reason, method=method, source=SOURCE, evidence=EVIDENCE,
                command=command,
            )
        ]  # fmt: skip
    return [_finding(place, one, found, model, method, again) for place, one in enumerate(found.slices, 1)]


def _finding(place: int, one: Slice, found: Found, model: Predictions, method: Message, command: str) -> Finding:
    number = model.kind == "number"
    sign = 1 if number else -1
    ends = sorted(sign * end for end in one.gap_interval)
    verdict: Verdict = "limitation" if place == 1 else "neutral"
    reason = Message("weaker than the rest (corrected p {p})", p=p_words(one.corrected))
    if place == 1:
        reason = Message(
            "weaker than the rest (corrected p {p}); {weak} of {tested} slices tested are, {listed} of them listed as the others overlap",
            p=p_words(one.corrected), weak=found.weak, tested=found.tested, listed=len(found.slices),
        )  # fmt: skip
    return Finding(
        key=KEY if place == 1 else f"evaluation.slice.{place}",
        title=_title(one, number=number),
        verdict=verdict,
        value=one.score,
        interval=one.interval,
        unit="" if number else "share",
        n=one.n,
        reference=Reference(
            name=Message("the other rows"),
            value=one.rest,
            difference=sign * one.gap,
            difference_interval=(ends[0], ends[1]),
            p_value=one.corrected,
        ),
        reason=reason,
        method=method,
        source=SOURCE,
        evidence=EVIDENCE,
        command=f"{command} --only {'slices' if place == 1 else f'slice.{place}'}",
    )


def _title(one: Slice, *, number: bool) -> Message:
    where = one.where
    if number:
        if len(where) == 1:
            return Message("Weak slice, mean absolute error where {first}", first=where[0])
        if len(where) == 2:
            return Message("Weak slice, mean absolute error where {first} and {second}", first=where[0], second=where[1])
        return Message(
            "Weak slice, mean absolute error where {first}, {second} and {third}", first=where[0], second=where[1], third=where[2]
        )
    if len(where) == 1:
        return Message("Weak slice, share right where {first}", first=where[0])
    if len(where) == 2:
        return Message("Weak slice, share right where {first} and {second}", first=where[0], second=where[1])
    return Message("Weak slice, share right where {first}, {second} and {third}", first=where[0], second=where[1], third=where[2])


def _method(found: Found, model: Predictions, chosen_on: int) -> Message:
    words = {"rows": chosen_on, "tested": found.tested}
    if found.grouped:
        return Message(
            "found by shallow trees on {rows} validation rows, judged on test rows: one-sided test of group sums, Benjamini-Hochberg over "
            "{tested} slices, intervals widened for the choice", **words,
        )  # fmt: skip
    if model.kind == "category":
        return Message(
            "found by shallow trees on {rows} validation rows, judged on test rows: one-sided Fisher's exact test, Benjamini-Hochberg over "
            "{tested} slices, intervals widened for the choice", **words,
        )  # fmt: skip
    return Message(
        "found by shallow trees on {rows} validation rows, judged on test rows: one-sided Welch's test, Benjamini-Hochberg over "
        "{tested} slices, intervals widened for the choice", **words,
    )  # fmt: skip
