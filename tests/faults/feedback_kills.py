"""Programs that tests/faults/test_feedback.py kills: a worker that journals, a mover that moves, one that takes labels.

Each prints what it has promised, one line a promise, before it promises more; so the test knows what must be there.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from weighbridge.feedback.journal import Bounds, Journal
from weighbridge.feedback.log import Log


def worker(folder: Path, start: int) -> None:
    """Append answers, tell each batch only when it is in the file."""
    from tests.unit.feedback_logs import MODEL, answer

    journal = Journal(folder / "journal", bounds=Bounds(rotate_bytes=20_000, sync_s=0.01))
    journal.describe(model=MODEL, package="pets", kind="category", classes=["cat", "dog"])
    for number in itertools.count(start, 3):
        journal.append([answer(one) for one in range(number, number + 3)])
        print(number + 3, flush=True)


def mover(folder: Path) -> None:
    """Move and move again."""
    log = Log.open(folder)
    print("ready", flush=True)
    while True:
        log.ingest(batch_lines=40)


def labeller(folder: Path, start: int) -> None:
    """Accept labels, tell each batch only when it was acknowledged."""
    log = Log.open(folder)
    for number in itertools.count(start, 5):
        told = log.accept([{"id": f"r{one}/0", "label": "cat"} for one in range(number, number + 5)], "k")
        assert told.invalid == told.conflicting == told.queued == 0
        print(number + 5, flush=True)


if __name__ == "__main__":
    kind, place, *numbers = sys.argv[1:]
    {"worker": worker, "mover": mover, "labeller": labeller}[kind](Path(place), *map(int, numbers))
