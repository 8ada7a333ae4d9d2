"""Answering only when sure: how the share that is right rises when the least sure rows are left to a person."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from weighbridge.audit.calibration_line import Judged, line, not_measured
from weighbridge.evaluation.intervals import bca, is_degenerate, rate_interval
from weighbridge.evaluation.metrics import correct
from weighbridge.evaluation.resampling import Sampler, replicate
from weighbridge.evaluation.results import LEAST_UNITS, TOO_FEW
from weighbridge.evaluation.selective import Answered, answered, curve, risk_area
from weighbridge.evaluation.wording import bootstrap_method
from weighbridge.findings import Finding, Message, Reference
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject

EVIDENCE = "risk_coverage.json"
AREA = Message("Wrong answers by share answered, area under the curve")
SHARE = Message("Right answers when only the surest {share} are answered")
SOURCE = "El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017"


def selective(subject: Subject) -> list[Finding]:
    """Return the area of risk by coverage, and what is right of the surest 90, 80 and 50 %."""
    test, validation, how = subject.said["test"], subject.said["validation"], subject.how
    if test.kind == "number":
        return [not_measured(subject, "answered", AREA, Message("a number is predicted without saying how sure it is"))]
    right = float(correct(test).mean())
    marks = answered(validation, test, how)
    write_json(
        subject.place / EVIDENCE,
        {
            "all": right,
            "curve": curve(test, partial(rate_interval, level=how.level)),
            "marks": [{"wanted": one.wanted, "answered": one.share, "accuracy": one.accuracy} for one in marks],
        },
    )
    return [_area(subject, right), *(_mark(subject, one, right) for one in marks)]


def _area(subject: Subject, right: float) -> Finding:
    test, how = subject.said["test"], subject.how
    drawn = replicate([risk_area(test)], Sampler(n=len(test), resamples=how.resamples, seed=how.seed, group=test.group))
    area, saved = drawn["aurc"], drawn["saved"]
    error = 1 - right
    reference = Reference(name=Message("rows answered in any order"), value=error)
    words = {"error": error}
    if area.units < LEAST_UNITS:
        return line(subject, "answered", AREA, area.value, None, n=len(test), method=TOO_FEW, reference=reference, source=SOURCE)
    method = bootstrap_method(how.resamples, grouped=test.group is not None)
    if is_degenerate(area):
        interval = (0.0, rate_interval(0, len(test), how.level)[1]) if area.value == 0 else (area.value, area.value)
        judged: Judged = "neutral", Message("too few wrong answers to tell whether it is less sure of them")
        return line(subject, "answered", AREA, area.value, interval, judged, n=len(test), method=method, reference=reference, source=SOURCE)
    low, high = bca(saved, how.level)
    judged = "neutral", Message("not measurably under {error}, the share of wrong answers: its sureness may not tell them", **words)
    if low > 0:
        judged = "advantage", Message("under {error}, the share of wrong answers: it is less sure of them", **words)
    elif high < 0:
        judged = "limitation", Message("above {error}, the share of wrong answers: it is surer of them than of right ones", **words)
    return line(
        subject, "answered", AREA, area.value, bca(area, how.level, low=0.0, high=1.0), judged, n=len(test), method=method,
        reference=reference, source=SOURCE, evidence=(f"audit/{EVIDENCE}",),
    )  # fmt: skip


def _mark(subject: Subject, one: Answered, right: float) -> Finding:
    per_cent = round(100 * one.wanted)
    reason = Message("{share} of the test rows reach {limit}", share=one.share, limit=one.limit)
    return line(
        subject, f"answered.{per_cent}", Message(SHARE.template, share=f"{per_cent} %"), one.accuracy, one.interval, ("neutral", reason),
        n=one.n, method=Message("limit of sureness found on validation rows, rate of the test rows that reach it"), source=SOURCE,
        reference=Reference(name=Message("all rows"), value=right), evidence=(f"audit/{EVIDENCE}",),
    )  # fmt: skip
