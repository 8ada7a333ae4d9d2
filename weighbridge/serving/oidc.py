"""OpenID Connect bearer tokens instead of keys: JWTs (RFC 7519) of one issuer for one audience, checked as RFC 8725 asks.

    issuer: https://login.example.org/
    audience: weighbridge
    jwks: https://login.example.org/.well-known/jwks.json     # or a file
    claim: realm_access.roles                                 # where a token says what its holder may do
    roles: {scorers: [predict], labellers: [predict, label]}  # its words, and the roles here

The algorithm is one of an allow-list and must be that of the key's kind: `none` and the HS family (a public key used as a secret) are
never among them. A key is found by its `kid` alone, among the keys of `jwks`; what a token says about where keys are (`jku`, `x5u`, `jwk`)
is not read. Keys are fetched at start, and once more when a token names a key that is not known, at most once a minute; nothing else
reaches for the network. A key that the issuer withdraws is so forgotten at the next fetch or restart, not at once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from weighbridge.errors import DependencyError, UsageError, did_you_mean
from weighbridge.serving.callers import Caller
from weighbridge.serving.hosts import is_loopback
from weighbridge.serving.keys import ROLES
from weighbridge.serving.quota import Allowance

if TYPE_CHECKING:
    from joserfc.jwk import Key

KINDS = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP", "Ed25519": "OKP"}
CURVES = {"ES256": "P-256", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
LEEWAY_S = 60.0
FETCH_EVERY_S, FETCH_TIMEOUT_S = 60.0, 5.0
JWKS_BYTES, TOKEN_BYTES, KID_CHARACTERS, LEAST_RSA_BITS = 256 << 10, 8 << 10, 256, 2048
KNOWN_TOKENS = 10_000
SETTINGS = ("issuer", "audience", "jwks", "algorithms", "claim", "roles", "rate_per_s", "burst", "rows_per_day")
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class OidcSettings:
    """Whose tokens are believed, and what their holders may do. `claim` is a path of dots into the token's claims."""

    issuer: str
    audience: str
    jwks: str
    claim: str
    roles: Mapping[str, frozenset[str]]
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    allowance: Allowance = field(default_factory=Allowance)


