"""The data frame of an R `.rda` file as columns, without R: XDR serialisation of versions 2 and 3 (R Internals, section 1.8).

Read are the kinds that data frames of numbers and factors hold; anything that could be code (closures, promises, environments,
byte code) is refused. Standard library only.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from dataclasses import dataclass, field
from typing import Any

MOST_BYTES = 256 << 20
HAS_ATTRIBUTES, HAS_TAG = 0x200, 0x400
SYMBOL, PAIRS, CHARACTERS, LOGICAL, INTEGER, REAL, TEXT, LIST = 1, 2, 9, 10, 13, 14, 16, 19
ALTERNATIVE, NOTHING, REFERENCE = 238, 254, 255


class UnreadableError(ValueError):
    """The file is not what this reader reads."""


@dataclass
class Vector:
    """Values of an R vector and its attributes by name."""

    values: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict)


def read_frame(content: bytes, name: str) -> dict[str, list[Any]]:
    """Return the columns of the data frame `name`; factors as their levels. Raises UnreadableError."""
    reader = _Reader(_unpacked(content))
    objects = dict(reader.pairs())
    if name not in objects or not isinstance(objects[name], Vector):
        raise UnreadableError(f"the file holds {', '.join(objects)} and no data frame {name}")
    frame = objects[name]
    return {column: _plain(vector) for column, vector in zip(frame.attributes["names"].values, frame.values, strict=True)}


def _plain(vector: Vector) -> list[Any]:
    levels = vector.attributes.get("levels")
    return vector.values if levels is None else [None if code is None else levels.values[code - 1] for code in vector.values]


def _unpacked(content: bytes) -> bytes:
    """Return the bytes behind `RDX2\\nX\\n` or `RDX3\\nX\\n`, unpacked."""
    opened: Any = content
    for magic, module in ((b"\xfd7zXZ", lzma), (b"BZh", bz2), (b"\x1f\x8b", gzip)):
        if content.startswith(magic):
            opened = module.decompress(content)  # type: ignore[attr-defined]
    if len(opened) > MOST_BYTES or opened[:7] not in (b"RDX2\nX\n", b"RDX3\nX\n"):
        raise UnreadableError("the file is not an XDR workspace of R")
    return bytes(opened[7:])


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content, self._at, self._known = content, 0, list[Any]()
        version, _, _ = (self._integer() for _ in range(3))
        if version == 3:
            self._take(self._integer())  # the name of the encoding

    def pairs(self, flags: int | None = None) -> list[tuple[str, Any]]:
        """Return the (name, value) of a pairlist."""
        found = []
        flags = self._integer() if flags is None else flags
        while flags & 0xFF == PAIRS:
            if flags & HAS_ATTRIBUTES:
                self._item()
            tag = self._item() if flags & HAS_TAG else ""
            found.append((str(tag), self._item()))
            flags = self._integer()
        if flags & 0xFF != NOTHING:
            raise UnreadableError(f"a list ends in an object of kind {flags & 0xFF}")
        return found

    def _item(self) -> Any:
        flags = self._integer()
        kind = flags & 0xFF
        if kind == NOTHING:
            return None
        if kind == REFERENCE:
            return self._known[(flags >> 8) - 1]
        if kind == SYMBOL:
            self._known.append(self._item())
            return self._known[-1]
        if kind == PAIRS:
            return self.pairs(flags)
        if kind == CHARACTERS:
            size = self._integer()
            return None if size == -1 else self._take(size).decode("utf-8", "replace")
        if kind == ALTERNATIVE:
            return self._alternative()
        vector = Vector(self._values(kind))
        if flags & HAS_ATTRIBUTES:
            vector.attributes = dict(self.pairs())
        return vector

    def _values(self, kind: int) -> list[Any]:
        if kind not in (LOGICAL, INTEGER, REAL, TEXT, LIST):
            raise UnreadableError(f"an object of kind {kind} is not data that is read here")
        count = self._integer()
        if kind in (TEXT, LIST):
            return [self._item() for _ in range(count)]
        if kind == REAL:
            return list(struct.unpack(f">{count}d", self._take(8 * count)))
        return [None if value == -(2**31) else value for value in struct.unpack(f">{count}i", self._take(4 * count))]

    def _alternative(self) -> Vector:
        """Return a sequence that is kept as its length, start and step, as the names of rows are."""
        (name, *_), state, _ = self._item(), self._item(), self._item()
        if name[1] != "compact_intseq":
            raise UnreadableError(f"a vector of the form {name[1]} is not read here")
        count, start, step = (int(value) for value in state.values)
        return Vector(list(range(start, start + count * step, step)))

    def _integer(self) -> int:
        return int(struct.unpack(">i", self._take(4))[0])

    def _take(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._content):
            raise UnreadableError("the file ends too early")
        self._at += size
        return self._content[self._at - size : self._at]
