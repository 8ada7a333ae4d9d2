"""Law: whatever comes, the server answers it or refuses it with a 4xx in one shape; never a 5xx of its own fault, never a trace or a path.

Three sources: requests that schemathesis makes from the server's own OpenAPI document (fitting and not fitting), requests whose parts are
mutated below HTTP's parser, and bytes on a socket. CI makes some hundreds of each; the whole numbers are made under the mark `harness`.
"""

from __future__ import annotations

import json
import random
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote

import pytest

from tests.conftest import Record
from tests.unit.encrypted_rows import write_beside
from tests.unit.runtime_packages import make_package
from tests.unit.serving_apps import Asked, asked
from tests.unit.serving_servers import Answer, Running, running
from weighbridge.runtime import Model

FEW, WHOLE = 160, 10_000
KEYS: list[bytes] = []  # for encrypted rows of the model `shut`
ROW = {"age": 4, "city": "Oslo", "seen": "2026-01-01", "tags": ["a"]}
TENSORS = {"inputs": [{"name": name, "datatype": kind, "shape": [1], "data": [value]} for name, kind, value in (
    ("age", "FP64", 4.0), ("city", "BYTES", "Oslo"), ("seen", "BYTES", "2026-01-01"), ("tags", "BYTES", "a"))]}  # fmt: skip
FORM = b'--b\r\nContent-Disposition: form-data; name="age"\r\n\r\n4\r\n--b--\r\n'
REFUSALS = {400, 401, 403, 404, 405, 408, 409, 413, 415, 421, 422, 429, 431}
OVERLOAD = {"overloaded", "deadline", "draining", "unavailable"}
TELLING = re.compile(r"Traceback|File \"|\.py\b|/tmp/|/work/|site-packages|0x[0-9a-f]{8}")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("malformed")
    make_package(folder / "flat", photos=False)
    make_package(folder / "pics")
    served = {"flat": folder / "flat", "pics": folder / "pics"}
    if find_spec("tenseal") is not None:  # else the routes of encrypted rows know no such model
        served["shut"] = folder / "shut" / "package"
        make_package(served["shut"], photos=False)
        KEYS.append(write_beside(served["shut"], Model.load(served["shut"]).hash))
    with asked(served, folder / "state", packages=folder) as one:
        yield one


def wrong(answer: Answer, method: str) -> str:
    """Return what is wrong with an answer, empty where nothing is."""
    if answer.status < 400:
        return "" if answer.status == 200 else f"status {answer.status}"
    if method == "HEAD":
        return "" if answer.status in {*REFUSALS, 503} else f"status {answer.status}"
    try:
        body = json.loads(answer.body)
    except ValueError:
        return f"no JSON with {answer.status}"
    if answer.status == 503 and body in ({"ready": False}, {"name": body.get("name"), "ready": False}):
        return ""
    error = body.get("error")
    inner, keys = (error, {"message", "code", "request_id"}) if isinstance(error, dict) else (body, {"error", "code", "request_id"})
    if inner.keys() != keys or not all(isinstance(value, str) for value in inner.values()) or len(body) not in (1, 3):
        return f"another shape: {answer.body[:200]!r}"
    if inner["request_id"] != answer.headers.get("x-request-id", inner["request_id"]):
        return "another request id"
    if answer.status not in REFUSALS and not (answer.status == 503 and inner["code"] in OVERLOAD):
        return f"status {answer.status}, {answer.body[:200]!r}"
    return f"tells too much: {answer.body[:200]!r}" if TELLING.search(inner.get("message", body.get("error", ""))) else ""


# Requests made from the server's own document


