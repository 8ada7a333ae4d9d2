"""`weigh mitigate --list`: the remedies that there are, by the limitation that they mend."""

from __future__ import annotations

import typer

from weighbridge.cli.show import say


def list_remedies(asked: bool) -> None:
    """Print every remedy and leave; nothing where the list was not asked for."""
    from rich.console import Console
    from rich.table import Table

    from weighbridge.mitigation import remedies

    if not asked:
        return
    known = remedies()
    table = Table(box=None, pad_edge=False)
    for title in ("against", "remedy", "what it does", "source"):
        table.add_column(title, overflow="fold")
    for remedy in sorted(known.values(), key=lambda one: one.against):
        table.add_row(remedy.against, remedy.name, str(remedy.title), remedy.source)
    Console().print(table)
    say("\nweigh mitigate RUN --for NAME tries one of them, or all against a limitation")
    raise typer.Exit
