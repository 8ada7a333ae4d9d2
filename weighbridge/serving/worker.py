"""A worker: a process of its own that holds one package and answers what the front sends, until the front's end of the socket closes.

It reads bodies from strangers, so it trusts none of them, and holds no key, no other connection and no state: whatever ends it, the front
asks another. Ctrl-C and SIGTERM reach the whole group and are the front's to hear: it drains, then closes the socket.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weighbridge.errors import PackageError, WeighbridgeError
from weighbridge.runtime import Model
from weighbridge.serving.answering import Answerer
from weighbridge.serving.encrypted import is_offered
from weighbridge.serving.journaling import open_journal
from weighbridge.serving.limits import Limits
from weighbridge.serving.wire import Frame, Frames, Kind, WireError, frame

PIECE = 1 << 18
LEAVE_S = 5.0  # after the front has gone, for a call of the model that does not end


def main() -> None:
    """Load the package that the front names, say what it is, and answer. Exit code 0 when the front has closed; 1 for a refused package."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    os.dup2(2, 1)  # what a library prints is no answer
    line = Line(socket.socket(fileno=int(sys.argv[1])))
    orders = line.orders()
    first = next(orders, None)
    if first is None or first.kind != Kind.START:
        return
    try:
        answerer, about = _load(first.head)
    except WeighbridgeError as error:
        line.say(frame(Kind.FAILED, 0, {"error": type(error).__name__, "what": error.what, "do": error.do}))
        sys.exit(1)
    line.say(frame(Kind.READY, 0, about))
    try:
        for order in orders:
            if order.kind == Kind.PING:
                line.say(frame(Kind.PONG))
            elif order.kind == Kind.WORK:
                for told in answerer.answer(order):
                    line.say(told)
    finally:
        answerer.close()


class Line:
    """The worker's end of the socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        threading.Thread(target=self._watch, daemon=True).start()

    def orders(self) -> Iterator[Frame]:
        """Give each frame, until the front is gone."""
        frames, piece = Frames(), memoryview(bytearray(PIECE))
        try:
            while count := self._end.recv_into(piece):
                yield from frames.feed(piece[:count])
        except (OSError, WireError):
            return

    def say(self, told: bytes) -> None:
        """The front has it, or is gone; then this process ends."""
        try:
            self._end.sendall(told)
        except OSError:
            sys.exit(0)

    def _watch(self) -> None:
        """End the process some time after the front has gone, even in the middle of a call."""
        poll = select.poll()
        poll.register(self._end, getattr(select, "POLLRDHUP", 0))  # POLLHUP is always heard
        poll.poll()
        time.sleep(LEAVE_S)
        os._exit(0)


def _load(task: dict[str, Any]) -> tuple[Answerer, dict[str, Any]]:
    """Return what answers, and what the front is told of the package. Raises PackageError, DependencyError."""
    begun = time.monotonic()
    trust = None if task["trust"] is None else [bytes.fromhex(key) for key in task["trust"]]
    model = Model.load(Path(task["path"]), threads=task["threads"], trust=trust)
    if task["package"] and model.info.package_sha256 != task["package"]:
        raise PackageError(f"the package at {task['path']} is not the one that was started", do="put it back, or swap to the new one")
    apart = model.check_golden()
    for name in task["dialects"]:
        importlib.import_module(name)
    journal = open_journal(task["journal"], model, task["name"])
    answerer = Answerer(model=model, name=task["name"], limits=Limits(**task["limits"]), journal=journal)
    gc.collect()
    gc.freeze()  # what was loaded stays: the collector need not look at it again and again
    info = model.info
    return answerer, {
        "name": task["name"], "kind": info.kind, "classes": list(info.classes), "output": info.output, "model": model.hash,
        "inputs": [{"name": name, "type": kind} for name, kind in info.inputs], "package": info.package_sha256,
        "golden": apart, "load_s": time.monotonic() - begun, "pid": os.getpid(),
        "encrypted": is_offered(model, task["name"]),
    }  # fmt: skip


if __name__ == "__main__":
    main()
