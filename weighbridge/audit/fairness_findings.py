"""Gaps between groups as findings: the verdict of each is corrected over all that are claimed, and what is too small to tell is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.audit.fairness_gaps import LEAST, Cell, Gap, largest_difference, smallest_ratio
from weighbridge.audit.fairness_groups import Grouping
from weighbridge.audit.fairness_measures import NEUTRAL, Calibrated, Cells
from weighbridge.audit.subject import Subject
from weighbridge.evaluation.comparison import holm, rows_for_power
from weighbridge.evaluation.intervals import NORMAL
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.verdicts import CALIBRATION_ERROR, SIGNIFICANCE, p_words
from weighbridge.findings import Finding, Message, Reference, Verdict

FOUR_FIFTHS = 0.8  # EEOC 1978, 29 CFR 1607.4: a smaller ratio of selection rates is taken for adverse impact
RATIO = "ratio"
EVIDENCE = "audit/fairness.json"
MOST_NAMED = 8
MOST_TIMES = 20  # the rows there are: what would need more is not foretold
TITLES = {
    "selected": Message("Fairness: largest difference in how often {selected} is answered, by {column}"),
    RATIO: Message("Fairness: smallest ratio of how often {selected} is answered, by {column}"),
    "true_positive": Message("Fairness: largest difference in how many of {selected} are found, by {column}"),
    "false_positive": Message("Fairness: largest difference in false alarms of {selected}, by {column}"),
    "precision": Message("Fairness: largest difference in how often {selected} is right when answered, by {column}"),
    "error": Message("Fairness: largest difference in the share of wrong rows, by {column}"),
    "stated": Message("Fairness: largest difference in how much too often {selected} is stated, by {column}"),
    "base_rate": Message("Fairness: largest difference in how often {selected} is true, by {column}"),
    "mean_answer": Message("Fairness: largest difference in the mean answer, by {column}"),
    "mean_error": Message("Fairness: largest difference in the mean error, too high or too low, by {column}"),
    "rmse": Message("Fairness: largest difference in the root mean squared error, by {column}"),
}
BASE_RATE_OF_NUMBERS = Message("Fairness: largest difference in the mean of the true values, by {column}")
CALIBRATION = Message("Fairness: calibration error of the group that is calibrated worst, by {column}")
SMALL = Message("Fairness: groups of {column} that are too small")
SOURCES = {
    "selected": "Newcombe 1998; Zou and Donner 2008",
    RATIO: "EEOC 1978; Donner and Zou 2012",
    "true_positive": "Hardt 2016; Newcombe 1998",
    "false_positive": "Hardt 2016; Newcombe 1998",
    "precision": "Chouldechova 2017; Newcombe 1998",
    "stated": "Kleinberg 2016; Zou and Donner 2008",
    "base_rate": "Kleinberg 2016; Chouldechova 2017",
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A gap of one measure between the groups of one grouping; `rival` is the same of the most capable model, where another is packaged."""

    grouping: Grouping
    measure: str
    gap: Gap
    rival: Gap | None = None
    corrected: float = 1.0

    @property
    def key(self) -> str:
        together = "together_" if len(self.grouping.columns) > 1 else ""  # so that who watches columns does not watch intersections
        return f"fairness.{self.grouping.key}.{together}{self.measure}"


def claims_of(grouping: Grouping, cells: Cells, tolerance: float, rival: Cells | None = None) -> list[Claim]:
    """Return the gap of each measure that two comparable groups have."""
    found = []
    for measure in [*cells, *([RATIO] if "selected" in cells else [])]:
        gap = _gap(measure, cells, tolerance)
        if gap is not None:
            found.append(
                Claim(grouping=grouping, measure=measure, gap=gap, rival=None if rival is None else _gap(measure, rival, tolerance))
            )
    return found


def _gap(measure: str, cells: Mapping[str, Sequence[Cell]], tolerance: float) -> Gap | None:
    if measure == RATIO:
        return smallest_ratio(cells["selected"], FOUR_FIFTHS)
    return largest_difference(cells[measure], tolerance)


