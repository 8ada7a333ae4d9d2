"""Law: a token opens what its claims say when the issuer signed it, for us and for now; every forgery that is known is refused."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("joserfc")
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from weighbridge.errors import UsageError
from weighbridge.serving.access import Access, Denied
from weighbridge.serving.callers import Caller
from weighbridge.serving.hosts import hosts_of
from weighbridge.serving.keys import KeyFile, Keys
from weighbridge.serving.oidc import FETCH_EVERY_S, LEEWAY_S, Oidc, OidcSettings, fetch_jwks, read_jwks, read_settings

ISSUER, AUDIENCE = "https://login.example.org/", "weighbridge"
KEYS = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
}
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
Claims = dict[str, Any]


class Place:
    """An issuer's keys in a file, and the server that believes them."""

    def __init__(self, folder: Path) -> None:
        self.now_s, self.jwks = 1_800_000_000.0, folder / "jwks.json"
        self.publish(*KEYS.values())
        roles = {"scorers": frozenset({"predict"}), "owners": frozenset({"admin", "label"})}
        settings = OidcSettings(issuer=ISSUER, audience=AUDIENCE, jwks=str(self.jwks), claim="realm_access.roles", roles=roles)
        self.oidc = Oidc(settings, clock=self.clock, monotonic=self.clock)

    def clock(self) -> float:
        return self.now_s

    def publish(self, *keys: Any) -> None:
        self.jwks.write_text(json.dumps({"keys": [key.as_dict(private=False) for key in keys]}))

    def claims(self, **other: Any) -> Claims:
        told = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ada",
            "exp": self.now_s + 600,
            "iat": self.now_s,
            "realm_access": {"roles": ["scorers", "x"]},
        } | other
        return {name: value for name, value in told.items() if value is not ...}

    def check(self, token: str) -> Caller | str:
        return asyncio.run(self.oidc.check(token))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def signed(claims: Claims, key: Any = KEYS["RS256"], algorithm: str = "RS256", **header: Any) -> str:
    head = {"alg": algorithm, "kid": key.kid} | header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.encode({name: value for name, value in head.items() if value is not ...}, claims, key, algorithms=[algorithm])


def part(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_a_token_of_the_issuer_opens_what_its_claim_says(place: Place, algorithm: str) -> None:
    token = signed(place.claims(), KEYS[algorithm], algorithm)
    assert place.oidc.known(token) is None
    assert place.check(token) == Caller(who="oidc:ada", roles=frozenset({"predict"}))
    assert place.oidc.known(token) == place.check(token)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"exp": -LEEWAY_S}, "expired"),
        ({"exp": ...}, "when it expires"),
        ({"exp": True}, "no moment"),
        ({"exp": "2030"}, "no moment"),
        ({"exp": None}, "no moment"),
        ({"exp": 1e300}, "no moment"),
        ({"nbf": LEEWAY_S + 1}, "not valid yet"),
        ({"iat": LEEWAY_S + 1}, "not valid yet"),
        ({"nbf": [1]}, "no moment"),
        ({"iss": "https://evil.example/"}, "another issuer"),
        ({"iss": ...}, "another issuer"),
        ({"iss": [ISSUER]}, "another issuer"),
        ({"iss": ISSUER.rstrip("/")}, "another issuer"),
        ({"aud": "other"}, "another audience"),
        ({"aud": ...}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": {"weighbridge": 1}}, "another audience"),
        ({"aud": "weighbridge2"}, "another audience"),
        ({"sub": ...}, "whose it is"),
        ({"sub": ""}, "whose it is"),
        ({"sub": 7}, "whose it is"),
        ({"sub": "a\nb"}, "whose it is"),
        ({"sub": "a" * 201}, "whose it is"),
    ],
)
def test_a_claim_that_does_not_fit_is_named_and_refused(place: Place, change: Claims, why: str) -> None:
    told = {name: place.now_s + value if isinstance(value, float) and value < 1e300 else value for name, value in change.items()}
    token = signed(place.claims(**told))
    assert why in str(place.check(token))
    assert place.oidc.known(token) is None


