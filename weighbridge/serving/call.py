"""One HTTP request as the handlers see it: who asks, which route, headers and query read once, the body read within its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from weighbridge.errors import UsageError
from weighbridge.serving.asking import Refused
from weighbridge.serving.limits import Limits, TooLarge, UnknownMedia

MOST_QUERY_FIELDS = 20


class GoneError(Exception):
    """The client closed the connection; nobody reads an answer."""


class Body:
    """The body of a request as it comes; what is there waits until it is taken. `want()` is called before more is waited for.

    `ended`: nothing more comes.
    """

    __slots__ = ("_lost", "_pieces", "_size", "_waits", "_want", "ended")

    def __init__(self, want: Callable[[], None]) -> None:
        self._want = want
        self._waits: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self.ended = self._lost = False

    def feed(self, piece: bytes) -> int:
        """A piece is there; return how many bytes wait to be taken."""
        self._pieces.append(piece)
        self._size += len(piece)
        self._wake()
        return self._size

    def end(self) -> None:
        """The body is there to its end."""
        self.ended = True
        self._wake()

    def lose(self) -> None:
        """The client has gone."""
        self._lost = True
        self._wake()

    async def take(self) -> tuple[bytes, bool]:
        """Return what is there and whether more comes, as soon as there is anything. Raises GoneError."""
        if not (self._pieces or self.ended or self._lost):
            self._waits = asyncio.get_running_loop().create_future()
            self._want()
            await self._waits
        if self._lost:
            raise GoneError
        pieces, self._pieces, self._size = self._pieces, [], 0
        return b"".join(pieces), not self.ended

    def _wake(self) -> None:
        if self._waits is not None and not self._waits.done():
            self._waits.set_result(None)


@dataclass(kw_only=True, slots=True)
class Call:
    """A request. `headers` as they came, names in lower case; `parts` of the path by the names in the route; `received_s` of monotonic.

    `source`: where its body comes from, `read_whole` when it was read to its end. `target`: as it was sent, where it is no plain path
    (RFC 9112, 3.2); else empty. `keep_alive`: the client wants the connection to stay open. `protocol`: errors are told as the Open
    Inference Protocol does.
    """

    method: str
    path: str
    query_string: bytes
    headers: list[tuple[bytes, bytes]]
    client: str
    server: str
    request_id: str
    received_s: float
    source: Body
    parts: dict[str, str] = field(default_factory=dict)
    who: str = ""
    protocol: bool = False
    target: bytes = b""
    keep_alive: bool = True
    read_whole: bool = False

    @property
    def has_body(self) -> bool:
        """Whether its headers say that a body comes."""
        return any(name in (b"content-length", b"transfer-encoding") and value != b"0" for name, value in self.headers)

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, None where it did not come. Raises UsageError for one that came twice."""
        found = None
        for key, value in self.headers:
            if key == name:
                if found is not None:
                    raise UsageError(f"the header {name.decode()} comes twice", do="send it once")
                found = value
        return None if found is None else found.decode("latin-1")

    def query(self, *known: str) -> dict[str, str]:
        """Return the fields of the query. Raises UsageError for one that is not `known` or comes twice, and for what is no query."""
        if not self.query_string:
            return {}
        try:
            pairs = parse_qsl(
                self.query_string.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict",
                max_num_fields=MOST_QUERY_FIELDS,
            )  # fmt: skip
        except ValueError:
            raise UsageError("the query is not of the form name=value&name=value in UTF-8", do="escape it") from None
        found = dict(pairs)
        if len(found) < len(pairs) or not found.keys() <= set(known):
            raise UsageError("the query has a field twice or one that is not known", do=f"known: {', '.join(known) or 'none'}")
        return found

    async def body(self, limits: Limits) -> bytes:
        """Return the whole body. Raises TooLarge (413) before it is read whole, UnknownMedia (415) for a compressed one, Refused (408)."""
        if self.header(b"content-encoding") not in (None, "", "identity"):
            raise UnknownMedia("a compressed body is not read", do="send it without content-encoding")
        declared = self.header(b"content-length")
        if declared is not None and not (declared.isascii() and declared.isdigit()):
            raise UsageError("content-length is not a whole number", do="send the number of bytes of the body")
        if declared is not None and (len(declared) > 15 or int(declared) > limits.body_bytes):
            raise _too_large(limits)
        body = await (self._all(limits) if self.source.ended else self._in_time(limits))
        self.read_whole = True
        return body

    async def _in_time(self, limits: Limits) -> bytes:
        try:
            async with asyncio.timeout(limits.body_timeout_s):
                return await self._all(limits)
        except TimeoutError:
            raise Refused("timeout", 408, None, f"the body did not come within {limits.body_timeout_s:g} s") from None

    async def _all(self, limits: Limits) -> bytes:
        pieces, size, more = list[bytes](), 0, True
        while more:
            piece, more = await self.source.take()
            pieces.append(piece)
            size += len(piece)
            if size > limits.body_bytes:
                raise _too_large(limits)
        return b"".join(pieces)


def _too_large(limits: Limits) -> TooLarge:
    return TooLarge(f"the body is larger than {limits.body_bytes:,} bytes", do="send fewer rows at once, or smaller images")
