"""A state folder with a past: answers over a month, labels that say quality fell, what the watch found, a decision that waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.feedback_logs import MODEL, answer, journalled
from weighbridge.feedback.board import findings_path
from weighbridge.feedback.decide import Decision
from weighbridge.feedback.decisions import note
from weighbridge.feedback.log import Log
from weighbridge.findings import Finding, Message, Reference, write_findings
from weighbridge.storage import make_folder

CLASSES = ("no", "yes")


def past(state: Path, package: str, *, rows: int = 2000, labels: int = 1500, good: float = 0.95, late: float = 0.7, **inputs: Any) -> Log:
    """Answers one a minute, of which the first have labels: right with `good`, in the second half of them with `late`."""
    random = np.random.default_rng(3)
    sure = random.uniform(0.55, 0.99, rows)
    said = random.integers(0, 2, rows)
    log = Log.open(state)
    journalled(
        log,
        (
            answer(row, seconds=60 * row, package=package, output=[float(sure[row]), float(1 - sure[row])][:: 1 if said[row] == 0 else -1],
                   latency_s=float(random.gamma(4, 0.0005)), inputs={name: give(row, random) for name, give in inputs.items()} or None)
            for row in range(rows)
        ),
        classes=CLASSES,
    )  # fmt: skip
    describe_as(log, package)
    log.ingest()
    right = random.random(labels) < np.where(np.arange(labels) < labels // 2, good, late)
    log.accept([{"id": f"r{row}/0", "label": CLASSES[said[row] if right[row] else 1 - said[row]]} for row in range(labels)], "lab")
    return log


def describe_as(log: Log, package: str) -> None:
    log.know(model=MODEL, package=package, kind="category", classes=CLASSES)


def watched(state: Path, package: str, title: str = "Accuracy in service") -> None:
    """The watch found a fall and decided something that a person is to approve."""
    fallen = Finding(
        key="feedback.quality", title=Message(title), value=0.81, interval=(0.78, 0.84), unit="share", n=1500, verdict="limitation",
        reference=Reference(name=Message("the champion"), value=0.93), reason=Message(title), source="Waudby-Smith and Ramdas 2024",
    )  # fmt: skip
    quiet = Finding(key="feedback.drift.age", title=Message("age"), value=0.4, n=1500, verdict="neutral")
    make_folder(findings_path(state, package).parent)
    write_findings(findings_path(state, package), [quiet, fallen])
    reason = Message("quality fell below what was promised, and {n} labelled rows are there to learn from", n=1500)
    note(state, package, Decision(action="retrain", reason=reason, evidence=(fallen,), automatic=False), {"champion": MODEL})
