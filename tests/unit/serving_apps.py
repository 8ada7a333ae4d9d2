"""The front with a real fleet in this process, asked by calls: no socket, everything else as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.serving_servers import Answer
from weighbridge.serving.access import Access
from weighbridge.serving.app import App
from weighbridge.serving.call import Body, Call
from weighbridge.serving.fleet import Fleet
from weighbridge.serving.hosts import hosts_of
from weighbridge.serving.keys import KeyFile, Keys
from weighbridge.serving.limits import Limits
from weighbridge.serving.replies import head_of

Headers = list[tuple[bytes, bytes]]
WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An app in a loop of its own thread; `key` opens everything."""

    app: App
    key: str
    loop: asyncio.AbstractEventLoop

    def ask(
        self, method: str, path: str, body: bytes | Any = None, *, headers: Headers | None = None, query: bytes = b"",
        key: str | None = None, pieces: int = 1,
    ) -> Answer:  # fmt: skip
        """Return the answer to a request with a Host, a length and a key, unless `headers` says all of them; the body comes in `pieces`."""
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        plain: Headers = [(b"host", b"localhost"), (b"content-length", str(len(raw)).encode())]
        if key != "":
            plain.append((b"x-api-key", (key or self.key).encode()))
        return self.run(self._ask(method, path, raw, plain if headers is None else headers, query, pieces)).result(WAIT_S)

    def run(self, work: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def _ask(self, method: str, path: str, raw: bytes, headers: Headers, query: bytes, pieces: int) -> Answer:
        size = -(-len(raw) // pieces) or 1
        parts = iter([raw[start : start + size] for start in range(0, len(raw), size)])

        def send() -> None:
            source.end() if (part := next(parts, None)) is None else source.feed(part)

        source = Body(send)
        call = Call(
            method=method, path=path, query_string=query, headers=headers, client="127.0.0.1", server="127.0.0.1",
            request_id=os.urandom(10).hex(), received_s=time.monotonic(), source=source,
        )  # fmt: skip
        response = await self.app.answer(call)
        assert response is not None
        lines = head_of(response, call.request_id, last=False).decode("latin-1").split("\r\n")[1:-2]
        return Answer(status=response.status, headers=dict(line.split(": ", 1) for line in lines), body=response.body)


@contextlib.contextmanager
def asked(served: dict[str, Path], state: Path, limits: Limits | None = None, **options: Any) -> Iterator[Asked]:
    """Give an app whose packages have one worker each."""
    limits = limits or Limits()
    made = KeyFile(state).first()
    assert made is not None
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    fleet = Fleet(limits, workers=1, threads=1)
    access = Access(Keys(state), hosts_of("127.0.0.1"))
    one = Asked(app=App(fleet, access, limits, **options), key=made[1], loop=loop)
    try:
        one.run(fleet.start(served)).result(WAIT_S)
        yield one
    finally:
        one.run(fleet.drain(10.0)).result(WAIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAIT_S)
        loop.close()
