"""The table of `weigh feedback status`: expected against actual, a line each, on a terminal; English or Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weighbridge.findings import Finding, Message
from weighbridge.report.line import line
from weighbridge.report.words import Language, speaker

if TYPE_CHECKING:
    from rich.console import Console

MARKS = {"advantage": ("+", "cyan"), "limitation": ("!", "dark_orange"), "neutral": (" ", "default"), "unmeasured": ("?", "dim")}
HEADS = (Message("What"), Message("Expected"), Message("Actual"), Message("95 % interval"), Message("Why"))


def print_status(findings: Sequence[Finding], console: Console, language: Language = "en") -> None:
    """`console` shows the table. Text of the findings is never read as markup."""
    from rich.table import Table
    from rich.text import Text

    say = speaker(language)
    table = Table(box=None, pad_edge=False, expand=False)
    table.add_column("", width=1)
    for place, head in enumerate(HEADS):
        table.add_column(Text(say(head), "dim"), justify="right" if place in (1, 2) else "left", overflow="fold")
    for finding in findings:
        mark, colour = MARKS[finding.verdict]
        shown = line(finding, language)
        expected = line(_expected(finding), language).value if finding.reference and finding.reference.value is not None else ""
        reason = say(finding.reason) if finding.reason.template else ""
        cells = (shown.title, expected, shown.value, shown.interval, reason)
        table.add_row(Text(mark, f"bold {colour}"), *(Text(cell, colour if place in (0, 2) else "") for place, cell in enumerate(cells)))
    console.print(table, highlight=False)


def _expected(finding: Finding) -> Finding:
    """What it is compared with, as a finding in the same unit."""
    value = None if finding.reference is None else finding.reference.value
    return Finding(key=finding.key, title=finding.title, value=value, unit=finding.unit, n=finding.n)
