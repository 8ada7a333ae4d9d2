"""HTTP/1.1 on one connection: uvicorn's httptools protocol, with the limits that it does not have.

uvicorn knows one timeout (keep-alive). Here a client that sends its headers slowly, sends a header without end, opens more connections
than there are, or does not read its answer is let go, and what is not HTTP is answered in the one shape of errors. Clocks are looked at by
one sweep over all connections (server.py), so that a request costs no timer.

Why uvicorn: with the same application and wrk at 64 connections on two busy cores, uvicorn (httptools, uvloop) answered 3,900 and 2,850
requests a second where granian (ASGI) answered 2,010 and 1,680 in the same minute; it can be subclassed, and it is as well kept.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from weighbridge.serving.call import TARGET
from weighbridge.serving.limits import Limits
from weighbridge.serving.replies import REASONS, error_body

MOST_PIPELINED = 100  # requests that wait behind one; a chunk of 256 KB would hold thousands of them, and each takes 2 KB of memory
HEAD_SLACK = 1024  # of separators and what arrived of the next line, which llhttp has and does not tell of


class Connection(HttpToolsProtocol):
    """One connection. `limits` and `refused` (connections closed, by limit) are set by `connection_class`."""

    limits: Limits
    refused: Counter[str]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since_s: float | None = time.monotonic()  # for a request's headers; None while a request is in work
        self._began = self._closing = self._new_message = False
        self._head_bytes = self._head_raw = 0
        self._paused_since_s: float | None = None
        if len(self.connections) > self.limits.connections:
            self._let_go(503, "connections", "too many connections are open", retry_after_s=1)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._waits_since_s is not None and not self._began:
            self._began, self._waits_since_s = True, time.monotonic()
        self._new_message = False
        super().data_received(data)
        if self._waits_since_s is not None and not self._closing:
            self._head_raw += 0 if self._new_message else len(data)  # how much of it came before the new request is not told
            if self._head_raw > self.limits.header_bytes + HEAD_SLACK:
                self._too_long()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or a header that is too long, and close."""
        if not self._closing:
            self._let_go(400, "http", "the request is not HTTP/1.1")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._head_raw = 0
        self._new_message = True
        if self._waits_since_s is None:  # pipelined behind a request in work
            self._waits_since_s = time.monotonic()
        self._began = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)  # ": " and the line's end

    def on_headers_complete(self) -> None:
        if self._closing:
            return
        if not self.url.startswith(b"/"):  # absolute form (RFC 9112, 3.2.2): uvicorn keeps the path alone, and it names a host, too
            self.scope["state"][TARGET] = self.url
        super().on_headers_complete()
        self._waits_since_s = None
        if len(self.pipeline) > MOST_PIPELINED:
            self._closing = True
            self.refused["pipelined"] += 1
            self.pipeline.clear()
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        if not self._closing and self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._closing and self.cycle is not None:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        another = bool(self.pipeline)  # pipelined: it is in work from now on
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()  # uvicorn reads on, and so piles up requests as fast as they come
        if not another:
            self._began, self._waits_since_s = self._waits_since_s is not None, time.monotonic()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused_since_s = time.monotonic()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused_since_s = None

    def sweep(self, now_s: float) -> None:
        """Let the client go whose headers are overdue, or that has not read its answer for as long as a body may take."""
        if self._stuck(now_s):
            self.refused["reading"] += 1
            self.transport.abort()
        elif self._closing or self.transport.is_closing() or not self._is_free:
            return  # who waits for an answer is not slow, whatever of a next request is there already
        elif self._began and self._waits_since_s is not None and now_s - self._waits_since_s > self.limits.header_timeout_s:
            self._let_go(408, "header_timeout", f"the headers did not come within {self.limits.header_timeout_s:g} s")
        elif not self._began and self._is_new and now_s - (self._waits_since_s or now_s) > self.limits.header_timeout_s:
            self.refused["header_timeout"] += 1
            self.transport.close()  # it never sent anything

    @property
    def is_idle(self) -> bool:
        """Whether no request is in work or on its way."""
        return not self._began and self._is_free

    @property
    def _is_free(self) -> bool:
        """Whether no answer is under way."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _is_new(self) -> bool:
        return self.cycle is None

    def _stuck(self, now_s: float) -> bool:
        return self._paused_since_s is not None and now_s - self._paused_since_s > self.limits.body_timeout_s

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.header_bytes and not self._closing:
            self._too_long()

    def _too_long(self) -> None:
        self._let_go(431, "header_bytes", f"the request's line and headers have more than {self.limits.header_bytes:,} bytes")

    def _let_go(self, status: int, limit: str, message: str, *, retry_after_s: int | None = None) -> None:
        """Answer with an error where no answer is under way, and close."""
        self._closing = True
        self.refused[limit] += 1
        if self._is_free:
            body = error_body(REASONS.get(status, limit), message, os.urandom(10).hex())
            lines = [b"content-type: application/json", b"content-length: %d" % len(body), b"connection: close"]
            lines += [b"retry-after: %d" % retry_after_s] if retry_after_s else []
            self.transport.write(STATUS_LINE[status] + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body)
        self.transport.close()


def connection_class(limits: Limits, refused: Counter[str]) -> type[Connection]:
    """Return the protocol with these limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits, "refused": refused})
