"""One HTTP request as the handlers see it: who asks, which route, headers and query read once, the body read within its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from weighbridge.errors import UsageError
from weighbridge.serving.asking import Refused
from weighbridge.serving.limits import Limits, TooLarge, UnknownMedia

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
MOST_QUERY_FIELDS = 20
TARGET = "target"  # of the scope's state: the request's target as it was sent, where it is no plain path


class GoneError(Exception):
    """The client closed the connection; nobody reads an answer."""


@dataclass(kw_only=True, slots=True)
class Call:
    """A request. `headers` as they came, names in lower case; `parts` of the path by the names in the route; `received_s` of monotonic.

    `target`: as it was sent, where it is no plain path (RFC 9112, 3.2); else empty.
    """

    method: str
    path: str
    query_string: bytes
    headers: list[tuple[bytes, bytes]]
    client: str
    server: str
    request_id: str
    received_s: float
    receive: Receive
    parts: dict[str, str] = field(default_factory=dict)
    who: str = ""
    protocol: bool = False
    target: bytes = b""
    read_whole: bool = False

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, None where it did not come. Raises UsageError for one that came twice."""
        found = [value for key, value in self.headers if key == name]
        if len(found) > 1:
            raise UsageError(f"the header {name.decode()} comes twice", do="send it once")
        return found[0].decode("latin-1") if found else None

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
        try:
            async with asyncio.timeout(limits.body_timeout_s):
                body = await self._all(limits)
        except TimeoutError:
            raise Refused("timeout", 408, None, f"the body did not come within {limits.body_timeout_s:g} s") from None
        self.read_whole = True
        return body

    async def _all(self, limits: Limits) -> bytes:
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > limits.body_bytes:
                raise _too_large(limits)
            return body
        pieces, size = [], 0
        while True:
            if message["type"] != "http.request":
                raise GoneError
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limits.body_bytes:
                raise _too_large(limits)
            if not message.get("more_body"):
                return b"".join(pieces)
            message = await self.receive()


def _too_large(limits: Limits) -> TooLarge:
    return TooLarge(f"the body is larger than {limits.body_bytes:,} bytes", do="send fewer rows at once, or smaller images")
