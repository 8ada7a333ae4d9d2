"""Frames between the front and a worker: a fixed header, a head in JSON, a body of bytes. Nothing in a frame is code.

2 bytes  "WB"        what is not this, is no frame
1 byte   kind        see Kind
1 byte   0
4 bytes  number      of the batch, big-endian, as all that follow
4 bytes  head bytes  at most MOST_HEAD
4 bytes  body bytes  at most MOST_BODY
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import orjson

HEADER = struct.Struct("!2sBxIII")
MAGIC = b"WB"
MOST_HEAD, MOST_BODY = 64 << 20, 1 << 30


class Kind(IntEnum):
    """What a frame is. From the front: START, WORK, PING. From a worker: READY or FAILED once, then PART, LAST, PONG."""

    START = 1
    WORK = 2
    PING = 3
    READY = 4
    FAILED = 5
    PART = 6
    LAST = 7
    PONG = 8


class WireError(Exception):
    """What came is no frame, or is one beyond the limits: the other side is not what it should be."""


class Frame(NamedTuple):
    kind: Kind
    number: int
    head: Any
    body: bytes


def frame(kind: Kind, number: int = 0, head: Any = None, bodies: Sequence[bytes] = ()) -> bytes:
    """Return the bytes of one frame, its body the given ones one after the other. Raises WireError beyond the limits."""
    told = orjson.dumps(head)
    size = sum(map(len, bodies))
    _check(len(told), size)
    return b"".join((HEADER.pack(MAGIC, kind, number & 0xFFFFFFFF, len(told), size), told, *bodies))


class Frames:
    """Frames out of a stream that comes in pieces of any size; what is not whole yet is kept."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._needed = HEADER.size

    def feed(self, piece: bytes | memoryview) -> Iterator[Frame]:
        """Give each frame that is whole now. Raises WireError; the stream is of no use after that."""
        held = self._held
        held += piece
        start = 0
        while len(held) - start >= self._needed:
            if self._needed == HEADER.size:
                _, _, head_bytes, body_bytes = _header(held, start)
                self._needed += head_bytes + body_bytes
                if len(held) - start < self._needed:
                    break
            kind, number, head_bytes, body_bytes = _header(held, start)
            middle = start + HEADER.size + head_bytes
            with memoryview(held) as view:
                head, body = _json(bytes(view[start + HEADER.size : middle])), bytes(view[middle : middle + body_bytes])
            start, self._needed = middle + body_bytes, HEADER.size
            yield Frame(kind, number, head, body)
        if start:
            del held[:start]


def _header(held: bytearray, start: int) -> tuple[Kind, int, int, int]:
    magic, kind, number, head_bytes, body_bytes = HEADER.unpack_from(held, start)
    if magic != MAGIC:
        raise WireError("what came is no frame")
    _check(head_bytes, body_bytes)
    try:
        return Kind(kind), number, head_bytes, body_bytes
    except ValueError:
        raise WireError(f"there is no frame of kind {kind}") from None


def _check(head_bytes: int, body_bytes: int) -> None:
    if head_bytes > MOST_HEAD or body_bytes > MOST_BODY:
        what = f"a frame has a head of {head_bytes:,} and a body of {body_bytes:,} bytes, at most {MOST_HEAD:,} and {MOST_BODY:,} are read"
        raise WireError(what)


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise WireError("the head of a frame is not JSON") from None