def schema_aware(app: Asked, count: int, paths: tuple[str, ...] = ()) -> Counter[int]:
    """Send `count` requests that schemathesis makes for all routes (or these), as fitting and as not fitting ones; return the statuses."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis.errors import Unsatisfiable

    schema = schemathesis.openapi.from_dict(app.ask("GET", "/openapi.json").json())
    operations = [one.ok() for one in schema.get_all_operations() if not paths or one.ok().path in paths]
    weights = {one.label: 12 if one.body else 1 for one in operations}
    each = max(1, round(count / (2 * sum(weights.values()))))
    found: Counter[int] = Counter()
    for operation in operations:
        for mode in schemathesis.GenerationMode:

            @seed(7)
            @settings(
                max_examples=each * weights[operation.label], database=None, deadline=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                answer, method = sent(app, case)
                if answer is not None:
                    found[answer.status] += 1
                    assert not wrong(answer, method), f"{wrong(answer, method)} to {case!r}"

            try:
                send()
            except Unsatisfiable:
                continue  # a route without parameters has no request that does not fit it
    return found


def sent(app: Asked, case: Any) -> tuple[Answer | None, str]:
    """Return the answer to a generated case, None for one that no HTTP client can send."""
    import requests

    names = ("method", "url", "headers", "params", "json", "data", "files", "cookies")
    try:
        parts = case.as_transport_kwargs(base_url="http://localhost")
        ready = requests.Request(**{name: value for name, value in parts.items() if name in names}).prepare()
    except (UnicodeError, ValueError, requests.exceptions.RequestException):
        return None, ""
    body = ready.body or b""
    path, _, query = str(ready.url).partition("http://localhost")[2].partition("?")
    kept = [(name, value) for name, value in ready.headers.items() if name.lower() not in ("x-api-key", "authorization", "host")]
    headers = [(name.lower().encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace")) for name, value in kept]
    headers += [(b"host", b"localhost"), (b"x-api-key", app.key.encode())]
    raw = body.encode() if isinstance(body, str) else body
    return app.ask(str(ready.method), unquote(path), raw, headers=headers, query=query.encode()), str(ready.method)


@pytest.mark.slow
def test_requests_made_from_the_document_are_answered_or_refused(app: Asked) -> None:
    found = schema_aware(app, FEW, ("/predict", "/v2/models/{model}/infer", "/admin/models/{model}/challenge"))
    assert found.total() > FEW // 2
    assert {400, 404, 422} <= set(found)


@pytest.mark.slow
@pytest.mark.harness
@pytest.mark.timeout(7200)
def test_ten_thousand_requests_made_from_the_document_are_answered_or_refused(app: Asked, record: Record) -> None:
    found = schema_aware(app, WHOLE * 9 // 8)  # about one in thirteen can not be sent by any client, or is made by no route
    print(f"{found.total()} requests made from the document: {dict(sorted(found.items()))}")
    record("serving.malformed.schema", 0, n=found.total())


# Requests mutated at random


Mutation = Callable[[random.Random, bytes], bytes]


def _flip(draw: random.Random, raw: bytes) -> bytes:
    at = draw.randrange(len(raw) or 1)
    return raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :]


def _cut(draw: random.Random, raw: bytes) -> bytes:
    return raw[: draw.randrange(len(raw) + 1)]


def _double(draw: random.Random, raw: bytes) -> bytes:
    start = draw.randrange(len(raw) or 1)
    return raw[:start] + raw[start : start + 1 + draw.randrange(40)] + raw[start:]


def _insert(draw: random.Random, raw: bytes) -> bytes:
    at = draw.randrange(len(raw) + 1)
    return raw[:at] + draw.choice(PLANTED) + raw[at:]


PLANTED = (
    b"\0", b"\xff", b"\r\n", b"NaN", b"1e999", b"-Infinity", b"null", b"{}", b"[]", b'"', b"[" * 300, b"9" * 400, b"\xed\xa0\x80",
    b"\\ud800", b"%00", b"../../etc/passwd", b"data:image/png;base64,AAAA", b'{"__proto__":1}', b"true", b",", b":", "ß٣中".encode(),
    b"A" * 5000,
)  # fmt: skip
MUTATIONS: tuple[Mutation, ...] = (_flip, _cut, _double, _insert)
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "PATCH", "BREW")
PATHS = (
    "/predict", "/v2/models/flat/infer", "/v2/models/pics/infer", "/v2/models/flat", "/v2", "/metrics", "/feedback", "/docs/page.js", "/",
    "/admin/models/flat/swap", "/admin/models/flat/challenge", "/v2/models//infer", "/v2/models/..%2f/ready", "/predict/", "//predict",
    "/v2/models/shut/encrypted/row", "/v2/models/shut/encrypted/keys", "/v2/models/shut/encrypted/client", "/v2/models/flat/encrypted/keys",
    "/explain", "/form", "/page/../app.py", "/docs/../app.py", "/v2/models/" + "x" * 3000, "/v2/models/ß/ready", "/\0",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    [ROW], {"rows": [ROW, ROW]}, {"columns": {name: [value] for name, value in ROW.items()}}, [{**ROW, "photo": [[1, 2], [3, 4]]}],
    [{**ROW, "photo": {"bytes": "AAAA"}}], TENSORS, {"package": "flat"}, {"package": "..", "share": 0.5},
    {"labels": [{"id": "a/0", "label": "no"}]},
)  # fmt: skip
BODIES = (*(json.dumps(value).encode() for value in VALUES), FORM, b"age,city,seen,tags\n4,Oslo,2026-01-01,a\n", b"")
TYPES = (
    b"application/json", b"application/json; charset=utf-16", b"multipart/form-data; boundary=b", b"multipart/form-data; boundary=",
    b"multipart/form-data", b"text/csv", b"text/html", b"application/octet-stream", b"", b"\xff",
)  # fmt: skip
HEADERS = (
    (b"content-encoding", b"gzip"), (b"content-length", b"5"), (b"content-length", b"1e3"), (b"content-length", b"-1"),
    (b"inference-header-content-length", b"12"), (b"inference-header-content-length", b"x"), (b"host", b"evil.example"),
    (b"origin", b"http://evil.example"), (b"x-api-key", b"wb_x"), (b"authorization", b"Bearer x"), (b"authorization", b"Basic eDp4"),
    (b"accept", b"\xff\xfe"), (b"transfer-encoding", b"chunked"), (b"expect", b"100-continue"), (b"range", b"bytes=0-1"),
)  # fmt: skip
QUERIES = (
    b"model=flat", b"model=pics", b"model=none", b"model=flat&top=1", b"model=flat&top=0", b"model=flat&top=x", b"model=flat&model=pics",
    b"", b"%ff", b"a", b"model=%ff", b"keys=" + b"0" * 64, b"keys=x", b"&&", b"\xff", b"model=flat&x=" + b"y" * 500,
)  # fmt: skip
JSON = b"application/json"
FITTING = (  # path, query, content type and body that belong together
    *(("/predict", b"model=flat", JSON, json.dumps(value).encode()) for value in VALUES[:3]),
    *(("/predict", b"model=pics", JSON, json.dumps(value).encode()) for value in VALUES[3:5]),
    ("/predict", b"model=flat", b"multipart/form-data; boundary=b", BODIES[-3]), ("/predict", b"model=flat", b"text/csv", BODIES[-2]),
    ("/v2/models/flat/infer", b"", JSON, json.dumps(TENSORS).encode()), ("/v2/models/flat/infer", b"", JSON, json.dumps(TENSORS).encode()),
    ("/explain", b"model=flat&top=1", JSON, json.dumps(VALUES[0]).encode()),
    ("/v2/models/shut/encrypted/row", b"keys=" + b"0" * 64, b"application/octet-stream", b"\x5e\xa1\x10\x04\x03\x02\0\0" + bytes(90)),
)  # fmt: skip
LENGTHS = (b"-1", b"99999999999999999999", b"0x10", b"1, 1", b"")
LINES = (
    b"POST /predict?model=flat HTTP/1.1", b"POST /v2/models/flat/infer HTTP/1.1", b"GET /v2 HTTP/1.1", b"GET /v2 HTTP/1.0",
    b"GET http://localhost/v2 HTTP/1.1", b"CONNECT localhost:80 HTTP/1.1", b"GET /v2 HTTP/3.0", b"PRI * HTTP/2.0", b"OPTIONS * HTTP/1.1",
)  # fmt: skip
ODD_LINES = (
    b"Transfer-Encoding: chunked", b"Content-Length: 0", b"Upgrade: websocket\r\nConnection: upgrade", b"X:" + b"y" * 20_000, b" folded: x",
    b"No colon", b"X\0Y: z", b"Host: other", b"Connection: close", b"Expect: 100-continue", b"\x80: x",
)  # fmt: skip


def mutated(draw: random.Random, raw: bytes) -> bytes:
    for _ in range(draw.randrange(4)):
        raw = draw.choice(MUTATIONS)(draw, raw)
    return raw


def mutated_requests(app: Asked, count: int) -> Counter[int]:
    """Send `count` requests of mutated parts; return the statuses."""
    draw = random.Random(11)
    found: Counter[int] = Counter()
    for number in range(count):
        method = draw.choice(METHODS) if draw.random() < 0.2 else "POST"
        path, query, kind, fitting = draw.choice(FITTING)
        if KEYS and draw.random() < 0.02:
            path, query, kind, fitting = "/v2/models/shut/encrypted/keys", b"", b"application/octet-stream", KEYS[0]
        if draw.random() < 0.3:
            path = draw.choice(PATHS)
        if draw.random() < 0.1:
            path = mutated(draw, path.encode()).decode("utf-8", "replace")
        body = mutated(draw, fitting if draw.random() < 0.7 else draw.choice(BODIES))
        query = draw.choice(QUERIES) if draw.random() < 0.2 else query
        kind = draw.choice(TYPES) if draw.random() < 0.2 else kind
        headers = [(b"host", b"localhost"), (b"content-type", kind), (b"x-api-key", app.key.encode())]
        headers += [draw.choice(HEADERS) for _ in range(draw.choice((0, 0, 0, 0, 0, 1, 2)))]
        answer = app.ask(method, path, body, headers=headers, query=query, pieces=draw.choice((1, 1, 3)))
        found[answer.status] += 1
        shown = f"{method} {path[:80]!r} {query!r} {headers} {body[:300]!r}"
        assert not wrong(answer, method), f"request {number}: {wrong(answer, method)} to {shown}"
    return found


@pytest.mark.slow
def test_mutated_requests_are_answered_or_refused(app: Asked) -> None:
    found = mutated_requests(app, 8 * FEW)
    assert {200, 400, 404, 405, 415, 422} <= set(found)


@pytest.mark.slow
@pytest.mark.harness
@pytest.mark.timeout(7200)
def test_ten_thousand_mutated_requests_are_answered_or_refused(app: Asked, record: Record) -> None:
    found = mutated_requests(app, WHOLE)
    print(f"{found.total()} mutated requests: {dict(sorted(found.items()))}")
    record("serving.malformed.raw", 0, n=found.total())


# Bytes on a socket


def raw_request(draw: random.Random, key: str) -> bytes:
    """Return the bytes of a request, some of them wrong."""
    body = draw.choice(BODIES)
    length = draw.choice((*LENGTHS, b"%d" % (len(body) + 3), *[b"%d" % len(body)] * 6))
    lines = [draw.choice(LINES), b"Host: localhost", b"X-Api-Key: " + key.encode(), b"Content-Type: application/json"]
    lines += [b"Content-Length: " + length, *([draw.choice(ODD_LINES)] if draw.random() < 0.3 else [])]
    whole = b"\r\n".join(lines) + b"\r\n\r\n" + body
    return mutated(draw, whole) if draw.random() < 0.6 else whole


def said_to(server: Running, raw: bytes) -> list[tuple[int, bytes]]:
    """Return status and body of each answer to bytes after which the client sends no more."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        got = b""
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                got += piece
        except ConnectionError:
            pass  # the server closed while there was something left to read
    return list(_answers(got))