class Oidc:
    """Checks tokens. `check` may fetch the issuer's keys; `known` never does and costs a hash. For one event loop."""

    def __init__(self, settings: OidcSettings, *, clock: Clock = time.time, monotonic: Clock = time.monotonic) -> None:
        """Raises UsageError when the keys can not be had or there is none to use; DependencyError without joserfc."""
        try:
            import joserfc  # noqa: F401 - asked for here, so that a start says it and not the first request
        except ImportError:
            raise DependencyError("tokens of OpenID Connect need joserfc", do="pip install 'weighbridge[oidc]'") from None
        self.settings, self._clock, self._monotonic = settings, clock, monotonic
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._keys, self._fetched_s, self._fetching = read_jwks(fetch_jwks(settings.jwks)), monotonic(), asyncio.Lock()

    def known(self, token: str) -> Caller | None:
        """Return whose token it is when it was checked before and has not expired."""
        digest = hashlib.sha256(token.encode()).digest()
        found = self._known.get(digest)
        if found is None:
            return None
        if self._clock() >= found[1]:
            del self._known[digest]
            return None
        return found[0]

    async def check(self, token: str) -> Caller | str:
        """Return whose token it is, or why it opens nothing, in words that hold nothing of it."""
        try:
            algorithm, kid = self._header(token)
            key = _chosen(self._keys, kid, algorithm)
            if key is None and await self._fetch_again():
                key = _chosen(self._keys, kid, algorithm)
            if key is None:
                return "names a key that the issuer does not have"
            claims = _verified(token, key, algorithm)
            ends_s = self._in_time(claims)
            caller = self._caller(claims)
        except _Refuse as why:
            return str(why)
        self._known[hashlib.sha256(token.encode()).digest()] = caller, ends_s
        if len(self._known) > KNOWN_TOKENS:
            self._known.popitem(last=False)
        return caller

    def _header(self, token: str) -> tuple[str, str | None]:
        """Return algorithm and key id of a token; nothing of it is believed yet."""
        if len(token) > TOKEN_BYTES or not token.isascii():
            raise _Refuse(f"is longer than {TOKEN_BYTES} bytes, or not ASCII")
        header = _json(token.partition(".")[0])
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self.settings.algorithms:
            raise _Refuse(f"is not signed with one of {', '.join(self.settings.algorithms)}")
        if "crit" in header or header.get("b64", True) is not True or "enc" in header or "zip" in header:
            raise _Refuse("has a header that is not understood here")
        if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= KID_CHARACTERS):
            raise _Refuse("has a kid that is no short text")
        return str(algorithm), kid

    async def _fetch_again(self) -> bool:
        """The issuer's keys are those of now, at most once a minute; return whether they were fetched."""
        async with self._fetching:
            if self._monotonic() - self._fetched_s < FETCH_EVERY_S:
                return False
            self._fetched_s = self._monotonic()
            try:
                keys = read_jwks(await asyncio.to_thread(fetch_jwks, self.settings.jwks))
            except UsageError:
                return False  # the issuer can not be reached: what was known goes on, and the next minute tries again
            self._keys = keys
            self._known.clear()
            return True

    def _in_time(self, claims: dict[str, Any]) -> float:
        """Return when the token ends, leeway included."""
        now_s = self._clock()
        ends_s, begins_s, made_s = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
        if ends_s is None:
            raise _Refuse("does not say when it expires")
        if now_s >= ends_s + LEEWAY_S:
            raise _Refuse("has expired")
        if max(begins_s or 0, made_s or 0) > now_s + LEEWAY_S:
            raise _Refuse("is not valid yet")
        return ends_s + LEEWAY_S

    def _caller(self, claims: dict[str, Any]) -> Caller:
        if claims.get("iss") != self.settings.issuer:
            raise _Refuse("is of another issuer")
        audience = claims.get("aud")
        if self.settings.audience not in (audience if isinstance(audience, list) else [audience]):
            raise _Refuse("is for another audience")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= 200 or not subject.isprintable():
            raise _Refuse("does not say whose it is")
        words = _words(claims, self.settings.claim)
        roles = frozenset(role for word in words for role in self.settings.roles.get(word, ()))
        return Caller(who=f"oidc:{subject}", roles=roles, allowance=self.settings.allowance)


class _Refuse(Exception):  # noqa: N818 - a word of this module
    """Why a token opens nothing."""


def read_settings(path: Path) -> OidcSettings:
    """Return the settings of a YAML or JSON file. Raises UsageError that names the key which does not fit."""
    import yaml

    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path} can not be read as YAML ({type(error).__name__})", do="give a file such as docs/access.md shows"
        ) from None
    if not isinstance(told, dict):
        _wrong(path, "holds no settings")
    for key in told:
        if key not in SETTINGS:
            _wrong(path, f"has the unknown key '{key}'{did_you_mean(str(key), SETTINGS)}")
    for key in ("issuer", "audience", "jwks", "claim"):
        if not isinstance(told.get(key), str) or not told[key]:
            _wrong(path, f"needs a text as '{key}'")
    return OidcSettings(
        issuer=told["issuer"], audience=told["audience"], jwks=told["jwks"], claim=told["claim"], roles=_role_map(path, told.get("roles")),
        algorithms=_algorithms(path, told.get("algorithms", [*OidcSettings.algorithms])), allowance=Allowance.of(told),
    )  # fmt: skip


def fetch_jwks(source: str) -> bytes:
    """Return the key set of a file or an address. Raises UsageError: it can not be had in time, or comes over a plain network."""
    parts = urllib.parse.urlsplit(source)
    if parts.scheme not in ("http", "https"):
        try:
            with open(source, "rb") as file:
                return file.read(JWKS_BYTES + 1)
        except OSError as error:
            raise UsageError(f"the keys of the issuer in {source} can not be read ({error.strerror})", do="check `jwks`") from None
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UsageError(f"the keys of the issuer would come from {source} without TLS", do="give an address with https")
    try:
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(source, timeout=FETCH_TIMEOUT_S) as answer:
            content: bytes = answer.read(JWKS_BYTES + 1)
            return content
    except (OSError, ValueError) as error:
        raise UsageError(f"the keys of the issuer can not be fetched from {source} ({type(error).__name__})", do="check `jwks`") from None