def test_a_minute_of_a_wrong_clock_is_forgiven_and_no_second_more(place: Place) -> None:
    assert isinstance(place.check(signed(place.claims(exp=place.now_s - LEEWAY_S + 1))), Caller)
    assert isinstance(place.check(signed(place.claims(nbf=place.now_s + LEEWAY_S, iat=place.now_s + LEEWAY_S))), Caller)
    token = signed(place.claims())
    assert isinstance(place.check(token), Caller)
    place.now_s += 600 + LEEWAY_S - 1
    assert place.oidc.known(token) is not None
    place.now_s += 1
    assert place.oidc.known(token) is None
    assert "expired" in str(place.check(token))


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({"realm_access": {"roles": ["owners", "scorers"]}}, {"admin", "label", "predict"}),
        ({"realm_access": {"roles": "scorers other"}}, {"predict"}),
        ({"realm_access": {"roles": []}}, set()),
        ({"realm_access": ...}, set()),
        ({"realm_access": []}, set()),
        ({"realm_access": "owners"}, set()),
        ({"realm_access": {"roles": {"owners": 1}}}, set()),
        ({"realm_access": {"roles": [["owners"], None, 1]}}, set()),
        ({"realm_access": ..., "realm_access.roles": ["scorers"]}, {"predict"}),
        ({"realm_access": {"roles": ["admin"]}}, set()),
    ],
)
def test_roles_come_from_the_map_and_from_nothing_else(place: Place, claims: Claims, roles: set[str]) -> None:
    found = place.check(signed(place.claims(**claims)))
    assert isinstance(found, Caller)
    assert found.roles == roles


def forgeries(place: Place) -> dict[str, str]:
    """Tokens that look right and are not."""
    claims = place.claims(realm_access={"roles": ["owners"]})
    right = signed(claims)
    head, body, signature = right.split(".")
    public_pem = KEYS["RS256"].as_pem(private=False)
    public_json = json.dumps(KEYS["RS256"].as_dict(private=False)).encode()

    def hs256(secret: bytes, **header: Any) -> str:
        text = f"{part({'alg': 'HS256', 'kid': 'rsa'} | header)}.{part(claims)}"
        return f"{text}.{part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"

    own = STRANGER.as_dict(private=False)
    return {
        "none": f"{part({'alg': 'none', 'kid': 'rsa'})}.{part(claims)}.",
        "None": f"{part({'alg': 'NONE', 'kid': 'rsa'})}.{part(claims)}.",
        "none with a signature": f"{part({'alg': 'none', 'kid': 'rsa'})}.{part(claims)}.{signature}",
        "no alg": f"{part({'kid': 'rsa'})}.{part(claims)}.{signature}",
        "alg a list": f"{part({'alg': ['RS256'], 'kid': 'rsa'})}.{part(claims)}.{signature}",
        "HS256 with the public key": hs256(public_pem),
        "HS256 with the public key as JSON": hs256(public_json),
        "HS256 with nothing": hs256(b""),
        "HS256 by the library": signed(claims, OctKey.import_key(b"x" * 32, {"kid": "rsa"}), "HS256"),
        "a stranger's key under the known kid": signed(claims, STRANGER),
        "a stranger's key that it brings along": signed(claims, STRANGER, jwk=own, kid=...),
        "a key that it brings along under the known kid": signed(claims, STRANGER, jwk=own),
        "an address of keys": signed(claims, STRANGER, jku="https://evil.example/jwks"),
        "a certificate's address": signed(claims, STRANGER, x5u="https://evil.example/x"),
        "RS256 under the kid of another kind": signed(claims, KEYS["RS256"], kid="ec"),
        "ES256 under the kid of RSA": signed(claims, KEYS["ES256"], "ES256", kid="rsa"),
        "an empty ES256 signature": f"{part({'alg': 'ES256', 'kid': 'ec'})}.{part(claims)}.{part(bytes(64))}",
        "an unknown kid": signed(claims, STRANGER, kid="other"),
        "kid a path": signed(claims, STRANGER, kid="../../../../dev/null"),
        "kid a file": signed(claims, STRANGER, kid="file:///etc/hostname"),
        "kid with SQL": signed(claims, STRANGER, kid="rsa' OR '1'='1"),
        "kid with a NUL": signed(claims, STRANGER, kid="rsa\x00"),
        "kid empty": signed(claims, STRANGER, kid=""),
        "kid long": signed(claims, STRANGER, kid="r" * 500),
        "kid a number": f"{part({'alg': 'RS256', 'kid': 7})}.{part(claims)}.{signature}",
        "kid an object": f"{part({'alg': 'RS256', 'kid': {'rsa': 1}})}.{part(claims)}.{signature}",
        "crit": f"{part({'alg': 'RS256', 'kid': 'rsa', 'crit': ['exp']})}.{part(claims)}.{signature}",
        "b64": f"{part({'alg': 'RS256', 'kid': 'rsa', 'b64': False})}.{part(claims)}.{signature}",
        "no signature": f"{head}.{body}.",
        "half a signature": f"{head}.{body}.{signature[: len(signature) // 2]}",
        "other claims": f"{head}.{part(claims | {'sub': 'eve'})}.{signature}",
        "other header": f"{part({'alg': 'RS256', 'kid': 'rsa', 'x': 1})}.{body}.{signature}",
        "no JSON": f"{part(b'RS256')}.{body}.{signature}",
        "a list as header": f"{part([1])}.{body}.{signature}",
        "deep": f"{part(b'[' * 5000)}.{body}.{signature}",
        "no base64": f"!!!.{body}.{signature}",
        "empty": "..",
        "long": right + "A" * 9000,
        "not ASCII": right[:-3] + "é",
        "two parts": f"{head}.{body}",
        "five parts": f"{head}.{body}.{signature}.{signature}.{signature}",
        "encrypted": f"{part({'alg': 'RSA-OAEP', 'enc': 'A256GCM', 'kid': 'rsa'})}.{body}.{signature}.{signature}.{signature}",
        "a list of claims": signed_bytes(b"[1]"),
        "claims that are no JSON": signed_bytes(b"{"),
    }


