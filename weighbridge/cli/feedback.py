"""`weigh feedback`: labels in, what is known of a served model out."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighbridge.cli.show import one_line_errors, say, watched
from weighbridge.errors import UsageError

if TYPE_CHECKING:
    from weighbridge.feedback.labels import Outcome
    from weighbridge.feedback.log import Log

app = typer.Typer(name="feedback", no_args_is_help=True, rich_markup_mode=None, help="What happened to a served model: answers and labels.")

State = Annotated[Path, typer.Option("--state", metavar="FOLDER", help="The state folder that the server writes to.")]
Url = Annotated[str | None, typer.Option("--database", metavar="URL", help="postgresql://... instead of FOLDER/feedback.db.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who gives the labels; a key that lies is found by it.")]
Policies = Annotated[str, typer.Option("--policy", metavar="hold|first|last", help="Which of two different labels of one answer holds.")]
Sealed = Annotated[str, typer.Option("--vault", metavar="SOURCE", help="The key of sealed labels and inputs, see docs/access.md.")]
Moment = Annotated[datetime.datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC.")]
POLICIES = ("hold", "first", "last")


@app.command()
@one_line_errors
def add(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="CSV, JSON lines or Parquet with the columns id and label.")],
    state: State,
    by: By = "cli",
    policy: Policies = "hold",
    database: Url = None,
    vault: Sealed = "",
) -> None:
    """Take labels from a file: late, out of order and twice is fine; what does not fit is named."""
    from weighbridge.feedback.watching import add_file

    log = opened(state, database, vault, policy)
    log.ingest()
    outcome = add_file(log, labels, by)
    log.close()
    _show(outcome)
    if outcome.invalid:
        raise typer.Exit(2)


@app.command()
@one_line_errors
def watch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where files of labels are put.")],
    state: State,
    by: By = "watch",
    policy: Policies = "hold",
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.05, help="How often to look.")] = 2.0,
    database: Url = None,
    vault: Sealed = "",
) -> None:
    """Take files of labels as they come, until Ctrl-C; each goes to done/ or refused/ with a note beside it."""
    import time

    from weighbridge.errors import StorageError
    from weighbridge.feedback.watching import FolderWatch

    watcher = FolderWatch(log=opened(state, database, vault, policy), folder=folder, who=by)
    say(f"looking into {folder} every {every:g} s; Ctrl-C ends it")
    with watched() as (_, stop):
        while not stop:
            try:
                watcher.log.ingest()
                for taken in watcher.look():
                    say(f"{taken.path}: {taken.reason or line(taken.outcome)}")
            except StorageError as error:  # the files and journals wait
                typer.echo(f"weigh: {error}", err=True)
            time.sleep(every)
    watcher.log.close()


@app.command()
@one_line_errors
def status(
    state: State,
    package: Annotated[
        Path | None, typer.Option(metavar="PACKAGE", help="What promised; needed where `weigh serve` was started without a registry.")
    ] = None,
    language: Annotated[str, typer.Option(metavar="en|zh", help="Of the table.")] = "en",
    vault: Sealed = "",
    database: Url = None,
    json_: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Say what the log holds, what went wrong on the way, and what was expected beside what happened."""
    import json

    from weighbridge.cli.expected import findings_of_each, show
    from weighbridge.feedback.board import spoken, told

    speaks, log = spoken(language), opened(state, database, vault)
    log.ingest()
    held, expected = log.status(), {} if log.locked else findings_of_each(log, package)
    log.close()
    if json_:
        compared = {name: [told(one, speaks) for one in found] for name, found in expected.items()}
        typer.echo(json.dumps({**held, "expected": compared}, indent=2, ensure_ascii=False))
        return
    for name, value in _lines(held):
        say(f"{name:<22} {value}")
    if log.locked:
        say("\nlabels are sealed, so what was expected is not held against them: give --vault SOURCE")
    else:
        show(expected, speaks)


@app.command()
@one_line_errors
def export(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The Parquet file to write.")],
    state: State,
    start: Moment = None,
    end: Moment = None,
    model: Annotated[str | None, typer.Option(metavar="HASH", help="Answers of this model only; the beginning of its hash.")] = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Only answers with a label.")] = False,
    database: Url = None,
    vault: Sealed = "",
) -> None:
    """Write answers with their labels as Parquet."""
    from weighbridge.feedback.keeping import export as write

    log = opened(state, database, vault)
    log.ingest()
    bounds = {name: bound.replace(tzinfo=datetime.UTC) for name, bound in (("start", start), ("end", end)) if bound is not None}
    count = write(log, output, model=model, labelled=labelled, **bounds)
    log.close()
    say(f"wrote {count:,} answers to {output}")


