"""What could harm whoever runs the packaged form: code in a file, holes in what it needs, a planted trigger, inputs that bring it down."""

from __future__ import annotations

from collections.abc import Callable

from weighbridge.audit import backdoor_findings, dependencies, inputs, scan
from weighbridge.audit.packaged import fill_s, package_of
from weighbridge.audit.registry import audit
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.findings import Finding, Message

INPUTS_S = 6.0
PARTS: tuple[tuple[str, Message, Callable[[Subject], list[Finding]]], ...] = (
    ("artefact", scan.TITLE, lambda subject: scan.artefact_findings(subject, package_of(subject))),
    ("dependencies", dependencies.TITLE, dependencies.dependency_findings),
    ("inputs", inputs.TITLE, lambda subject: inputs.input_findings(subject, package_of(subject))),
    ("backdoor", backdoor_findings.TITLE, backdoor_findings.backdoor_findings),
)


def seconds(subject: Subject) -> float:
    """Return about how long it takes: a package where there is none, the cases of inputs, and the search for triggers."""
    return fill_s(subject) + INPUTS_S + 1.0 + backdoor_findings.seconds(subject)


@audit("security", Message("What could harm its user"), seconds=seconds)
def security(subject: Subject) -> list[Finding]:
    """Return the findings `audit.security.*`; a part that can not be measured says why, and the others go on."""
    findings: list[Finding] = []
    for place, (name, title, part) in enumerate(PARTS):
        subject.heard("audit security", place, len(PARTS), name)
        try:
            findings += part(subject)
        except Unmeasured as error:
            findings.append(subject.unmeasured(f"security.{name}", title, error.reason))
    return findings
