"""HTTP/1.1 on one connection, parsed by llhttp (httptools): requests become calls of the app, their answers are written in order.

A client that sends its headers slowly, sends a header without end, opens more connections than there are, or does not read its answer is
let go, and what is not HTTP is answered in the one shape of errors. Clocks are looked at by one sweep over all connections (server.py), so
that a request costs no timer; and an answer leaves in one write, since a write to a socket costs about as much as all of its parsing.

Why no web server below: with the same application under wrk at 64 connections, the front takes 76 us of the processor a request where it
took 111 us on uvicorn (httptools, uvloop), and with uvicorn it took less than with granian.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter, deque
from typing import Protocol, cast
from urllib.parse import unquote

import httptools

from weighbridge.serving.call import Body, Call, GoneError
from weighbridge.serving.limits import Limits
from weighbridge.serving.replies import REASONS, Response, error_response, head_of

MOST_PIPELINED = 100  # requests that wait behind one; a chunk of 256 KB would hold thousands of them, and each takes 2 KB of memory
HEAD_SLACK = 1024  # of separators and what arrived of the next line, which llhttp has and does not tell of
MOST_UNREAD = 64 << 10  # bytes of a body that wait for the app: then no more are read
LINGER_S = 1.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answers(Protocol):
    """What answers calls: App. `draining`: no connection stays open after its answer."""

    draining: bool

    async def answer(self, call: Call) -> Response | None:
        """Return the answer, None where the client has gone; an error of the app itself is an answer, too."""
        ...


class Connection(asyncio.Protocol):
    """One connection, in `others` while it is open. `refused` counts connections that were closed, by limit."""

    def __init__(self, app: Answers, limits: Limits, refused: Counter[str], others: set[Connection]) -> None:
        self.limits, self.refused = limits, refused
        self._app, self._others, self._loop = app, others, asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # what follows `connection: close` is passed over
        self._call: Call | None = None  # the newest, whose body comes
        self._behind: deque[Call] = deque()  # pipelined
        self._task: asyncio.Task[None] | None = None
        self._answering = self._leaving = self._closing = False
        self._reading = True
        self._began = self._new_message = False
        self._head_bytes = self._head_raw = 0
        self._paused_since_s: float | None = None
        self._writable: asyncio.Future[None] | None = None
        self._target, self._headers, self._expects = b"", list[tuple[bytes, bytes]](), False

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._others.add(self)
        self._client, self._server = _address(transport, "peername"), _address(transport, "sockname")
        self._waits_since_s: float | None = time.monotonic()  # for a request's headers; None while a request is in work
        if len(self._others) > self.limits.connections:
            self._let_go(503, "connections", "too many connections are open", retry_after_s=1)

    def connection_lost(self, error: Exception | None) -> None:
        self._others.discard(self)
        self._closing = True
        self._behind.clear()
        if self._call is not None:
            self._call.source.lose()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._waits_since_s is not None and not self._began:
            self._began, self._waits_since_s = True, time.monotonic()
        self._new_message = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request is answered in the protocol that it came in
        except httptools.HttpParserError:
            if not self._closing:
                self._let_go(400, "http", "the request is not HTTP/1.1")
        if self._waits_since_s is not None and not self._closing:
            self._head_raw += 0 if self._new_message else len(data)  # how much of it came before the new request is not told
            if self._head_raw > self.limits.header_bytes + HEAD_SLACK:
                self._too_long()

    def pause_writing(self) -> None:
        self._paused_since_s = time.monotonic()

    def resume_writing(self) -> None:
        self._paused_since_s = None
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # What the parser calls

    def on_message_begin(self) -> None:
        self._target, self._headers, self._expects = b"", [], False
        self._head_bytes = self._head_raw = 0
        self._new_message = True
        if self._waits_since_s is None:  # pipelined behind a request in work
            self._waits_since_s = time.monotonic()
        self._began = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects = True
        self._headers.append((name, value))
        self._count(len(name) + len(value) + 4)  # ": " and the line's end

    def on_headers_complete(self) -> None:
        if self._closing:
            return
        parser, target = self._parser, self._target
        url = httptools.parse_url(target)
        path = url.path.decode("ascii")
        call = Call(
            method=parser.get_method().decode("ascii"), path=unquote(path) if "%" in path else path, query_string=url.query or b"",
            headers=self._headers, client=self._client, server=self._server, request_id=os.urandom(10).hex(),
            received_s=time.monotonic(), source=Body(self._want_body), target=b"" if target.startswith(b"/") else target,
            keep_alive=parser.get_http_version() != "1.0" and parser.should_keep_alive(),
        )  # fmt: skip
        self._call, self._waits_since_s = call, None
        self._headers = []  # what comes behind a body in chunks is none of the call's headers (RFC 9110, 6.5)
        if not self._answering:
            self._start(call)
        elif len(self._behind) < MOST_PIPELINED:
            self._read(False)
            self._behind.append(call)
        else:
            self._closing = True
            self.refused["pipelined"] += 1
            self._behind.clear()
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        if not self._closing and self._call is not None and self._call.source.feed(body) > MOST_UNREAD:
            self._read(False)

    def on_message_complete(self) -> None:
        if not self._closing and self._call is not None:
            self._call.source.end()

    # One request after the other

    def _start(self, call: Call) -> None:
        self._answering = True
        self._task = self._loop.create_task(self._work(call))

    async def _work(self, call: Call) -> None:
        answered = False
        try:
            response = await self._app.answer(call)
            if response is not None:
                await self._write(call, response)
            answered = True
        finally:
            if not answered:
                self.transport.abort()
        self._next()

    async def _write(self, call: Call, response: Response) -> None:
        """The answer is on its way in one write. Where its request is not read to the end, or nothing is to follow, it is the last."""
        while self._paused_since_s is not None:  # the client does not read the answers before this one
            self._writable = self._loop.create_future()
            await self._writable
        if self.transport.is_closing():
            return
        unread = not call.read_whole and call.has_body
        last = unread or self._leaving or self._app.draining or not call.keep_alive
        head = head_of(response, call.request_id, last=last)
        self.transport.write(head if call.method == "HEAD" else head + response.body)
        if unread:
            self._expects = False
            await _linger(call.source)
        if last:
            self.transport.close()

    def _next(self) -> None:
        """The next request that waits is in work, or one is waited for."""
        self._answering = False
        if not self._behind:
            self._began, self._waits_since_s = self._waits_since_s is not None, time.monotonic()
        if self.transport.is_closing():
            return
        if self._behind:
            self._start(self._behind.popleft())
        if not self._behind:  # else more requests would pile up, as fast as they come
            self._read(True)

    def _want_body(self) -> None:
        """The app waits for the body of the newest call: the client is told to send it where it asks, and it is read."""
        if self._expects and not self.transport.is_closing():
            self._expects = False
            self.transport.write(CONTINUE)
        self._read(True)

    def _read(self, on: bool) -> None:
        if on is not self._reading:
            self._reading = on
            (self.transport.resume_reading if on else self.transport.pause_reading)()

    # What the server calls

    def sweep(self, now_s: float) -> None:
        """Let the client go whose headers are overdue, that sends nothing more, or that has not read its answer for too long."""
        if self._stuck(now_s):
            self.refused["reading"] += 1
            self.transport.abort()
        elif self._closing or self.transport.is_closing() or self._answering or self._waits_since_s is None:
            return  # who waits for an answer is not slow, whatever of a next request is there already
        elif self._began:
            if now_s - self._waits_since_s > self.limits.header_timeout_s:
                self._let_go(408, "header_timeout", f"the headers did not come within {self.limits.header_timeout_s:g} s")
        elif self._call is not None:
            if now_s - self._waits_since_s > self.limits.keep_alive_s:
                self.transport.close()
        elif now_s - self._waits_since_s > self.limits.header_timeout_s:
            self.refused["header_timeout"] += 1
            self.transport.close()  # it never sent anything

    def shutdown(self) -> None:
        """The connection closes, at once or after the answer that is under way."""
        self._leaving = True
        if not self._answering:
            self.transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether no request is in work or on its way."""
        return not self._began and not self._answering

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
        if not self._answering:
            request_id = os.urandom(10).hex()
            error = error_response(status, REASONS.get(status, limit), message, request_id, retry_after_s=retry_after_s)
            self.transport.write(head_of(error, request_id, last=True) + error.body)
        self.transport.close()


async def _linger(source: Body) -> None:
    """Throw away what still comes of a body that is not read, for a moment: closed at once, the kernel would throw the answer away."""
    with contextlib.suppress(TimeoutError, GoneError):
        async with asyncio.timeout(LINGER_S):
            while (await source.take())[1]:
                pass


def _address(transport: asyncio.BaseTransport, which: str) -> str:
    pair = transport.get_extra_info(which)
    return str(pair[0]) if pair else ""