def signed_bytes(payload: bytes) -> str:
    from joserfc import jws

    return jws.serialize_compact({"alg": "RS256", "kid": "rsa"}, payload, KEYS["RS256"], algorithms=["RS256"])


def test_every_forgery_is_refused_in_words_that_hold_nothing_of_it(place: Place, record: Callable[..., None]) -> None:
    made = forgeries(place)
    passed = {name: found for name, token in made.items() if isinstance(found := place.check(token), Caller)}
    assert passed == {}
    for token in made.values():
        why = str(place.check(token))
        assert "eve" not in why
        assert len(why) < 120
    record("oidc.forgeries", len(made), n=len(made))


def test_a_right_token_passes_where_forgeries_were_refused(place: Place) -> None:
    for token in forgeries(place).values():
        place.check(token)
    assert isinstance(place.check(signed(place.claims())), Caller), "the harness refuses forgeries, not everything"


def test_an_unknown_key_is_fetched_once_a_minute_at_most(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr("weighbridge.serving.oidc.fetch_jwks", lambda source: fetched.append(source) or place.jwks.read_bytes())
    new = RSAKey.generate_key(2048, {"kid": "new"})
    token = signed(place.claims(), new)
    for _ in range(5):
        assert "does not have" in str(place.check(token))
    assert fetched == [], "what was fetched at start is not a minute old"
    place.publish(new)
    place.now_s += FETCH_EVERY_S
    old = signed(place.claims())
    assert isinstance(place.check(old), Caller)
    assert isinstance(place.check(token), Caller)
    assert len(fetched) == 1
    assert place.oidc.known(old) is None, "a token of a key that was withdrawn is not remembered"
    assert "does not have" in str(place.check(old))
    place.now_s += FETCH_EVERY_S / 2
    for at in range(20):
        place.check(signed(place.claims(), STRANGER, kid=f"kid{at}"))
    assert len(fetched) == 1


def test_an_issuer_that_is_away_or_sends_rubbish_changes_nothing(place: Place) -> None:
    for content in ("", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}'):
        place.jwks.write_text(content)
        place.now_s += FETCH_EVERY_S
        place.check(signed(place.claims(), STRANGER, kid="other"))
        assert isinstance(place.check(signed(place.claims(sub=f"a{len(content)}"))), Caller)
    place.jwks.unlink()
    place.now_s += FETCH_EVERY_S
    place.check(signed(place.claims(), STRANGER, kid="other"))
    assert isinstance(place.check(signed(place.claims())), Caller)


def test_a_token_without_kid_is_taken_where_one_key_alone_fits(place: Place) -> None:
    token = signed(place.claims(), kid=...)
    assert isinstance(place.check(token), Caller)
    place.publish(KEYS["RS256"], STRANGER)
    place.now_s += FETCH_EVERY_S
    place.check(signed(place.claims(), KEYS["ES256"], "ES256", kid="other"))
    assert isinstance(place.check(signed(place.claims(sub="b"), kid=...)), str)


def test_weak_and_symmetric_keys_of_a_set_are_not_used() -> None:
    secret = {"kty": "oct", "k": part(b"x" * 32), "kid": "secret"}
    encrypting = KEYS["ES256"].as_dict(private=False) | {"use": "enc"}
    good = KEYS["EdDSA"].as_dict(private=True)
    keys = read_jwks(json.dumps({"keys": [secret, encrypting, {"kty": "RSA"}, 7, good]}).encode())
    assert [key.kid for key in keys] == ["ed"]
    assert not keys[0].is_private, "a private key that is published by mistake is not kept"


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"keys": 3}', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}', b"[" * 10_000, b" " * 300_000]
)
def test_a_set_without_a_key_is_an_error_at_start(content: bytes) -> None:
    with pytest.raises(UsageError, match="holds no key"):
        read_jwks(content)


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers /jwks with the keys, /elsewhere with a redirect to it, /big without end."""

    def do_GET(self) -> None:
        content = json.dumps({"keys": [KEYS["RS256"].as_dict(private=False)]}).encode()
        self.send_response(302 if self.path == "/elsewhere" else 200 if self.path != "/gone" else 404)
        self.send_header("location", "/jwks")
        self.end_headers()
        self.wfile.write(b" " * 1_000_000 if self.path == "/big" else content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_come_from_an_address_and_from_no_other_one(address: str) -> None:
    assert [key.kid for key in read_jwks(fetch_jwks(f"{address}/jwks"))] == ["rsa"]
    for path in ("/elsewhere", "/gone"):
        with pytest.raises(UsageError, match="can not be fetched"):
            fetch_jwks(address + path)
    with pytest.raises(UsageError, match="holds no key"):
        read_jwks(fetch_jwks(f"{address}/big"))
    with pytest.raises(UsageError, match="without TLS"):
        fetch_jwks("http://login.example.org/jwks")
    with pytest.raises(UsageError, match="can not be read"):
        fetch_jwks("nowhere.json")


GOOD = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": "jwks.json", "claim": "roles", "roles": {"scorers": ["predict"], "owners": "admin"}}


def test_settings_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "oidc.yaml"
    path.write_text(json.dumps(GOOD | {"algorithms": ["ES256"], "rate_per_s": 5}))
    settings = read_settings(path)
    assert settings.roles == {"scorers": {"predict"}, "owners": {"admin"}}
    assert (settings.algorithms, settings.allowance.rate_per_s) == (("ES256",), 5.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"algorithms": ["HS256"]}, "HS256"),
        ({"algorithms": ["none"]}, "none"),
        ({"algorithms": []}, "needs a list"),
        ({"issuer": ""}, "issuer"),
        ({"audience": 3}, "audience"),
        ({"roles": {}}, "roles"),
        ({"roles": {"a": []}}, "no role"),
        ({"roles": {"a": ["amdin"]}}, "did you mean 'admin'"),
        ({"isuer": "x"}, "did you mean 'issuer'"),
        ({"rate_per_s": -1}, "rate"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path: Path, change: Claims, said: str) -> None:
    path = tmp_path / "oidc.yaml"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(UsageError, match=said):
        read_settings(path)


@pytest.mark.parametrize("content", ["", "[]", "a: [", "!!python/object/apply:os.system ['x']", "\x00"])
def test_what_is_no_file_of_settings_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "oidc.yaml").write_text(content)
    with pytest.raises(UsageError):
        read_settings(tmp_path / "oidc.yaml")


class Way:
    path, methods, roles = "/predict", frozenset({"POST"}), frozenset({"predict"})


def test_a_server_takes_keys_and_tokens_and_a_throttled_address_costs_no_signature(place: Place, tmp_path: Path) -> None:
    _, key = KeyFile(tmp_path).add("one", ["predict"])
    access = Access(Keys(tmp_path), hosts_of("127.0.0.1"), oidc=place.oidc, monotonic=place.clock)

    def status(text: str) -> int:
        headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {text}".encode())]
        found = asyncio.run(access.decide(Way(), "POST", headers, "192.0.2.1"))
        return found.status if isinstance(found, Denied) else 200

    token = signed(place.claims())
    assert [status(token), status(key), status(signed(place.claims(realm_access=...)))] == [200, 200, 403]
    assert [status(signed(place.claims(), STRANGER)) for _ in range(12)] == [401] * 10 + [429] * 2
    assert status(signed(place.claims(sub="b"))) == 429, "a token that is not known yet waits"
    assert [status(token), status(key)] == [200, 200]


def test_a_known_token_costs_no_signature(place: Place, record: Callable[..., None]) -> None:
    token = signed(place.claims())
    began = time.process_time()
    place.check(token)
    first = time.process_time() - began
    began = time.process_time()
    for _ in range(1000):
        place.oidc.known(token)
    again = (time.process_time() - began) / 1000
    assert again < first / 5
    record("oidc.known_us", again * 1e6, n=1000)
