"""`weigh serve` from its options to its end: guard, fleet, front, in the order in which each can refuse before the next one starts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from weighbridge.errors import UsageError, did_you_mean
from weighbridge.serving.fleet import Fleet
from weighbridge.serving.hosts import check_bind
from weighbridge.serving.journaling import Journaling
from weighbridge.serving.limits import Limits
from weighbridge.serving.metrics import Measured

if TYPE_CHECKING:
    from weighbridge.feedback.board import Board
    from weighbridge.feedback.log import Log
    from weighbridge.serving.app import Labels
    from weighbridge.serving.server import Address
    from weighbridge.serving.state import Guard

Say = Callable[[str], None]
Beside = Callable[[Fleet], contextlib.AbstractAsyncContextManager[None]]
MOVE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `weigh serve` was given.

    `packages`: path by name; `folder`: under which administrators may name other packages; `trust`: files of public keys, of which one
    must have signed whatever is served; None: any package is.
    """

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
    journaling: Journaling | None = None
    trust: tuple[Path, ...] | None = None


def physical_cores() -> int:
    """Return how many physical cores this process may use."""
    import os

    import psutil

    return max(1, min(psutil.cpu_count(logical=False) or 1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1 << 10))


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


def serve(options: Options, *, say: Say, terminal: TextIO, beside: Beside | None = None) -> bool:
    """Serve until SIGTERM or Ctrl-C, `beside` open meanwhile; return whether everything that was accepted was answered.

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
    trust = None if options.trust is None else _read_keys(options.trust)
    address = Address(host=options.host, port=options.port, tls=tls)
    with contextlib.closing(open_socket(address)) as listening:
        guard = open_guard(
            options.state, bind=options.host, names=options.host_names, oidc=options.oidc, anchor_file=options.anchor_file,
            terminal=terminal,
        )  # fmt: skip
        with contextlib.closing(guard):
            return run_loop(_serve(options, address, listening, guard, trust, say, beside))


def _read_keys(paths: tuple[Path, ...]) -> frozenset[bytes]:
    """Return the keys. Raises UsageError. Imported here alone: a front that trusts anybody loads nothing that computes."""
    from weighbridge.runtime.signature import read_keys

    return read_keys(paths)


async def _serve(
    options: Options, address: Address, listening: socket.socket, guard: Guard, trust: frozenset[bytes] | None, say: Say,
    beside: Beside | None,
) -> bool:  # fmt: skip
    from weighbridge.serving.app import App
    from weighbridge.serving.server import Server, stopped_by_signals

    measured = Measured()

    def hear(kind: str, facts: dict[str, Any]) -> None:
        measured.event(kind, facts)
        if kind.startswith("worker_"):
            guard.notes.note(f"worker.{kind.removeprefix('worker_')}", "", facts)

    fleet = Fleet(
        options.limits, workers=options.workers, threads=options.threads, journal=options.journaling, on_event=hear, trust=trust
    )  # fmt: skip
    app = App(
        fleet, guard.access, options.limits, packages=options.folder, open_metrics=options.open_metrics, write_trail=guard.trail.add,
        measured=measured,
    )  # fmt: skip
    server = Server(app, options.limits, address, listening)
    async with stopped_by_signals(server.stop), in_background(guard.access.keep_saved()):
        await fleet.start(options.packages)
        async with log_of(options) as kept, contextlib.nullcontext() if beside is None else beside(fleet):
            app.labels, app.board = kept
            for name in fleet.names:
                facts = fleet.describe(name)
                await app.note("package.started", "", {key: facts[key] for key in ("name", "version", "model")})
                say(f"model    {name}   version {facts['version']}   {facts['kind']} of {len(facts['inputs'])} columns")
            say(f"serving  {address.url(listening.getsockname()[1])}")
            whole = await server.serve()
    late = "" if whole else f", others were not within {options.limits.drain_s:g} s"
    say(f"stopped  {measured.requests.total():,} requests answered{late}")
    return whole


@contextlib.asynccontextmanager
async def log_of(options: Options) -> AsyncIterator[tuple[Labels, Board] | tuple[None, None]]:
    """Give what takes labels and what is shown of them, where answers are kept; what is logged is moved into the database meanwhile."""
    if options.journaling is None:
        yield None, None
        return
    from weighbridge.feedback.board import Board
    from weighbridge.feedback.inbox import Inbox
    from weighbridge.feedback.log import Log

    vault = None
    if options.journaling.vault:
        from weighbridge.storage.vault_keys import open_vault

        vault = open_vault(options.journaling.vault)
    with contextlib.closing(Log.open(options.state, vault=vault)) as log, Inbox(log) as inbox:
        if log.locked:
            raise UsageError(f"the labels in {options.state} are sealed", do="start the server with the key: --vault SOURCE")
        async with in_background(_moved(log)):
            yield inbox, Board(log=log)


async def _moved(log: Log) -> None:
    """Move what workers logged into the database every few seconds; where it is away, journals wait and it is said once."""
    told = ""
    while True:
        try:
            await asyncio.to_thread(log.ingest)
            told = ""
        except UsageError as error:  # a database that is away (StorageError), a sealed label that was changed
            if str(error) != told:
                told = str(error)
                print(f"weigh serve: answers wait in the journal: {told}", file=sys.stderr, flush=True)
        await asyncio.sleep(MOVE_S)


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """While the block runs, the work goes on beside it; it is cancelled at the end and what it then still does is waited for."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
