"""The balance sheet of a run: terminal, page and model card. Reads findings and the evidence they name, and nothing else.

Importing this package loads no heavy library: matplotlib, jinja2, rich and yaml are imported by the functions that need them.
"""

from weighbridge.report.card import render_card
from weighbridge.report.compare import Comparison, compare_runs, print_comparison
from weighbridge.report.evidence import Run, read_run
from weighbridge.report.sheet import Sheet, balance
from weighbridge.report.table import print_findings
from weighbridge.report.terminal import print_sheet
from weighbridge.report.words import Language, translate
from weighbridge.report.write import write_report

__all__ = [
    "Comparison",
    "Language",
    "Run",
    "Sheet",
    "balance",
    "compare_runs",
    "print_comparison",
    "print_findings",
    "print_sheet",
    "read_run",
    "render_card",
    "translate",
    "write_report",
]
