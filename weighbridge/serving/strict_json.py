"""JSON from strangers: RFC 8259 to the letter, each key once, no deeper than rows are.

orjson refuses what is not JSON (NaN, Infinity, comments, invalid UTF-8, lone surrogates, numbers beyond float64) and is several times as
fast as the standard library; of a key that comes twice it keeps the last, as RFC 8259 leaves open. Two readers of one body could then
see two different rows, so such a body is refused here.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from weighbridge.errors import UsageError

MOST_DEPTH = 32  # rows of images as nested lists are 6 deep; orjson itself stops at 1,024, where Python's own recursion would have ended
STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
PAIRS = re.compile(rb"\[\]|\{\}")
NOT_STRUCTURE = bytes(sorted(set(range(256)) - set(b"{}[]:")))


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text. Raises UsageError: not JSON, a key twice in one object, nested deeper than MOST_DEPTH."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the body is not JSON ({error})", do="send UTF-8 JSON (RFC 8259)") from None
    skeleton = _without_strings(body).translate(None, NOT_STRUCTURE)
    keys = skeleton.count(b":")
    _refuse_deep(skeleton.replace(b":", b""))
    if keys and not _has_keys(value, keys):
        raise UsageError("the body has a key twice in one object", do="give each key once")
    return value


def _without_strings(body: bytes) -> bytes:
    """Return a JSON text without its strings; where nothing is escaped, they are every second part between quotes (a tenth of the time)."""
    return STRINGS.sub(b"", body) if b"\\" in body else b"".join(body.split(b'"')[::2])


def _refuse_deep(brackets: bytes) -> None:
    """Raise UsageError unless taking out the innermost pairs MOST_DEPTH times leaves nothing; so few pairs can not nest deeper."""
    if len(brackets) <= 2 * MOST_DEPTH:
        return
    for _ in range(MOST_DEPTH):
        if not brackets:
            return
        brackets = PAIRS.sub(b"", brackets)
    if brackets:
        raise UsageError(f"the body nests deeper than {MOST_DEPTH}", do="send rows as an object of columns each")


def _has_keys(value: Any, keys: int) -> bool:
    """Whether all objects in a value have so many keys together; looked for from the outside in, until that many were found."""
    held = [value]
    for one in held:  # it grows meanwhile
        if type(one) is dict:
            keys -= len(one)
            if keys <= 0:
                return keys == 0
            held.extend(one.values())
        elif type(one) is list:
            held.extend(one)
    return False
