"""A stage of a finished run, run again: what `weigh data`, `weigh train`, ... `weigh deploy` do with the folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.cli.show import show_findings, watched
from weighbridge.errors import RunError

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Only = Annotated[str | None, typer.Option("--only", metavar="NAME", help="Show the findings of this name only, e.g. accuracy.")]


def again(stage: str, run: Path, only: str | None) -> None:
    """Run one stage of a finished run again and print its findings."""
    from weighbridge import lifecycle
    from weighbridge.recipe import load_recipe

    folder = run_folder(run)
    recipe = load_recipe(folder / "recipe.yaml")
    with watched() as (progress, stop):
        findings = lifecycle.run(recipe, folder, until=stage, again=(stage,), progress=progress, stop=stop)
    show_findings([finding for finding in findings if finding.stage == stage], only, folder)


def run_folder(path: Path) -> Path:
    """Return the folder of a run. Raises RunError for any other path."""
    if not (path / "recipe.yaml").exists():
        raise RunError(f"{path} is not a run folder", do="give a folder that `weigh run` made, e.g. runs/digits")
    return path
