"""The balance sheet on a terminal: readable at 80 and at 120 columns, with and without colour, in ASCII where nothing else is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.findings import Finding, Message
from weighbridge.report.evidence import Run, read_run
from weighbridge.report.facts import facts
from weighbridge.report.line import Line, line
from weighbridge.report.sheet import balance
from weighbridge.report.whisker import Whisker
from weighbridge.report.words import Language, Say, plain, speaker, spoken_language

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDE = 108  # columns from which a finding fits on one line
WHISKER = 25  # characters
MOST_WIDTH = 132
MOST_SHOWN = 10  # of each side of the sheet


@dataclass(frozen=True, kw_only=True)
class Ink:
    """The characters that a terminal's encoding can show."""

    axis: str = "─"
    left: str = "├"
    right: str = "┤"
    interval: str = "━"
    value: str = "●"
    reference: str = "┊"
    rule: str = "─"
    dot: str = "·"
    advantage: str = "+"
    limitation: str = "−"
    unmeasured: str = "?"


ASCII = Ink(axis="-", left="|", right="|", interval="=", value="o", reference=":", rule="-", dot="-", limitation="-")


def print_sheet(run_folder: Path, console: Console, language: str | None = None) -> None:
    """`console` shows the balance sheet of the run. Raises RunError, UsageError. Text of the run is never read as markup."""
    from rich.text import Text

    run = read_run(run_folder)
    spoken = spoken_language(language, run.about)
    say, sheet, ink = speaker(spoken), balance(run, spoken), _ink(console)
    width = min(console.width, MOST_WIDTH)
    console.print()
    _print(console, Text(f"{say(Message('Balance sheet'))} {ink.dot} {plain(run.name, 80)}".upper(), "dim"), width)
    for sentence in sheet.verdict:
        _print(console, Text(sentence, "bold"), width)
    _print(console, Text(sheet.warning, "dark_orange"), width)
    _print(console, Text(f" {ink.dot} ".join(facts(run, spoken)), "dim"), width)
    _safeguards(console, run, say, width)
    _column(console, sheet.advantages, Message("Advantages"), "cyan", ink.advantage, spoken, width, ink)
    _column(console, sheet.limitations, Message("Limitations"), "dark_orange", ink.limitation, spoken, width, ink)
    _pairs(console, Message("Price"), [_priced(line(finding, spoken)) for finding in sheet.price], say, width, ink)
    mended = [_mended(line(finding, spoken)) for finding in sheet.mended]
    _pairs(console, Message("What was mended, and what it cost"), mended, say, width, ink)
    missing = [(say(finding.title), say(finding.reason)) for finding in sheet.unmeasured]
    _pairs(console, Message("Not measured"), missing, say, width, ink, mark=ink.unmeasured)
    _ending(console, run, sheet.n_neutral, say, width)


def drawn_whisker(whisker: Whisker | None, ink: Ink | None = None, width: int = WHISKER) -> str:
    """Return the whisker in `width` characters, or spaces. The value covers the interval, the interval covers the reference."""
    if whisker is None:
        return " " * width
    ink = ink or Ink()
    cells = [ink.left, *[ink.axis] * (width - 2), ink.right]
    if whisker.reference is not None:
        cells[_cell(whisker.reference, width)] = ink.reference
    if whisker.left is not None and whisker.right is not None:
        for place in range(_cell(whisker.left, width), _cell(whisker.right, width) + 1):
            cells[place] = ink.interval
    cells[_cell(whisker.value, width)] = ink.value
    return "".join(cells)


def _cell(position: float, width: int) -> int:
    return min(max(round(position * (width - 1)), 0), width - 1)


def _ink(console: Console) -> Ink:
    return Ink() if console.encoding.lower().startswith("utf") else ASCII


def _print(console: Console, text: Text, width: int) -> None:
    if text.plain:
        console.print(text, width=width, highlight=False, markup=False, emoji=False)


def _safeguards(console: Console, run: Run, say: Say, width: int) -> None:
    from rich.text import Text

    off = run.about.get("safeguards_off")
    if isinstance(off, list) and off:
        names = plain(", ".join(map(str, off)))
        _print(console, Text(f"{say(Message('Safeguards that the recipe switched off'))}: {names}", "bold red"), width)