def _answers(got: bytes) -> Iterator[tuple[int, bytes]]:
    while got:
        head, _, got = got.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"(?i)\ncontent-length: (\d+)", head)
        size = int(length[1]) if length and status != 100 else 0
        if status != 100:
            yield status, got[:size]
        got = got[size:]


def raw_requests(server: Running, count: int) -> Counter[int]:
    """Send `count` requests as bytes; return the statuses, 0 where the connection was closed without an answer."""
    draw = random.Random(13)
    found: Counter[int] = Counter()
    for _ in range(count):
        raw = raw_request(draw, server.key)
        answers = said_to(server, raw)
        found.update([status for status, _ in answers] or [0])
        for status, body in answers:
            answer = Answer(status=status, headers={}, body=body)
            method = "HEAD" if not body or body.startswith(b"{") is False else "GET"
            assert not wrong(answer, method), f"{wrong(answer, method)} to {raw[:400]!r}"
    assert server.process.poll() is None
    assert server.ask("/v2/health/ready").status == 200
    assert "Traceback" not in server.log.read_text()
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("sockets")
    make_package(folder / "flat", photos=False)
    with running([f"flat={folder / 'flat'}"], folder / "state") as one:
        yield one


@pytest.mark.slow
def test_bytes_that_are_no_request_are_refused(server: Running) -> None:
    found = raw_requests(server, 4 * FEW)
    assert {200, 400} <= set(found)


@pytest.mark.slow
@pytest.mark.harness
@pytest.mark.timeout(7200)
def test_ten_thousand_requests_as_bytes_are_answered_or_refused(server: Running, record: Record) -> None:
    found = raw_requests(server, WHOLE)
    print(f"{found.total()} answers to {WHOLE} requests as bytes: {dict(sorted(found.items()))}")
    record("serving.malformed.bytes", 0, n=WHOLE)
