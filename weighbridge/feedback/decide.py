"""What is to be done about a model in service: a pure function of what was measured, what the policy allows and where the loop stands.

| what was found | what follows |
| --- | --- |
| a key gives labels that can not be trusted | quarantine: they are not used, before any model learns from them |
| the challenger, or a fresh champion, is measurably worse than the other model, or breaks errors or latency | roll back |
| an input is broken (unit, schema, missing) | labels: a person mends the input; no model learns from it |
| quality fell below the contract | retrain, where there are labels enough; else ask for labels |
| quality holds, probabilities do not | recalibrate |
| inputs moved, or the estimated quality fell, and labels do not say how good the model is | ask for labels |
| the challenger passed the gate | let it answer a share (challenge) |
| the challenger held in service | promote |
| nothing of it | keep |

The first line that applies is the decision. Whether it is carried out is the policy's to say: auto, ask, never.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, Self

from weighbridge.findings import Finding, Message

if TYPE_CHECKING:
    from weighbridge.recipe import FeedbackSection

Action = Literal["keep", "recalibrate", "retrain", "rollback", "labels", "challenge", "promote", "quarantine"]
# Which findings say what, by the pattern of their keys; a limitation is an alarm.
FORMER = "feedback.former"  # the champion beside the model before it, on the same rows
BREAKS = ("feedback.canary", "feedback.service.*", FORMER)  # not feedback.latency: it is the champion's, beside another machine's figure
BROKEN = ("feedback.missing.*",)
BROKEN_WORDS = "the input is broken: "  # how the diagnosis of a moved input begins that is to be repaired (diagnose.py)
QUALITY = ("feedback.quality",)
CALIBRATION = ("feedback.calibration",)
MOVED = ("feedback.input.*", "feedback.answers", "feedback.estimate", "feedback.slice.*")
GATE, HELD = ("feedback.gate",), ("feedback.canary",)
KEYS = ("feedback.keys",)
POLICY = {"quarantine": "quarantine", "recalibrate": "recalibrate", "retrain": "retrain", "rollback": "rollback", "challenge": "promote"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Where the loop stands.

    Attributes:
        labels: labelled rows since the last training began, of keys that are trusted.
        since_training_h: hours since it began; None where none did.
        challenging: a challenger answers a share. passed: one waits that passed the gate.
        fresh: the champion was promoted and may still be rolled back.
    """

    labels: int = 0
    since_training_h: float | None = None
    challenging: bool = False
    passed: bool = False
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to be done and why. `automatic`: without a person; `allowed`: False where the policy says never."""

    action: Action
    reason: Message
    evidence: tuple[Finding, ...] = ()
    automatic: bool = True
    allowed: bool = True

    def to_json(self) -> dict[str, Any]:
        told = [finding.to_json() for finding in self.evidence]
        return {
            "action": self.action,
            "reason": self.reason.to_json(),
            "evidence": told,
            "automatic": self.automatic,
            "allowed": self.allowed,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(
            action=value["action"], reason=Message.from_json(value["reason"]), automatic=value["automatic"], allowed=value["allowed"],
            evidence=tuple(Finding.from_json(one) for one in value["evidence"]),
        )  # fmt: skip


def decide(findings: Sequence[Finding], section: FeedbackSection, facts: Facts) -> Decision:
    """Return the decision; equal arguments give an equal one."""
    for rule in RULES:
        made = rule(findings, section, facts)
        if made is not None:
            return _under_policy(made, section)
    return Decision(action="keep", reason=Message("nothing that was measured speaks against the model"))


def _under_policy(made: Decision, section: FeedbackSection) -> Decision:
    key = POLICY.get(made.action)
    may = "auto" if key is None else getattr(section.policy, key)
    return Decision(
        action=made.action, reason=made.reason, evidence=made.evidence, automatic=may == "auto" and made.automatic, allowed=may != "never"
    )


def _alarms(findings: Sequence[Finding], patterns: Sequence[str]) -> tuple[Finding, ...]:
    return tuple(one for one in findings if one.verdict == "limitation" and any(fnmatchcase(one.key, pattern) for pattern in patterns))


def _broken_service(findings: Sequence[Finding], section: FeedbackSection, facts: Facts) -> Decision | None:
    """A model that no person has seen for long is the first suspect: a challenger is withdrawn, a fresh champion goes back."""
    found = _alarms(findings, BREAKS)
    if not found or not (facts.challenging or facts.fresh):
        return None
    if facts.challenging:
        return Decision(action="rollback", reason=Message("the challenger is measurably worse than it must be"), evidence=found)
    return Decision(action="rollback", reason=Message("since its promotion the model is measurably worse than it must be"), evidence=found)


def _lying_key(findings: Sequence[Finding], section: FeedbackSection, facts: Facts) -> Decision | None:
    """What labels say of quality and of a challenger is worth as much as the keys that gave them, so this comes first.

    But a person who is asked must not keep a model in service that looks worse.
    """
    found, policy = _alarms(findings, KEYS), section.policy.quarantine
    if not found or policy == "never" or (policy == "ask" and _broken_service(findings, section, facts) is not None):
        return None
    return Decision(action="quarantine", reason=found[0].reason, evidence=found)


def _broken_input(findings: Sequence[Finding], section: FeedbackSection, facts: Facts) -> Decision | None:
    told = [one for one in _alarms(findings, ("feedback.input.*",)) if one.reason.template.startswith(BROKEN_WORDS)]
    found = (*told, *_alarms(findings, BROKEN))
    if not found:
        return None
    reason = Message("an input is broken, which no training mends: see where it comes from, and label some of its rows")
    return Decision(action="labels", reason=reason, evidence=found)


def _fallen(findings: Sequence[Finding], section: FeedbackSection, facts: Facts) -> Decision | None:
    found = _alarms(findings, QUALITY)
    if not found:
        return None
    if facts.challenging or facts.passed:
        return None  # a challenger is under way already
    if facts.fresh and section.policy.rollback != "never":
        former = next((one for one in findings if one.key == FORMER), None)
        if former is None or former.verdict == "unmeasured":
            return Decision(action="rollback", reason=Message("since its promotion the quality is below what was promised"), evidence=found)
        if former.verdict == "neutral" and (former.n or 0) < section.gate.least_recent:
            reason = Message(
                "quality fell since its promotion, and {n} labels do not tell whether the model before it would do better", n=former.n
            )
            return Decision(action="labels", reason=reason, evidence=(*found, former))
    least = section.retrain.least_labels
    if facts.labels < least:
        reason = Message("quality fell, and {n} labels are fewer than the {least} that a retraining needs", n=facts.labels, least=least)
        return Decision(action="labels", reason=reason, evidence=found)
    if facts.since_training_h is not None and facts.since_training_h < section.retrain.every_h:
        hours = round(facts.since_training_h, 1)
        reason = Message(
            "quality fell, and the last retraining began {hours} hours ago: the next may after {every}",
            hours=hours, every=section.retrain.every_h,
        )  # fmt: skip
        return Decision(action="keep", reason=reason, evidence=found)
    reason = Message("quality fell below what was promised, and {n} labelled rows are there to learn from", n=facts.labels)
    return Decision(action="retrain", reason=reason, evidence=found)


def _uncalibrated(findings: Sequence[Finding], section: FeedbackSection, facts: Facts) -> Decision | None:
    found = tuple(
        one for one in findings if one.key in CALIBRATION and one.interval is not None and not one.interval[0] <= 0 <= one.interval[1]
    )
    if not found or facts.challenging or facts.passed or facts.fresh or _alarms(findings, QUALITY):
        return None  # a fresh model is not mended again at once: mending would go round without end
    if facts.labels < section.gate.least_recent:
        reason = Message("probabilities are off, and {n} labels are too few to mend them", n=facts.labels)
        return Decision(action="labels", reason=reason, evidence=found)
    return Decision(action="recalibrate", reason=Message("answers hold what was promised, their probabilities do not"), evidence=found)


def _gone_through(findings: Sequence[Finding], section: FeedbackSection, facts: Facts) -> Decision | None:
    """A challenger that waits, or that held in service, goes one step on."""
    if facts.challenging:
        held = tuple(one for one in findings if one.key in HELD and one.verdict in ("neutral", "advantage"))
        reason = Message("the challenger answered its share and is not measurably worse")
        return Decision(action="promote", reason=reason, evidence=held) if held else None
    if not facts.passed:
        return None
    passed = tuple(one for one in findings if any(fnmatchcase(one.key, pattern) for pattern in (*GATE, "feedback.gate.*")))
    return Decision(action="challenge", reason=Message("a challenger passed the gate"), evidence=passed)


def _moved(findings: Sequence[Finding], section: FeedbackSection, facts: Facts) -> Decision | None:
    found = _alarms(findings, MOVED)
    if not found or facts.challenging or any(one.key in QUALITY and one.verdict == "advantage" for one in findings):
        return None
    reason = Message("the world moved, and only labels can tell whether the model still holds what was promised")
    return Decision(action="labels", reason=reason, evidence=found)


Rule = Callable[[Sequence[Finding], "FeedbackSection", Facts], Decision | None]
RULES: tuple[Rule, ...] = (_lying_key, _broken_service, _broken_input, _fallen, _uncalibrated, _gone_through, _moved)
