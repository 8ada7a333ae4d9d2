"""What goes back to a caller, and the one shape of errors: code, message, request id; never a trace, a path or another caller's value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from weighbridge.errors import WeighbridgeError
from weighbridge.serving.asking import Cause, Refused

JSON = b"application/json"
# Codes that programs read, by what the worker or the tree of errors says; a code that is not here is its own.
CODES = {
    "usage": "bad_request", "data": "bad_request", "package": "bad_package", "input": "invalid_rows", "toolarge": "too_large",
    "unknownmedia": "unsupported_media", "run": "conflict", "dependency": "not_installed", "storage": "storage",
    "nocircuit": "no_circuit", "unknownkeys": "unknown_keys",
}  # fmt: skip
REASONS = {
    400: "bad_request", 404: "not_found", 408: "timeout", 413: "too_large", 415: "unsupported_media", 422: "invalid_rows",
    431: "headers_too_large", 500: "internal", 501: "not_installed", 503: "unavailable", 507: "storage",
}  # fmt: skip
MOST_MESSAGE = 500
STATUS_LINES = {one.value: b"HTTP/1.1 %d %s\r\n" % (one.value, one.phrase.encode()) for one in HTTPStatus}
PLAIN_LINES = ((b"x-content-type-options", b"x-content-type-options: nosniff\r\n"), (b"cache-control", b"cache-control: no-store\r\n"))
NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # what would end a header's line, or begin another answer
INTERNAL = "the server failed at this request; its log says where"


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """An answer, whole. `code` is an error's, for the metrics; `rows` were answered by `model`."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    code: str = ""
    model: str = ""
    rows: int = 0


def head_of(response: Response, request_id: str, *, last: bool) -> bytes:
    """Return the status line and the headers of an answer; `last`: the connection closes after it.

    Raises ValueError for a header that is none.
    """
    lines = [
        b"%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
        % (STATUS_LINES[response.status], response.content_type, len(response.body), request_id.encode())
    ]
    for name, value in response.headers:
        if NO_VALUE.search(value):
            raise ValueError(f"the header {name!r} has a control character")
        lines.append(b"%b: %b\r\n" % (name, value))
    if response.model:
        lines.append(b"x-model: %b\r\n" % response.model.encode("latin-1"))
    given = {name for name, _ in response.headers}
    lines += [line for name, line in PLAIN_LINES if name not in given]
    lines.append(b"connection: close\r\n\r\n" if last else b"\r\n")
    return b"".join(lines)


def as_json(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    """Return a value as a JSON answer."""
    return Response(status=status, body=orjson.dumps(value), headers=headers)


def error_response(
    status: int, code: str, message: str, request_id: str, *, protocol: bool = False, retry_after_s: float | None = None,
    headers: tuple[tuple[bytes, bytes], ...] = (), model: str = "",
) -> Response:  # fmt: skip
    """Return an error in the one shape; `protocol`: as the Open Inference Protocol has it, whose `error` is a text."""
    if retry_after_s is not None:
        headers = (*headers, (b"retry-after", str(max(1, round(retry_after_s))).encode()))
    body = error_body(code, message, request_id, protocol=protocol)
    return Response(status=status, body=body, headers=headers, code=code, model=model)


def error_body(code: str, message: str, request_id: str, *, protocol: bool = False) -> bytes:
    """Return an error's JSON. A text that UTF-8 can not hold (half of a surrogate pair) is shown with question marks."""
    message = message[:MOST_MESSAGE].encode("utf-8", "replace").decode()
    named = {"code": code, "request_id": request_id}
    return orjson.dumps({"error": message, **named} if protocol else {"error": {"message": message, **named}})


def refusal(error: Refused, request_id: str, *, protocol: bool = False) -> Response:
    """Return the answer to a request that the server said no to."""
    return error_response(error.status, error.code, error.what, request_id, protocol=protocol, retry_after_s=error.retry_after_s)


def failure(error: WeighbridgeError, request_id: str, *, protocol: bool = False) -> Response:
    """Return the answer to a request that does not fit, its status by the tree of errors."""
    name = type(error).__name__.removesuffix("Error").lower()
    code = CODES.get(name, REASONS.get(error.http_status, "internal"))
    return error_response(error.http_status, code, str(error), request_id, protocol=protocol)


def caused(status: int, cause: Cause, request_id: str, *, protocol: bool, model: str) -> Response:
    """Return the answer to a request whose worker said why it has none."""
    return error_response(status, CODES.get(cause.code, cause.code), cause.what, request_id, protocol=protocol, model=model)
