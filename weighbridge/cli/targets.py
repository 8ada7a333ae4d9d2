"""`weigh deploy container | kubernetes | homomorphic`: where a package can go, and how it can answer there."""

from __future__ import annotations

from typing import Annotated

import typer

from weighbridge.cli.again import Only, RunFolder, run_folder
from weighbridge.cli.show import show_findings, watched


def homomorphic(
    run: RunFolder,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Test rows that are encrypted and answered.")] = 200,
    only: Only = None,
) -> None:
    """Put a run's network through encrypted rows: what it costs in accuracy, time and bytes; folders for client and server."""
    from weighbridge.deployment.homomorphic import measure

    folder = run_folder(run)
    with watched() as (progress, _):
        findings = measure(folder, rows=rows, command=f"weigh deploy homomorphic {folder.as_posix()} --rows {rows}", progress=progress)
    show_findings(findings, only, folder)
