"""Certificate and key of the server: they fit each other, are of today, and a renewed pair is taken up without a restart."""

from __future__ import annotations

import os
import ssl
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.errors import DependencyError, UsageError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SOON_S = 14 * 86_400
LEAST_RSA_BITS, LEAST_EC_BITS = 2048, 224
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A checked certificate: the names that it holds for, when it ends, and what is to be said about it."""

    names: tuple[str, ...]
    ends_s: float
    notes: tuple[str, ...]


class Tls:
    """A server's side of TLS 1.2 and 1.3 with the certificate of two PEM files.

    Raises UsageError in one line when a file is missing, is no PEM, needs a password, does not fit the other, or is not of today.
    """

    def __init__(self, certificate: Path, key: Path, *, clock: Clock = time.time) -> None:
        self._certificate, self._key, self._clock = certificate, key, clock
        self.pair = check_pair(certificate, key, clock())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        self._load()
        self._seen = self._stamp()

    def refresh(self) -> str:
        """Connections from now on get the pair that the files hold now; return what is wrong with it, or "": then the old one goes on."""
        seen = self._stamp()
        if seen == self._seen:
            return ""
        self._seen = seen
        try:
            self.pair = check_pair(self._certificate, self._key, self._clock())
            self._load()
        except UsageError as error:
            return str(error)
        return ""

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError):
            raise UsageError(f"{self._certificate} and {self._key} can not be used for TLS", do="check both with openssl") from None

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in (self._certificate, self._key):
            try:
                state = os.stat(path)
            except OSError:
                continue
            found.append((state.st_ino, state.st_mtime_ns, state.st_size))
        return tuple(found)


def check_pair(certificate: Path, key: Path, now_s: float) -> Pair:
    """Return what the certificate says, when it fits the key and holds now. Raises UsageError, which never has a part of the key."""
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise DependencyError("TLS needs cryptography", do="pip install 'weighbridge[serve]'") from None
    first = _first(certificate)
    content = _read(key, "key")
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise UsageError(f"the key {key} needs a password", do="take it off with: openssl pkey -in KEY -out PLAIN_KEY") from None
    except ValueError:
        raise UsageError(f"{key} holds no private key in PEM", do="give the file that begins with -----BEGIN PRIVATE KEY-----") from None
    if _spki(private.public_key()) != _spki(first.public_key()):
        raise UsageError(f"the key {key} is not that of the certificate {certificate}", do="give the two files that were made together")
    _check_time(first, certificate, now_s)
    size, least = getattr(private, "key_size", 256), LEAST_RSA_BITS if "RSA" in type(private).__name__ else LEAST_EC_BITS
    if size < least:
        raise UsageError(f"the key {key} has {size} bits only", do=f"make one with at least {least}")
    ends_s = first.not_valid_after_utc.timestamp()
    return Pair(names=_names(first), ends_s=ends_s, notes=tuple(_notes(key, ends_s, now_s)))


def _first(path: Path) -> Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_read(path, "certificate"))[0]
    except ValueError:
        raise UsageError(f"{path} holds no certificate in PEM", do="give the file that begins with -----BEGIN CERTIFICATE-----") from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"the {what} {path} can not be read ({error.strerror})", do="check the path and who may read it") from None


def _check_time(found: Certificate, path: Path, now_s: float) -> None:
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    now = datetime.fromtimestamp(now_s, UTC)
    if now >= ends:
        raise UsageError(f"the certificate {path} expired on {ends.date()}", do="renew it")
    if now < begins:
        raise UsageError(f"the certificate {path} holds from {begins.date()} on only", do="check the clock of this machine, or wait")


def _notes(key: Path, ends_s: float, now_s: float) -> list[str]:
    notes = []
    if ends_s - now_s < SOON_S:
        notes.append(f"the certificate ends in {(ends_s - now_s) / 86_400:.1f} days: renew it")
    if os.name != "nt" and stat.S_IMODE(key.stat().st_mode) & 0o077:
        notes.append(f"others may read the key {key}: chmod 600 {key}")
    return notes


def _names(found: Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(one.value) for one in names)


def _spki(key: object) -> bytes:
    from cryptography.hazmat.primitives import serialization

    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # every public key has it
    return encoded


def _no_password() -> str:
    """OpenSSL would ask the terminal otherwise."""
    return ""
