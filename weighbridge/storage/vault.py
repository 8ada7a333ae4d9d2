"""Values that only the holder of a key can read, and that can not be changed or moved: AES-256-GCM (NIST SP 800-38D).

    sealed = "WV1" | key id 8 | salt 16 | nonce 12 | ciphertext | tag 16          55 bytes longer than the plaintext

The header and the caller's `context` (which table, row and column) are associated data: a flipped byte anywhere and a value
that was put into another row are refused. A key is never used for values itself. Each `Vault` object draws a salt and seals
with HKDF-SHA256(key, salt): GCM with random nonces is safe for 2**32 messages a key (SP 800-38D, 8.3), and a bound that is
counted over many processes would need a file that all of them write. A subkey has one object that counts in memory, and a new salt
comes after 2**28 values: 16 forks of one process that go on with its subkey stay within the bound, too. Salts of 128 bits do not meet
by chance. Where keys come from: vault_keys.py.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from weighbridge.errors import DependencyError, VaultError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"WV1"
KEY_BYTES, ID_BYTES, SALT_BYTES, NONCE_BYTES, TAG_BYTES = 32, 8, 16, 12, 16
HEADER_BYTES = len(MAGIC) + ID_BYTES + SALT_BYTES + NONCE_BYTES
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
MESSAGES_A_SUBKEY = 2**28
SUBKEYS_KEPT = 1024


class Vault:
    """Seals with the first of its keys and opens what any of them sealed; safe to use from several threads.

    Args: keys, 32 bytes each, the newest first. Raises VaultError for none, one of another length, or one given twice.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise VaultError(f"a vault needs one or more keys of {KEY_BYTES} bytes", do="make one with `weigh keys vault FILE`")
        self._keys = {key_id(key): bytes(key) for key in keys}
        if len(self._keys) != len(keys):
            raise VaultError("a key of the vault is given twice", do="give each key once, the newest first")
        self._newest = key_id(keys[0])
        self._cipher = functools.lru_cache(maxsize=SUBKEYS_KEPT)(self._subkey_cipher)
        self._lock = threading.Lock()
        self._fresh_salt()

    def __repr__(self) -> str:
        return f"Vault(newest={self._newest.hex()}, keys={len(self._keys)})"  # never a key

    @property
    def newest(self) -> str:
        """The id of the key that seals, 16 hex digits; it tells nothing about the key."""
        return self._newest.hex()

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Return `plaintext` sealed with the newest key; only `open` with the same `context` gives it back."""
        salt, nonce = self._salt_of_one_more(), os.urandom(NONCE_BYTES)
        header = MAGIC + self._newest + salt + nonce
        return header + self._cipher(self._newest, salt).encrypt(nonce, plaintext, header + context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return what was sealed. Raises VaultError: another key, another context, or a changed byte."""
        from cryptography.exceptions import InvalidTag

        key, salt, nonce = _parts(sealed)
        if key not in self._keys:
            raise VaultError(
                f"a value was sealed with key {key.hex()}, which this vault does not hold", do="give the key that sealed it, too"
            )
        try:
            return self._cipher(key, salt).decrypt(nonce, sealed[HEADER_BYTES:], sealed[:HEADER_BYTES] + context)
        except InvalidTag:
            raise VaultError("a sealed value was changed, or stands where it was not sealed", do="restore it from a copy") from None

    def stale(self, sealed: bytes) -> bool:
        """Return whether an older key sealed it, so that `reseal` would change it. Raises VaultError for what is no sealed value."""
        return _parts(sealed)[0] != self._newest

    def reseal(self, sealed: bytes, context: bytes) -> bytes:
        """Return the same value under the newest key; unchanged where it is. Raises VaultError like `open`."""
        plaintext = self.open(sealed, context)  # opened in any case: what is damaged is not called fresh
        return self.seal(plaintext, context) if self.stale(sealed) else sealed

    def _salt_of_one_more(self) -> bytes:
        """Return the salt of the subkey for one more value; it is counted."""
        with self._lock:
            if self._sealed >= MESSAGES_A_SUBKEY:
                self._fresh_salt()
            self._sealed += 1
            return self._salt

    def _fresh_salt(self) -> None:
        self._salt, self._sealed = os.urandom(SALT_BYTES), 0

    def _subkey_cipher(self, key: bytes, salt: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(_hkdf(self._keys[key], salt, b"weighbridge vault 1: value"))


def key_id(key: bytes) -> bytes:
    """Return the 8 bytes that name a key in the header of what it sealed; derived one way, so they may be shown."""
    return _hkdf(key, b"", b"weighbridge vault 1: id")[:ID_BYTES]


def _parts(sealed: bytes) -> tuple[bytes, bytes, bytes]:
    """Return key id, salt and nonce. Raises VaultError when `sealed` is too short or begins otherwise."""
    if len(sealed) < OVERHEAD_BYTES or not sealed.startswith(MAGIC):
        raise VaultError("a value is not sealed, is cut, or was sealed by a newer Weighbridge", do="restore it from a copy")
    at = len(MAGIC)
    return sealed[at : at + ID_BYTES], sealed[at + ID_BYTES : HEADER_BYTES - NONCE_BYTES], sealed[HEADER_BYTES - NONCE_BYTES : HEADER_BYTES]


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256 (RFC 5869)."""
    try:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError:
        raise DependencyError("a vault needs cryptography", do="pip install 'weighbridge[serve]'") from None
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt or None, info=info).derive(key)
