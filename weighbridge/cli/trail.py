"""`weigh trail`: the audit trail of a server, read and proved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.cli.keys import STATE, State
from weighbridge.cli.show import one_line_errors, say, show_error

app = typer.Typer(
    name="trail", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Show the audit trail of a server, export its anchor, and verify that nobody changed it.",
)  # fmt: skip


@app.command()
@one_line_errors
def verify(
    anchor: Annotated[
        list[str] | None,
        typer.Option("--anchor", metavar="COUNT:HASH|FILE", help="Anchors that were exported; may be given several times."),
    ] = None,
    state: State = STATE,
) -> None:
    """Prove that the trail is as it was written; exit code 1 and the line when it is not."""
    from weighbridge.serving.trail_verify import read_anchors
    from weighbridge.serving.trail_verify import verify as verified

    found = verified(state / "trail", [one for text in anchor or () for one in read_anchors(text)])
    if found.damage is not None:
        show_error(f"the trail was changed: {found.damage}")
        raise typer.Exit(1)
    say(f"{found.lines:,} lines, each follows the one before; the end is {found.end}")
    if found.anchored < found.end.count:
        open_to = "whoever may write the files could have written them anew; see weigh trail anchor"
        say(f"no anchor covers the lines from {found.anchored + 1:,} on: {open_to}")


@app.command()
@one_line_errors
def anchor(
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Append it to this file, on another disk or machine.")] = None,
    state: State = STATE,
) -> None:
    """Print the anchor of the trail: how many lines there are, and the hash of the last."""
    from weighbridge.serving.trail import Trail

    trail = Trail(state / "trail")
    say(str(trail.anchor() if to is None else trail.export(to)))


@app.command()
@one_line_errors
def show(
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="The last so many lines.")] = 20,
    state: State = STATE,
) -> None:
    """Print the last lines of the trail."""
    from weighbridge.serving.trail_verify import tail

    for line in tail(state / "trail", last):
        say(line)
