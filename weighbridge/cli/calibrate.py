"""`weigh calibrate`: every control is run; what each instrument found, against what is stated, becomes a table."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weighbridge import __version__
from weighbridge.cli.show import say, watched
from weighbridge.controls import Outcome, chosen, run_controls
from weighbridge.errors import UsageError
from weighbridge.evaluation.intervals import clopper_pearson
from weighbridge.storage import write_json, write_text

START, END = "<!-- calibration:start -->", "<!-- calibration:end -->"
ALONE = 2000  # trials in all under which starting a second process costs more than it gives
HEAD = (
    "| instrument | case | planted: found | clean: passed | stated | measured (95 % interval) | verdict |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)
PAGE = "# Calibration\n\n{start}\n{end}\n"


def calibrate(only: str | None, trials: int | None, output: Path | None) -> bool:
    """Return whether every control held; the table is on the screen and, with `output`, in that file and as JSON beside it.

    Raises UsageError for an unknown instrument, or a file that the table can not go to; before anything is run.
    """
    from weighbridge.stages.describe import machine

    page = None if output is None else _page(output, only)
    wanted = chosen(only)
    total = sum(one.trials if trials is None else min(one.trials, trials) for one in wanted)
    started = time.monotonic()
    with watched() as (progress, stop):
        outcomes = run_controls(wanted, trials=trials, progress=progress, stop=stop, workers=1 if total <= ALONE else os.cpu_count() or 1)
    about = {
        "version": __version__,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seconds": round(time.monotonic() - started),
        "machine": machine(),
    }
    text = table(outcomes)
    say(f"{text}\n\n{summary(outcomes, about)}")
    if output is not None and page is not None:
        write_text(output, _between(page, f"{summary(outcomes, about)}\n\n{text}"))
        write_json(output.with_suffix(".json"), {**about, "controls": [as_json(one) for one in outcomes]})
        say(f"wrote {output} and {output.with_suffix('.json').name} beside it")
    return all(one.holds for one in outcomes)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the Markdown table, one row a control."""
    return "\n".join([HEAD, *map(_row, outcomes)])


def _row(outcome: Outcome) -> str:
    control = outcome.control
    count = f"{outcome.right:,} of {outcome.n:,}"
    low, high = clopper_pearson(outcome.right, outcome.n)
    cells = [
        f"`{control.instrument}`",
        control.case.replace("|", "\\|"),
        count if control.kind == "planted" else "",
        count if control.kind == "clean" else "",
        f"{control.low:.3g} to {control.high:.3g}",
        f"{outcome.share:.4f} ({low:.4f} to {high:.4f})",
        "holds" if outcome.holds else "**does not hold**",
    ]
    return f"| {' | '.join(cells)} |"


def summary(outcomes: Sequence[Outcome], about: dict[str, Any]) -> str:
    """Return what was run, where and for how long, in a sentence."""
    held, place = sum(one.holds for one in outcomes), about["machine"]
    return (
        f"{held} of {len(outcomes)} controls hold: {sum(one.n for one in outcomes):,} trials in {about['seconds']:,} s; Weighbridge "
        f"{about['version']}; {place['cores']} x {place['cpu']}; {about['date']}."
    )


def as_json(outcome: Outcome) -> dict[str, Any]:
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


def _page(output: Path, only: str | None) -> str:
    """Return the text that the table goes into. Raises UsageError."""
    if only is not None:
        raise UsageError(f"--output writes the whole table, --only {only} runs a part", do="leave one of the two out")
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
