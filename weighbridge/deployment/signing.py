"""Signing a package: a key pair, and the signature over a package's manifest (weighbridge.runtime.signature says what is signed).

A private key is a PEM file (PKCS #8, as `openssl genpkey -algorithm ed25519` writes it) that its owner alone can read.
"""

from __future__ import annotations

import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from weighbridge.errors import DependencyError, PackageError, UsageError
from weighbridge.findings import Finding, Message
from weighbridge.runtime.package import MANIFEST, open_package, read_manifest
from weighbridge.runtime.signature import ALGORITHM, FILE, INSTALL, MAKE, Signature, fingerprint, pem_of_key, signature_json, statement
from weighbridge.storage import atomic_path, write_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OWNER_ONLY = 0o600
OTHERS = 0o077
PRIVATE, PUBLIC = ".private.pem", ".public.pem"
MOST_KEY_BYTES = 64 << 10


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """Two new files, and the name of the public key."""

    private: Path
    public: Path
    fingerprint: str


def make_key(name: Path) -> KeyPair:
    """`NAME.private.pem` (mode 0600) and `NAME.public.pem` hold a new key pair. Raises UsageError where one of them exists."""
    private, public = name.parent / f"{name.name}{PRIVATE}", name.parent / f"{name.name}{PUBLIC}"
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists", do="give another name: a key that is overwritten signs nothing any more")
    key: Ed25519PrivateKey = _ed25519().Ed25519PrivateKey.generate()
    with atomic_path(private) as temporary, open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb") as file:
        file.write(_pem(key))
    made = key.public_key().public_bytes_raw()
    write_text(public, pem_of_key(made))
    return KeyPair(private=private, public=public, fingerprint=fingerprint(made))


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in a PEM file. Raises UsageError: missing, open to others, encrypted, not Ed25519; DependencyError."""
    kind = _ed25519().Ed25519PrivateKey
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            content = file.read(MOST_KEY_BYTES)
    except OSError as error:
        raise UsageError(
            f"the private key {path} can not be read ({error.strerror})", do="weigh deploy key NAME makes a key pair"
        ) from None
    if os.name != "nt" and stat.S_IMODE(mode) & OTHERS:
        raise UsageError(f"the private key {path} can be read by others than its owner", do=f"chmod 600 {path}")
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise UsageError(f"the private key {path} is encrypted", do="decrypt it first: openssl pkey -in FILE -out FILE") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{path} does not hold a private key as PEM", do=MAKE) from None
    if not isinstance(key, kind):
        raise UsageError(f"{path} holds a key of another kind than {ALGORITHM}", do=MAKE)
    return key  # type: ignore[no-any-return]  # `kind` is what was imported here


def sign_package(package: Path, key: Ed25519PrivateKey) -> tuple[Signature, Signature | None]:
    """The package, a folder or a .zip, bears the key's signature; returns it, and the verified one that it replaces, if any.

    What it signs was verified against the manifest first; a signature that stood there and did not verify is replaced. Atomic.
    Raises PackageError for a package that is not what its manifest lists, StorageError.
    """
    manifest = read_manifest(package)
    try:
        before = open_package(package)[0].signature
    except PackageError:
        before = None  # what it lists is whole, as was read: its signature is not
    public = key.public_key().public_bytes_raw()
    content = signature_json(public, key.sign(statement(manifest)))
    if package.is_dir():
        write_text(package / FILE, content)
    else:
        _write_into_archive(package, content)
    return Signature(fingerprint=fingerprint(public), trusted=True), before


def signature_finding(signature: Signature | None, command: str) -> Finding:
    """Return whether the package says who made it."""
    if signature is None:
        reason = Message("nothing shows who made the package; deployment.sign.key signs it, or: weigh deploy sign PACKAGE --key FILE")
    else:
        reason = Message("whoever has the public key {name} can tell that the package is the maker's", name=signature.fingerprint)
    return Finding(
        key="deployment.signature",
        title=Message("Signature of the package"),
        value="not signed" if signature is None else "signed",
        reason=reason,
        method=Message("Ed25519 over the manifest, which lists every file with its SHA-256"),
        source="RFC 8032",
        command=f"{command} --only signature",
    )


def _write_into_archive(package: Path, content: str) -> None:
    """The .zip holds the signature beside its manifest, and everything else as before."""
    with zipfile.ZipFile(package) as old, atomic_path(package) as temporary, zipfile.ZipFile(temporary, "w") as new:
        for entry in old.infolist():
            folder, _, name = entry.filename.rpartition("/")
            if name != FILE:
                new.writestr(entry, old.read(entry))
            if name == MANIFEST:
                new.writestr(f"{folder}/{FILE}" if folder else FILE, content)


def _pem(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _ed25519() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise DependencyError("packages are signed by cryptography", do=INSTALL) from None
    return ed25519
