"""A worker as the front sees it: a process, a socket to it, and the batches that it was sent and has not answered."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import weighbridge
from weighbridge.errors import UsageError
from weighbridge.serving.asking import Cause, Reply
from weighbridge.serving.batching import Waiting
from weighbridge.serving.wire import Frame, Frames, Kind, WireError, frame

PROGRAM = ("-P", "-m", "weighbridge.serving.worker")  # -P: no module of the folder in which the server was started
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(slots=True, eq=False)
class Batch:
    """What a worker was sent at once; an ask is replaced by None when it is answered."""

    number: int
    asks: list[Waiting | None]
    sent_s: float
    size: int
    alone: bool

    @property
    def unanswered(self) -> list[Waiting]:
        return [one for one in self.asks if one is not None]


class Owner(Protocol):
    """Who hears what a worker says. `finished`: a batch is answered to its last ask, `seconds` of the worker's time after it was begun."""

    def answered(self, worker: Worker, one: Waiting, reply: Reply) -> None: ...
    def finished(self, worker: Worker, batch: Batch, seconds: float) -> None: ...
    def lost(self, worker: Worker) -> None: ...


@dataclass(slots=True, eq=False)
class Worker:
    """One worker process. `about` is what it says of its package once it is ready; `why` is why it is to be killed, where it is."""

    process: subprocess.Popen[bytes]
    owner: Owner
    begun_s: float
    ready: asyncio.Future[dict[str, Any]]
    sent: deque[Batch] = field(default_factory=deque)
    about: dict[str, Any] = field(default_factory=dict)
    batches: int = 0
    heard_s: float = 0.0
    free_s: float = 0.0
    unlogged: int = 0
    pinged_s: float = 0.0
    gone: bool = False
    why: str = ""
    _transport: asyncio.Transport | None = None

    def connected(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def send(self, asks: list[Waiting], now_s: float) -> None:
        """The worker has these asks to answer."""
        batch = Batch(self.batches, list(asks), now_s, len(asks), asks[0].ask.alone)
        self.batches += 1
        self.sent.append(batch)
        head = [[a.kind, a.head, a.request_id, a.who, a.received_s, a.deadline_s, a.alone, len(a.body)] for a in (one.ask for one in asks)]
        self.say(frame(Kind.WORK, batch.number, head, [one.ask.body for one in asks]))

    def say(self, told: bytes) -> None:
        if self._transport is not None and not self.gone:
            self._transport.write(told)

    def ping(self, now_s: float) -> None:
        """The worker is asked whether it lives."""
        self.pinged_s = now_s
        self.say(frame(Kind.PING))

    @property
    def is_ready(self) -> bool:
        return not self.gone and not self.why and bool(self.about)

    @property
    def silent_since_s(self) -> float | None:
        """Since when something is waited for that the worker owes; None where it owes nothing."""
        since = [self.pinged_s] if self.pinged_s else []
        if self.sent:
            since.append(max(self.sent[0].sent_s, self.heard_s))
        return min(since) if since else None

    def kill(self, why: str) -> None:
        """The process ends at once; the owner hears of it as of any loss."""
        self.why = self.why or why
        self.process.kill()

    def leave(self) -> None:
        """The worker is told, by the end of its socket, that it is not needed any more."""
        if self._transport is not None:
            self._transport.close()

    def hear(self, told: Frame) -> None:
        now_s = time.monotonic()
        if told.kind in (Kind.PART, Kind.LAST):
            self._answer(told, now_s)
        elif told.kind == Kind.READY:
            self.about = told.head
            _settle(self.ready, told.head)
        elif told.kind == Kind.FAILED:
            self.why = "failed"
            _settle(self.ready, {"failed": told.head})
        elif told.kind == Kind.PONG:
            self.pinged_s = 0.0
        self.heard_s = now_s

    def _answer(self, told: Frame, now_s: float) -> None:
        """Raises WireError for answers that nobody asked for."""
        batch = self.sent[0] if self.sent else None
        if batch is None or batch.number & 0xFFFFFFFF != told.number:
            raise WireError("a worker answers what it was not asked")
        for place, reply in replies(told):
            one = batch.asks[place] if place < len(batch.asks) else None
            if one is not None:
                batch.asks[place] = None
                self.owner.answered(self, one, reply)
        if told.kind == Kind.LAST:
            self.sent.popleft()
            begun_s, self.free_s, self.unlogged = max(batch.sent_s, self.free_s), now_s, told.head[1]
            self.owner.finished(self, batch, now_s - begun_s)

    def lost(self) -> None:
        if not self.gone:
            self.gone = True
            _settle(self.ready, {"failed": None})
            self.owner.lost(self)


def replies(told: Frame) -> Iterable[tuple[int, Reply]]:
    """Give place and reply of each answer in a PART or LAST frame."""
    model, _, answers = told.head
    start = 0
    for place, status, content_type, headers, rows, code, what, size in answers:
        body = told.body[start : start + size]
        start += size
        cause = Cause(code=code, what=what) if code else None
        yield place, Reply(status=status, model=model, content_type=content_type, headers=headers, body=body, rows=rows, cause=cause)


def _settle(future: asyncio.Future[dict[str, Any]], value: dict[str, Any]) -> None:
    if not future.done():
        future.set_result(value)


class _Link(asyncio.Protocol):
    """The front's end of a worker's socket."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._frames = worker, Frames()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._worker.connected(cast(asyncio.Transport, transport))  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        try:
            for told in self._frames.feed(data):
                self._worker.hear(told)
        except WireError:
            self._worker.kill("said what is no frame")

    def connection_lost(self, error: Exception | None) -> None:
        self._worker.lost()


async def spawn(owner: Owner, task: dict[str, Any], threads: int) -> Worker:
    """Return a worker process that begins to load its package: a fresh interpreter with this code, that has one end of a socket."""
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError("packages are served on Linux and macOS", do="serve from a container, or from WSL")
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, *PROGRAM, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            env=environment_of(threads),
        )
    worker = Worker(process=process, owner=owner, begun_s=time.monotonic(), ready=loop.create_future())
    ours.setblocking(False)
    await loop.create_connection(lambda: _Link(worker), sock=ours)
    worker.say(frame(Kind.START, 0, task))
    return worker


def environment_of(threads: int) -> dict[str, str]:
    """Return the environment of a process that is to run this very code, with so many threads of numeric libraries."""
    root = str(Path(weighbridge.__file__).parent.parent)
    paths = [os.environ["PYTHONPATH"], root] if os.environ.get("PYTHONPATH") else [root]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **dict.fromkeys(THREADS, str(threads))}
