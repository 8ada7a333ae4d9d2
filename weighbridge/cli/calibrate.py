"""`weigh calibrate`: every control is run; what each instrument found, against what is stated, becomes a table."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weighbridge import __version__
from weighbridge.cli.show import say, watched
from weighbridge.controls import Outcome, chosen, controls, run_controls
from weighbridge.errors import UsageError
from weighbridge.evaluation.intervals import clopper_pearson
from weighbridge.storage import write_json, write_text

START, END = "<!-- calibration:start -->", "<!-- calibration:end -->"
ALONE = 2000  # trials in all under which starting a second process costs more than it gives
HEAD = (
    "| instrument | case | planted: found | clean: passed | stated | measured (95 % interval) | verdict |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)
Row = dict[str, Any]  # a control and its outcome, as JSON
PAGE = "# Calibration\n\n{start}\n{end}\n"


def calibrate(only: str | None, trials: int | None, output: Path | None) -> bool:
    """Return whether every control held; the table is on the screen and, with `output`, in that file and as JSON beside it.

    With `only`, the rows of the other instruments stay in the file as they were measured before; rows of controls that are no longer
    registered, or state something else now, leave it. Raises UsageError for an unknown instrument, a file that the table can not go to,
    or rows beside it that are no calibration; before anything is run.
    """
    from weighbridge.stages.describe import machine

    page = None if output is None else _page(output)
    wanted = chosen(only)
    before = {} if output is None or only is None else _measured_before(output.with_suffix(".json"))
    total = sum(one.trials if trials is None else min(one.trials, trials) for one in wanted)
    started = time.monotonic()
    with watched() as (progress, stop):
        outcomes = run_controls(wanted, trials=trials, progress=progress, stop=stop, workers=1 if total <= ALONE else os.cpu_count() or 1)
    about = {"version": __version__, "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
    rows = [as_json(one) for one in outcomes]
    say(f"{table(rows)}\n\n{summary(rows, about)} It took {time.monotonic() - started:,.0f} s.")
    if output is not None and page is not None:
        new = before | {_name(row): row for row in rows}
        rows = [new[one.name] for one in controls() if one.name in new]
        write_text(output, _between(page, f"{summary(rows, about)}{_without_row(rows)}\n\n{table(rows)}"))
        write_json(output.with_suffix(".json"), {**about, "controls": rows})
        say(f"wrote {output} and {output.with_suffix('.json').name} beside it")
    return all(one.holds for one in outcomes)


def _name(row: Row) -> str:
    return f"{row['instrument']}: {row['case']}"


def _measured_before(path: Path) -> dict[str, Row]:
    """Return the rows of an earlier calibration by control, those that a control of today still states. Raises UsageError."""
    if not path.exists():
        return {}
    today = {one.name: one for one in controls()}
    try:
        rows = {_name(row): row for row in json.loads(path.read_text(encoding="utf-8"))["controls"]}
        return {
            name: row
            for name, row in rows.items()
            if (one := today.get(name)) is not None
            and (one.kind, [one.low, one.high], one.trials) == (row["kind"], row["stated"], row["n"])
        }
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} does not hold an earlier calibration: {error}", do="remove it and run without --only") from None


def table(rows: Sequence[Row]) -> str:
    """Return the Markdown table, one row a control."""
    return "\n".join([HEAD, *map(_line, rows)])


def _line(row: Row) -> str:
    count = f"{row['right']:,} of {row['n']:,}"
    (stated_low, stated_high), (low, high) = row["stated"], row["interval"]
    cells = [
        f"`{row['instrument']}`",
        row["case"].replace("|", "\\|"),
        count if row["kind"] == "planted" else "",
        count if row["kind"] == "clean" else "",
        f"{stated_low:.3g} to {stated_high:.3g}",
        f"{row['measured']:.4f} ({low:.4f} to {high:.4f})",
        "holds" if row["holds"] else "**does not hold**",
    ]
    return f"| {' | '.join(cells)} |"


def summary(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """Return what was run, and where, in a sentence."""
    held, place = sum(row["holds"] for row in rows), about["machine"]
    return (
        f"{held} of {len(rows)} controls hold: {sum(row['n'] for row in rows):,} trials; Weighbridge {about['version']}; "
        f"{place['cores']} x {place['cpu']}; {about['date']}."
    )


def _without_row(rows: Sequence[Row]) -> str:
    """Return which instruments have controls that no row is of, as a sentence; nothing where all have one."""
    known = {_name(row) for row in rows}
    names = sorted({one.instrument for one in controls() if one.name not in known})
    return f" Not run yet: {', '.join(names)}." if names else ""


def as_json(outcome: Outcome) -> Row:
    """Return the row as JSON."""
    control = outcome.control
    return {
        "instrument": control.instrument,
        "case": control.case,
        "kind": control.kind,
        "right": outcome.right,
        "n": outcome.n,
        "stated": [control.low, control.high],
        "measured": outcome.share,
        "interval": list(clopper_pearson(outcome.right, outcome.n)),
        "holds": outcome.holds,
    }


def _page(output: Path) -> str:
    """Return the text that the table goes into. Raises UsageError."""
    if not output.exists():
        if not output.parent.is_dir():
            raise UsageError(f"there is no folder {output.parent}", do="make it, or give another file")
        return PAGE.format(start=START, end=END)
    text = output.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UsageError(f"{output} does not hold {START} and {END} once each, in this order", do="add both lines, or give another file")
    return text


def _between(text: str, content: str) -> str:
    return f"{text[: text.index(START)]}{START}\n\n{content}\n\n{text[text.index(END) :]}"