@app.command()
@one_line_errors
def conflicts(state: State, database: Url = None, vault: Sealed = "") -> None:
    """List the answers whose labels contradict each other and wait for a person: weigh feedback decide ID LABEL."""
    from weighbridge.feedback.labels import conflicts as held

    log = opened(state, database, vault)
    for id_, said in held(log.database, vault=log.vault).items():
        say(id_ + "".join(f"\n    {one['value']!r:<20} {one['who']}, {_time(one['time_us'])}" for one in said))
    log.close()


@app.command()
@one_line_errors
def decide(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id of an answer.")],
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What is true.")],
    state: State,
    by: By = "cli",
    database: Url = None,
    vault: Sealed = "",
) -> None:
    """Say which label of an answer holds, whatever was said before."""
    from weighbridge.feedback.labels import decide as settle

    log = opened(state, database, vault)
    settle(log.database, id_, label, by, vault=log.vault)
    log.close()
    say(f"{id_} is {label}")


@app.command()
@one_line_errors
def trust(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Whose labels are in quarantine, as `weigh feedback status` names it.")],
    state: State,
    database: Url = None,
) -> None:
    """Let a key out of quarantine: its labels count again."""
    log = opened(state, database, "")
    shut = [one["who"] for one in log.status()["quarantine"]]
    if key not in shut:
        raise UsageError(f"no labels of '{key}' are in quarantine", do=f"those in it: {', '.join(shut) or 'none'}")
    log.let_in(key)
    log.close()
    say(f"labels of {key} count again")


@app.command()
@one_line_errors
def seal(state: State, vault: Sealed, database: Url = None) -> None:
    """Seal the inputs and labels of a log with the newest key: what lies in the open, and what an older key sealed."""
    from weighbridge.feedback.resealing import seal_all

    log = opened(state, database, vault)
    told = seal_all(log)
    log.close()
    say(f"sealed {told['inputs']:,} inputs, {told['labels']:,} labels, {told['label_events']:,} label events; the rest was already")


def opened(state: Path, url: str | None, vault: str, policy: str = "hold") -> Log:
    """Return the log of a state folder with its key, where one is given. Raises UsageError, VaultError, StorageError."""
    from weighbridge.feedback.log import Log
    from weighbridge.storage.vault_keys import open_vault

    if policy not in POLICIES:
        raise UsageError(f"--policy is {policy!r}", do=f"give one of {', '.join(POLICIES)}")
    key = open_vault(vault) if vault else None
    return Log.open(state, url=url, policy=policy, vault=key, make=False)  # type: ignore[arg-type]  # checked just now


def line(outcome: Outcome) -> str:
    """Return what became of labels in one line; what did not happen is left out."""
    told = {name: value for name, value in outcome.to_json().items() if isinstance(value, int) and value}
    return ", ".join(f"{value:,} {name}" for name, value in told.items()) or "no labels"


def _show(outcome: Outcome) -> None:
    say(line(outcome))
    for one in outcome.refusals[:20]:
        typer.echo(f"  {one.id or '(no id)'}: {one.why}; {one.do}", err=True)
    if outcome.invalid > 20:
        typer.echo(f"  and {outcome.invalid - 20:,} more", err=True)


def _lines(told: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("answers", f"{told['answers']:,}")]
    if told["answers"]:
        rows.append(("first, last", f"{_time(told['first_us'])}, {_time(told['last_us'])}"))
    rows += [("model", f"{one['model'][:12]} {one['package']}: {one['answers']:,}") for one in told["models"]]
    rows += [(f"labels {state}", f"{n:,}") for state, n in sorted(told["labels"].items())]
    rows += [("quarantine", f"{one['who']}, {one['reason']}") for one in told["quarantine"]]
    rows.append(("waiting journals", f"{told['waiting_bytes']:,} bytes"))
    rows += [(name.replace("_", " "), f"{value:,}") for name, value in sorted(told["counts"].items()) if value]
    return rows


def _time(moment_us: int) -> str:
    return datetime.datetime.fromtimestamp(moment_us / 1e6, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
