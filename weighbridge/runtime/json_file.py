"""A JSON file of a package: an object within what JSON allows, of a format that this code reads, or one line that names the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weighbridge.errors import PackageError

AGAIN = "build or download the package again"


def parse_json(content: bytes, name: str) -> dict[str, Any]:
    """Return the object that a JSON file holds. Raises PackageError: no UTF-8, no JSON, NaN, nested too deep, not an object."""
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{name} is not valid JSON ({str(error)[:100]})", do=AGAIN) from None
    if not isinstance(value, dict):
        raise PackageError(f"{name} does not hold an object", do=AGAIN)
    return value


def refuse_newer(content: Mapping[str, Any], name: str, *, newest: int) -> None:
    """Raise PackageError unless the file's format is one that this code reads, 1 to `newest`."""
    found = content.get("format")
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise PackageError(f"{name} names no format", do=AGAIN)
    if found > newest:
        raise PackageError(f"{name} has format {str(found)[:20]}, this Weighbridge reads up to {newest}", do="install a newer weighbridge")


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")