def corrected(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims with p-values that hold for all of them together (Holm 1979); base rates claim nothing of the model."""
    from dataclasses import replace

    places = [place for place, claim in enumerate(claims) if claim.measure not in NEUTRAL]
    adjusted = dict(zip(places, holm([claims[place].gap.p_value for place in places]), strict=True))
    return [replace(claim, corrected=adjusted.get(place, 1.0)) for place, claim in enumerate(claims)]


def findings_of(claims: Sequence[Claim], subject: Subject, predictions: Predictions) -> list[Finding]:
    """Return a finding a claim; of intersections only what their columns do not show alone weighs as a limitation."""
    shown = {claim.measure for claim in claims if len(claim.grouping.columns) == 1 and _verdict(claim)[0] == "limitation"}
    count = sum(claim.measure not in NEUTRAL for claim in claims)
    return [_finding(claim, subject, predictions, shown, count) for claim in claims]


def _finding(claim: Claim, subject: Subject, predictions: Predictions, shown: set[str], count: int) -> Finding:
    gap, number = claim.gap, predictions.kind == "number"
    verdict, reason = _verdict(claim)
    if len(claim.grouping.columns) > 1 and verdict == "limitation" and claim.measure in shown:
        verdict = "neutral"  # the single column stands on the sheet already
    title = BASE_RATE_OF_NUMBERS if number and claim.measure == "base_rate" else TITLES[claim.measure]
    selected = "" if number else predictions.classes[gap.high.part]
    values = {"column": claim.grouping.title} | ({"selected": selected} if "{selected}" in title.template else {})
    return Finding(
        key=f"audit.{claim.key}",
        title=Message(title.template, **values),
        verdict=verdict,
        value=gap.value,
        interval=gap.interval,
        unit="" if number else "share",
        n=gap.n,
        reference=_reference(claim),
        reason=reason,
        method=_method(claim, predictions, count),
        source=SOURCES.get(claim.measure, "Zou and Donner 2008"),
        evidence=(EVIDENCE,),
        command=f"{subject.command} --only fairness.{claim.grouping.key}",
    )


def _reference(claim: Claim) -> Reference:
    if claim.rival is not None:
        return Reference(name=Message("the most capable model"), value=claim.rival.value)
    if claim.measure == RATIO:
        return Reference(name=Message("four fifths"), value=FOUR_FIFTHS)
    return Reference(name=Message("let pass"), value=claim.gap.tolerance)


def _verdict(claim: Claim) -> tuple[Verdict, Message]:
    """Limitation where the corrected test says so; advantage where the whole interval is within the tolerance; else it can not be told."""
    gap, names = claim.gap, claim.grouping.names
    words: dict[str, str | float] = {
        "high_group": names[gap.high.group], "high": round(gap.high.value, 4), "low_group": names[gap.low.group],
        "low": round(gap.low.value, 4), "tolerance": gap.tolerance, "p": p_words(claim.corrected),
    }  # fmt: skip
    if claim.measure in NEUTRAL:
        return "neutral", _base_rates(words)
    ratio = claim.measure == RATIO
    within = gap.interval[0] >= gap.tolerance if ratio else gap.interval[1] <= gap.tolerance
    if claim.corrected < SIGNIFICANCE:
        text = "{high_group} {high}, {low_group} {low}: farther apart than {tolerance}, beyond what the rows leave open (corrected p {p})"
        if ratio:
            text = "{high_group} {high}, {low_group} {low}: less than {tolerance} of it, beyond what the rows leave open (corrected p {p})"
        return "limitation", Message(text, **words)
    words.pop("p")
    if within:
        text = "{high_group} {high}, {low_group} {low}: no two groups are farther apart than {tolerance}"
        return "advantage", Message("{high_group} {high}, {low_group} {low}: at least {tolerance} of it" if ratio else text, **words)
    return "neutral", _undecided(claim, words)


def _base_rates(words: dict[str, str | float]) -> Message:
    few = {name: words[name] for name in ("high_group", "high", "low_group", "low")}
    return Message(
        "{high_group} {high}, {low_group} {low}: where truth differs between groups, no model that errs can have both equal error "
        "rates and equal precision in them",
        **few,
    )


def _undecided(claim: Claim, words: dict[str, str | float]) -> Message:
    gap, n = claim.gap, claim.gap.n
    if claim.measure == RATIO:
        return Message("{high_group} {high}, {low_group} {low}: the rows can not tell whether it is under {tolerance}", **words)
    beyond = gap.value - gap.tolerance
    z = NORMAL.inv_cdf(1 - SIGNIFICANCE / (2 * gap.pairs))
    rows = rows_for_power(beyond, (gap.interval[1] - gap.value) / z, n) if beyond > 0 else None
    if rows is None or not n < rows <= MOST_TIMES * n:
        return Message(
            "{high_group} {high}, {low_group} {low}: the rows can not tell whether groups are farther apart than {tolerance}", **words
        )
    return Message(
        "{high_group} {high}, {low_group} {low}: the rows can not tell whether groups are farther apart than {tolerance}; "
        "about {times} times as many would, if they go on like these",
        **words, times=round(rows / n, 1),
    )  # fmt: skip


def _method(claim: Claim, predictions: Predictions, count: int) -> Message:
    groups = len({cell.group for cell in claim.gap.cells})
    words = {"groups": groups, "least": LEAST, "pairs": claim.gap.pairs, "count": count}
    if predictions.group is not None:
        return Message(
            "{groups} groups of at least {least} rows, {pairs} pairs: intervals over units of data.group joined by recovered variances, "
            "corrected over pairs (Bonferroni); verdict corrected over {count} figures (Holm)", **words,
        )  # fmt: skip
    if claim.gap.high.scale != "rate":
        return Message(
            "{groups} groups of at least {least} rows, {pairs} pairs: Student's intervals joined by recovered variances, corrected over "
            "pairs (Bonferroni); verdict corrected over {count} figures (Holm)", **words,
        )  # fmt: skip
    return Message(
        "{groups} groups of at least {least} rows, {pairs} pairs: Wilson's intervals joined as Newcombe's, corrected over pairs "
        "(Bonferroni); verdict corrected over {count} figures (Holm)", **words,
    )  # fmt: skip


def calibration_finding(grouping: Grouping, found: Sequence[Calibrated], subject: Subject) -> list[Finding]:
    """Return the calibration error of the group whose lower end is highest; nothing where fewer than two groups have enough rows."""
    if len(found) < 2:
        return []
    worst, best = max(found, key=lambda one: (one.interval[0], one.value)), min(found, key=lambda one: one.interval[1])
    words: dict[str, str | float] = {"group": grouping.names[worst.group], "most": CALIBRATION_ERROR}
    verdict: Verdict = "neutral"
    reason = Message("{group}: too few rows to tell whether stated and observed rates differ by more than {most}", **words)
    if worst.interval[0] > CALIBRATION_ERROR:
        reason = Message("{group}: stated and observed rates differ by more than {most}, but in other groups maybe as much", **words)
        if best.interval[1] < worst.interval[0]:
            other = grouping.names[best.group]
            reason = Message("{group}: stated and observed rates differ by more than {most}, and by less in {other}", other=other, **words)
            verdict = "limitation" if len(grouping.columns) == 1 else "neutral"
    elif max(one.interval[1] for one in found) <= CALIBRATION_ERROR:
        reason = Message("in every group stated and observed rates differ by at most {most}", most=CALIBRATION_ERROR)
        verdict = "advantage"
    return [
        Finding(
            key=f"audit.fairness.{grouping.key}.calibration_error",
            title=Message(CALIBRATION.template, column=grouping.title),
            verdict=verdict,
            value=worst.value,
            interval=worst.interval,
            unit="share",
            n=worst.n,
            reference=Reference(name=Message("let pass"), value=CALIBRATION_ERROR),
            reason=reason,
            method=Message("debiased, over bins of equal mass in each of {groups} groups; corrected over groups", groups=len(found)),
            source="Kumar 2019; Kleinberg 2016",
            evidence=(EVIDENCE,),
            command=f"{subject.command} --only fairness.{grouping.key}",
        )
    ]


def small_groups(grouping: Grouping, cells: Cells, subject: Subject) -> list[Finding]:
    """Return the finding that names groups of which nothing can be told: fewer than 30 rows."""
    few = [group for group in np.argsort(grouping.sizes, kind="stable") if grouping.sizes[group] < LEAST]
    if not few:
        return []
    named = "; ".join(f"{grouping.names[group]} ({grouping.sizes[group]})" for group in few[:MOST_NAMED])
    reason = Message("can not tell: {named}; {least} rows are needed", named=named, least=LEAST)
    if len(few) > MOST_NAMED:
        reason = Message(
            "can not tell: {named} and {more} more; {least} rows are needed", named=named, more=len(few) - MOST_NAMED, least=LEAST
        )
    return [subject.unmeasured(f"fairness.{grouping.key}.small_groups", Message(SMALL.template, column=grouping.title), reason)]


def nothing_to_compare(grouping: Grouping, subject: Subject) -> Finding:
    """Return the finding that no two groups have enough rows."""
    sizes = "; ".join(f"{name} ({size})" for name, size in list(zip(grouping.names, grouping.sizes, strict=True))[:MOST_NAMED])
    reason = Message("can not tell: no two groups have {least} rows ({sizes})", least=LEAST, sizes=sizes)
    return subject.unmeasured(f"fairness.{grouping.key}", Message("Fairness between groups of {column}", column=grouping.title), reason)
