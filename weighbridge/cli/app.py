"""The verbs of `weigh`. Heavy libraries are imported inside the verb that needs them, so `weigh --help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weighbridge.cli import data, deploy
from weighbridge.cli.again import Only, RunFolder, again, run_folder
from weighbridge.cli.circle import app as feedback
from weighbridge.cli.keys import app as keys
from weighbridge.cli.remedies import list_remedies
from weighbridge.cli.serve import serve
from weighbridge.cli.show import one_line_errors, say, show_findings, watched
from weighbridge.cli.trail import app as trail
from weighbridge.cli.watch import watch
from weighbridge.errors import RecipeError

if TYPE_CHECKING:
    from weighbridge.runtime import Model

app = typer.Typer(
    name="weigh", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Train, weigh and package a model: one recipe, one command, one balance sheet.",
)  # fmt: skip

Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe, e.g. training.epochs=3.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="Where run folders are.")]
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, a YAML file.")]
Trust = Annotated[
    list[Path] | None, typer.Option("--trust", metavar="FILE", help="A public key; a package signed by none of those given is refused.")
]
Language = Annotated[str | None, typer.Option("--language", metavar="en|zh", help="Language, instead of the run's own.")]


@app.command()
@one_line_errors
def run(
    recipe: RecipeFile,
    set_: Set = None,
    runs: Runs = Path("runs"),
    until: Annotated[str, typer.Option(metavar="STAGE", help="Stop after this stage.")] = "deployment",
) -> None:
    """Run a recipe through every stage; finished stages are not run again."""
    from weighbridge import lifecycle
    from weighbridge.recipe import load_recipe

    loaded = load_recipe(recipe, set_ or ())
    folder = runs / str(loaded.name)
    with watched() as (progress, stop):
        lifecycle.run(loaded, folder, until=until, progress=progress, stop=stop)
    _show_run(folder, None)


@app.command()
@one_line_errors
def check(recipe: RecipeFile, set_: Set = None) -> None:
    """Say what a recipe means: every default, what was inferred from what, time and memory."""
    from weighbridge.cli.check import check_recipe

    check_recipe(recipe, set_ or ())


@app.command()
@one_line_errors
def init(
    source: Annotated[str, typer.Argument(metavar="DATA", help="A file, folder or address of data.")],
    target: Annotated[str, typer.Option(metavar="COLUMN", help="The column to predict.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the recipe here instead of printing it.")
    ] = None,
) -> None:
    """Write a commented recipe for some data, with the types of its columns."""
    from weighbridge.data import draft_recipe
    from weighbridge.storage import write_text

    text = draft_recipe(source, target)
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.exists():
        raise RecipeError(f"{output} exists", do="give another name, or remove it")
    write_text(output, text)
    say(f"wrote {output}; next: weigh check {output}, then weigh run {output}")


@app.command()
@one_line_errors
def schema() -> None:
    """Print the recipe's JSON Schema, for editors."""
    import json

    from weighbridge.recipe import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))


app.add_typer(data.app, name="data")


@app.command()
@one_line_errors
def preprocess(run: RunFolder, only: Only = None) -> None:
    """Encode the columns of a run again and show what was found."""
    again("preprocessing", run, only)


@app.command()
@one_line_errors
def train(run: RunFolder, only: Only = None) -> None:
    """Train the network of a run again from its first step and show what it cost."""
    again("training", run, only)


@app.command()
@one_line_errors
def optimize(
    run: RunFolder,
    only: Only = None,
    scale: Annotated[
        bool, typer.Option("--scale", help="Train the architecture at several widths and on several parts of the rows.")
    ] = False,
) -> None:
    """Measure the forms of a run's model and choose again, on what was trained; --scale adds the scale study."""
    from weighbridge import lifecycle
    from weighbridge.recipe import load_recipe

    if not scale:
        again("optimization", run, only)
        return
    folder = run_folder(run)
    recipe = load_recipe(folder / "recipe.yaml", ("optimization.scale.enabled=true",))
    with watched() as (progress, stop):
        findings = lifecycle.run(recipe, folder, progress=progress, stop=stop)
    show_findings(findings, only or "scale", folder)


@app.command()
@one_line_errors
def evaluate(
    source: Annotated[Path, typer.Argument(metavar="RUN|PREDICTIONS", help="A run, or a Parquet file of predictions made anywhere.")],
    only: Only = None,
) -> None:
    """Measure a run's predictions again, or those of a model made elsewhere."""
    from weighbridge.stages.evaluation import measure_again, measure_file

    if source.is_dir():
        show_findings(measure_again(source, only), only, source)
        return
    show_findings(measure_file(source, only), only, source)


