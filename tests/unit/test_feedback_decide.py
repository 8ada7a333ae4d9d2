"""Law: what follows from what was measured is a pure function; nothing is done that the policy does not let be done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import UsageError
from weighbridge.feedback.decide import BROKEN_WORDS, RULES, Decision, Facts, decide
from weighbridge.feedback.decisions import answer, carried_out, decisions, note
from weighbridge.findings import Finding, Message, Verdict
from weighbridge.recipe import FeedbackSection


def found(key: str, verdict: Verdict = "limitation") -> Finding:
    return Finding(key=key, title=Message("x"), verdict=verdict, value=None if verdict == "unmeasured" else 0.5, reason=Message("why"))


OFF = Finding(key="feedback.calibration", title=Message("x"), verdict="neutral", value=-0.1, interval=(-0.15, -0.05))
BROKEN = Finding(
    key="feedback.input.age",
    title=Message("x"),
    verdict="limitation",
    value=0.5,
    reason=Message(BROKEN_WORDS + "values are 1,000 times larger"),
)
FALLEN, ENOUGH = found("feedback.quality"), Facts(labels=500)
CHALLENGED, FRESH = Facts(challenging=True), Facts(labels=500, fresh=True)


def former(verdict: Verdict, n: int) -> Finding:
    return Finding(key="feedback.former", title=Message("x"), verdict=verdict, value=0.0, n=n)


@pytest.mark.parametrize(
    ("findings", "facts", "action"),
    [
        ([], Facts(), "keep"),
        ([found("feedback.quality", "advantage"), found("feedback.input.age")], ENOUGH, "keep"),
        ([found("feedback.quality", "neutral"), found("feedback.input.age")], ENOUGH, "labels"),  # too few labels to say that it holds
        ([FALLEN], Facts(labels=3), "labels"),
        ([FALLEN], ENOUGH, "retrain"),
        ([FALLEN], Facts(labels=500, since_training_h=2.0), "keep"),
        ([FALLEN], Facts(labels=500, since_training_h=25.0), "retrain"),
        ([FALLEN], FRESH, "rollback"),
        ([FALLEN, found("feedback.former", "unmeasured")], FRESH, "rollback"),
        ([FALLEN, former("neutral", 39)], FRESH, "labels"),
        ([FALLEN, former("neutral", 40)], FRESH, "retrain"),  # as good as what was before: going back mends nothing
        ([FALLEN, former("advantage", 20)], FRESH, "retrain"),
        ([former("limitation", 20)], FRESH, "rollback"),
        ([former("limitation", 20)], ENOUGH, "keep"),
        ([FALLEN, found("feedback.missing.age")], ENOUGH, "labels"),
        ([FALLEN, BROKEN], ENOUGH, "labels"),
        ([OFF], ENOUGH, "recalibrate"),
        ([OFF], Facts(labels=500, fresh=True), "keep"),  # mended just now: mending would go round without end
        ([OFF, FALLEN], ENOUGH, "retrain"),
        ([found("feedback.input.age")], Facts(), "labels"),
        ([found("feedback.estimate")], Facts(), "labels"),
        ([found("feedback.canary")], CHALLENGED, "rollback"),
        ([found("feedback.service.latency")], CHALLENGED, "rollback"),
        ([found("feedback.service.latency")], Facts(), "keep"),
        ([found("feedback.canary", "neutral")], CHALLENGED, "promote"),
        ([found("feedback.canary", "unmeasured")], CHALLENGED, "keep"),
        ([FALLEN, found("feedback.canary", "unmeasured")], Facts(labels=500, challenging=True), "keep"),
        ([found("feedback.gate", "advantage")], Facts(passed=True), "challenge"),
    ],
)  # fmt: skip
def test_each_line_of_the_table_holds(findings: list[Finding], facts: Facts, action: str) -> None:
    assert decide(findings, FeedbackSection(), facts).action == action


@pytest.mark.parametrize(
    ("policy", "automatic", "allowed"), [("auto", True, True), ("ask", False, True), ("never", False, False)]
)  # fmt: skip
def test_the_policy_says_who_decides(policy: str, automatic: bool, allowed: bool) -> None:
    section = FeedbackSection.model_validate({"policy": {"retrain": policy}})
    made = decide([FALLEN], section, ENOUGH)
    assert (made.action, made.automatic, made.allowed) == ("retrain", automatic, allowed)


def test_without_a_word_a_new_model_waits_for_a_person_and_a_rollback_does_not() -> None:
    assert not decide([found("feedback.gate", "advantage")], FeedbackSection(), Facts(passed=True)).automatic
    assert not decide([OFF], FeedbackSection(), ENOUGH).automatic
    assert decide([found("feedback.canary")], FeedbackSection(), CHALLENGED).automatic


KEYS = ["feedback.quality", "feedback.canary", "feedback.input.x", "feedback.calibration", "feedback.missing.x", "other.key"]
FINDINGS = st.lists(
    st.builds(found, st.sampled_from(KEYS), st.sampled_from(["limitation", "neutral", "advantage", "unmeasured"])), max_size=6
)
FACTS = st.builds(
    Facts, labels=st.integers(0, 1000), since_training_h=st.none() | st.floats(0, 1000), challenging=st.booleans(), passed=st.booleans(),
    fresh=st.booleans(),
)  # fmt: skip


@given(FINDINGS, FACTS)
def test_whatever_was_found_there_is_one_decision_with_its_reason_and_it_goes_through_json(findings: list[Finding], facts: Facts) -> None:
    made = decide(findings, FeedbackSection(), facts)
    assert made == decide(list(findings), FeedbackSection(), facts)
    assert str(made.reason)
    assert Decision.from_json(made.to_json()) == made
    assert made.action == "keep" or any(rule(findings, FeedbackSection(), facts) is not None for rule in RULES)


def _note(state: Path, decision: Decision, **about: Any) -> int:
    return note(state, "m", decision, about).number


def test_a_decision_is_written_once_answered_once_and_says_what_came_of_it(tmp_path: Path) -> None:
    told: list[str] = []
    ask = Decision(action="challenge", reason=Message("a challenger passed the gate"), automatic=False)
    number = note(tmp_path, "m", ask, {"challenger": "c"}, trail=lambda what, who, detail: told.append(what)).number
    assert _note(tmp_path, ask, challenger="c") == number == 1
    assert decisions(tmp_path)[0].waits
    assert _note(tmp_path, ask, challenger="d") == 2
    assert answer(tmp_path, 1, "approved", "eve").may_begin
    with pytest.raises(UsageError, match="does not wait"):
        answer(tmp_path, 1, "refused", "eve")
    with pytest.raises(UsageError, match="no decision 9"):
        answer(tmp_path, 9, "approved", "eve")
    carried_out(tmp_path, 1, "done")
    first = decisions(tmp_path, "m")[0]
    assert (first.answer, first.who, first.done, first.may_begin, first.waits) == ("approved", "eve", "done", False, False)
    assert told == ["feedback.decided"]


def test_nothing_new_is_said_once_however_often_one_looks(tmp_path: Path) -> None:
    keep = Decision(action="keep", reason=Message("nothing"))
    first = _note(tmp_path, keep)
    carried_out(tmp_path, first, "nothing to do")
    assert {_note(tmp_path, keep) for _ in range(5)} == {first}
