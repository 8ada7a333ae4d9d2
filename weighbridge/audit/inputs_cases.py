# ruff: noqa: E501 - cases that stand together read as the table that they are
"""Inputs as no user means them: for each type of column, and for a request as a whole. Each is made when it is tried, since some are large."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.sound import write_wav

MEGA = 1 << 20
COLUMNS = 3  # of each type that are tried, evenly spaced
Rows = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A request: its name, and what makes the rows."""

    name: str
    rows: Rows


def cases(inputs: Sequence[tuple[str, str]], good: Mapping[str, Any]) -> list[Case]:
    """Return the cases of a model whose columns are (name, type), `good` being a row that it answers."""
    found = [Case(f"request: {name}", rows) for name, rows in _requests(dict(good), [name for name, _ in inputs])]
    for kind, values in VALUES.items():
        columns = [name for name, type_ in inputs if type_ == kind]
        for place in np.unique(np.linspace(0, len(columns) - 1, min(COLUMNS, len(columns))).astype(int)) if columns else ():
            column = columns[place]
            found += [Case(f"{column} ({kind}): {name}", _one(good, column, make)) for name, make in values.items()]
    return found


def _one(good: Mapping[str, Any], column: str, make: Rows) -> Rows:
    return lambda: [{**good, column: make()}]


