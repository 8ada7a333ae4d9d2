"""Law: a client that is slow, greedy or broken costs the others nothing; every limit accepts n and refuses n + 1 (or a moment too late)."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.preprocessing_tables import picture
from tests.unit.runtime_packages import make_package
from tests.unit.serving_servers import Running, running
from weighbridge.serving.limits import Limits
from weighbridge.serving.protocol import MOST_PIPELINED

ROW = {"age": 4, "city": "Oslo", "seen": None, "tags": ["a"], "photo": None}
BODY_BYTES, ROWS, PIXELS, HEADER_BYTES, CONNECTIONS = 200_000, 100, 10_000, 2_000, 30
HEADER_S, BODY_S, KEEP_ALIVE_S = 1.0, 1.5, 2.0
SLACK_S = 4.0  # of a busy machine, and of the sweep
# What is no limit of a request or a client: how work is put together and given up, tested where that is done.
INNER = {"standing_requests", "standing_wait_s", "batch_rows", "batch_bytes", "batch_wait_s", "queue_requests", "queue_bytes",
         "deadline_s", "hang_s", "start_s", "drain_s"}  # fmt: skip
ELSEWHERE = {"keys_bytes"}  # tests/journeys/test_encrypted_serving.py has a package that takes such keys


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("clients")
    make_package(folder / "tiny")
    limits = {"body_bytes": BODY_BYTES, "rows": ROWS, "pixels": PIXELS, "header_bytes": HEADER_BYTES, "connections": CONNECTIONS,
              "header_timeout_s": HEADER_S, "body_timeout_s": BODY_S, "keep_alive_s": KEEP_ALIVE_S}  # fmt: skip
    options = [part for name, value in limits.items() for part in ("--limit", f"{name}={value}")]
    with running([f"tiny={folder / 'tiny'}"], folder / "state", *options) as one:
        yield one


def connected(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def head(server: Running, *lines: str, path: str = "/predict", method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", f"X-Api-Key: {server.key}", *lines, "", ""]).encode()


def answer(connection: socket.socket) -> tuple[int, Any]:
    """Return status and JSON of the next answer; status 0 when the connection ends without one."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65536)
        if not piece:
            return 0, None
        got += piece
    lines, _, body = got.partition(b"\r\n\r\n")
    size = next(int(line.split(b":")[1]) for line in lines.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < size:
        body += connection.recv(65536)
    return int(lines.split(b" ")[1]), json.loads(body)


def code(found: tuple[int, Any]) -> tuple[int, str]:
    return found[0], found[1]["error"]["code"]


def ended(connection: socket.socket) -> bool:
    """Whether the server closed, once it has."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def body_of(size: int) -> bytes:
    """Return a body of so many bytes that is answered."""
    text = json.dumps([ROW]).encode()
    return text + b" " * (size - len(text))


def body_bytes(server: Running) -> None:
    assert server.ask("/predict", body_of(BODY_BYTES)).status == 200
    refused = server.ask("/predict", body_of(BODY_BYTES + 1))
    assert (refused.status, refused.json()["error"]["code"]) == (413, "too_large")


def rows(server: Running) -> None:
    assert len(server.ask("/predict", [ROW] * ROWS).json()["predictions"]) == ROWS
    assert server.ask("/predict", [ROW] * (ROWS + 1)).status == 413


def pixels(server: Running) -> None:
    import base64

    def sized(side: int, extra: int) -> list[dict[str, Any]]:
        file = base64.b64encode(picture(np.zeros((side, side, 3), np.uint8))).decode()
        return [{**ROW, "photo": {"bytes": file}}, {**ROW, "photo": [[0] * extra] if extra else None}]

    assert server.ask("/predict", sized(100, 0)).status == 200
    assert server.ask("/predict", sized(100, 1)).status == 413


def header_bytes(server: Running) -> None:
    with connected(server) as connection:
        plain = head(server, path="/v2", method="GET")
        counted = len(plain) - len("GET ") - len(" HTTP/1.1\r\n") - len("\r\n")
        rest = HEADER_BYTES - counted - len("X: \r\n")
        for more, status in ((0, 200), (1, 431)):
            connection.sendall(head(server, f"X: {'y' * (rest + more)}", path="/v2", method="GET"))
            assert answer(connection)[0] == status


def connections(server: Running) -> None:
    time.sleep(0.3)  # those of the test before are gone
    held = [connected(server) for _ in range(CONNECTIONS)]
    try:
        held[-1].sendall(head(server, path="/v2", method="GET"))
        assert answer(held[-1])[0] == 200
        with connected(server) as one_more:
            assert code(answer(one_more)) == (503, "unavailable")
            assert ended(one_more)
    finally:
        for one in held:
            one.close()
    time.sleep(0.3)
    assert server.ask("/v2").status == 200


def header_timeout_s(server: Running) -> None:
    with connected(server) as silent, connected(server) as slow, connected(server) as fast:
        fast.sendall(head(server, path="/v2", method="GET")[:20])
        time.sleep(HEADER_S * 0.3)
        fast.sendall(head(server, path="/v2", method="GET")[20:])
        assert answer(fast)[0] == 200
        begun_s = time.monotonic()
        slow.sendall(b"GET /v2 HTTP/1.1\r\n")
        trickle(slow, b"X: y\r\n", 0.1, HEADER_S + SLACK_S)
        assert code(answer(slow)) == (408, "timeout")
        assert HEADER_S * 0.9 < time.monotonic() - begun_s < HEADER_S + SLACK_S
        assert ended(slow)
        assert ended(silent)


def trickle(connection: socket.socket, piece: bytes, every_s: float, for_s: float) -> None:
    """Send a piece again and again in a thread, until the server has enough of it."""

    def send() -> None:
        until_s = time.monotonic() + for_s
        try:
            while time.monotonic() < until_s:
                connection.sendall(piece)
                time.sleep(every_s)
        except OSError:
            return

    threading.Thread(target=send, daemon=True).start()


def body_timeout_s(server: Running) -> None:
    with connected(server) as slow:
        begun_s = time.monotonic()
        slow.sendall(head(server, "Content-Length: 100000"))
        trickle(slow, b" ", 0.1, BODY_S + SLACK_S)
        assert code(answer(slow)) == (408, "timeout")
        assert BODY_S * 0.9 < time.monotonic() - begun_s < BODY_S + SLACK_S
        assert ended(slow)
    with connected(server) as fast:
        raw = body_of(1000)
        fast.sendall(head(server, f"Content-Length: {len(raw)}") + raw[:500])
        time.sleep(BODY_S * 0.3)
        fast.sendall(raw[500:])
        assert answer(fast)[0] == 200


def keep_alive_s(server: Running) -> None:
    with connected(server) as connection:
        for wait_s in (0.0, KEEP_ALIVE_S * 0.4):
            time.sleep(wait_s)
            connection.sendall(head(server, path="/v2", method="GET"))
            assert answer(connection)[0] == 200
        begun_s = time.monotonic()
        assert ended(connection)
        assert KEEP_ALIVE_S * 0.9 < time.monotonic() - begun_s < KEEP_ALIVE_S + SLACK_S


OUTER: dict[str, Callable[[Running], None]] = {
    one.__name__: one for one in (body_bytes, rows, pixels, header_bytes, connections, header_timeout_s, body_timeout_s, keep_alive_s)
}


def test_every_limit_of_the_table_has_a_test() -> None:
    assert {one.name for one in fields(Limits)} == OUTER.keys() | INNER | ELSEWHERE


@pytest.mark.slow
@pytest.mark.parametrize("limit", OUTER)
def test_a_limit_accepts_n_and_refuses_more(server: Running, limit: str) -> None:
    OUTER[limit](server)


@pytest.mark.slow
def test_a_body_beyond_its_limit_is_refused_before_it_is_sent_whole(server: Running) -> None:
    """Declared, and in chunks without a length; the answer arrives although the client goes on sending."""
    with connected(server) as declared:
        declared.sendall(head(server, "Content-Length: 100000000000"))
        assert code(answer(declared)) == (413, "too_large")
    with connected(server) as chunked:
        chunked.sendall(head(server, "Transfer-Encoding: chunked"))
        trickle(chunked, b"4000\r\n" + b" " * 0x4000 + b"\r\n", 0.0, 10.0)
        assert code(answer(chunked)) == (413, "too_large")


@pytest.mark.slow
def test_a_client_that_waits_for_the_go_on_is_told_before_it_sends(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(head(server, "Content-Length: 300000", "Expect: 100-continue"))
        assert code(answer(connection)) == (413, "too_large")
    with connected(server) as connection:
        raw = body_of(500)
        connection.sendall(head(server, f"Content-Length: {len(raw)}", "Expect: 100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(raw)
        assert answer(connection)[0] == 200


@pytest.mark.slow
def test_others_are_answered_while_clients_hang(server: Running) -> None:
    hanging = [connected(server) for _ in range(CONNECTIONS - 5)]
    try:
        for place, one in enumerate(hanging):
            one.sendall(head(server, "Content-Length: 5000")[: -1 if place % 2 else None])
        times = []
        for _ in range(20):
            begun_s = time.monotonic()
            assert server.ask("/predict", [ROW]).status == 200
            times.append(time.monotonic() - begun_s)
        assert sorted(times)[10] < 1.0
        for one in hanging:
            assert answer(one)[0] == 408
    finally:
        for one in hanging:
            one.close()


@pytest.mark.slow
def test_a_client_that_does_not_read_its_answers_is_let_go(server: Running) -> None:
    with connected(server) as greedy:
        greedy.sendall(head(server, path="/openapi.json", method="GET") * 90)  # about 5 MB of answers
        counted(server, "reading", BODY_S + 3 * SLACK_S)
    assert server.ask("/predict", [ROW]).status == 200


@pytest.mark.slow
def test_requests_do_not_pile_up_behind_one(server: Running) -> None:
    with connected(server) as greedy:
        trickle(greedy, head(server, path="/v2", method="GET") * 2 * MOST_PIPELINED, 0.0, SLACK_S)
        counted(server, "pipelined", 3 * SLACK_S)
    assert server.ask("/predict", [ROW]).status == 200


def counted(server: Running, limit: str, within_s: float) -> None:
    """Return when a connection was closed by this limit."""
    until_s = time.monotonic() + within_s
    while f'refused_total{{limit="{limit}"}} 1.0'.encode() not in server.ask("/metrics").body:
        assert time.monotonic() < until_s
        time.sleep(0.2)


@pytest.mark.slow
def test_a_client_that_leaves_in_the_middle_is_forgotten(server: Running) -> None:
    for _ in range(20):
        with connected(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(head(server, "Content-Length: 5000") + b"[")
    assert server.ask("/predict", [ROW]).status == 200
    assert server.ask("/admin/status").json()["models"]["tiny"]["champion"]["in_flight"] == 0


@pytest.mark.slow
def test_two_requests_on_one_connection_are_answered_in_order(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(head(server, path="/v2/health/live", method="GET") + head(server, path="/v2", method="GET"))
        assert answer_pair(connection) == [{"live": True}, "weighbridge"]


def answer_pair(connection: socket.socket) -> list[Any]:
    got = b""
    while got.count(b"\r\n\r\n") < 2 or not got.endswith(b"}"):
        got += connection.recv(65536)
    bodies = [json.loads(part.partition(b"\r\n\r\n")[2]) for part in got.split(b"HTTP/1.1 200")[1:]]
    return [bodies[0], bodies[1]["name"]]


def certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate for localhost, of a day, and its key."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    built = built.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
    built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    files[1].chmod(0o600)
    return files


@pytest.mark.slow
def test_tls_answers_and_its_slow_clients_are_let_go(tmp_path: Path) -> None:
    make_package(tmp_path / "tiny", photos=False)
    cert, key = certificate(tmp_path)
    options = ["--tls-cert", str(cert), "--tls-key", str(key), "--limit", "header_timeout_s=1"]
    with running([f"tiny={tmp_path / 'tiny'}"], tmp_path / "state", *options) as server:
        context = ssl.create_default_context(cafile=str(cert))
        with connected(server) as plain, context.wrap_socket(plain, server_hostname="localhost") as wrapped:
            wrapped.sendall(head(server, path="/v2", method="GET"))
            assert answer(wrapped)[0] == 200
            wrapped.sendall(b"GET /v2 HTTP/1.1\r\n")
            assert code(answer(wrapped)) == (408, "timeout")
        with connected(server) as plain:
            plain.sendall(head(server, path="/v2", method="GET"))
            assert ended(plain)
