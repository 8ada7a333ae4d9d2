"""Who made a package: an Ed25519 signature (RFC 8032) over its manifest, which lists every other file with its hash.

    signature.json   {"algorithm": "Ed25519", "format": 1, "public_key": base64 of 32 bytes, "signature": base64 of 64 bytes}

It stands beside manifest.json and is not listed there. What is signed is `statement`: a text that names its own purpose and format, so that
no signature made for another purpose fits, with the SHA-256 of manifest.json's bytes. There is one algorithm and nothing to choose.

A public key file is PEM as `openssl pkey -pubout` writes it. The `cryptography` library is imported only where there is a signature.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import DependencyError, PackageError, UsageError
from weighbridge.runtime.json_file import AGAIN, parse_json, refuse_newer
from weighbridge.storage import canonical_json, sha256_bytes

FILE = "signature.json"
FORMAT = 1
ALGORITHM = "Ed25519"
KEY_BYTES, SIGNATURE_BYTES = 32, 64
MOST_KEY_FILE_BYTES = 64 << 10
SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: the DER before the 32 bytes of an Ed25519 public key
PEM = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----")
INSTALL = "pip install cryptography"
MAKE = "weigh deploy key NAME makes a key pair, NAME.public.pem is the public one"

Trust = Collection[bytes | str | os.PathLike[str]]


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A signature that verifies: the fingerprint of its key, and whether that key is one of those trusted."""

    fingerprint: str
    trusted: bool

    def __str__(self) -> str:
        return f"signed by {self.fingerprint}" + ("" if self.trusted else ", not on a trust list")


def fingerprint(key: bytes) -> str:
    """Return the name of a public key (32 bytes): the first half of its SHA-256, as 32 hex digits."""
    return sha256_bytes(key)[:32]


def statement(manifest: bytes) -> bytes:
    """Return the bytes that a signature of a package signs, given the bytes of its manifest.json."""
    return f"weighbridge package signature\nformat {FORMAT}\nalgorithm {ALGORITHM}\nmanifest sha256 {sha256_bytes(manifest)}\n".encode(
        "ascii"
    )


def read_keys(trust: Trust) -> frozenset[bytes]:
    """Return the public keys, 32 bytes each, of PEM files; keys given as bytes are taken as they are.

    Raises UsageError for what is not an Ed25519 public key, a private one among them.
    """
    return frozenset(_key(one) if isinstance(one, bytes) else key_of_pem(_text(Path(one)), str(one)) for one in trust)


def verify_signature(where: Path, manifest: bytes, content: bytes | None, trust: Trust | None) -> Signature | None:
    """Return whose signature the package bears; None where it bears none and nobody is asked for.

    Args:
        manifest: the bytes of manifest.json. content: those of signature.json, None where there is none.
        trust: the keys of which one must have signed; None accepts any, and unsigned packages; an empty list accepts nothing.
    Raises: PackageError for a signature that does not verify, whatever is trusted, and for a package of nobody who is.
    """
    known = None if trust is None else read_keys(trust)
    if content is None:
        if known is not None:
            raise PackageError(f"{where} is not signed ({FILE} is missing), and only signed packages are trusted here", do=_whose(known))
        return None
    key, signature = _read(where, content)
    if known is not None and key not in known:
        raise PackageError(f"{where} is signed by {fingerprint(key)}, a key that is not trusted here", do=_whose(known))
    if not _verifies(key, signature, statement(manifest)):
        what = f"{FILE} of {where} does not sign its manifest.json: one of the two was changed, or it belongs to another package"
        raise PackageError(what, do=AGAIN)
    return Signature(fingerprint=fingerprint(key), trusted=known is not None)


def signature_json(key: bytes, signature: bytes) -> str:
    """Return the content of signature.json, in the one spelling that is read."""
    encoded = {name: base64.b64encode(part).decode("ascii") for name, part in (("public_key", key), ("signature", signature))}
    return canonical_json({"algorithm": ALGORITHM, "format": FORMAT, **encoded}) + "\n"


def pem_of_key(key: bytes) -> str:
    """Return the PEM text of a public key of 32 bytes."""
    return f"{PEM[0]}\n{base64.b64encode(SPKI + key).decode('ascii')}\n{PEM[1]}\n"


def key_of_pem(text: str, name: str) -> bytes:
    """Return the 32 bytes of the public key that a PEM text holds. Raises UsageError that names the file."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any("PRIVATE KEY" in line for line in lines):
        raise UsageError(f"{name} holds a private key", do="give the public one; a private key stays where packages are signed")
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True) if (lines[:1], lines[-1:]) == ([PEM[0]], [PEM[1]]) else b""
    except (binascii.Error, ValueError):
        der = b""
    if len(der) != len(SPKI) + KEY_BYTES or not der.startswith(SPKI):
        raise UsageError(f"{name} does not hold one {ALGORITHM} public key as PEM", do=MAKE)
    return der[len(SPKI) :]


def _read(where: Path, content: bytes) -> tuple[bytes, bytes]:
    """Return key and signature of a file in the one form and spelling that there is. Raises PackageError."""
    value = parse_json(content, FILE)
    refuse_newer(value, FILE, newest=FORMAT)
    if set(value) != {"algorithm", "format", "public_key", "signature"} or value["algorithm"] != ALGORITHM:
        raise PackageError(f"{FILE} of {where} is not an {ALGORITHM} signature, the only kind that is read", do=AGAIN)
    key, signature = _decoded(value["public_key"]), _decoded(value["signature"])
    whole = len(key) == KEY_BYTES and len(signature) == SIGNATURE_BYTES
    if not whole or content != signature_json(key, signature).encode("ascii"):
        raise PackageError(f"{FILE} of {where} does not have the form of a signature", do=AGAIN)
    return key, signature


def _verifies(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise DependencyError("the package is signed, and signatures are verified by cryptography", do=INSTALL) from None
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return b""


def _key(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise UsageError(f"a public key of {len(key)} bytes is none of {ALGORITHM}, which has {KEY_BYTES}", do=MAKE)
    return key


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_KEY_FILE_BYTES).decode("ascii")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a PEM file", do=MAKE) from None
    except OSError as error:
        raise UsageError(f"the public key {path} can not be read ({error.strerror})", do=MAKE) from None


def _whose(known: frozenset[bytes]) -> str:
    names = ", ".join(sorted(map(fingerprint, known))[:5])
    return f"trusted: {names}; give the maker's public key, once you have it from the maker" if known else "no key is trusted: give one"
