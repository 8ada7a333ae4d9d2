"""A run folder as the report sees it: run.json, findings.jsonl and the evidence files that findings name. Nothing else is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from weighbridge.findings import Finding, read_findings
from weighbridge.report.figures import SHAPES
from weighbridge.report.looks import FILE
from weighbridge.storage import read_json

LARGEST_EVIDENCE_BYTES = 16_000_000
SHOWN = ("history.json", "mistakes.json", FILE)  # beside what the figures are drawn of; other evidence is named on the page and not opened
STAGES = ("data", "preprocessing", "training", "optimization", "evaluation", "audit", "mitigation", "deployment", "feedback")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a report is made of.

    Attributes:
        about: run.json as it is; every key may be absent.
        evidence: parsed JSON of the files that a report draws, by file name; what is missing or damaged is absent.
        lost: evidence that findings name and that is not there, or not readable.
    """

    folder: Path
    about: Mapping[str, Any]
    findings: Sequence[Finding]
    evidence: Mapping[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.about.get("name") or self.folder.resolve().name)

    @property
    def task(self) -> Mapping[str, Any]:
        return _mapping(self.about.get("task"))

    @property
    def machine(self) -> Mapping[str, Any]:
        return _mapping(self.about.get("machine"))

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages that left a finding or a time, in the order of the run."""
        seen = {finding.stage for finding in self.findings} | set(_mapping(self.about.get("stages")))
        return (*(stage for stage in STAGES if stage in seen), *sorted(seen - set(STAGES)))

    def stage_seconds(self, stage: str) -> float | None:
        seconds = _mapping(_mapping(self.about.get("stages")).get(stage)).get("seconds")
        return float(seconds) if isinstance(seconds, int | float) else None


def read_run(folder: Path) -> Run:
    """Return the run in `folder`. Raises RunError when run.json or findings.jsonl is missing or damaged; evidence may be."""
    about = _mapping(read_json(folder / "run.json"))
    findings = read_findings(folder / "findings.jsonl")
    drawn = {*SHOWN, *(file for _, _, file, *_ in SHAPES)}
    names = list(dict.fromkeys(name for finding in findings for name in finding.evidence))
    read = {name: _read_evidence(folder, name) for name in names if PurePosixPath(name).name in drawn}
    evidence = {PurePosixPath(name).name: value for name, value in read.items() if value is not None}
    lost = tuple(name for name in names if (read[name] is None if name in read else _inside(folder, name) is None))
    return Run(folder=folder, about=about, findings=findings, evidence=evidence, lost=lost)


def _inside(folder: Path, name: str) -> Path | None:
    """Return the path of a file or folder that lies inside the run folder, links followed, or None."""
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.exists() else None
    except (OSError, ValueError):
        return None


def _read_evidence(folder: Path, name: str) -> Any | None:
    """Return the JSON of a file inside the run folder, or None: missing, outside, too large, or not JSON."""
    path = _inside(folder, name)
    try:
        if path is None or not path.is_file() or path.stat().st_size > LARGEST_EVIDENCE_BYTES:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
