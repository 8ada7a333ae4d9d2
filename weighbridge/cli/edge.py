"""`weigh deploy edge`: targets for devices beside the package of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from weighbridge.cli.again import Only, RunFolder, run_folder
from weighbridge.cli.show import show_findings, watched

TARGETS = ("executorch", "executorch_int8", "onnx_int8")


def edge(
    run: RunFolder,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help=f"{', '.join(TARGETS)}; again for more. Default: the recipe's, or all."),
    ] = None,
    only: Only = None,
) -> None:
    """Build targets for devices beside the package, measure each against it, and keep those that are not worse."""
    from weighbridge import lifecycle
    from weighbridge.recipe import changed, load_recipe

    folder = run_folder(run)
    recipe = load_recipe(folder / "recipe.yaml")
    wanted = [*dict.fromkeys([*recipe.deployment.edge, *(target or ())])] or list(TARGETS)
    recipe = changed(recipe, {"deployment.edge": wanted}, {})
    with watched() as (progress, stop):
        findings = lifecycle.run(recipe, folder, again=("deployment",), progress=progress, stop=stop)
    show_findings([one for one in findings if one.key.startswith("deployment.edge.")], only, folder)