def _heading(console: Console, title: str, colour: str, width: int, ink: Ink) -> None:
    from rich.cells import cell_len
    from rich.text import Text

    console.print()
    rule = ink.rule * max(width - cell_len(title) - 4, 0)
    _print(console, Text.assemble((f"{ink.rule * 2} ", colour), (title, f"bold {colour}"), (f" {rule}", colour)), width)


def _column(
    console: Console, findings: Sequence[Finding], title: Message, colour: str, mark: str, language: Language, width: int, ink: Ink
) -> None:  # fmt: skip
    """Print one side of the sheet; an empty side says so."""
    from rich.text import Text

    say = speaker(language)
    _heading(console, say(title), colour, width, ink)
    if not findings:
        _print(console, Text(f"  {say(Message('none that was measured'))}", "dim"), width)
        return
    table = _grid(width)
    for finding in findings[:MOST_SHOWN]:
        item = line(finding, language)
        (_wide_row if width >= WIDE else _narrow_rows)(table, item, colour, mark, ink)
    console.print(table, highlight=False)
    if len(findings) > MOST_SHOWN:
        _print(console, Text(f"  {say(Message('and {n} more, in the report', n=len(findings) - MOST_SHOWN))}", "dim"), width)


def _grid(width: int) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 1), expand=True)
    table.width = width
    table.add_column(width=1)
    if width >= WIDE:
        table.add_column(ratio=1)
        table.add_column(width=WHISKER)
        table.add_column(width=9, justify="right")
        table.add_column(width=17, no_wrap=True)
        table.add_column(width=36)
    else:
        table.add_column(ratio=1)
        table.add_column(justify="right", width=36)
    return table


def _wide_row(table: Table, item: Line, colour: str, mark: str, ink: Ink) -> None:
    from rich.text import Text

    table.add_row(
        Text(mark, f"bold {colour}"), Text(item.title, "bold"), Text(drawn_whisker(item.whisker, ink), colour),
        Text(item.value, "bold"), Text(item.interval, "dim"), Text(_beside(item, ink), "dim"),
    )  # fmt: skip


def _narrow_rows(table: Table, item: Line, colour: str, mark: str, ink: Ink) -> None:
    from rich.text import Text

    value = Text.assemble((item.value, "bold"), (f"  {item.interval}" if item.interval else "", "dim"))
    table.add_row(Text(mark, f"bold {colour}"), Text(item.title, "bold"), value)
    beside = Text(_beside(item, ink), "dim")
    if item.whisker is not None or beside.plain:
        scale = (f" {item.ends[0]} .. {item.ends[1]}" if item.whisker else "", "dim")
        drawing = drawn_whisker(item.whisker, ink) if item.whisker else ""
        table.add_row("", Text.assemble((drawing, colour), scale), beside)


def _beside(item: Line, ink: Ink) -> str:
    return f" {ink.dot} ".join(part for part in (item.compared, item.n) if part)


def _mended(item: Line) -> tuple[str, str]:
    return f"{item.method}: {item.title}" if item.method else item.title, f"{item.compared} -> {item.value}"


def _priced(item: Line) -> tuple[str, str]:
    return item.title, f"{item.value}  {item.interval}".rstrip()


def _pairs(console: Console, title: Message, pairs: Sequence[tuple[str, str]], say: Say, width: int, ink: Ink, mark: str = " ") -> None:
    """Print a heading and two columns; nothing where there are no pairs."""
    from rich.table import Table
    from rich.text import Text

    if not pairs:
        return
    _heading(console, say(title), "default", width, ink)
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(max_width=width * 2 // 5)
    table.add_column(overflow="fold")
    for left, right in pairs:
        table.add_row(Text(mark, "bold"), Text(left), Text(f" {right}", "dim" if mark != " " else ""))
    console.print(table, width=width, highlight=False)


def _ending(console: Console, run: Run, n_neutral: int, say: Say, width: int) -> None:
    from rich.text import Text

    console.print()
    page = run.folder / "report.html"
    path = str(page if page.exists() else run.folder / "findings.jsonl")
    _print(console, Text(say(Message("{n} further figures, the evidence and every command: {path}", n=n_neutral, path=path)), "dim"), width)
