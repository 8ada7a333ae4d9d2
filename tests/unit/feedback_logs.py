"""Answers as a worker writes them, for tests of the feedback log."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from weighbridge.feedback.journal import Journal
from weighbridge.feedback.log import Log

START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
MODEL = "5e" * 32


def answer(number: int, *, output: Any = None, seconds: float | None = None, **more: Any) -> dict[str, Any]:
    """Answer number so and so, one a second."""
    moment = START + datetime.timedelta(seconds=number if seconds is None else seconds)
    plain = {"id": f"r{number}/0", "time": moment.isoformat(), "package": "pets", "model": MODEL, "key": "k1", "latency_s": 0.001}
    return {**plain, "output": [0.75, 0.25] if output is None else output, "inputs": {"weight": float(number)}, **more}


def journalled(
    log: Log, answers: Iterable[dict[str, Any]], *, kind: str = "category", classes: Sequence[str] = ("cat", "dog"), model: str = MODEL
) -> None:
    """A worker answered, and ended."""
    journal = Journal(log.journals, log.vault)
    journal.describe(model=model, package="pets", kind=kind, classes=classes)
    journal.append(answers)
    journal.close()


def opened(folder: Path, numbers: Iterable[int] = (), **options: Any) -> Log:
    """A log that holds these answers."""
    log = Log.open(folder, **options)
    journalled(log, [answer(number) for number in numbers])
    log.ingest()
    return log
