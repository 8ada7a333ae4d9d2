"""multipart/form-data (RFC 7578) as columns: each field one column, a field that comes again one more row; files are images or texts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from weighbridge.errors import UsageError
from weighbridge.serving.limits import TooLarge

MOST_PART_HEADERS = 8
MOST_PART_HEADER_BYTES = 4096
DO = "send one field a column, named as the column, and files for images"


@dataclass(kw_only=True)
class Part:
    """A field of the form: its bytes, and whether it came as a file."""

    name: str = ""
    is_file: bool = False
    content: bytearray = field(default_factory=bytearray)


def read_multipart(body: bytes, content_type: str, most_parts: int) -> dict[str, list[Part]]:
    """Return the parts by field name, in order.

    Raises UsageError: no boundary, damaged, cut short, a part without a name. TooLarge: more than `most_parts`.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    boundary = parameter(content_type, "boundary")
    if not 1 <= len(boundary) <= 70:  # RFC 2046, 5.1.1
        raise UsageError("the content-type names no boundary of 1 to 70 characters", do=DO)
    reader = _Reader(most_parts)
    try:
        parser = MultipartParser(
            boundary.encode("latin-1"), reader.callbacks, max_header_count=MOST_PART_HEADERS, max_header_size=MOST_PART_HEADER_BYTES
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise UsageError(f"the multipart body is damaged ({str(error)[:100]})", do=DO) from None
    if not reader.ended:
        raise UsageError("the multipart body ends before its last boundary", do=DO)
    return reader.fields


def parameter(header: str, name: str) -> str:
    """Return a parameter of a header such as content-type, empty where there is none; `header` is latin-1, as HTTP has it."""
    from python_multipart.multipart import parse_options_header

    return parse_options_header(header)[1].get(name.encode(), b"").decode("latin-1")


logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it prints a line for each body that is damaged


class _Reader:
    """Gathers parts from the parser's callbacks."""

    def __init__(self, most_parts: int) -> None:
        self.fields: dict[str, list[Part]] = {}
        self.ended = False
        self._most, self._count = most_parts, 0
        self._part = Part()
        self._header, self._value = bytearray(), bytearray()

    @property
    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end, "on_header_field": self._field,
            "on_header_value": self._more_value, "on_header_end": self._header_end, "on_headers_finished": self._named, "on_end": self._all,
        }  # fmt: skip

    def _begin(self) -> None:
        self._count += 1
        if self._count > self._most:
            raise TooLarge(f"the multipart body has more than {self._most:,} parts", do="send fewer rows at once")
        self._part = Part()

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _more_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            value = self._value.decode("latin-1")
            name = parameter(value, "name").encode("latin-1")  # browsers and curl send names in UTF-8, as HTML 5 says
            self._part.name = name.decode("utf-8", "replace")
            self._part.is_file = "filename" in value
        self._header, self._value = bytearray(), bytearray()

    def _named(self) -> None:
        if not self._part.name:
            raise UsageError("a part of the multipart body has no name", do=DO)

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._part.content += data[start:end]

    def _end(self) -> None:
        self.fields.setdefault(self._part.name, []).append(self._part)

    def _all(self) -> None:
        self.ended = True
