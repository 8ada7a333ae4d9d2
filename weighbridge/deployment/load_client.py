"""A client that measures a server from outside: callers that wait for their answers, and requests that come whether it is ready or not.

Capacity is measured in a closed loop: each of some callers asks again when it is answered. Latency is not: such callers stop asking while a
server stalls, so the stall is met by few requests and hardly seen (coordinated omission, Tene, "How NOT to measure latency", 2013). There
requests are due at times that were drawn before (Poisson arrivals, as of many independent callers), and a latency counts from the time at
which its request was due, however late the client or the server was. One that is refused is sent again, and its time goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import cast

import numpy as np

from weighbridge.errors import RunError

OK, REFUSED = 200, (429, 503)
AGAIN_S = 0.05  # after a refusal
LAST_S = 1.0  # for answers after the last request was due
MOST_SILENCE_S = 20.0  # of a server, in a closed loop
END = b"\r\n\r\n"
LENGTH = b"content-length: "


@dataclass(frozen=True, kw_only=True)
class Closed:
    """What callers were answered in `seconds`: `answered_s` [n] are the times of the answers since the begin, rising."""

    seconds: float
    answered_s: np.ndarray
    refused: int


@dataclass(frozen=True, kw_only=True)
class Opened:
    """How long requests took that were due at given times.

    Attributes:
        latency_s: [n] of each, in the order in which they were due; of one without an answer how long it had waited at the end.
        lag_s: [n] of it, until the client began to send: its own, where no connection was to be waited for.
        refused: refusals, after each of which the request was sent again.
        unanswered: requests that had no answer at the end.
    """

    latency_s: np.ndarray
    lag_s: np.ndarray
    refused: int
    unanswered: int


def request_of(body: bytes, key: str, path: str = "/predict") -> bytes:
    """Return a request with a JSON body as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode("ascii") + END + body


class _Connection(asyncio.Protocol):
    """One kept connection with one request on its way."""

    def __init__(self) -> None:
        self._got = bytearray()
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Return where the status of the whole answer will be."""
        self._answer = answer = asyncio.get_running_loop().create_future()
        if self.transport.is_closing():
            self._settle(0)
        else:
            self.transport.write(request)
        return answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(END)
        if end < 0:
            return
        start = self._got.find(LENGTH, 0, end)
        size = int(self._got[start + len(LENGTH) : self._got.find(b"\r\n", start)]) if start >= 0 else 0
        if len(self._got) >= end + len(END) + size:
            status = int(self._got[9:12])
            self._got.clear()
            self._settle(status)

    def connection_lost(self, error: Exception | None) -> None:
        self._settle(0)

    def _settle(self, status: int) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(status)


class Client:
    """Connections to a server on this machine. Every method raises RunError for an answer that is neither one nor a refusal."""

    def __init__(self, connections: Sequence[_Connection]) -> None:
        self._connections = connections

    @classmethod
    async def connect(cls, port: int, count: int) -> Client:
        """Return a client with so many open connections. Raises OSError."""
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(_Connection, "127.0.0.1", port) for _ in range(count)]
        return cls([connection for _, connection in made])

    def close(self) -> None:
        for connection in self._connections:
            connection.transport.abort()

    async def closed(self, requests: Sequence[bytes], seconds: float) -> Closed:
        """Each connection asks as soon as it is answered, for so many seconds; what is on its way at the end is not counted."""
        answered: list[float] = []
        refused, begun_s = 0, time.perf_counter()
        left = cycle(requests)

        async def call(connection: _Connection) -> None:
            nonlocal refused
            while time.perf_counter() - begun_s < seconds:
                status = _checked(await connection.ask(next(left)))
                if status == OK:
                    answered.append(time.perf_counter() - begun_s)
                else:
                    refused += 1
                    await asyncio.sleep(AGAIN_S)

        async with asyncio.timeout(seconds + MOST_SILENCE_S):
            await asyncio.gather(*map(call, self._connections))
        times = np.array(sorted(answered), dtype=np.float64)
        return Closed(seconds=seconds, answered_s=times[times < seconds], refused=refused)

    async def opened(self, requests: Sequence[bytes], due_s: np.ndarray) -> Opened:
        """The request i is sent `due_s[i]` seconds after the begin, or as soon afterwards as a connection is free."""
        begun_s = time.perf_counter()
        end_s = begun_s + float(due_s[-1]) + LAST_S
        free: asyncio.LifoQueue[_Connection] = asyncio.LifoQueue()
        for connection in self._connections:
            free.put_nowait(connection)
        latency_s, lag_s = np.full(len(due_s), np.nan), np.full(len(due_s), np.nan)
        refused, left = 0, cycle(requests)

        async def one(number: int, due: float) -> None:
            nonlocal refused
            connection = await free.get()
            lag_s[number] = time.perf_counter() - due
            while _checked(await connection.ask(next(left))) != OK:
                refused += 1
                await asyncio.sleep(AGAIN_S)
            latency_s[number] = time.perf_counter() - due
            free.put_nowait(connection)

        tasks = []
        for number, due in enumerate(begun_s + due_s):
            if (wait_s := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            tasks.append(asyncio.create_task(one(number, due)))
        done, late = await asyncio.wait(tasks, timeout=max(0.0, end_s - time.perf_counter()))
        for task in late:
            task.cancel()
        if failed := [error for task in done if (error := task.exception()) is not None]:
            raise failed[0]
        waited_s = time.perf_counter() - begun_s - due_s
        without = np.isnan(latency_s)
        return Opened(
            latency_s=np.where(without, waited_s, latency_s), lag_s=np.where(np.isnan(lag_s), waited_s, lag_s), refused=refused,
            unanswered=int(without.sum()),
        )  # fmt: skip


def arrivals(rate_per_s: float, seconds: float, *, seed: int = 0) -> np.ndarray:
    """Return the times at which requests are due, float64 [n], rising: a Poisson process of this rate, at least one request."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1 / rate_per_s, int(rate_per_s * seconds * 1.5) + 20))
    return times[: max(1, int(np.searchsorted(times, seconds)))]


def _checked(status: int) -> int:
    if status != OK and status not in REFUSED:
        said = f"answered {status}" if status else "closed the connection"
        raise RunError(f"the server {said} when it was asked for a held-out row", do="see what it says to the same row: weigh serve")
    return status
