"""Findings as plain rows, for a verb that shows a stage or one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weighbridge.findings import Finding
from weighbridge.report.line import line
from weighbridge.report.words import Language, word

if TYPE_CHECKING:
    from rich.console import Console

MARKS = {"advantage": "+", "limitation": "−", "neutral": " ", "unmeasured": "?"}


def print_findings(findings: Sequence[Finding], console: Console, language: Language = "en") -> None:
    """Print each finding: verdict, title, value, interval, n; under it reason, method and the command that measures it again."""
    from rich.text import Text

    for finding in findings:
        one = line(finding, language)
        value = word("not measured", language) if finding.verdict == "unmeasured" else one.value
        first = [f"{MARKS[finding.verdict]} {one.title}", value, one.interval, one.n, one.compared]
        console.print(Text("   ".join(part for part in first if part), style="bold"))
        for part in (one.difference, one.reason, one.method, one.source, one.command):
            if part:
                console.print(Text(f"    {part}", style="dim"))
