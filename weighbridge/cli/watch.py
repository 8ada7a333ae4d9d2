"""`weigh watch`: a model is served, logged, watched, retrained, tried, promoted and rolled back by one command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weighbridge.cli.serve import journaling, named, said
from weighbridge.cli.serving import HOST, PORT, Host, HostNames, InsecureBind, LimitWords, Port, TlsCert, TlsKey, VaultSource, Workers
from weighbridge.cli.show import one_line_errors
from weighbridge.errors import UsageError

if TYPE_CHECKING:
    from weighbridge.cli.rounds import Order
    from weighbridge.feedback.registry import Registry
    from weighbridge.serving.fleet import Fleet

PAUSES_S = (1.0, 60.0)  # after rounds that ended by themselves: the first, and the longest
CALM_S = 60.0  # rounds that went so long were sound
END_S = 20.0
Say = Callable[[str], None]


@one_line_errors
def watch(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|PACKAGE", help="A finished run folder; or a package, which is not retrained.", show_default=False)
    ],
    state: Annotated[Path, typer.Option(metavar="FOLDER", help="Everything that is known of the model in service.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Under which name it is served; default: the run's.")] = "",
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="WHAT=auto|ask|never", help="Of retrain, promote, rollback, recalibrate, quarantine."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the section feedback, e.g. canary.share=0.2.")
    ] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.05, help="From one look at the log to the next.")] = 10.0,
    nice: Annotated[int, typer.Option(metavar="N", min=0, max=19, help="How far looking and training step back.")] = 10,
    host: Host = HOST,
    port: Port = PORT,
    workers: Workers = 0,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    insecure_bind: InsecureBind = False,
    host_name: HostNames = None,
    log: Annotated[
        str, typer.Option(metavar="answers|fingerprints|inputs", help="What is kept of answered rows; a retraining needs inputs.")
    ] = "inputs",
    vault: VaultSource = "",
    limit: LimitWords = None,
) -> None:
    """Serve a model and take care of it: the whole circle, from answers and labels to the next model."""
    from weighbridge.cli.rounds import Order, policy_of
    from weighbridge.serving.launch import Options, physical_cores, read_limits
    from weighbridge.serving.launch import serve as run

    if log == "off":
        raise UsageError("weigh watch without a log has nothing to watch", do="give --log inputs, or use weigh serve")
    kept = journaling(log, state, vault=vault, strict=False)
    registry = released(source, state, name or next(iter(named([str(source)]))))
    order = Order(state=state, name=registry.name, every_s=every, changes=changes_of(policy, set_), vault=vault, nice=nice)
    policy_of(registry, order.changes)  # a key that is none is said before anything starts
    options = Options(
        packages={registry.name: champion_of(registry)}, state=state, host=host, port=port, workers=workers or physical_cores(),
        limits=read_limits(limit or []), certificate=tls_cert, key=tls_key, insecure_bind=insecure_bind, host_names=tuple(host_name or ()),
        folder=state / "models", journaling=kept,
    )  # fmt: skip
    if not run(options, say=said, terminal=sys.stderr, beside=lambda fleet: taken_care_of(fleet, registry, order, said)):
        raise typer.Exit(1)


def changes_of(policy: list[str] | None, set_: list[str] | None) -> tuple[str, ...]:
    """Return the changes of the section `feedback`, each as key=value."""
    return (*(f"policy.{one}" for one in policy or ()), *(set_ or ()))


def released(source: Path, state: Path, name: str) -> Registry:
    """Return the registry in which something is released under this name: what `source` holds, unless it ever was.

    So the same command after a restart goes on with the champion of now, and another source is a release by hand. Raises PackageError,
    RunError, UsageError.
    """
    from weighbridge.deployment import origin
    from weighbridge.feedback.registry import Registry

    registry = Registry.open(state, name)
    package = source / "deployment" / "package"
    is_run = package.is_dir()
    run = source if is_run else source.parent.parent if source.name == "package" and (source.parent.parent / "run.json").exists() else None
    sha256 = registry.install(package if is_run else source, **({} if run is None else origin(run)))
    if sha256 not in {line["champion"] for line in registry.history()}:
        registry.release(sha256, "released by weigh watch")
    return registry


def champion_of(registry: Registry) -> Path:
    """Return the package that answers every request now."""
    current = registry.current()
    assert current is not None
    return registry.path(current.champion)


@contextlib.asynccontextmanager
async def taken_care_of(fleet: Fleet, registry: Registry, order: Order, say: Say) -> AsyncIterator[None]:
    """While the block runs, rounds go on in a process of their own, and the fleet follows the switch."""
    from weighbridge.serving.following import follow
    from weighbridge.serving.launch import in_background

    say(f"watching {registry.name}   every {order.every_s:g} s   dashboard at /dashboard")
    async with in_background(follow(fleet, registry, say)), in_background(go_round_and_round(order, say)):
        yield


async def go_round_and_round(order: Order, say: Say) -> None:
    """For ever: a process that goes round; one that ended by itself is started again. Cancelled, it is asked to end and waited for."""
    pause_s = PAUSES_S[0]
    while True:
        begun_s = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "weighbridge.cli.rounds", stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert process.stdin is not None
        try:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(json.dumps(order.to_json()).encode() + b"\n")
                await process.stdin.drain()
            code = await process.wait()
        finally:
            process.stdin.close()
            await _ended(process)
        pause_s = PAUSES_S[0] if time.monotonic() - begun_s > CALM_S else min(2 * pause_s, PAUSES_S[1])
        say(f"round    the process that goes round ended with {code}; the next begins in {pause_s:g} s")
        await asyncio.sleep(pause_s)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """The process and what it started are gone; a training has a moment to save itself."""
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        pass
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
