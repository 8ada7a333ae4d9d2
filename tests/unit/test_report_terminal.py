"""The sheet fits 80 and 120 columns, says all without colour, and reads nothing of a run as markup."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.unit.report_runs import chinese_run, diabetes_run, digits_run, unmeasured_run, write_run
from weighbridge.findings import Finding, Message, Reference
from weighbridge.report import print_sheet, write_report
from weighbridge.report.terminal import ASCII, drawn_whisker
from weighbridge.report.whisker import Whisker

RUNS = {"digits": digits_run, "chinese": chinese_run, "diabetes": diabetes_run, "unmeasured": unmeasured_run}


class Encoded(io.StringIO):
    """A text file that says which encoding it writes."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def shown(folder: Path, width: int = 80, *, encoding: str = "utf-8", colour: bool = False, language: str | None = None) -> str:
    file = Encoded(encoding)
    print_sheet(
        folder,
        Console(file=file, width=width, force_terminal=colour, no_color=not colour, color_system="256" if colour else None),
        language,
    )
    return file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 107, 108, 120, 200])
@pytest.mark.parametrize("name", RUNS)
def test_no_line_is_wider_than_the_terminal(name: str, width: int, tmp_path: Path) -> None:
    lines = shown(RUNS[name](tmp_path), width).splitlines()
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_verdict_both_sides_price_and_gaps_are_there(width: int, tmp_path: Path) -> None:
    text = shown(digits_run(tmp_path), width)
    for part in (
        "worth it here",
        "Do not use it",
        "+ Accuracy on unseen rows",
        "0.956 – 0.989",
        "gradient boosting 0.947",
        "n = 359",
        "−",
        "4 min 10 s",
        "? Energy",
    ):
        assert part in text
    assert "\x1b" not in text


def test_colour_is_used_where_it_is_asked_for(tmp_path: Path) -> None:
    assert "\x1b[" in shown(digits_run(tmp_path), colour=True)


def test_a_terminal_without_unicode_gets_ascii_drawings(tmp_path: Path) -> None:
    text = shown(digits_run(tmp_path), encoding="ascii")
    assert "|--:---========o====----|" in text


def test_a_whisker_is_drawn_to_scale() -> None:
    drawing = Whisker(low=0, high=1, value=0.5, left=0.4, right=0.6, reference=0.0)
    assert drawn_whisker(drawing, width=11) == "┊───━●━───┤"
    assert drawn_whisker(drawing, ASCII, width=11) == ":---=o=---|"
    assert drawn_whisker(None, width=5) == "     "


@pytest.mark.slow
def test_the_page_is_named_once_it_exists(tmp_path: Path) -> None:
    folder = digits_run(tmp_path / "r")
    assert "findings.jsonl" in shown(folder, 200)
    write_report(folder)
    assert "report.html" in shown(folder, 200)


def test_labels_are_not_markup_and_drive_no_terminal(tmp_path: Path) -> None:
    title = Message("Weakest class: {name}", name="[bold red]x[/] :smile: \x1b[2J")
    finding = Finding(
        key="evaluation.x",
        title=title,
        verdict="limitation",
        value=0.5,
        reference=Reference(name=Message("[link=http://x]y[/link]"), value=0.7),
    )
    text = shown(write_run(tmp_path, [finding]), 120)
    assert "[bold red]x[/]" in text
    assert ":smile:" in text
    assert "\x1b" not in text


def test_a_chinese_sheet_is_aligned(tmp_path: Path) -> None:
    lines = shown(chinese_run(tmp_path), 80).splitlines()
    rows = [text for text in lines if text.startswith("+ ")]
    assert rows
    assert {cell_len(text.rstrip()) for text in rows} == {80}
