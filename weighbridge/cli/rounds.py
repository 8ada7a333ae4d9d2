"""The process beside a server that watches, decides and trains: `python -m weighbridge.cli.rounds`, started by `weigh watch`.

It is told what to do by one JSON line on standard input, and ends when that input ends: with its server, however that died. All it knows
is on the disk, so it may be killed at any moment; only one of a name works at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import Stopped, WeighbridgeError
from weighbridge.storage.control import StopRequest

if TYPE_CHECKING:
    from weighbridge.deployment import Circle
    from weighbridge.feedback.decisions import Trail
    from weighbridge.recipe import FeedbackSection

LAST_S = 15.0  # that a training has to save itself when the server ends
TURN_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the server says: state folder, name, seconds from one round to the next, keys of `feedback` to set, where the vault's key is.

    nice: by how much this process steps back behind the workers.
    """

    state: Path
    name: str
    every_s: float
    changes: tuple[str, ...] = ()
    vault: str = ""
    nice: int = 10

    def to_json(self) -> dict[str, Any]:
        told = {"name": self.name, "every_s": self.every_s, "changes": self.changes, "vault": self.vault, "nice": self.nice}
        return {"state": str(self.state.absolute()), **told}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Order:
        return cls(**{**value, "state": Path(value["state"]), "changes": tuple(value["changes"])})


def main() -> int:
    """Go round until standard input ends."""
    order = Order.from_json(json.loads(sys.stdin.readline()))
    stop = StopRequest()
    threading.Thread(target=_ends_with_input, args=(stop,), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(order.nice)
    from filelock import FileLock

    from weighbridge.feedback.board import WATCH
    from weighbridge.storage import make_folder

    make_folder(order.state / WATCH)
    with FileLock(order.state / WATCH / f".{order.name}.lock"):  # the rounds of a killed server may still be ending
        _go_on(order, stop)
    return 0


def _ends_with_input(stop: StopRequest) -> None:
    while sys.stdin.read(4096):
        pass
    stop.signal = signal.SIGTERM
    time.sleep(LAST_S)
    os._exit(1)  # all that counts is on the disk


def _go_on(order: Order, stop: StopRequest) -> None:
    from weighbridge.feedback.log import Log
    from weighbridge.serving.trail import Trail

    vault = None
    if order.vault:
        from weighbridge.storage.vault_keys import open_vault

        vault = open_vault(order.vault)
    trail = Trail(order.state / "trail")
    with contextlib.closing(trail), contextlib.closing(Log.open(order.state, vault=vault, make=False)) as log:
        told = ""
        while not stop:
            try:
                told = _round(order, log, trail.add, stop, told)
            except Stopped:
                return
            except WeighbridgeError as error:  # a full disk, a database that is away: the next round goes on
                told = _said(f"round    {order.name}: {error}", told)
            _rest(order.every_s, stop)


def _round(order: Order, log: Any, trail: Trail, stop: StopRequest, told: str) -> str:
    """Look, decide, do; return what was said last."""
    from weighbridge import lifecycle
    from weighbridge.deployment.overseeing import oversee
    from weighbridge.feedback.decisions import decisions

    circle = circle_of(order, log, stop)
    log.ingest()
    findings = oversee(circle.registry, log, command=f"weigh feedback status --state {order.state}")
    noted = lifecycle.go_round(circle, findings, trail=trail)
    now = next(one for one in decisions(order.state, order.name) if one.number == noted.number)
    what = " (waits for a person)" if now.waits else f" ({now.done})" if now.done else ""
    return _said(f"round    {order.name}: decision {now.number}, {now.decision.action}: {now.decision.reason}{what}", told)


def circle_of(order: Order, log: Any, stop: StopRequest) -> Circle:
    """Return what a round works on, under the policy of the champion's recipe with the server's changes. Raises RunError, RecipeError."""
    from weighbridge import lifecycle
    from weighbridge.deployment import Circle
    from weighbridge.feedback.registry import Registry

    registry = Registry.open(order.state, order.name)
    return Circle(registry=registry, log=log, section=policy_of(registry, order.changes), run=lifecycle.run, stop=stop)


def policy_of(registry: Any, changes: tuple[str, ...]) -> FeedbackSection:
    """Return the section `feedback` of the champion's recipe with changes such as `policy.promote=auto`. Raises RecipeError.

    A package that came without its run has the defaults and is never retrained: its rows are not there.
    """
    from weighbridge.deployment import section_of
    from weighbridge.recipe import FeedbackSection, changed_feedback

    current = registry.current()
    known = current is not None and registry.about(current.champion).get("run") is not None
    section = section_of(registry) if known else FeedbackSection.model_validate({"policy": {"retrain": "never", "recalibrate": "never"}})
    return changed_feedback(section, changes)


def _rest(seconds: float, stop: StopRequest) -> None:
    until_s = time.monotonic() + seconds
    while not stop and time.monotonic() < until_s:
        time.sleep(TURN_S)


def _said(text: str, before: str) -> str:
    if text != before:
        print(text, flush=True)
    return text


if __name__ == "__main__":
    sys.exit(main())
