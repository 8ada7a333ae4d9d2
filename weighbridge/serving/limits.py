"""Every limit of the server, in one place: what is bigger, slower or more than this is refused, never waited for without end."""

from __future__ import annotations

from dataclasses import dataclass

from weighbridge.errors import UsageError


class TooLarge(UsageError):  # noqa: N818 - it is the request that is too large
    """A request is beyond one of the limits."""

    http_status = 413


class UnknownMedia(UsageError):  # noqa: N818 - the same
    """A body's type or encoding is not read."""

    http_status = 415


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server takes. Sizes in bytes, times in seconds; each number is the most (or the longest) that is accepted.

    Attributes:
        body_bytes: of one request.
        keys_bytes: of a client's evaluation keys for encrypted rows, and of all such keys that are kept.
        rows: of one request.
        pixels: of all images of one request, as their files' headers say.
        header_bytes: of one request's line and headers.
        queue_requests, queue_bytes: that wait for a worker, of one package.
        standing_requests, standing_wait_s: that wait while more comes than can be done, see batching.py; the greater of both counts.
        batch_rows: rows of one call of the model, and asks that a worker is sent at once.
        batch_bytes: of the bodies that a worker is sent at once (one body may be larger).
        batch_wait_s: that a free worker waits for more asks than one; 0 sends what is there.
        deadline_s: from receiving a request to its answer.
        hang_s: that a worker may take for what it was sent; then it is killed, and what it had is asked again.
        start_s: that a worker may take to load a package and to check its golden answers.
        drain_s: that what was accepted may take once the server was asked to stop.
        header_timeout_s, body_timeout_s, keep_alive_s: of a client that sends its headers, sends its body, sends nothing more.
        connections: open at once.
    """

    body_bytes: int = 32 << 20
    keys_bytes: int = 256 << 20
    rows: int = 4096
    pixels: int = 64_000_000
    header_bytes: int = 16 << 10
    queue_requests: int = 256
    queue_bytes: int = 256 << 20
    standing_requests: int = 8
    standing_wait_s: float = 0.002
    batch_rows: int = 64
    batch_bytes: int = 1 << 20
    batch_wait_s: float = 0.0
    deadline_s: float = 30.0
    hang_s: float = 10.0
    start_s: float = 120.0
    drain_s: float = 30.0
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    keep_alive_s: float = 60.0
    connections: int = 1024
