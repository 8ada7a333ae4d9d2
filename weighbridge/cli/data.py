"""`weigh data RUN` reads the data of a run again; `weigh data erase RUN` takes rows out of it. A folder named like a verb: ./erase."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from weighbridge.cli.again import Only, RunFolder, again, run_folder
from weighbridge.cli.show import one_line_errors, say, watched
from weighbridge.errors import UsageError, did_you_mean

READ = "run"  # the verb that a first word which is none stands for


class RunOrVerb(TyperGroup):
    """A group whose first word is one of its verbs, or the folder of a run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            near = did_you_mean(args[0], [name for name in self.commands if name != READ])
            if near and not Path(args[0]).exists():
                ctx.fail(f"'{args[0]}' is neither a run folder nor a verb of weigh data{near}")
            args = [READ, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunOrVerb, no_args_is_help=True, rich_markup_mode=None, subcommand_metavar="RUN | VERB [ARGS]...",
    help="Read, clean and split the data of a run again (weigh data RUN), or erase rows of it.",
)  # fmt: skip


@app.command(READ)
@one_line_errors
def read(run: RunFolder, only: Only = None) -> None:
    """Read, clean and split the data of a run again and show what was found."""
    again("data", run, only)


@app.command()
@one_line_errors
def erase(
    run: RunFolder,
    row: Annotated[list[str] | None, typer.Option("--row", metavar="ID", help="A row's id; may be given several times.")] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", metavar="COLUMN=VALUE", help="Rows of the source with this value; of several, all hold.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FOLDER", help="Also in the state folder of the server; IDs may be those of answers.")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", metavar="URL", help="Where the server's log is, when not in its state folder.")
    ] = None,
    source: Annotated[bool, typer.Option("--source", help="Also in your own source file, which is rewritten without the row.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train again without it: as if the run had never had it.")] = False,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who asks for it; default: your login.")] = None,
) -> None:
    """Take rows out of all that a run holds, name the models that saw them, leave a receipt; without rows: end one that was killed."""
    import getpass

    from weighbridge import lifecycle
    from weighbridge.data.erased import PENDING, read_receipts
    from weighbridge.deployment.erase import Request, erase
    from weighbridge.recipe import load_recipe

    folder = run_folder(run)
    who = by or getpass.getuser()
    request = Request(ids=tuple(row or ()), where=_pairs(where or []), state=state, database=database, source=source, who=who)
    only_retrain = retrain and not row and not where and not (folder / PENDING).exists() and bool(read_receipts(folder / "data"))
    with watched() as (progress, stop):
        receipts = [] if only_retrain else erase(folder, request, progress)
    for receipt in receipts:
        _show(folder, receipt)
    if not receipts and not only_retrain:
        say("it was erased before, and nothing is left of it here")
    if retrain:
        with watched() as (progress, stop):
            lifecycle.run_anew(load_recipe(folder / "recipe.yaml"), folder, progress=progress, stop=stop)
        say(f"trained again without what was erased; the report is {folder / 'report.html'}")


def _pairs(where: list[str]) -> dict[str, str]:
    found = {}
    for one in where:
        name, mark, value = one.partition("=")
        if not mark or not name:
            raise UsageError(f"--where {one} is not COLUMN=VALUE", do="for example --where email=me@example.org")
        found[name] = value
    return found


def _show(folder: Path, receipt: dict[str, Any]) -> None:
    split = ", ".join(f"{count} of {side}" for side, count in receipt["split"].items()) or "none in the run's tables"
    say(f"erased {len(receipt['rows'])} rows ({split}): {len(receipt['rewritten'])} files rewritten, {len(receipt['removed'])} removed")
    if receipt["source_files"]:
        say(f"  {receipt['source_files']} files of the source rewritten or removed")
    told = receipt["state"]
    if told:
        counts = ("answers", "labels", "journal_lines", "packages", "unsigned")
        say(f"  server: {', '.join(f'{name} {told[name]}' for name in counts)}, challengers {len(told['challengers'])}")
        if told["sealed"]:
            say(f"  {told['sealed']} inputs are sealed and were not searched by content: name their answers with --row")
    for model in receipt["models"]:
        say(f"  saw it: {model['what']} {model['where']} {model['sha256'][:12]} ({model['role']})")
    if receipt["remains"]:
        say(f"  what models learnt still holds bytes of it, in {', '.join(receipt['remains'])}: --retrain replaces them")
    say(f"receipt {receipt['entry']} in {folder / 'data' / 'erased.jsonl'}: {receipt['sha256']}")
