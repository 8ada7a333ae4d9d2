"""Does the model know what it knows: stated probabilities, sets that promise to hold the truth, answering only when sure, strange rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighbridge.audit.calibration_answered import selective
from weighbridge.audit.calibration_line import NAME
from weighbridge.audit.calibration_sets import held
from weighbridge.audit.calibration_stated import stated
from weighbridge.audit.calibration_strange import KNOWN, ROWS, strange
from weighbridge.audit.registry import audit
from weighbridge.audit.subject import Unmeasured
from weighbridge.findings import Finding, Message

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject

DRAWS_A_SECOND = 1e7  # resampled rows of all figures together
STRANGE = 4  # passes over the rows: usual ones, and about three kinds


def seconds(subject: Subject) -> float:
    """Return about how long it takes."""
    resampled = len(subject.said["test"]) * subject.how.resamples / DRAWS_A_SECOND
    rows = min(ROWS, len(subject.arrays["test"]))
    return 1.0 + resampled + subject.seconds_of(2 * STRANGE * rows + KNOWN)


@audit(NAME, Message("Whether it knows what it knows"), seconds=seconds)
def calibration(subject: Subject) -> list[Finding]:
    """Return the findings `audit.calibration.*`. Raises Unmeasured where only the chosen classes are known."""
    test = subject.said["test"]
    if test.hard:
        raise Unmeasured(Message("the predictions hold the chosen class only, no probabilities"))
    found = [] if test.kind == "number" else stated(subject)
    return [*found, *held(subject), *selective(subject), *strange(subject)]
