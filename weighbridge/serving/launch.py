"""`weigh serve` from its options to its end: guard, fleet, front, in the order in which each can refuse before the next one starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TextIO

from weighbridge.errors import UsageError, did_you_mean
from weighbridge.serving.fleet import Fleet
from weighbridge.serving.hosts import check_bind
from weighbridge.serving.limits import Limits
from weighbridge.serving.metrics import Measured

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `weigh serve` was given. `packages`: path by name; `folder`: under which administrators may name other packages."""

    packages: Mapping[str, Path]
    state: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    threads: int = 1
    limits: Limits = field(default_factory=Limits)
    certificate: Path | None = None
    key: Path | None = None
    insecure_bind: bool = False
    host_names: tuple[str, ...] = ()
    oidc: Path | None = None
    anchor_file: Path | None = None
    open_metrics: bool = False
    folder: Path = Path()


def read_limits(given: list[str]) -> Limits:
    """Return the limits with some of them set, each as NAME=NUMBER. Raises UsageError."""
    known = {one.name: one.type for one in fields(Limits)}
    changes: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in known:
            raise UsageError(f"there is no limit {name!r}{did_you_mean(name, known)}", do=f"known: {', '.join(known)}")
        try:
            changes[name] = int(value) if known[name] == "int" else float(value)
        except ValueError:
            changes[name] = -1.0
        if not 0 <= changes[name] < 1e15 or (changes[name] == 0 and name not in ("batch_wait_s", "standing_wait_s")):
            raise UsageError(f"the limit {name} is {value!r}", do=f"give a {'whole ' if known[name] == 'int' else ''}number above 0")
    return replace(Limits(), **changes)  # type: ignore[arg-type]  # each is of its field's type


def serve(options: Options, *, say: Say, terminal: TextIO) -> bool:
    """Serve until SIGTERM or Ctrl-C; return whether everything that was accepted was answered.

    Raises UsageError, PackageError, StorageError in one line before the first request is taken.
    """
    from weighbridge.serving.server import Address, open_socket, run_loop
    from weighbridge.serving.state import open_guard
    from weighbridge.serving.tls import Tls

    if (options.certificate is None) != (options.key is None):
        raise UsageError("TLS needs both a certificate and its key", do="give --tls-cert and --tls-key")
    check_bind(options.host, tls=options.certificate is not None, insecure=options.insecure_bind)
    tls = Tls(options.certificate, options.key) if options.certificate is not None and options.key is not None else None
    for note in tls.pair.notes if tls else ():
        say(note)
    address = Address(host=options.host, port=options.port, tls=tls)
    with contextlib.closing(open_socket(address)) as listening:
        guard = open_guard(
            options.state, bind=options.host, names=options.host_names, oidc=options.oidc, anchor_file=options.anchor_file,
            terminal=terminal,
        )  # fmt: skip
        with contextlib.closing(guard):
            return run_loop(_serve(options, address, listening, guard, say))


async def _serve(options: Options, address: Any, listening: Any, guard: Any, say: Say) -> bool:
    from weighbridge.serving.app import App
    from weighbridge.serving.server import Server, stopped_by_signals

    measured = Measured()

    def hear(kind: str, facts: dict[str, Any]) -> None:
        measured.event(kind, facts)
        if kind.startswith("worker_"):
            guard.notes.note(f"worker.{kind.removeprefix('worker_')}", "", facts)

    fleet = Fleet(options.limits, workers=options.workers, threads=options.threads, journal=_journal(options), on_event=hear)
    app = App(
        fleet, guard.access, options.limits, packages=options.folder, open_metrics=options.open_metrics, write_trail=guard.trail.add,
        measured=measured,
    )  # fmt: skip
    server = Server(app, options.limits, address, listening)
    saving = asyncio.get_running_loop().create_task(guard.access.keep_saved())
    try:
        async with stopped_by_signals(server.stop):
            await fleet.start(options.packages)
            for name in fleet.names:
                facts = fleet.describe(name)
                await app.note("package.started", "", {key: facts[key] for key in ("name", "version", "model")})
                say(f"model    {name}   version {facts['version']}   {facts['kind']} of {len(facts['inputs'])} columns")
            say(f"serving  {address.url(listening.getsockname()[1])}")
            return await server.serve()
    finally:
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)


def _journal(options: Options) -> Path | None:
    return None
