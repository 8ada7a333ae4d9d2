"""`weigh feedback release|round|history|decisions|approve|refuse|trace`: what is served, what was decided, and who decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighbridge.cli.feedback import By, Sealed, State, Url, app, opened
from weighbridge.cli.show import one_line_errors, say, watched
from weighbridge.errors import UsageError

if TYPE_CHECKING:
    from weighbridge.feedback.decisions import Answer
    from weighbridge.feedback.registry import Registry

__all__ = ["app"]

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="The name under which it is served; needed where there are several.")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", help="Of the decision, see weigh feedback decisions.")]


@app.command()
@one_line_errors
def release(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run folder.")],
    state: State,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Under which name it is served; default: the run's.")] = "",
    why: Annotated[str, typer.Option("--why", metavar="WORDS", help="What stands in the history.")] = "released by hand",
) -> None:
    """Put a run's package into the registry: it answers every request of that name."""
    from weighbridge.deployment import release as put
    from weighbridge.feedback.registry import Registry

    current = put(Registry.open(state, name or run.name), run, why)
    say(f"{name or run.name}: {current.champion[:12]} answers every request")


@app.command("round")
@one_line_errors
def go_once(
    state: State,
    name: Name = "",
    findings: Annotated[
        Path | None, typer.Option("--findings", metavar="FILE", help="Findings as JSON lines, beside those measured.")
    ] = None,
    database: Url = None,
    vault: Sealed = "",
) -> None:
    """Go round once: decide from what was measured, and do what the policy lets be done by itself."""
    from weighbridge import lifecycle
    from weighbridge.deployment import Circle, section_of
    from weighbridge.findings import read_findings
    from weighbridge.serving.trail import Trail

    registry, log = _registry(state, name), opened(state, database, vault)
    log.ingest()
    with watched() as (progress, stop):
        circle = Circle(registry=registry, log=log, section=section_of(registry), run=lifecycle.run, progress=progress, stop=stop)
        noted = lifecycle.go_round(circle, read_findings(findings) if findings else [], trail=Trail(state / "trail").add)
    log.close()
    _show(state, noted.number)


@app.command()
@one_line_errors
def history(state: State, name: Name = "", json_: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """List what was served when, why, and made from which run."""
    registry = _registry(state, name)
    lines = registry.history()
    if json_:
        typer.echo(json.dumps(lines, indent=2, ensure_ascii=False))
        return
    for line in lines:
        share = f"   {line['challenger'][:12]} answers {line['share']:g}" if line["challenger"] else ""
        say(f"{line['number']:>4}  {line['turned'][:19]}  {line['what']:<12} {line['champion'][:12]}{share}   {line['why']}")
        say(f"      {registry.about(line['challenger'] or line['champion']).get('run', '')}")


@app.command("decisions")
@one_line_errors
def list_decisions(state: State, name: Name = "") -> None:
    """List what was decided, on which evidence, and what waits for a person."""
    from weighbridge.feedback.decisions import decisions

    for noted in decisions(state, name or None):
        _show(state, noted.number)


@app.command()
@one_line_errors
def approve(number: Number, state: State, by: By = "cli") -> None:
    """Let a decision that waits be carried out, by the next round."""
    _say_to(state, number, "approved", by)


@app.command()
@one_line_errors
def refuse(number: Number, state: State, by: By = "cli") -> None:
    """Let a decision that waits come to nothing."""
    _say_to(state, number, "refused", by)


@app.command()
@one_line_errors
def trace(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id of an answer.")], state: State, database: Url = None, vault: Sealed = ""
) -> None:
    """Say where an answer came from: model, package, run, recipe, data, audits."""
    from weighbridge import deployment

    log = opened(state, database, vault)
    log.ingest()
    told = deployment.trace(state, log, id_)
    log.close()
    typer.echo(json.dumps(told, indent=2, ensure_ascii=False))


def _registry(state: Path, name: str) -> Registry:
    from weighbridge.feedback.registry import Registry, names

    known = names(state)
    if not name and len(known) != 1:
        shown = ", ".join(known) or "none"
        raise UsageError(
            f"{len(known)} models are served from {state}: {shown}", do="name one with --name" if known else "weigh feedback release RUN"
        )
    return Registry.open(state, name or known[0])


def _say_to(state: Path, number: int, said: Answer, by: str) -> None:
    from weighbridge.feedback.decisions import answer
    from weighbridge.serving.trail import Trail

    answer(state, number, said, by, trail=Trail(state / "trail").add)
    _show(state, number)


def _show(state: Path, number: int) -> None:
    from weighbridge.feedback.decisions import decisions

    noted = next(one for one in decisions(state) if one.number == number)
    say(f"{noted.number:>4}  {noted.time[:19]}  {noted.name}  {noted.decision.action}: {noted.decision.reason}")
    for one in noted.decision.evidence:
        say(f"      {one.key}: {_value(one.value)} ({one.verdict}) {one.reason}")
    waits = "waits for a person: weigh feedback approve|refuse" if noted.waits else ""
    said = f"{noted.answer} by {noted.who}" if noted.answer else "" if noted.decision.allowed else "the policy says never"
    for words in filter(None, (waits, said, noted.done)):
        say(f"      {words}")


def _value(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
