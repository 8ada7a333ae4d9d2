"""Train and validation rows are open; the test rows stand behind a ledger that is written before they are given."""

from __future__ import annotations

import json
import time
from pathlib import Path

from weighbridge.data.table import Schema, Table, load_schema
from weighbridge.errors import RunError, UsageError
from weighbridge.storage import sha256_json, write_text

LEDGER = "test_ledger.jsonl"
START = "0" * 64


def open_data(folder: Path) -> Splits:
    """Return the splits that `prepare` wrote. Raises RunError when the folder holds none."""
    return Splits(folder, load_schema(folder / "schema.json"))


class Splits:
    """The three splits of a run; reading the test rows leaves a line in `test_ledger.jsonl`."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder = folder
        self.schema = schema
        self.train = Table(folder / "train.arrow", schema)
        self.validation = Table(folder / "validation.arrow", schema)

    def test(self, reason: str, command: str) -> Table:
        """Record why and by which command the test rows are read, then give them.

        The line holds entry, time (UTC), reason, rows, command and sha256. The hash covers the line and the hash of the line
        before it, so an edited, removed or inserted line breaks the chain. The ledger is replaced whole: a kill or a full disk can
        not leave half a line, which would look like one that was changed.
        Raises: UsageError without a reason; RunError when the chain is broken.
        """
        if not reason.strip():
            raise UsageError("the test rows are not read without a reason", do="say what is decided with them")
        table = Table(self.folder / "test.arrow", self.schema)
        past = read_ledger(self.folder)
        line: dict[str, str | int] = {
            "entry": len(past) + 1,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "reason": " ".join(reason.split()),
            "rows": len(table),
            "command": " ".join(command.split()),
        }
        line["sha256"] = _link(str(past[-1]["sha256"]) if past else START, line)
        write_text(self.folder / LEDGER, "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in [*past, line]))
        return table


def read_ledger(folder: Path) -> list[dict[str, str | int]]:
    """Return the reads of the test rows, oldest first. Raises RunError where a line was changed, removed or inserted."""
    path = folder / LEDGER
    if not path.exists():
        return []
    lines: list[dict[str, str | int]] = []
    before = START
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            before = _link(before, {key: value for key, value in line.items() if key != "sha256"})
            intact = line["sha256"] == before and line["entry"] == number
        except (ValueError, KeyError, AttributeError):
            intact = False
        if not intact:
            raise RunError(
                f"{path} line {number} was changed after it was written",
                do="start a run in a new folder: the reads of its test rows are not known",
            )
        lines.append(line)
    return lines


def _link(before: str, line: dict[str, str | int]) -> str:
    return sha256_json([before, line])
