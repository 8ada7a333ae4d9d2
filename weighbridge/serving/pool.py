"""The workers of one version of a package: asks wait for them, dead ones are replaced, and what was accepted is answered once.

A worker that dies (or says nothing for `hang_s`, then it is killed) is replaced. Of what it was sent, the batch that it had begun is asked
again, each ask alone; what it had not begun goes back to the head of the queue. An ask that two workers died of is refused: it may be what
kills them, and alone it kills no answer but its own. Inference changes nothing, so to ask again is safe; a late answer is ignored.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from weighbridge import errors
from weighbridge.errors import PackageError, WeighbridgeError
from weighbridge.serving.asking import Ask, Refused, Reply
from weighbridge.serving.batching import Batcher, Waiting
from weighbridge.serving.journaling import Journaling
from weighbridge.serving.limits import Limits
from weighbridge.serving.link import Batch, Worker, spawn

OnEvent = Callable[[str, dict[str, Any]], None]

TICK_S = 0.05  # between two looks at deadlines and silent workers
PING_S = 2.0  # of a worker's silence, after which it is asked whether it lives
MOST_DEATHS = 2
DEPTH = 2  # batches that a worker has at once: a full one is at hand when one ends
FIRST_BACK_OFF_S, MOST_BACK_OFF_S = 0.1, 10.0
FEW_STARTS = 3  # that failed one after the other: then asks are refused at once
LEAVE_S = 5.0  # for a worker that was told to leave
RECENT = 2048  # answers whose latency is kept
LATE = "the request could not be answered in time"


class Pool:
    """The workers of the package at `path`. `expected`: the hash of the package, where it must be a certain one; `trust`: see Fleet."""

    def __init__(
        self, name: str, path: Path, limits: Limits, *, workers: int, threads: int, journal: Journaling | None = None,
        dialects: tuple[str, ...] = (), expected: str = "", on_event: OnEvent | None = None, trust: Collection[bytes] | None = None,
    ) -> None:  # fmt: skip
        self.name, self.path, self.limits, self.about = name, path.absolute(), limits, dict[str, Any]()
        self.restarts = self.answers = self.rows = 0
        self.busy_s = 0.0
        self._size, self._threads, self._journal, self._dialects, self._expected = workers, threads, journal, dialects, expected
        self._on_event, self._trust = on_event, trust
        self._batcher = Batcher(limits, workers)
        self._workers: list[Worker] = []
        self._in_flight = 0
        self._planned = False
        self._failed_starts = 0
        self._closing = False
        self._latency_s: deque[float] = deque(maxlen=RECENT)
        self._unlogged = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # What the fleet calls

    async def start(self) -> None:
        """All workers are warm: the package loaded, verified, its golden answers found. Raises PackageError; then no worker is left."""
        self._loop = asyncio.get_running_loop()
        started = [await self._spawn() for _ in range(self._size)]
        try:
            async with asyncio.timeout(self.limits.start_s):
                told = await asyncio.gather(*(worker.ready for worker in started))
        except TimeoutError:
            await self.stop()
            raise PackageError(
                f"{self.path} was not loaded in {self.limits.start_s:g} s", do="serve it with a larger start limit"
            ) from None
        except asyncio.CancelledError:
            await self.stop()
            raise
        refused = [one for one in told if "failed" in one]
        if refused:
            await self.stop()
            raise _as_error(refused[0]["failed"], self.path)
        self.about, self._expected = told[0], told[0]["package"]
        self._do(self._watch())

    def put(self, ask: Ask) -> asyncio.Future[Reply]:
        """Return where the answer will be. Raises Refused at once for what is not accepted."""
        now_s = time.monotonic()
        if self._closing:
            raise Refused("draining", 503, 1.0, "the server stops")
        if self._failed_starts >= FEW_STARTS and not self.is_warm:
            raise Refused("unavailable", 503, MOST_BACK_OFF_S, "no worker of this package starts")
        one = Waiting(ask, self._loop.create_future())
        behind, idle = self._in_flight, False
        for worker in self._workers:
            if worker.sent:
                behind -= worker.sent[0].size
            elif worker.is_ready:
                idle = True
        self._batcher.admit(one, now_s, idle=idle, in_flight=self._in_flight, behind=max(0, behind))
        self._plan()
        return one.answer

    @property
    def is_warm(self) -> bool:
        """Whether a worker is ready to answer."""
        return any(worker.is_ready for worker in self._workers)

    @property
    def is_idle(self) -> bool:
        return not self._in_flight and not len(self._batcher)

    async def drain(self, timeout_s: float) -> bool:
        """Nothing is accepted any more, what was accepted is answered, no worker is left; what `timeout_s` did not do is refused: False."""
        self._closing = True
        until_s = time.monotonic() + timeout_s
        while not self.is_idle and time.monotonic() < until_s:
            await asyncio.sleep(0.002)
        whole = self.is_idle
        await self.stop()
        return whole

    async def stop(self) -> None:
        """No worker is left; what still waits is refused."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.why = worker.why or "stopped"
            worker.leave()
            for batch in worker.sent:
                self._refuse(batch.unanswered, "draining", "the server stopped before it was answered")
            worker.sent.clear()
        self._refuse(self._batcher.empty(), "draining", "the server stopped before it was answered")
        self._in_flight = 0
        await asyncio.gather(*(_reap(worker, LEAVE_S) for worker in workers))

    def status(self) -> dict[str, Any]:
        """Return counts since the start, what waits now, and times: of workers (`seconds`), of an ask, quantiles of recent answers."""
        latencies = sorted(self._latency_s)
        return {
            "workers": len(self._workers), "ready": sum(worker.is_ready for worker in self._workers), "restarts": self.restarts,
            "queue": len(self._batcher), "queue_bytes": self._batcher.bytes, "in_flight": self._in_flight, "answers": self.answers,
            "rows": self.rows, "seconds": self.busy_s, "batch": self._batcher.sizes.enough, "ask_s": self._batcher.sizes.ask_s,
            "p50_s": _quantile(latencies, 0.5), "p99_s": _quantile(latencies, 0.99),
            "unlogged": self._unlogged + sum(worker.unlogged for worker in self._workers),
        }  # fmt: skip

    # What workers say

    def answered(self, worker: Worker, one: Waiting, reply: Reply) -> None:
        self._in_flight -= 1
        if one.answer.done():
            return
        if reply.cause is not None and reply.cause.code == "deadline":
            self._expire([one])
            return
        self.answers += 1
        self.rows += reply.rows
        self._latency_s.append(time.monotonic() - one.ask.received_s)
        one.answer.set_result(reply)

    def finished(self, worker: Worker, batch: Batch, seconds: float) -> None:
        self.busy_s += seconds
        self._failed_starts = 0
        self._batcher.finished(batch.size, seconds, alone=batch.alone)
        self._plan()

    def lost(self, worker: Worker) -> None:
        if worker not in self._workers or not self.about:  # it was told to leave, or start() sees to it
            return
        self._workers.remove(worker)
        self._unlogged += worker.unlogged
        for place, batch in enumerate(worker.sent):
            left = batch.unanswered
            self._in_flight -= len(left)
            if place:
                self._batcher.give_back(left)
            else:
                self._suspect(left)
        worker.sent.clear()
        if (self._closing and not self.is_idle) or not self._closing:
            self._do(self._replace(worker))
        self._plan()

    # What is done about it

    def _suspect(self, asks: list[Waiting]) -> None:
        for one in asks:
            one.deaths += 1
            if one.deaths < MOST_DEATHS:
                self._batcher.suspect(one)
            else:
                self._refuse([one], "worker_died", f"{MOST_DEATHS} workers died while they answered this request", retry_after_s=None)

    def _plan(self) -> None:
        """Asks that come in the same turn of the loop are sent together."""
        if not self._planned:
            self._planned = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._planned = False
        now_s = time.monotonic()
        while len(self._batcher) and (worker := self._free()) is not None:
            if worker.sent and not self._batcher.is_full:
                return
            if wait_s := self._batcher.ripe_s(now_s):
                self._planned = True
                self._loop.call_later(wait_s, self._send)
                return
            asks, passed = self._batcher.take(now_s)
            self._expire(passed)
            if asks:
                self._in_flight += len(asks)
                worker.send(asks, now_s)

    def _free(self) -> Worker | None:
        """Return the ready worker that has least to do, where one has room."""
        best: Worker | None = None
        for worker in self._workers:
            if worker.is_ready and len(worker.sent) < (len(best.sent) if best else DEPTH):
                best = worker
        return best

    async def _spawn(self) -> Worker:
        task = {
            "path": str(self.path), "package": self._expected, "name": self.name, "threads": self._threads, "limits": asdict(self.limits),
            "journal": None if self._journal is None else self._journal.to_json(), "dialects": self._dialects,
            "trust": None if self._trust is None else sorted(key.hex() for key in self._trust),
        }  # fmt: skip
        worker = await spawn(self, task, self._threads)
        self._workers.append(worker)
        return worker

    async def _replace(self, dead: Worker) -> None:
        """Another worker stands where one died; after failed starts it waits, each time longer."""
        why = dead.why or "died"
        await _reap(dead, 0.0)
        if dead.about:
            self.restarts += 1
            self._say("worker_died", why=why, code=dead.process.returncode, answered=dead.batches)
        else:
            self._failed_starts += 1
            self._say("worker_not_started", why=why, code=dead.process.returncode, failed=self._failed_starts)
            await asyncio.sleep(min(MOST_BACK_OFF_S, FIRST_BACK_OFF_S * 2**self._failed_starts))
        worker = await self._spawn()
        told = await worker.ready
        if "failed" not in told:
            self._failed_starts = 0
            self._say("worker_started", pid=told["pid"], load_s=told["load_s"])
            self._plan()

    async def _watch(self) -> None:
        """Nothing waits beyond its deadline, and no worker is waited for that says nothing."""
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            self._expire(self._batcher.expired(now_s))
            for worker in list(self._workers):
                for batch in worker.sent:
                    self._expire([one for one in batch.unanswered if one.ask.deadline_s <= now_s])
                self._look_at(worker, now_s)

    def _look_at(self, worker: Worker, now_s: float) -> None:
        since_s = worker.silent_since_s
        if not worker.about:
            if now_s - worker.begun_s > self.limits.start_s:
                worker.kill("did not start")
        elif since_s is not None and now_s - since_s > self.limits.hang_s:
            worker.kill("hung")
        elif since_s is None and now_s - worker.heard_s > PING_S:
            worker.ping(now_s)

    def _expire(self, asks: list[Waiting]) -> None:
        self._refuse(asks, "deadline", LATE)

    def _refuse(self, asks: list[Waiting], code: str, what: str, retry_after_s: float | None = 1.0) -> None:
        for one in asks:
            if not one.answer.done():
                one.answer.set_exception(Refused(code, 503, retry_after_s, what))

    def _say(self, kind: str, **facts: Any) -> None:
        if self._on_event is not None:
            self._on_event(kind, {"name": self.name, "version": self.about.get("package", "")[:12], **facts})

    def _do(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _reap(worker: Worker, leave_s: float) -> None:
    """The process is gone, and no zombie is left; it is killed after `leave_s`."""
    until_s = time.monotonic() + leave_s
    while worker.process.poll() is None:
        if time.monotonic() > until_s:
            worker.process.kill()
        await asyncio.sleep(0.005)


def _as_error(told: dict[str, Any] | None, path: Path) -> WeighbridgeError:
    """Return the error that a worker told, as the class that it was there; None: it ended without a word."""
    if told is None:
        return PackageError(f"the worker of {path} ended before it was ready", do="see what it printed")
    kind = getattr(errors, told["error"], PackageError)
    return (
        kind(told["what"], do=told["do"]) if isinstance(kind, type) and issubclass(kind, WeighbridgeError) else PackageError(told["what"])
    )


def _quantile(values: list[float], share: float) -> float | None:
    return values[min(len(values) - 1, int(share * len(values)))] if values else None
