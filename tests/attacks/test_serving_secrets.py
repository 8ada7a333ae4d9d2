"""Law: what is secret reaches no log, no metric, no trail, no file beside its own and no answer, wherever a client or an operator put it.

A real server with TLS, tokens of OpenID Connect and a key of the vault in its environment; secrets are planted in every place that a
request or a start has, right ones and wrong ones. The harness shows that it is alive: it finds what it plants in a log of its own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("joserfc")
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.unit.certificates import write_pair
from tests.unit.runtime_packages import make_package
from tests.unit.serving_servers import Running, running
from weighbridge.serving.keys import KeyFile
from weighbridge.serving.redact import Redacting, redact
from weighbridge.storage.vault_keys import add_key

ROW = {"age": 4, "city": "Oslo", "seen": None, "tags": ["a"], "photo": None}
ISSUER = ECKey.generate_key("P-256", {"kid": "one"})


@dataclass
class Planted:
    """A running server, and every secret that was planted by the name of its place."""

    server: Running
    state: Path
    certificate: Path
    metrics: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)  # what a caller may find in the answer to its own request, and nowhere else
    secret: dict[str, str] = field(default_factory=dict)

    def send(self, *lines: str, path: str = "/predict", method: str = "POST", body: bytes = b"") -> int:
        """Send a request as it is written here, keep the answer, return its status."""
        context = ssl.create_default_context(cafile=self.certificate)
        head = [f"{method} {path} HTTP/1.1", *lines, f"Content-Length: {len(body)}", "Connection: close", "", ""]
        if not any(line.startswith("Host:") for line in lines):
            head.insert(1, "Host: localhost")
        got = b""
        with (
            socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as one,
        ):
            one.sendall("\r\n".join(head).encode("latin-1") + body)
            with contextlib.suppress(ConnectionResetError, ssl.SSLError):
                while piece := one.recv(65536):
                    got += piece
        self.answers.append(got)
        return int(got.split(b" ", 2)[1]) if got else 0


def canary(name: str) -> str:
    return f"canary-{name}-{secrets.token_hex(12)}"


def token(**claims: object) -> str:
    return jwt.encode({"alg": "ES256", "kid": "one"}, {"iss": "https://i.example", "aud": "us", "exp": time.time() + 600, **claims}, ISSUER)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("secrets")
    place = canary("path")
    make_package(folder / place / "tiny")
    certificate, key = write_pair(folder / place)
    (folder / "jwks.json").write_text(json.dumps({"keys": [ISSUER.as_dict(private=False)]}))
    (folder / "oidc.json").write_text(
        json.dumps(
            {"issuer": "https://i.example", "audience": "us", "jwks": str(folder / "jwks.json"), "claim": "r", "roles": {"p": ["predict"]}}
        )
    )
    add_key(folder / "vault.key")
    vault_key = (folder / "vault.key").read_text().strip()
    state = folder / "state"
    options = [
        "--tls-cert",
        str(certificate),
        "--tls-key",
        str(key),
        "--oidc",
        str(folder / "oidc.json"),
        "--packages",
        str(folder / place),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGHBRIDGE_KEY", vault_key)
        with running([f"tiny={folder / place / 'tiny'}"], state, *options) as server:
            found = Planted(server, state, certificate)
            found.secret |= {
                "folder of the package and the TLS key": place,
                "vault key": vault_key,
                "TLS key": key.read_text().splitlines()[1],
            }
            plant(found)
            yield found


def plant(place: Planted) -> None:
    """Send a secret in every place that a request has."""
    good = KeyFile(place.state).add("one", ["predict"])[1]
    time.sleep(1.1)  # the server looks once a second
    wrong = f"wb_{'0' * 10}_{secrets.token_urlsafe(32)}"
    right_token, old_token = token(sub="ada", r=["p"]), token(sub="ada", r=["p"], exp=time.time() - 900)
    tail = {"admin key in x-api-key": place.server.key, "key in Authorization": good, "wrong key": wrong}
    place.secret |= {name: text[14:] for name, text in tail.items()}
    place.secret |= {name: text.rpartition(".")[2] for name, text in {"token": right_token, "expired token": old_token}.items()}
    auth, rows = f"Authorization: Bearer {good}", json.dumps([ROW]).encode()
    assert place.send(f"X-Api-Key: {place.server.key}", body=rows) == 200
    assert place.send(auth, body=rows) == 200
    assert place.send(f"Authorization: Bearer {right_token}", body=rows) == 200
    assert place.send(f"Authorization: Bearer {wrong}") == 401
    assert place.send(f"Authorization: Bearer {old_token}") == 401
    for name in (
        "basic password",
        "key in the query",
        "key in the path",
        "cookie",
        "referer",
        "user agent",
        "forwarded",
        "host",
        "origin",
        "kid",
    ):
        place.secret[name] = canary(name.replace(" ", "-"))
    said = place.secret
    basic = base64.b64encode(f"ada:{said['basic password']}".encode()).decode()
    place.secret["basic password in base64"] = basic
    header = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "kid": said["kid"]}).encode()).decode().rstrip("=")
    assert place.send(f"Authorization: Basic {basic}") == 401
    assert place.send(f"Authorization: Bearer {header}.e30.AAAA") == 401
    assert place.send(path=f"/predict?key={said['key in the query']}", body=rows) == 401
    assert place.send(auth, path=f"/predict?key={said['key in the query']}", body=rows) == 400
    assert place.send(auth, path=f"/{said['key in the path']}/predict", body=rows) == 404
    assert (
        place.send(f"Cookie: key={said['cookie']}", f"Referer: https://a.example/?{said['referer']}", f"User-Agent: {said['user agent']}")
        == 401
    )
    assert place.send(auth, f"X-Forwarded-For: {said['forwarded']}", f"Forwarded: for={said['forwarded']}", body=rows) == 200
    assert place.send(f"Host: {said['host']}.example", auth) == 421
    assert place.send(auth, f"Origin: https://{said['origin']}.example", body=rows) == 403
    own(place, auth)
    admin = f"X-Api-Key: {place.server.key}"
    for package in ("../x", "no-such", "tiny/../../x"):
        assert place.send(admin, path="/admin/models/tiny/swap", body=json.dumps({"package": package}).encode()) in (400, 404, 422)
    for path in ("/metrics", "/v2", "/v2/models/tiny", "/admin/status", "/openapi.json"):
        assert place.send(admin, path=path, method="GET") == 200
    place.metrics.append(place.answers[-5])


def own(place: Planted, auth: str) -> None:
    """Send what is secret to all but the caller: values of rows, fields and names of files."""
    for name in ("value of a row", "unknown column", "broken JSON", "field of a form", "content type"):
        place.own[name] = canary(name.replace(" ", "-"))
    said = place.own
    assert place.send(auth, body=json.dumps([ROW | {"age": said["value of a row"]}]).encode()) == 422
    assert place.send(auth, body=json.dumps([ROW | {said["unknown column"]: 1}]).encode()) in (200, 400, 422)
    assert place.send(auth, body=b'[{"' + said["broken JSON"].encode()) == 400
    form = f'--b\r\nContent-Disposition: form-data; name="{said["field of a form"]}"; filename="x"\r\n\r\nx\r\n--b--\r\n'.encode()
    assert place.send(auth, "Content-Type: multipart/form-data; boundary=b", body=form) in (400, 422)
    assert place.send(auth, f"Content-Type: {said['content type']}", body=b"x") in (400, 415)


def files_of(place: Planted) -> dict[str, bytes]:
    """Everything that the server wrote, but for the file in which the tests keep their admin key."""
    return {path.name: path.read_bytes() for path in place.state.rglob("*") if path.is_file() and path.name != "key-of-tests"}


def seen(secret: dict[str, str], texts: dict[str, bytes]) -> list[tuple[str, str]]:
    return [(name, where) for name, text in secret.items() for where, content in texts.items() if text.encode() in content]


@pytest.mark.slow
def test_no_planted_secret_is_found_anywhere(planted: Planted, record: Callable[..., None]) -> None:
    assert b"weighbridge" in planted.metrics[0], "the metrics were read"
    assert any(b"login.refused" in content for content in files_of(planted).values()), "the trail was written"
    written = files_of(planted) | {"metrics": planted.metrics[0]}
    answers = {f"answer {at}": content for at, content in enumerate(planted.answers)}
    found = seen(planted.secret | planted.own, written) + seen(planted.secret, answers)
    assert found == []
    for name, text in planted.own.items():
        assert sum(text.encode() in content for content in planted.answers) <= 1, f"{name} was told to another caller"
    n = len(planted.secret) + len(planted.own)
    assert n >= 12
    record("secrets.canaries", len(found), n=n)


@pytest.mark.slow
def test_errors_name_no_place_of_the_server(planted: Planted) -> None:
    for content in planted.answers:
        for word in (str(planted.state), "site-packages", "Traceback", "weighbridge/serving", '.py"', "/tmp/"):
            assert word.encode() not in content


@pytest.mark.slow
def test_the_harness_finds_what_a_careless_log_would_hold(planted: Planted) -> None:
    log = "\n".join(f"POST /predict?key={text} HTTP/1.1" for text in planted.secret.values()).encode()
    assert len(seen(planted.secret, {"log": log})) == len(planted.secret)


REDACTED = [
    ("GET /predict?api_key=abcdefgh1234 HTTP/1.1", "abcdefgh1234"),
    ("Authorization: Bearer wb_0123456789_" + "A" * 43, "A" * 43),
    ("x-api-key: wb_0123456789_" + "B-_" * 14 + "B", "B-_B"),
    ("nothing around:wb_0123456789_" + "C" * 43 + "rest", "C" * 43),
    ("token eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl end", "c2lnbmF0dXJl"),
    ("Authorization: Basic YWRhOnBhc3N3b3Jk", "YWRhOnBhc3N3b3Jk"),
    ("password=correct-horse&x=1", "correct-horse"),
    ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY----- after", "MHcCAQEE"),
    ("cut -----BEGIN PRIVATE KEY-----\nMHcCAQEE", "MHcCAQEE"),
]


@pytest.mark.parametrize(("text", "secret"), REDACTED)
def test_a_text_is_redacted_before_it_is_written(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize("text", ["", "predict", "wb_0123456789", "the bearer of this", "a token of thanks", "5 rows, 3 columns", "eyJ"])
def test_what_is_no_secret_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_log_record_is_redacted_with_its_arguments_and_its_exception() -> None:
    import logging

    key = "wb_0123456789_" + "A" * 43
    try:
        raise ValueError(f"bad {key}")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "got %s", (key,), (ValueError, error, error.__traceback__))
    assert Redacting().filter(record)
    assert "A" * 10 not in logging.Formatter().format(record)
