"""What a person is shown of a model in service, as plain JSON: the state, its course, decisions, the rows that a label is asked for.

Everything is read from the state folder, so it is the same whoever serves and whoever watches, and after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from weighbridge.errors import UsageError
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Kind
from weighbridge.feedback.course import course
from weighbridge.feedback.decisions import Answer, Noted, Trail, answer, decisions
from weighbridge.feedback.log import Log
from weighbridge.feedback.queue import asked_rows, shown_rows
from weighbridge.feedback.registry import Registry
from weighbridge.findings import Finding, read_findings
from weighbridge.report.words import Language, difference, interval, number, translate
from weighbridge.runtime.contract import Contract, read_contract

WATCH = "watch"
MOST_DECISIONS, MOST_TURNS = 50, 50


@dataclass(frozen=True, kw_only=True)
class Board:
    """The board of one state folder."""

    log: Log

    def status(self, name: str, package: Path | None, language: Language) -> dict[str, Any]:
        """Return counts of the log, what is promised, what the watch found last, and who answers."""
        counts = self.log.status()
        contract = None if package is None else contract_at(package.absolute())
        turned = self._registry(name).current()
        return {
            "answers": sum(one["answers"] for one in counts["models"] if one["package"] == name), "labels": counts["labels"],
            "quarantine": counts["quarantine"], "metric": metric_of(self.log, name), "promise": promise(contract),
            "waiting_bytes": counts["waiting_bytes"],
            "findings": [told(one, language) for one in findings_of(self.log.folder, name)],
            "current": None if turned is None else asdict(turned),
        }  # fmt: skip

    def windows(self, name: str, package: Path | None, rows: int) -> list[dict[str, Any]]:
        """Return the course, see `course`."""
        return course(self.log, name, None if package is None else contract_at(package.absolute()), rows=rows)

    def decisions(self, name: str, language: Language) -> dict[str, Any]:
        """Return the last decisions and turns of the switch, newest first."""
        made = decisions(self.log.folder, name)[-MOST_DECISIONS:][::-1]
        turns = self._registry(name).history()[-MOST_TURNS:][::-1]
        shown = ("number", "what", "why", "champion", "challenger", "share", "turned")
        return {"decisions": [decided(one, language) for one in made], "turns": [{key: one.get(key) for key in shown} for one in turns]}

    def queue(self, name: str) -> dict[str, Any]:
        """Return the first rows that a label is asked for, and how many are."""
        asked = asked_rows(self.log, name)
        return {"asked": len(asked), "rows": shown_rows(self.log, asked)}

    def answer(self, number_: int, said: Answer, who: str, trail: Trail | None) -> dict[str, Any]:
        """A person said yes or no to a decision that waits. Raises UsageError for one that does not."""
        return decided(answer(self.log.folder, number_, said, who, trail=trail), "en")

    def _registry(self, name: str) -> Registry:
        return Registry.open(self.log.folder, name)


@lru_cache(maxsize=32)
def contract_at(package: Path) -> Contract | None:
    """Return the contract of a package that a server has verified, read once; None for one without."""
    return read_contract(package)


def promise(contract: Contract | None) -> dict[str, Any] | None:
    """Return what evaluation promised: metric, value, interval, n, kind, classes; None without a contract."""
    if contract is None:
        return None
    return {"metric": contract.headline, **asdict(contract.promise), "kind": contract.kind, "classes": list(contract.classes)}


def metric_of(log: Log, name: str) -> str:
    """Return the name of the metric by which the newest answers of a name are judged; "" where nobody said what the model is."""
    newest = log.window(package=name, newest=1)
    kind = newest.served[0].kind if len(newest) else ""
    return HEADLINES[cast(Kind, kind)].name if kind else ""


def findings_path(state: Path, name: str) -> Path:
    """Return where the last findings of the watch over a name stand."""
    return state / WATCH / f"{name}.jsonl"


def findings_of(state: Path, name: str) -> list[Finding]:
    """Return what the watch found last; [] while nothing watches."""
    path = findings_path(state, name)
    return read_findings(path) if path.exists() else []


def told(finding: Finding, language: Language) -> dict[str, Any]:
    """Return a finding in words: key, verdict, title, value, interval, n, against what, why and how."""
    spread = None if finding.interval is None else finding.interval[1] - finding.interval[0]
    return {
        "key": finding.key, "verdict": finding.verdict, "title": translate(finding.title, language), "n": finding.n,
        "value": number(finding.value, finding.unit, language, spread=spread),
        "interval": "" if finding.interval is None else interval(*finding.interval, finding.value, finding.unit, language),
        "against": _against(finding, language), "reason": translate(finding.reason, language),
        "method": translate(finding.method, language), "source": finding.source,
    }  # fmt: skip


def _against(finding: Finding, language: Language) -> str:
    known = finding.reference
    if known is None:
        return ""
    value = "" if known.value is None else f" {number(known.value, finding.unit, language)}"
    apart = "" if known.difference is None else f" ({difference(known.difference, finding.unit, language)})"
    return f"{translate(known.name, language)}{value}{apart}"


def decided(noted: Noted, language: Language) -> dict[str, Any]:
    """Return a decision in words: number, time, action, reason, evidence, whether it waits for a person, and what came of it."""
    made = noted.decision
    return {
        "number": noted.number, "name": noted.name, "time": noted.time, "action": made.action, "reason": translate(made.reason, language),
        "automatic": made.automatic, "allowed": made.allowed, "waits": noted.waits, "answer": noted.answer, "who": noted.who,
        "done": noted.done, "evidence": _evidence(made.evidence, language),
    }  # fmt: skip


def _evidence(found: Sequence[Finding], language: Language) -> list[dict[str, Any]]:
    return [told(one, language) for one in found]


def spoken(language: str) -> Language:
    """Return the language of a query. Raises UsageError."""
    if language == "en":
        return "en"
    if language == "zh":
        return "zh"
    raise UsageError(f"there is no language {language[:20]!r}", do="give en or zh")
