"""report.html and card.md of a run folder."""

from __future__ import annotations

from pathlib import Path

from weighbridge.errors import RunError
from weighbridge.report.card import render_card
from weighbridge.report.evidence import read_run
from weighbridge.report.html import render_html
from weighbridge.report.words import spoken_language
from weighbridge.storage import write_text

MOST_BYTES = 1_000_000


def write_report(run_folder: Path, language: str | None = None) -> Path:
    """`run_folder` holds report.html and card.md; returns the path of report.html.

    Without `language` the one of run.json is used, else English. Same run folder, same bytes.
    Raises RunError (no run there, or damaged), UsageError (language not known), StorageError.
    """
    run = read_run(run_folder)
    spoken = spoken_language(language, run.about)
    page = render_html(run, spoken)
    if len(page.encode("utf-8")) >= MOST_BYTES:
        size = f"{len(page) / 1e6:.1f} MB"
        raise RunError(f"the report of {run_folder} would take {size}, the limit is 1 MB", do="lower evaluation.worst in the recipe")
    write_text(run_folder / "card.md", render_card(run, spoken))
    write_text(run_folder / "report.html", page)
    return run_folder / "report.html"
