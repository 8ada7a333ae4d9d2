"""The rows most worth a human look, read from evidence that anyone may have written: bounded, escaped by the page, pictures checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.words import Language, plain, translate

FILE = "worth_a_look.json"
MOST, MOST_REASONS, MOST_PICTURE_BYTES = 20, 3, 20_000
PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True, kw_only=True)
class Look:
    """A row with its label, the one that others say ("" for none), and why it is shown."""

    row_id: str
    label: str
    better: str
    why: tuple[str, ...]
    thumbnail: str
    text: str


def looks(evidence: Any, language: Language) -> list[Look]:
    """Return the rows of worth_a_look.json; what is not of its form is left out."""
    rows = evidence.get("rows") if isinstance(evidence, Mapping) else None
    return [_look(row, language) for row in (rows if isinstance(rows, list) else [])[:MOST] if isinstance(row, Mapping)]


def _look(row: Mapping[str, Any], language: Language) -> Look:
    picture, why = row.get("thumbnail"), row.get("why")
    fits = isinstance(picture, str) and len(picture) <= MOST_PICTURE_BYTES and PICTURE.fullmatch(picture) is not None
    return Look(
        row_id=plain(str(row.get("row_id", "")), 40),
        label=plain(str(row.get("label") or ""), 80),
        better=plain(str(row.get("better") or ""), 80),
        why=tuple(filter(None, (_said(one, language) for one in (why if isinstance(why, list) else [])[:MOST_REASONS]))),
        thumbnail=str(picture) if fits else "",
        text=plain(str(row.get("text") or ""), 300),
    )


def _said(message: Any, language: Language) -> str:
    try:
        return translate(Message.from_json(message), language)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""