@app.command()
@one_line_errors
def audit(run: RunFolder, only: Only = None) -> None:
    """Measure the limitations of a run's model again, all of them or one."""
    from weighbridge import audit as audits
    from weighbridge.recipe import load_recipe

    if only is None:
        again("audit", run, None)
        return
    folder = run_folder(run)
    with watched() as (progress, stop):
        findings = audits.measure_again(
            load_recipe(folder / "recipe.yaml"), folder, only, command=f"weigh audit {folder.as_posix()}", progress=progress, stop=stop
        )
    show_findings(findings, only.removeprefix("audit."), folder)


@app.command()
@one_line_errors
def mitigate(
    run: RunFolder,
    for_: Annotated[
        list[str] | None, typer.Option("--for", metavar="NAME", help="A limitation (privacy), or one remedy against it.")
    ] = None,
    only: Only = None,
    list_: Annotated[
        bool, typer.Option("--list", is_eager=True, callback=list_remedies, help="Print the remedies that there are.")
    ] = False,
) -> None:
    """Try remedies against a limitation of a run's model: before, after and price of each."""
    from weighbridge import lifecycle
    from weighbridge.recipe import changed, load_recipe

    folder = run_folder(run)
    recipe = load_recipe(folder / "recipe.yaml")
    wanted = [*dict.fromkeys([*recipe.mitigation.remedies, *(for_ or ())])]
    if not wanted:
        raise RecipeError(
            f"nothing says what is to be mended in {folder}", do="name a limitation, such as --for calibration; weigh mitigate --list"
        )
    with watched() as (progress, stop):
        findings = lifecycle.run(changed(recipe, {"mitigation.remedies": wanted}, {}), folder, progress=progress, stop=stop)
    show_findings([finding for finding in findings if finding.stage == "mitigation"], only, folder)


app.add_typer(deploy.app, name="deploy")


@app.command()
@one_line_errors
def predict(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="A package: RUN/deployment/package, or a .zip of it.")],
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="CSV, JSON lines or Parquet with the model's input columns.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where answers go (.csv, .jsonl); default: standard output as CSV."),
    ] = None,
    trust: Trust = None,
) -> None:
    """Answer rows with a package, without torch; with a target of ExecuTorch, which needs it."""
    import shutil
    import sys
    import tempfile

    from weighbridge.runtime import predict_file

    model = _opened(package, trust)
    if model.info.signature is not None:
        typer.echo(f"{package} is {model.info.signature}", err=True)
    if output is not None:
        predict_file(model, rows, output)
        return
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder:  # whole or nothing on standard output, too
        answers = Path(folder) / "answers.csv"
        predict_file(model, rows, answers)
        with answers.open(encoding="utf-8") as text:
            shutil.copyfileobj(text, sys.stdout)


def _opened(package: Path, trust: list[Path] | None) -> Model:
    """Return the model of any package: what is answered without torch loads none."""
    from weighbridge.runtime.package import is_program

    if is_program(package):
        from weighbridge.deployment.edge import load as load_target

        return load_target(package, trust=trust)
    from weighbridge.runtime import load

    return load(package, trust=trust)


app.command()(serve)
app.command()(watch)
app.add_typer(feedback)
app.add_typer(keys)
app.add_typer(trail)


@app.command()
@one_line_errors
def report(run: RunFolder, language: Language = None) -> None:
    """Draw the balance sheet of a run again, on the screen and as report.html."""
    from weighbridge.report import write_report

    write_report(run_folder(run), language)
    _show_run(run, language)


@app.command()
@one_line_errors
def compare(
    first: RunFolder, second: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of another run.")], language: Language = None
) -> None:
    """Put two runs side by side: what they measured and how their recipes differ."""
    from rich.console import Console

    from weighbridge.report import compare_runs, print_comparison, print_findings
    from weighbridge.stages.comparison import paired

    console = Console()
    print_comparison(compare_runs(run_folder(first), run_folder(second)), console, language)
    print_findings(paired(first, second), console, "zh" if language == "zh" else "en")


@app.command()
@one_line_errors
def calibrate(
    only: Annotated[str | None, typer.Option(metavar="INSTRUMENT", help="Run the controls of this one, e.g. interval.rmse.")] = None,
    trials: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many simulations a control.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the table into this page, and as JSON beside it.")
    ] = None,
) -> None:
    """Run every control: planted cases that must be found, clean ones that must pass; exit code 1 when one does not hold."""
    from weighbridge.cli.calibrate import calibrate as run_all

    if not run_all(only, trials, output):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    from weighbridge import __version__

    typer.echo(__version__)


def main() -> None:
    """Run `weigh`; exits 0, 2 for what the user gave, 1 for what failed, 130 or 143 when stopped."""
    app()


def _show_run(folder: Path, language: str | None) -> None:
    from rich.console import Console

    from weighbridge.report import print_sheet

    print_sheet(folder, Console(), language)
    package = folder / "deployment" / "package"
    say(f"report   {folder / 'report.html'}")
    if package.exists():
        say(f"package  {package}   try: weigh predict {package} ROWS.csv")
