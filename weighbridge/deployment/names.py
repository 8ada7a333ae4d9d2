"""Any package's name as one that a cluster takes: a DNS label."""

from __future__ import annotations

import re

from weighbridge.errors import UsageError
from weighbridge.storage import sha256_bytes

MOST = 40  # of the 63 that a label may have: others are made from it (NAME-keys, NAME-predictor-default)
LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?", re.ASCII)  # RFC 1035, as a Service wants it; RFC 1123 would let a digit begin
IMAGE = re.compile(
    r"(?=.{1,255}$)((localhost|[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+)(:[0-9]{1,5})?/|[a-zA-Z0-9-]+:[0-9]{1,5}/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?",
    re.ASCII,
)


def label_of(name: str) -> str:
    """Return a DNS label of at most 40 characters: lower case, '-' for '_', '.' and spaces.

    Where more of the name was lost, or it was cut, the label ends with 8 digits of its hash, so that two such names stay two.
    """
    simple = re.sub(r"[_. ]", "-", name.lower())
    if LABEL.fullmatch(simple) and len(simple) <= MOST:
        return simple
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").lstrip("0123456789-")
    return f"{(plain or 'model')[: MOST - 9].strip('-')}-{sha256_bytes(name.encode('utf-8', 'surrogatepass'))[:8]}"


def check_label(name: str, what: str) -> str:
    """Return the name. Raises UsageError unless it is a DNS label."""
    if not LABEL.fullmatch(name) or len(name) > 63:
        do = "give at most 63 of a-z, 0-9 and '-', beginning with a letter"
        raise UsageError(f"{what} {name[:80]!r} is not a name that a cluster takes", do=do)
    return name


def check_image(image: str) -> str:
    """Return the reference of an image. Raises UsageError unless it is one."""
    if not IMAGE.fullmatch(image):
        raise UsageError(f"{image[:120]!r} is not the reference of an image", do="give REGISTRY/NAME:TAG or NAME@sha256:DIGEST")
    return image
