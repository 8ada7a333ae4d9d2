"""Keys and tokens do not reach a log, an error or the trail, even where a client put them into an address or a library printed them."""

from __future__ import annotations

import logging
import re
from typing import Any

KEY = re.compile(r"(wb_[0-9a-f]{10})_[A-Za-z0-9_-]{20,}")
TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*")
CREDENTIAL = re.compile(
    r"(?i)\b(bearer|basic|x-api-key:?|api[_-]?key=|token=|password=|authorization:?)(\s*)(?!wb_[0-9a-f]{10}_\*)[^\s&,;'\"]{8,}"
)
PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


def redact(text: str) -> str:
    """Return `text` with the secret part of every key, token and private key replaced by `***`; a key keeps its id."""
    if len(text) < 12:
        return text
    text = PEM.sub("***", TOKEN.sub("***", KEY.sub(r"\1_***", text)))
    return CREDENTIAL.sub(r"\1\2***", text)


def redacted(value: Any) -> Any:
    """Return a JSON value whose texts are redacted, keys of objects too, and hold no half of a surrogate pair."""
    if isinstance(value, str):
        return redact(value.encode("utf-8", "replace").decode("utf-8"))
    if isinstance(value, dict):
        return {redacted(str(name)): redacted(one) for name, one in value.items()}
    return [redacted(one) for one in value] if isinstance(value, list | tuple) else value


class Redacting(logging.Filter):
    """Every record that passes has its whole message redacted, the text of an exception included. For handlers, not loggers."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = redact(record.exc_text or logging.Formatter().formatException(record.exc_info))
        return True
