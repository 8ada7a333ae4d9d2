"""The front with a real fleet in this process, asked through ASGI: no socket, everything else as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.serving_servers import Answer
from weighbridge.serving.access import Access
from weighbridge.serving.app import App
from weighbridge.serving.fleet import Fleet
from weighbridge.serving.hosts import hosts_of
from weighbridge.serving.keys import KeyFile, Keys
from weighbridge.serving.limits import Limits

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
        parts = [raw[start : start + size] for start in range(0, len(raw), size)] or [b""]
        messages = [
            {"type": "http.request", "body": part, "more_body": place < len(parts) - 1} for place, part in enumerate(parts)
        ]  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode("utf-8", "surrogateescape"), "query_string": query,
            "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        await self.app(scope, receive, send)
        found = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Answer(status=sent[0]["status"], headers=found, body=b"".join(one.get("body", b"") for one in sent[1:]))


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
