"""How a figure of the calibration audit becomes a finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weighbridge.findings import EMPTY, Finding, Message, Reference, Verdict

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject

NAME = "calibration"
Judged = tuple[Verdict, Message]
NEUTRAL: Judged = ("neutral", EMPTY)


def line(
    subject: Subject, key: str, title: Message, value: float, interval: tuple[float, float] | None, judged: Judged = NEUTRAL, *,
    n: int, method: Message, unit: str = "share", source: str = "", reference: Reference | None = None, evidence: Sequence[str] = (),
) -> Finding:  # fmt: skip
    """Return the finding `audit.calibration.<key>`; evidence is named relative to the run."""
    return Finding(
        key=f"audit.{NAME}.{key}",
        title=title,
        verdict=judged[0],
        value=value,
        interval=interval,
        unit=unit,
        n=n,
        reference=reference,
        reason=judged[1],
        method=method,
        source=source,
        evidence=tuple(evidence),
        command=f"{subject.command} --only {NAME}.{key}",
    )


def not_measured(subject: Subject, key: str, title: Message, reason: Message) -> Finding:
    """Return the finding that says why a figure is not there."""
    return subject.unmeasured(f"{NAME}.{key}", title, reason)
