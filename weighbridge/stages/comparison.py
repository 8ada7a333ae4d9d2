"""Two runs on the same test rows: the paired test of their headline, from their stored predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from weighbridge.findings import Finding


def paired(first: Path, second: Path) -> list[Finding]:
    """Return how much better the first run's model is on the test rows that both answered; nothing where these are not the same rows."""
    from weighbridge import evaluation
    from weighbridge.recipe import EvaluationSection

    stored = [run / "evaluation" / "test.parquet" for run in (first, second)]
    if not all(path.exists() for path in stored):
        return []
    ours, theirs = (evaluation.read_predictions(path) for path in stored)
    if not (np.array_equal(ours.row_id, theirs.row_id) and ours.classes == theirs.classes and np.array_equal(ours.target, theirs.target)):
        return []
    other = replace(theirs, model=second.name)
    command = f"weigh compare {first.as_posix()} {second.as_posix()}"
    findings = evaluation.measure(
        ours,
        baselines=[other],
        options=EvaluationSection(),
        seed=0,
        folder=first / "evaluation",
        command=command,
        only=f"against.{second.name}",
    )
    return [replace(finding, command=command) for finding in findings]
