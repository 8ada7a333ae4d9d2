"""What the front asks a worker, what comes back, and the one way to say no. Times are of `time.monotonic`, one clock for all processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One accepted request, its body unread.

    Attributes:
        kind: the dialect that reads the body and writes the answer: a name of DIALECTS, such as `predict` or `infer`.
        head: what the dialect needs beside the body (content type, query), as plain JSON values.
        request_id: names the request in every answer, log and journal.
        who: the caller's key id, empty where nobody is known.
        received_s: when it came; deadline_s: when nobody waits for its answer any more (a moment on the same clock, not a duration).
        alone: it is work of another size than a row's (an explanation) and is not put into a batch with others.
    """

    kind: str
    head: dict[str, Any]
    body: bytes
    request_id: str
    received_s: float
    deadline_s: float
    who: str = ""
    alone: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Why an ask was answered with an error: a word for programs, a line for people that names nothing but the caller's own input."""

    code: str
    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A worker's answer, or its error: then `cause` says why, the body is empty and the front shapes it.

    Attributes:
        status: of HTTP.
        model: the hash of the model that made it (or that the request does not fit).
        rows: that were answered.
        headers: further ones of the dialect.
    """

    status: int
    model: str
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    rows: int = 0
    cause: Cause | None = None


class Refused(Exception):  # noqa: N818 - nothing failed: the server says no, at once
    """An ask that is not answered by a model.

    Codes: `overloaded` (the queue is full, or it could not be answered in time), `deadline` (it was not answered in time), `draining` (the
    server stops), `unavailable` (no worker of the package starts), `worker_died` (two workers died of it), all 503; `model`, `version`
    (there is none of that name), 404.

    Attributes:
        retry_after_s: when it makes sense to ask again; None where it makes none.
        what: a line for people.
    """

    def __init__(self, code: str, status: int, retry_after_s: float | None, what: str) -> None:
        super().__init__(what)
        self.code, self.status, self.retry_after_s, self.what = code, status, retry_after_s, what
