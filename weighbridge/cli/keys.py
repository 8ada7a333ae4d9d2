"""`weigh keys`: who may use a server. Changes hold within a second, without a restart, and are written into the audit trail."""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weighbridge.cli.show import one_line_errors, say
from weighbridge.errors import UsageError

if TYPE_CHECKING:
    from weighbridge.serving.keys import Key
    from weighbridge.serving.trail import Trail

STATE = Path("serving")  # as of `weigh serve`
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

app = typer.Typer(
    name="keys", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Make, list, rotate and revoke the API keys of a server.",
)  # fmt: skip

State = Annotated[Path, typer.Option("--state", metavar="FOLDER", help="The state folder of the server.")]
Ident = Annotated[str, typer.Argument(metavar="ID", help="The id of a key: the ten characters after wb_.")]


@app.command()
@one_line_errors
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what uses the key.")],
    role: Annotated[list[str], typer.Option("--role", metavar="ROLE", help="predict, label or admin; may be given several times.")],
    expires: Annotated[str, typer.Option(metavar="TIME", help="Such as 90d or 12h; never.")] = "never",
    rate: Annotated[float | None, typer.Option(metavar="N", help="Requests a second; any number by default.")] = None,
    burst: Annotated[int | None, typer.Option(metavar="N", help="Requests at once; a second's worth by default.")] = None,
    rows_per_day: Annotated[int | None, typer.Option("--rows-per-day", metavar="N", help="Rows answered a day (UTC).")] = None,
    state: State = STATE,
) -> None:
    """Make a key and print it once."""
    from weighbridge.serving.keys import KeyFile
    from weighbridge.serving.quota import Allowance

    allowance = Allowance(rate_per_s=rate, burst=burst, rows_per_day=rows_per_day)
    lifetime_s = None if expires == "never" else seconds(expires)
    trail = _trail(state)
    key, text = KeyFile(state).add(name, role, expires_in_s=lifetime_s, allowance=allowance)
    trail.add("key.made", _who(), _told(key))
    _show(key, text)


@app.command("list")
@one_line_errors
def list_(state: State = STATE) -> None:
    """Print the keys: id, name, roles, bounds, last use; never a secret."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from weighbridge.serving.keys import KeyFile, day
    from weighbridge.serving.quota import Usage

    keys, usage = KeyFile(state).list(), Usage(state)
    if not keys:
        say(f"no keys in {state}; the first start of `weigh serve` makes one, or weigh keys add NAME --role predict")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("id", "name", "roles", "made", "state", "requests/s", "rows/day", "rows today", "last used"):
        table.add_column(title, overflow="fold")
    for key in keys:
        rate, rows = key.allowance.rate_per_s, key.allowance.rows_per_day
        bounds = ("" if rate is None else f"{rate:g}", "" if rows is None else f"{rows:,}")
        used = (f"{usage.rows(key.id):,}", usage.last_used(key.id))
        table.add_row(key.id, escape(key.name), ", ".join(sorted(key.roles)), day(key.made_s), _standing(key), *bounds, *used)
    Console().print(table)


@app.command()
@one_line_errors
def revoke(key: Ident, state: State = STATE) -> None:
    """Close a key for good, within a second."""
    from weighbridge.serving.keys import KeyFile

    revoked = KeyFile(state).revoke(key)  # before the trail is looked at: a leaked key is closed whatever else is wrong
    _trail(state).add("key.revoked", _who(), {"key": revoked.id, "name": revoked.name})
    say(f"key {revoked.id} ({revoked.name}) opens nothing any more")


@app.command()
@one_line_errors
def rotate(
    key: Ident,
    grace: Annotated[str, typer.Option(metavar="TIME", help="How long the old key still opens, such as 24h or 0s.")] = "24h",
    state: State = STATE,
) -> None:
    """Make a key in the place of another, with the same name, roles and bounds, and print it once."""
    from weighbridge.serving.keys import KeyFile

    grace_s = seconds(grace)
    trail = _trail(state)
    new, text = KeyFile(state).rotate(key, grace_s=grace_s)
    trail.add("key.rotated", _who(), {"old": key, "grace_s": grace_s, **_told(new)})
    _show(new, text)
    say(f"the old key {key} opens for {grace} more")


@app.command()
@one_line_errors
def vault(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The key file; it gets a new key on top of those that it holds.")],
) -> None:
    """Make a key for what is encrypted at rest, or rotate it: the newest seals, the older ones still open."""
    from weighbridge.storage.vault_keys import add_key

    made = add_key(path)
    say(f"{path} holds the new key {made.newest}; keep a copy elsewhere: what was sealed can not be read without it")


def seconds(text: str) -> float:
    """Return a span of time such as 90d, 12h, 30m or 0s in seconds. Raises UsageError."""
    parts = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhdw])", text, re.ASCII)
    if parts is None:
        raise UsageError(f"{text!r} is no time", do="give a number and a unit, such as 90d, 12h, 30m or 0s")
    return float(parts[1]) * UNITS_S[parts[2]]


def _show(key: Key, text: str) -> None:
    say(f"key {key.id} ({key.name}), roles {', '.join(sorted(key.roles))}, {_standing(key)}; it is shown once:")
    say(text)


def _standing(key: Key) -> str:
    import time

    from weighbridge.serving.keys import day

    return key.why_not(time.time()) or ("opens" if key.expires_s is None else f"opens until {day(key.expires_s)}")


def _told(key: Key) -> dict[str, object]:
    return {"key": key.id, "name": key.name, "roles": sorted(key.roles), "expires_s": key.expires_s, **key.allowance.told()}


def _trail(state: Path) -> Trail:
    """Return the trail of a state folder. Raises RunError, StorageError before anything is changed when it can not be written."""
    from weighbridge.serving.trail import Trail

    trail = Trail(state / "trail")
    trail.anchor()
    return trail


def _who() -> str:
    try:
        return f"terminal:{getpass.getuser()}"
    except (OSError, KeyError, ImportError):  # a container without the user in its list
        return "terminal"
