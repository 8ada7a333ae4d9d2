"""Starts, serves and stops: packages in their workers, the front on its socket, and an end in which nothing that was accepted is lost.

The end, on SIGTERM or Ctrl-C: readiness goes to false; what stands in the kernel's queue of connections is still taken, then the socket is
closed; every open connection is told to close after its answer, and an idle one is kept for a moment, because a request may be on its way
on it; when no request is in work, the workers are drained. Exit 0 when all of it was done within `drain_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weighbridge.errors import UsageError
from weighbridge.serving.app import App
from weighbridge.serving.limits import Limits
from weighbridge.serving.protocol import Connection

if TYPE_CHECKING:
    from weighbridge.serving.tls import Tls

SWEEP_S = 0.5
TLS_TURNS = 20  # of the sweep between two looks at the certificate's files
LAST_REQUESTS_S = 0.25  # that an idle connection is kept open at the end: a request may be on its way
BACKLOG = 1024


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the server listens; port 0: any that is free."""

    host: str
    port: int
    tls: Tls | None = None

    def url(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{port}"


def open_socket(address: Address) -> socket.socket:
    """Return a listening socket. Raises UsageError: the port is taken, or the address is not this machine's."""
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"{address.host} port {address.port} can not be listened at ({reason})", do="give another --host or --port"
        ) from None
    listening.setblocking(False)
    return listening


class Server:
    """Serves an App on a socket until it is asked to stop."""

    def __init__(self, app: App, limits: Limits, address: Address, listening: socket.socket) -> None:
        self._app, self._limits, self._listening = app, limits, listening
        self._tls = address.tls
        self._connections: set[Connection] = set()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """The server is asked to end; may be called from a signal."""
        self._app.draining = True
        self._stop.set()

    async def serve(self) -> bool:
        """Serve until `stop`; return whether everything that was accepted was answered."""
        loop = asyncio.get_running_loop()
        context = self._tls.context if self._tls else None
        server = await loop.create_server(self._connection, sock=self._listening, ssl=context, backlog=BACKLOG)
        sweeping = loop.create_task(self._sweep())
        gc.collect()
        gc.freeze()  # what was loaded stays: the collector need not look at it again and again
        try:
            await self._stop.wait()
            return await self._end(server)
        finally:
            sweeping.cancel()

    def _connection(self) -> Connection:
        return Connection(self._app, self._limits, self._app.measured.connections, self._connections)

    async def _sweep(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s, turn = time.monotonic(), turn + 1
            for connection in list(self._connections):
                connection.sweep(now_s)
            if self._tls is not None and turn % TLS_TURNS == 0 and (wrong := self._tls.refresh()):
                print(f"weigh serve: the renewed certificate is not used: {wrong}", file=sys.stderr, flush=True)

    async def _end(self, server: asyncio.Server) -> bool:
        """Take no connection any more, answer what came, drain the workers."""
        until_s = time.monotonic() + self._limits.drain_s
        await asyncio.sleep(0)  # who stands in the kernel's queue is taken by the loop's next turns
        await asyncio.sleep(0.05)
        server.close()
        quiet_s = time.monotonic() + LAST_REQUESTS_S
        while time.monotonic() < until_s and (self._working() or time.monotonic() < quiet_s):
            await asyncio.sleep(0.01)
        answered = not self._working()
        for connection in list(self._connections):
            connection.shutdown()
        whole = await self._app.fleet.drain(max(0.1, until_s - time.monotonic()))
        while self._connections and time.monotonic() < until_s:  # answers that are on their way out
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.transport.abort()
        return answered and whole

    def _working(self) -> bool:
        """Whether a request is in work or on its way on an open connection."""
        return self._app.busy > 0 or any(not one.is_idle for one in self._connections)


@contextlib.asynccontextmanager
async def stopped_by_signals(stop: Callable[[], None]) -> AsyncIterator[None]:
    """While the block runs, SIGTERM and Ctrl-C call `stop`, each time that they come."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for one in signals:
        loop.add_signal_handler(one, stop)
    try:
        yield
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


def run_loop(work: Coroutine[Any, Any, bool]) -> bool:
    """Run a coroutine in uvloop where it is installed, else in asyncio's own loop."""
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)
