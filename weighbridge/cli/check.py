"""`weigh check`: what a recipe means on this data and this machine, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.cli.show import say

if TYPE_CHECKING:
    from weighbridge.data import Preview


def check_recipe(path: Path, overrides: Sequence[str]) -> None:
    """Print the resolved recipe, the columns with their types and reasons, the network, and estimated time and memory."""
    from rich.console import Console
    from rich.syntax import Syntax

    from weighbridge.data import preview
    from weighbridge.mitigation import chosen
    from weighbridge.recipe import load_recipe, resolved_yaml
    from weighbridge.stages.estimate import estimate

    recipe = load_recipe(path, overrides)
    chosen(recipe.mitigation.remedies)
    found = preview(recipe.data)
    console = Console()
    console.print(Syntax(resolved_yaml(recipe), "yaml", background_color="default"))
    console.print(_columns(found))
    for line in estimate(recipe, found):
        say(line)
    say(f"the recipe holds; next: weigh run {path}")


def _columns(found: Preview) -> object:
    from rich.table import Table

    table = Table(title="columns", title_justify="left", box=None, pad_edge=False)
    for heading in ("column", "type", "role", "why"):
        table.add_column(heading, overflow="fold")
    for column in found.schema.columns:
        table.add_row(column.name, column.type, column.role.replace("_", " "), str(column.why))
    return table