def read_jwks(content: bytes) -> list[Key]:
    """Return the public keys of a JSON Web Key Set (RFC 7517) that can check a signature here. Raises UsageError for none."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    try:
        told = json.loads(content) if len(content) <= JWKS_BYTES else None
        entries = told["keys"] if isinstance(told, dict) else None
    except (ValueError, KeyError, RecursionError):
        entries = None
    keys = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("kty") not in KINDS.values() or entry.get("use", "sig") != "sig":
            continue  # a symmetric key has no place in a public set
        try:
            keys.append(JWKRegistry.import_key({name: value for name, value in entry.items() if name not in ("d", "key_ops")}))
        except (JoseError, ValueError, TypeError, KeyError):
            continue  # of a curve or a form that is not known here: other keys of the set still serve
    if not keys:
        raise UsageError(
            "the key set of the issuer holds no key that checks a signature", do="check `jwks`: RSA, EC or OKP keys are needed"
        )
    return keys


def _chosen(keys: list[Key], kid: str | None, algorithm: str) -> Key | None:
    """Return the key with this id that fits the algorithm; a token without an id is taken where one key alone fits."""
    fitting = [key for key in keys if _fits(key, algorithm) and (kid is None or key.kid == kid)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(key: Key, algorithm: str) -> bool:
    told = key.as_dict(private=False)
    if told["kty"] != KINDS[algorithm] or told.get("alg", algorithm) not in (
        algorithm,
        *(("EdDSA", "Ed25519") if told["kty"] == "OKP" else ()),
    ):
        return False
    if told["kty"] == "RSA":
        return len(str(told["n"])) * 6 >= LEAST_RSA_BITS
    return told.get("crv") == CURVES[algorithm]


def _verified(token: str, key: Key, algorithm: str) -> dict[str, Any]:
    """Return the claims of a token whose signature is of `key`."""
    from joserfc import jwt
    from joserfc.errors import JoseError, SecurityWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # RFC 9864 renames EdDSA to Ed25519; issuers write the old name for years yet
            claims = jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _Refuse("has no valid signature") from None
    if not isinstance(claims, dict):
        raise _Refuse("holds no claims")
    return claims


def _json(part: str) -> dict[str, Any]:
    try:
        told = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise _Refuse("is no token of this form")
    return told


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    """Return a claim that is a moment; None where there is none."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e12:
        raise _Refuse(f"has a claim {name} that is no moment")
    return float(value)


def _words(claims: dict[str, Any], path: str) -> list[str]:
    """Return the words of a claim: a list of texts, or one text of words with spaces (as `scope`); none where it is another thing."""
    value: Any = claims.get(path) if path in claims else claims  # a name with dots (https://example.org/roles) is one name first
    if path not in claims:
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str):
        return value.split()
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _role_map(path: Path, told: object) -> dict[str, frozenset[str]]:
    if not isinstance(told, dict) or not told:
        _wrong(path, "needs 'roles', such as {scorers: [predict]}")
    found = {}
    for word, roles in told.items():
        chosen = [roles] if isinstance(roles, str) else roles
        if not isinstance(chosen, list) or not chosen:
            _wrong(path, f"gives no role to '{word}'")
        for role in chosen:
            if role not in ROLES:
                _wrong(path, f"gives '{word}' the unknown role '{role}'{did_you_mean(str(role), ROLES)}")
        found[str(word)] = frozenset(chosen)
    return found


def _algorithms(path: Path, told: object) -> tuple[str, ...]:
    if not isinstance(told, list) or not told:
        _wrong(path, f"needs a list as 'algorithms': some of {', '.join(KINDS)}")
    for algorithm in told:
        if algorithm not in KINDS:
            _wrong(path, f"names the algorithm '{algorithm}', which is never taken; known: {', '.join(KINDS)}")
    return tuple(told)


def _wrong(path: Path, what: str) -> NoReturn:
    raise UsageError(f"{path} {what}", do="docs/access.md shows a whole file")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address that sends elsewhere is an error: keys come from where they were said to be."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