def _requests(good: dict[str, Any], names: list[str]) -> Iterator[tuple[str, Rows]]:
    first = names[0]
    yield "no rows", list
    yield "a text", lambda: "rows"
    yield "a number", lambda: 7
    yield "nothing", lambda: None
    yield "rows that are texts", lambda: ["a", "b"]
    yield "an empty row", lambda: [{}]
    yield "a column is missing", lambda: [{name: value for name, value in good.items() if name != first}]
    yield "10,000 columns too many", lambda: [{**good, **{f"more {place}": place for place in range(10_000)}}]
    yield "columns of two lengths", lambda: {name: [value] * (1 + (name == first)) for name, value in good.items()} | {"more": [1, 2, 3]}
    yield "a column that is one value", lambda: {name: 3 for name in names}
    yield "names that are numbers", lambda: [dict(enumerate(good.values()))]
    yield "a row nested 500 deep", lambda: [{**good, first: _nested(500)}]
    yield "1,000 rows", lambda: [good] * 1000


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _png(width: int, height: int, content: bytes = b"\0" * 64) -> bytes:
    """Return a PNG whose header declares a grey picture of this size, whatever it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def _pixels(*shape: int, kind: Any = np.uint8) -> Rows:
    return lambda: np.zeros(shape, dtype=kind)


STRANGE: dict[str, Rows] = {  # of no column's type
    "a mapping": lambda: {"a": {"b": [1, 2]}},
    "a function": lambda: len,
    "an array of 4 dimensions": lambda: np.zeros((2, 2, 2, 2)),
    "100,000 values": lambda: list(range(100_000)),
    "a complex number": lambda: 1j,
}
VALUES: dict[str, dict[str, Rows]] = {
    "number": {
        "not a number": lambda: float("nan"), "infinite": lambda: float("inf"), "minus infinite": lambda: float("-inf"),
        "the largest float": lambda: 1.7976931348623157e308, "the smallest float": lambda: -1.7976931348623157e308,
        "above float32": lambda: 1e39, "subnormal": lambda: 5e-324, "minus zero": lambda: -0.0, "an integer of 400 digits": lambda: 10**400,
        "2 to the 63rd": lambda: 2**63, "a text": lambda: "abc", "an empty text": lambda: "", "1e999": lambda: "1e999", "true": lambda: True,
        "missing": lambda: None, "bytes": lambda: b"\0\xff", "digits of another script": lambda: "\u0664\u0662", "9 MB of digits": lambda: "9" * (9 * MEGA),
        **STRANGE,
    },
    "category": {
        "never seen": lambda: "\u2603 never seen", "empty": lambda: "", "1 MB": lambda: "x" * MEGA, "NUL": lambda: "\0",
        "half a surrogate": lambda: "\ud800", "markup": lambda: "<script>alert(1)</script>", "a format": lambda: "{0.__class__} %s %n",
        "infinite": lambda: float("inf"), "an integer of 400 digits": lambda: 10**400, "missing": lambda: None, "bytes": lambda: b"\xff", **STRANGE,
    },
    "text": {
        "empty": lambda: "", "one space": lambda: " ", "missing": lambda: None, "1 MB of one letter": lambda: "a" * MEGA,
        "1 MB of words": lambda: "word " * (MEGA // 5), "1 MB of emoji": lambda: "\U0001f600" * (MEGA // 4), "a million new lines": lambda: "\n" * 10**6,
        "100,000 accents on a letter": lambda: "e" + "\u0301" * 10**5, "a ligature that grows, 100,000 times": lambda: "\ufdfa" * 10**5,
        "half a surrogate": lambda: "a \udc80 b", "NUL": lambda: "a\0b", "right to left": lambda: "\u202eabc\u202c", "markup": lambda: "<img src=x onerror=alert(1)>",
        "a special token": lambda: "[PAD] [MASK] </s> <unk>" * 50, "a number": lambda: 12, "bytes": lambda: b"text", **STRANGE,
    },
    "image": {
        "0 x 0": _pixels(0, 0), "0 x 8": _pixels(0, 8), "1 x 1": _pixels(1, 1), "1 x 100,000": _pixels(1, 100_000), "6,000 x 6,000": _pixels(6000, 6000),
        "1,000 channels": _pixels(8, 8, 1000), "5 dimensions": _pixels(1, 1, 8, 8, 1), "one number": _pixels(), "floats": _pixels(8, 8, kind=float),
        "not a number": lambda: np.full((8, 8), np.nan), "numbers above 255": lambda: np.full((8, 8), 70_000), "below 0": lambda: np.full((8, 8), -5),
        "objects": lambda: np.array([[object()]], dtype=object), "no bytes": lambda: b"", "bytes that are no picture": lambda: b"\0" * 1000,
        "half a PNG": lambda: _png(64, 64)[:40], "a PNG without its pixels": lambda: _png(64, 64, b""), "declares 100,000 x 100,000": lambda: _png(10**5, 10**5),
        "declares 0 x 0": lambda: _png(0, 0), "8 GB behind 8 MB": lambda: _png(2**16, 2**16, b"\0" * (8 * MEGA)), "markup": lambda: b"<svg onload='alert(1)'/>",
        "a file of the machine": lambda: "/etc/passwd", "an address": lambda: "http://127.0.0.1:9/x.png", "a data URI that is none": lambda: "data:image/png;base64,@@",
        "a shape that does not fit": lambda: {"uint8": "AAAA", "shape": [9, 9]}, "a shape of 2 to the 40th": lambda: {"uint8": "AAAA", "shape": [2**20, 2**20]},
        "missing": lambda: None, "ragged lists": lambda: [[1, 2], [3]], **STRANGE,
    },
    "audio": {
        "no bytes": lambda: b"", "bytes that are no clip": lambda: b"\0" * 1000, "half a WAV": lambda: write_wav(np.zeros(800), 8000)[:400],
        "a WAV without its samples": lambda: write_wav(np.zeros(0), 8000), "a rate of 1 Hz": lambda: write_wav(np.zeros(800), 1),
        "a rate of 2 GHz": lambda: write_wav(np.zeros(800), 2**31 - 1), "an hour of silence": lambda: write_wav(np.zeros(3_600_000, np.int16), 1000),
        "one sample": lambda: write_wav(np.zeros(1), 8000), "not a number": lambda: write_wav(np.full(800, np.nan), 8000),
        "infinite": lambda: write_wav(np.full(800, np.inf), 8000), "as loud as a number can be": lambda: write_wav(np.full(800, 3e38), 8000),
        "only begins as Ogg": lambda: b"OggS" + bytes(100), "only begins as FLAC": lambda: b"fLaC" + bytes(100), "only begins as MP3": lambda: b"ID3" + bytes(100),
        "a file of the machine": lambda: "/etc/passwd", "an address": lambda: "http://127.0.0.1:9/x.wav", "a data URI that is none": lambda: "data:audio/wav;base64,@@",
        "samples without a rate": lambda: {"array": [0.0, 0.1]}, "a rate without samples": lambda: {"sampling_rate": 8000},
        "samples in samples": lambda: {"array": [[0.0], [0.1]], "sampling_rate": 8000}, "words for samples": lambda: {"array": ["a"], "sampling_rate": 8000},
        "missing": lambda: None, **STRANGE,
    },
    "date": {
        "year 1": lambda: "0001-01-01", "year 9999": lambda: "9999-12-31", "year 10000": lambda: "10000-01-01", "30 February": lambda: "2024-02-30",
        "words": lambda: "tomorrow", "a number": lambda: 1e20, "empty": lambda: "", "no time": lambda: np.datetime64("NaT"), "missing": lambda: None,
        "1 MB": lambda: "2024-01-01" * (MEGA // 10), "a time of a distant era": lambda: np.datetime64(2**62, "us"), **STRANGE,
    },
    "set": {
        "none": list, "100,000 labels": lambda: [f"l{place}" for place in range(100_000)], "a label of 1 MB": lambda: ["x" * MEGA],
        "labels in labels": lambda: [["a"], ["b"]], "numbers": lambda: [1, 2.5, None], "missing": lambda: None, "1 MB of separators": lambda: ";" * MEGA,
        "bytes": lambda: b"a;b", **{name: make for name, make in STRANGE.items() if name != "an array of 4 dimensions"},
    },
}  # fmt: skip


def good_row(golden: bytes) -> dict[str, Any]:
    """Return the first of a package's golden rows, as its golden.json holds it."""
    columns = json.loads(golden)["columns"]
    return {name: values[0] for name, values in columns.items()}
