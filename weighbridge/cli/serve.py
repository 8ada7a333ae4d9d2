"""`weigh serve`: packages answer over HTTP until they are asked to stop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from weighbridge.cli.serving import HOST, PORT, Host, HostNames, InsecureBind, LimitWords, Port, TlsCert, TlsKey, VaultSource, Workers
from weighbridge.cli.show import one_line_errors, say
from weighbridge.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from weighbridge.serving.journaling import Journaling

STATE = Path("serving")
KEPT: dict[str, Literal["keep", "fingerprint", "none"]] = {"answers": "none", "fingerprints": "fingerprint", "inputs": "keep"}


@one_line_errors
def serve(
    packages: Annotated[
        list[str],
        typer.Argument(metavar="PACKAGE...", help="Packages: a folder or .zip each, or NAME=PATH to name one.", show_default=False),
    ],
    host: Host = HOST,
    port: Port = PORT,
    state: Annotated[Path, typer.Option(metavar="FOLDER", help="Where keys' hashes, usage and the audit trail are kept.")] = STATE,
    workers: Workers = 0,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="CPU threads of one call of a model.")] = 1,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure_bind: InsecureBind = False,
    host_name: HostNames = None,
    oidc: Annotated[Path | None, typer.Option(metavar="FILE", help="Tokens of an OpenID Connect issuer, see docs/access.md.")] = None,
    anchor: Annotated[Path | None, typer.Option(metavar="FILE", help="A file elsewhere that gets the audit trail's anchors.")] = None,
    open_metrics: Annotated[bool, typer.Option("--open-metrics", help="/metrics needs no key.")] = False,
    package_folder: Annotated[
        Path, typer.Option("--packages", metavar="FOLDER", help="The folder under which an administrator may name other packages.")
    ] = Path(),
    log: Annotated[
        str, typer.Option(metavar="off|answers|fingerprints|inputs", help="What is kept of each answered row, for labels and drift.")
    ] = "off",
    strict_log: Annotated[bool, typer.Option("--strict-log", help="An answer that can not be logged is refused.")] = False,
    vault: VaultSource = "",
    trust: Annotated[
        list[Path] | None,
        typer.Option("--trust", metavar="FILE", help="A public key; only packages signed by one of those given are served."),
    ] = None,
    limit: LimitWords = None,
) -> None:
    """Answer rows over HTTP with one or more packages."""
    from weighbridge.serving.launch import Options, physical_cores, read_limits
    from weighbridge.serving.launch import serve as run

    options = Options(
        packages=named(packages), state=state, host=host, port=port, workers=workers or physical_cores(), threads=threads,
        limits=read_limits(limit or []), certificate=tls_cert, key=tls_key, insecure_bind=insecure_bind, host_names=tuple(host_name or ()),
        oidc=oidc, anchor_file=anchor, open_metrics=open_metrics, folder=package_folder,
        journaling=journaling(log, state, vault=vault, strict=strict_log), trust=tuple(trust) if trust else None,
    )  # fmt: skip
    if not run(options, say=said, terminal=sys.stderr):
        raise typer.Exit(1)


def journaling(what: str, state: Path, *, vault: str, strict: bool) -> Journaling | None:
    """Return how answers are logged, None where they are not. Raises UsageError for another word."""
    from weighbridge.feedback.journal import FOLDER
    from weighbridge.serving.journaling import Journaling

    if what == "off":
        return None
    if what not in KEPT:
        raise UsageError(f"--log is {what!r}{did_you_mean(what, KEPT)}", do=f"give off, {', '.join(KEPT)}")
    return Journaling(folder=state / FOLDER, inputs=KEPT[what], vault=vault, strict=strict)


def said(text: str) -> None:
    """Print one line at once: who started this server may wait for it."""
    say(text)
    sys.stdout.flush()


def named(given: list[str]) -> dict[str, Path]:
    """Return the packages by name: the one given, else that of the run (RUN/deployment/package), else that of the folder or file.

    Raises UsageError: no plain name, or one name twice.
    """
    found: dict[str, Path] = {}
    for text in given:
        before, sign, after = text.partition("=")
        path = Path(after if sign else text)
        name = before if sign else _name(path)
        if not name or not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or not name.isascii():
            raise UsageError(f"{name!r} is no name for a model", do="give NAME=PATH, a name of letters, digits, '-', '_' and '.'")
        if name in found:
            raise UsageError(f"two packages have the name {name!r}", do="give them as NAME=PATH")
        found[name] = path
    return found


def _name(path: Path) -> str:
    whole = path.resolve()
    run = whole.parent.parent.name if (whole.name, whole.parent.name) == ("package", "deployment") else ""
    return run or whole.name.removesuffix(".zip")
