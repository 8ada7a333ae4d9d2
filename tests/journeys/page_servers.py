"""A real server with a real inbox of labels in this process, on a free port, its packages in worker processes: what the page asks."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.feedback.inbox import Inbox
from weighbridge.feedback.log import Log
from weighbridge.serving.app import App
from weighbridge.serving.fleet import Fleet
from weighbridge.serving.journaling import Journaling
from weighbridge.serving.keys import KeyFile
from weighbridge.serving.limits import Limits
from weighbridge.serving.server import Address, Server, open_socket, run_loop
from weighbridge.serving.state import open_guard

WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """`key` opens everything; `log` is where answers and labels come together."""

    url: str
    key: str
    log: Log


@dataclass(frozen=True)
class Labels:
    """An inbox as the server asks it: what became of labels as plain values."""

    inbox: Inbox

    async def accept(self, records: list[dict[str, Any]], who: str) -> dict[str, Any]:
        return (await self.inbox.accept(records, who)).to_json()


@contextmanager
def served(packages: Mapping[str, Path], state: Path) -> Iterator[Served]:
    """Give a server that is ready, its journal and labels in the state folder."""
    made = KeyFile(state).first()
    assert made is not None
    address, limits, ready = Address(host="127.0.0.1", port=0), Limits(), threading.Event()
    log, servers, loops = Log.open(state), list[Server](), list[asyncio.AbstractEventLoop]()

    async def run() -> bool:
        loops.append(asyncio.get_running_loop())
        fleet = Fleet(limits, workers=1, threads=1, journal=Journaling(folder=log.journals))
        with Inbox(log) as inbox:
            app = App(fleet, guard.access, limits, labels=Labels(inbox))
            servers.append(Server(app, limits, address, listening))
            await fleet.start(packages)
            ready.set()
            return await servers[0].serve()

    with closing(open_socket(address)) as listening, closing(open_guard(state, bind="127.0.0.1", terminal=io.StringIO())) as guard:
        thread = ThreadPoolExecutor(1)
        done = thread.submit(run_loop, run())
        done.add_done_callback(lambda _: ready.set())
        try:
            assert ready.wait(WAIT_S), "the server did not start"
            if done.done():
                done.result()
            yield Served(url=address.url(listening.getsockname()[1]), key=made[1], log=log)
        finally:
            if not done.done():
                loops[0].call_soon_threadsafe(servers[0].stop)
            done.result(WAIT_S)
            thread.shutdown()
            log.close()
