"""`weigh deploy RUN` builds the package of a run; `weigh deploy VERB ...` does something with a package.

A verb is a function with Typer's annotations in a module of its own, and one line in VERBS below. A folder that is named like a verb is
given as a path: `weigh deploy ./sign`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from weighbridge.cli.again import Only, RunFolder, again
from weighbridge.cli.edge import edge
from weighbridge.cli.show import one_line_errors
from weighbridge.cli.signing import key, sign
from weighbridge.cli.targets import container, homomorphic, kubernetes
from weighbridge.errors import did_you_mean

BUILD = "run"  # the verb that a first word which is none stands for


class RunOrVerb(TyperGroup):
    """A group whose first word is one of its verbs, or the folder of a run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            near = did_you_mean(args[0], [name for name in self.commands if name != BUILD])
            if near and not Path(args[0]).exists():
                ctx.fail(f"'{args[0]}' is neither a run folder nor a verb of weigh deploy{near}")
            args = [BUILD, *args]
        return super().parse_args(ctx, args)


def run(run: RunFolder, only: Only = None) -> None:
    """Build the package of a run again, prove it against the network, and show its price."""
    again("deployment", run, only)


VERBS: dict[str, Callable[..., None]] = {
    BUILD: run,
    "container": container,
    "edge": edge,
    "homomorphic": homomorphic,
    "kubernetes": kubernetes,
    "key": key,
    "sign": sign,
}  # fmt: skip

app = typer.Typer(
    cls=RunOrVerb, no_args_is_help=True, rich_markup_mode=None, subcommand_metavar="RUN | VERB [ARGS]...",
    help="Build and prove the package of a run (weigh deploy RUN), or do one thing with a package.",
)  # fmt: skip
for _name, _verb in VERBS.items():
    app.command(_name)(one_line_errors(_verb))
