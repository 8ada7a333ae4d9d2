"""What the terminal shows: progress, findings, one-line errors."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

from weighbridge.errors import DataError, WeighbridgeError, did_you_mean
from weighbridge.storage.control import StopRequest, stop_on_signals
from weighbridge.storage.progress import Progress

if TYPE_CHECKING:
    from weighbridge.findings import Finding

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
QUIET_S = 15.0  # seconds between lines where the output is no terminal


def one_line_errors(verb: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """An expected failure of the verb prints one line and leaves with its exit code."""

    @functools.wraps(verb)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return verb(*args, **kwargs)
        except WeighbridgeError as error:
            show_error(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            show_error("stopped by Ctrl-C; what was saved is kept: run the same command again to go on")
            raise typer.Exit(130) from None

    return wrapped


def show_error(text: str) -> None:
    """Print one line to standard error."""
    typer.echo(f"weigh: {text}", err=True)


def say(text: str) -> None:
    """Print one line."""
    typer.echo(text)


@contextlib.contextmanager
def watched() -> Iterator[tuple[Progress, StopRequest]]:
    """While the block runs, progress is shown and Ctrl-C or SIGTERM ask for a stop."""
    show = Bars() if sys.stderr.isatty() else Lines()
    with stop_on_signals(StopRequest()) as stop, contextlib.closing(show):
        yield show, stop


class Bars:
    """A bar for each piece of work, with what it says beside it, speed and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Rich

        self._rich = Rich(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=Console(stderr=True),
            refresh_per_second=5,
        )
        self._tasks: dict[str, int] = {}
        self._rich.start()

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        if not done and total is None and not note:
            self._rich.console.print(label, markup=False, highlight=False)
            return
        if label not in self._tasks:
            self._end_others()
            self._tasks[label] = self._rich.add_task(label, total=total, note=note)
        self._rich.update(self._tasks[label], completed=done, total=total, note=note)  # type: ignore[arg-type]  # TaskID is an int

    def _end_others(self) -> None:
        """What came before has ended: also what did not know its total, or stopped early."""
        for task in self._rich.tasks:
            self._rich.update(task.id, total=task.completed)

    def close(self) -> None:
        self._end_others()
        self._rich.stop()


class Lines:
    """A line when a piece of work starts and ends, and at times between, with the time left: for logs."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[float, str]] = {}
        self._first: dict[str, tuple[float, int]] = {}

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        last, text = self._shown.get(label, (0.0, ""))
        now = time.monotonic()
        started, first = self._first.setdefault(label, (now, done))
        ended = total is not None and done >= total
        if now - last < QUIET_S and not (ended and text != "ended"):
            return
        self._shown[label] = (now, "ended" if ended else "")
        amount = f"{done:,} of {total:,}" if total else f"{done:,}" if done else ""
        left = time_left(done - first, total - first, now - started) if total is not None and not ended else ""
        typer.echo("  ".join(part for part in (label, amount, left, note) if part), err=True)

    def close(self) -> None:
        """Nothing is held."""


def time_left(done: int, total: int, seconds: float) -> str:
    """Return how long the rest takes at the speed so far, in words; "" before there is a speed."""
    if done <= 0 or seconds < 1:
        return ""
    minutes, rest = divmod(round(seconds / done * (total - done)), 60)
    hours, minutes = divmod(minutes, 60)
    return "about " + (f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s") + " left"


def show_findings(findings: Sequence[Finding], only: str | None, where: Path) -> None:
    """Print findings; `only` keeps those of one name. Raises DataError when there is none."""
    from rich.console import Console

    from weighbridge.report import print_findings

    chosen = [finding for finding in findings if only is None or _named(finding, only)]
    if not chosen:
        names = sorted({finding.key.split(".", 1)[1] for finding in findings})
        raise DataError(f"{where} has no finding '{only}'{did_you_mean(str(only), names)}", do=f"known: {', '.join(names[:20])}")
    print_findings(chosen, Console())


def _named(finding: Finding, only: str) -> bool:
    name = finding.key.split(".", 1)[1]
    return name == only or name.startswith(f"{only}.")
