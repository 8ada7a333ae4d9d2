"""Law: what HTTP/1.1 asks of one connection (RFC 9112) holds on a real socket, whatever the app answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from weighbridge.serving.call import Body, Call, GoneError
from weighbridge.serving.limits import Limits
from weighbridge.serving.protocol import Connection
from weighbridge.serving.replies import Response, head_of

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Echo:
    """Answers a request with its method, path and body; `/unread` before its body is read. `opened` is set by the one that waits."""

    def __init__(self) -> None:
        self.draining, self.gone = False, 0
        self.opened = asyncio.Event()

    async def answer(self, call: Call) -> Response | None:
        if call.path == "/wait":
            await self.opened.wait()
        if call.path == "/unread":
            return Response(status=401, body=b"no")
        try:
            body = await call.body(Limits())
        except GoneError:
            self.gone += 1
            return None
        return Response(status=200, body=b"%b %b %b" % (call.method.encode(), call.path.encode(), body))


def talked(talk: Callable[[Echo], Talk], limits: Limits | None = None) -> None:
    """Run a talk of one client with an app behind a listening socket."""

    async def run() -> None:
        app, others = Echo(), set[Connection]()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(app, limits or Limits(), Counter(), others), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        async with asyncio.timeout(20):
            await talk(app)(reader, writer)
            writer.close()
            while others:
                await asyncio.sleep(0.005)
        server.close()

    asyncio.run(run())


async def read(reader: asyncio.StreamReader, *, head_only: bool = False) -> tuple[bytes, bytes]:
    """Return head and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, b"" if head_only else await reader.readexactly(size)


def test_requests_that_come_at_once_are_answered_in_their_order_although_the_first_waits() -> None:
    def talk(app: Echo) -> Talk:
        async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            post = b"POST /b%20c?d=e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfgh\r\n2\r\nij\r\n0\r\n\r\n"
            writer.write(GET.replace(b"/a", b"/wait") + post + GET)
            await asyncio.sleep(0.05)
            app.opened.set()
            assert [(await read(reader))[1] for _ in range(3)] == [b"GET /wait ", b"POST /b c fghij", b"GET /a "]
            writer.write(GET)
            assert (await read(reader))[1] == b"GET /a "

        return use

    talked(talk)


def test_a_trailer_is_no_header() -> None:
    def talk(app: Echo) -> Talk:
        async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\nContent-Encoding: gzip\r\n\r\n")
            assert (await read(reader))[1] == b"POST /a b"

        return use

    talked(talk)


def test_what_is_not_http_is_refused_behind_an_answer_and_alone() -> None:
    def talk(app: Echo) -> Talk:
        async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(GET)
            assert (await read(reader))[1] == b"GET /a "
            writer.write(b"no HTTP at all\r\n\r\n")
            head, body = await read(reader)
            assert head.startswith(b"HTTP/1.1 400")
            assert b"not HTTP/1.1" in body
            assert await reader.read() == b""

        return use

    talked(talk)


def test_a_head_is_asked_for_without_its_body() -> None:
    def talk(app: Echo) -> Talk:
        async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(GET.replace(b"GET", b"HEAD") + GET)
            head, _ = await read(reader, head_only=True)
            assert b"content-length: 8\r\n" in head
            assert (await read(reader))[1] == b"GET /a "

        return use

    talked(talk)


@pytest.mark.parametrize(
    "request_",
    [
        GET.replace(b"1.1", b"1.0"),
        GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123",
    ],
    ids=["HTTP/1.0", "close", "a body that is not read"],
)
def test_the_last_answer_of_a_connection_says_so_and_it_closes(request_: bytes) -> None:
    def talk(app: Echo) -> Talk:
        async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(request_)
            head, _ = await read(reader)
            assert b"\r\nconnection: close\r\n\r\n" in head
            assert await reader.read() == b""

        return use

    talked(talk)


@pytest.mark.parametrize("path", [b"/a", b"/unread"])
def test_a_client_that_asks_whether_to_go_on_is_told_once_and_only_where_its_body_is_read(path: bytes) -> None:
    def talk(app: Echo) -> Talk:
        async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n" % path)
            if path == b"/unread":
                assert (await read(reader))[0].startswith(b"HTTP/1.1 401")
                return
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            for piece in (b"123", b"456"):
                writer.write(piece)
                await asyncio.sleep(0.05)
            head, body = await read(reader)
            assert head.startswith(b"HTTP/1.1 200")
            assert body == b"POST /a 123456"

        return use

    talked(talk)


def test_a_client_that_leaves_before_its_body_came_has_gone_for_the_app() -> None:
    apps = []

    def talk(app: Echo) -> Talk:
        apps.append(app)

        async def use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123")
            await asyncio.sleep(0.05)
            writer.transport.abort()

        return use

    talked(talk)
    assert apps[0].gone == 1


def test_a_connection_that_is_idle_for_too_long_is_closed_by_the_sweep() -> None:
    async def run() -> None:
        others = set[Connection]()
        loop = asyncio.get_running_loop()
        limits = Limits(keep_alive_s=5.0, header_timeout_s=2.0)
        server = await loop.create_server(lambda: Connection(Echo(), limits, Counter(), others), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(GET)
        await read(reader)
        (one,) = others
        for after_s, stays in ((3.0, True), (6.0, False)):
            one.sweep(loop.time() + after_s)
            await asyncio.sleep(0.05)
            assert (one in others) is stays
        assert await reader.read() == b""
        writer.close()
        server.close()

    asyncio.run(run())


def test_a_header_that_would_begin_another_answer_is_none() -> None:
    with pytest.raises(ValueError, match="control character"):
        head_of(Response(status=200, body=b"", headers=((b"x", b"a\r\n\r\nHTTP/1.1 200 OK"),)), "id", last=False)


def test_a_body_is_taken_piece_by_piece_until_it_ends() -> None:
    async def run() -> None:
        wanted = []
        body = Body(lambda: wanted.append(1))
        assert (body.feed(b"ab"), body.feed(b"c")) == (2, 3)
        assert await body.take() == (b"abc", True)
        waiting = asyncio.ensure_future(body.take())
        await asyncio.sleep(0)
        assert len(wanted) == 1
        body.end()
        assert await waiting == (b"", False)
        assert await body.take() == (b"", False)

    asyncio.run(run())
