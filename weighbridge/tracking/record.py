"""What a tracker is told of a run, in the plain forms that all of them know: flat parameters, named numbers, Markdown, files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from weighbridge.findings import Finding
from weighbridge.report.card import escaped
from weighbridge.report.words import interval, number, translate

if TYPE_CHECKING:
    from pydantic import BaseModel

Outcome = Literal["finished", "failed", "stopped"]
Epochs = Sequence[Mapping[str, float]]
PLACE = "tracking"  # the folder of a run in which trackers keep their files
_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run as a tracker sees it at its end.

    Attributes:
        name: of the run.
        folder: the run folder; report.html and card.md lie in it.
        parameters: the resolved recipe, `training.epochs` -> "30"; passwords in addresses are hidden.
        findings: all of them.
        package: folder of the model package, or None where there is none or it is not to be given.
    """

    name: str
    folder: Path
    parameters: dict[str, str]
    findings: Sequence[Finding]
    package: Path | None

    @property
    def files(self) -> list[Path]:
        """The report and what it is made of, as far as it is there."""
        names = ("report.html", "card.md", "findings.jsonl", "recipe.yaml", "run.json")
        return [self.folder / name for name in names if (self.folder / name).is_file()]


class Tracker(Protocol):
    """One place where a run is shown. Each method may be called again after a kill: what is there already is not written twice."""

    def curve(self, epochs: Epochs) -> None:
        """All finished epochs are shown, each once."""

    def deliver(self, record: Record) -> None:
        """Parameters, findings, report and package are there."""

    def close(self, outcome: Outcome) -> None:
        """Everything is written out."""


def parameters(section: BaseModel, path: str = "") -> dict[str, str]:
    """Return a section of the recipe as flat `a.b` -> text; lists and free mappings are JSON, passwords in addresses are hidden."""
    from pydantic import BaseModel

    found: dict[str, str] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            found |= parameters(value, f"{path}{name}.")
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        found[f"{path}{name}"] = _PASSWORD.sub("***@", text)
    return found


def points(epoch: Mapping[str, float]) -> dict[str, float]:
    """Return the curves' values of one epoch: `training/train_loss`, `training/validation_loss`, the metric, `training/lr`."""
    return {f"training/{name}": value for name, value in epoch.items() if name not in ("epoch", "step")}


def measured(findings: Sequence[Finding]) -> dict[str, float]:
    """Return each number that was found under its key; the ends of its 95 % interval under `key.low` and `key.high`."""
    found: dict[str, float] = {}
    for finding in findings:
        value = finding.value
        if finding.verdict == "unmeasured" or isinstance(value, str | bool) or value is None or not math.isfinite(value):
            continue
        found[finding.key] = float(value)
        if finding.interval is not None:
            found[f"{finding.key}.low"], found[f"{finding.key}.high"] = map(float, finding.interval)
    return found


def findings_table(findings: Sequence[Finding]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of text: what was found, its value, 95 % interval, rows, verdict, reason."""
    heads = ["finding", "value", "95 % interval", "n", "verdict", "why"]
    rows = []
    for finding in findings:
        value = "" if finding.value is None else number(finding.value, finding.unit)
        ends = "" if finding.interval is None else interval(*finding.interval, finding.value, finding.unit)
        n = "" if finding.n is None else f"{finding.n:,}"
        rows.append([translate(finding.title, "en"), value, ends, n, finding.verdict, translate(finding.reason, "en")])
    return heads, rows


def findings_markdown(findings: Sequence[Finding]) -> str:
    """Return the table of the findings as Markdown in which no text of the run can open markup."""
    heads, rows = findings_table(findings)
    lines = [heads, ["---"] * len(heads), *([escaped(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
