"""API keys: who may do what at a server. The file that is kept holds a hash of each; a key itself is shown once, when it is made.

A key is `wb_`, an id of 10 hex digits that may be shown anywhere, and a secret of 256 random bits. Its hash is one keyed BLAKE2b: slow
hashes (argon2, scrypt) exist for passwords, which have few bits and can be guessed one after the other; 2**256 secrets can not, at any
speed, and a slow hash a request would be an open door for overload. So a request costs microseconds and no verified secret is cached.
The BLAKE2b key is drawn for each file, so that two servers' files say nothing about each other.

`KeyFile` changes the file, from the command line or an admin's route; `Keys` is the running server's view, which looks at most once a
second whether the file is another: a revoked key stops working without a restart. A file that is gone or damaged lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weighbridge.errors import RunError, UsageError, did_you_mean
from weighbridge.serving.quota import Allowance
from weighbridge.storage import make_folder, read_json, write_private
from weighbridge.storage.hashes import canonical_json

ROLES = ("predict", "label", "admin")
NAME = "keys.json"
FORMAT = 1
LOOK_S = 1.0
LOCK_WAIT_S = 10.0
PATTERN = re.compile(r"wb_([0-9a-f]{10})_[A-Za-z0-9_-]{43}", re.ASCII)
NO_HASH = bytes(32)
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """What is known of a key: everything but its secret. Times are seconds since 1970 (UTC)."""

    id: str
    name: str
    roles: frozenset[str]
    hash: bytes = field(repr=False)
    made_s: float
    expires_s: float | None = None
    revoked_s: float | None = None
    allowance: Allowance = field(default_factory=Allowance)

    def why_not(self, now_s: float) -> str:
        """Return why the key opens nothing now, or an empty string."""
        if self.revoked_s is not None:
            return f"was revoked on {day(self.revoked_s)}"
        if self.expires_s is not None and now_s >= self.expires_s:
            return f"expired on {day(self.expires_s)}"
        return ""


class KeyFile:
    """The keys of the state folder `folder`; every change is atomic and made under a lock, so that two commands lose nothing."""

    def __init__(self, folder: Path, *, clock: Clock = time.time) -> None:
        self.path, self._clock = folder / NAME, clock

    def list(self) -> list[Key]:
        """Return every key, the oldest first, revoked ones too; none without a file. Raises RunError for a damaged file."""
        return list(_read(self.path)[1].values()) if self.path.exists() else []

    def add(
        self, name: str, roles: Iterable[str], *, expires_in_s: float | None = None, allowance: Allowance | None = None
    ) -> tuple[Key, str]:
        """A new key is in the file; return it and its text, which is nowhere else. Raises UsageError, StorageError."""
        with self._changed() as (hashing, keys):
            return self._insert(hashing, keys, _name(name), _roles(roles), expires_in_s, allowance or Allowance())

    def first(self) -> tuple[Key, str] | None:
        """Where there is no file yet, it is made with one admin key, which is returned; None where there is one."""
        make_folder(self.path.parent)
        with self._locked():
            if self.path.exists():
                return None
            hashing, keys = secrets.token_bytes(32), dict[str, Key]()
            made = self._insert(hashing, keys, "first", frozenset({"admin"}), None, Allowance())
            _write(self.path, hashing, keys)
            return made

    def revoke(self, key: str) -> Key:
        """The key opens nothing any more; when it was revoked is kept. Raises UsageError for an id that there is not."""
        with self._changed() as (_, keys):
            found = _found(keys, key)
            keys[found.id] = found if found.revoked_s is not None else replace(found, revoked_s=self._clock())
            return keys[found.id]

    def rotate(self, key: str, *, grace_s: float) -> tuple[Key, str]:
        """A new key has the name, roles and bounds of an old one, which opens for `grace_s` more. Raises UsageError."""
        with self._changed() as (hashing, keys):
            old = _found(keys, key)
            if why := old.why_not(self._clock()):
                raise UsageError(f"key {key} {why}", do="make a new one with `weigh keys add`")
            lifetime_s = None if old.expires_s is None else old.expires_s - old.made_s
            ends_s = min(self._clock() + grace_s, old.expires_s or float("inf"))
            keys[old.id] = replace(old, expires_s=ends_s)
            return self._insert(hashing, keys, old.name, old.roles, lifetime_s, old.allowance)

    def _insert(
        self, hashing: bytes, keys: dict[str, Key], name: str, roles: frozenset[str], expires_in_s: float | None, allowance: Allowance
    ) -> tuple[Key, str]:
        if expires_in_s is not None and not 0 < expires_in_s < 1e10:
            raise UsageError(f"a key can not expire in {expires_in_s:g} seconds", do="give a time in the future, such as 90d")
        ident = next(one for one in iter(lambda: secrets.token_hex(5), "") if one not in keys)
        text = f"wb_{ident}_{secrets.token_urlsafe(32)}"
        now_s = self._clock()
        ends_s = None if expires_in_s is None else now_s + expires_in_s
        keys[ident] = Key(
            id=ident, name=name, roles=roles, hash=hashed(hashing, text), made_s=now_s, expires_s=ends_s, allowance=allowance
        )  # fmt: skip
        return keys[ident], text

    @contextmanager
    def _changed(self) -> Iterator[tuple[bytes, dict[str, Key]]]:
        make_folder(self.path.parent)
        with self._locked():
            hashing, keys = _read(self.path) if self.path.exists() else (secrets.token_bytes(32), {})
            yield hashing, keys
            _write(self.path, hashing, keys)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.path.with_name(".keys.lock"), timeout=LOCK_WAIT_S, mode=0o600):
                yield
        except Timeout:
            raise RunError(f"another process changes {self.path}", do="wait for it to end and try again") from None


class Keys:
    """The keys that open a running server, as the file says now or said a second ago. Not for threads."""

    def __init__(self, folder: Path, *, clock: Clock = time.time, monotonic: Clock = time.monotonic) -> None:
        """Raises RunError when there is no file, or a damaged one: a server must not start as if it had no keys."""
        self.path, self._clock, self._monotonic = folder / NAME, clock, monotonic
        self._seen, self._looked_s = self._stamp(), monotonic()
        self._hashing, self._keys = _read(self.path)
        self.damage = ""

    def check(self, text: str) -> Key | str:
        """Return the key that `text` is, or why it opens nothing: what is said of a key is said only to who has its secret."""
        if self._monotonic() - self._looked_s >= LOOK_S:
            self._look()
        parts = PATTERN.fullmatch(text)
        if parts is None:
            return "is no key of this form"
        key = self._keys.get(parts[1])
        if not hmac.compare_digest(hashed(self._hashing, text), key.hash if key else NO_HASH) or key is None:
            return "is not known"
        return key.why_not(self._clock()) or key

    def _look(self) -> None:
        self._looked_s = self._monotonic()
        seen = self._stamp()
        if seen == self._seen:
            return
        try:
            self._hashing, self._keys = _read(self.path)
            self.damage = ""
        except RunError as error:
            self._keys, self.damage = {}, str(error)
        self._seen = seen

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def hashed(hashing: bytes, text: str) -> bytes:
    """Return the 32 bytes that are kept of a key's text."""
    return hashlib.blake2b(text.encode("utf-8"), digest_size=32, key=hashing, person=b"wb api key 1").digest()


def day(moment_s: float) -> str:
    """Return the UTC day of a moment, such as 2026-11-26."""
    return datetime.fromtimestamp(moment_s, UTC).date().isoformat()


def _name(name: str) -> str:
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise UsageError(f"a key's name has 1 to 100 printable characters, not {name[:100]!r}", do="name who or what uses it")
    return name


def _roles(roles: Iterable[str]) -> frozenset[str]:
    chosen = frozenset(roles)
    for role in sorted(chosen.difference(ROLES)):
        raise UsageError(f"there is no role '{role}'{did_you_mean(role, ROLES)}", do=f"known: {', '.join(ROLES)}")
    if not chosen:
        raise UsageError("a key needs a role", do=f"give one or more of {', '.join(ROLES)}")
    return chosen


def _found(keys: dict[str, Key], key: str) -> Key:
    if key not in keys:
        shown = f" '{key}'" if re.fullmatch(r"[0-9a-f]{1,10}", key) else ""  # a whole key, given by mistake, is not printed
        raise UsageError(f"there is no key with the id{shown}{did_you_mean(key, keys) if shown else ''}", do="see `weigh keys list`")
    return keys[key]


def _write(path: Path, hashing: bytes, keys: dict[str, Key]) -> None:
    told = [
        {
            "id": key.id,
            "name": key.name,
            "roles": sorted(key.roles),
            "hash": key.hash.hex(),
            "made_s": key.made_s,
            "expires_s": key.expires_s,
            "revoked_s": key.revoked_s,
            **key.allowance.told(),
        }
        for key in keys.values()
    ]
    lines = ",\n".join(f"  {canonical_json(one)}" for one in told)
    write_private(path, f'{{"format": {FORMAT}, "hashing": "{hashing.hex()}", "keys": [\n{lines}\n]}}\n'.encode())


def _read(path: Path) -> tuple[bytes, dict[str, Key]]:
    """Return the BLAKE2b key and the keys by id. Raises RunError in one line for anything that `_write` does not write."""
    told = read_json(path)
    if os.name != "nt" and stat.S_IMODE(_mode(path)) & 0o077:
        raise RunError(f"others may read or change {path}", do=f"chmod 600 {path}")
    if isinstance(told, dict) and told.get("format", FORMAT) != FORMAT:
        raise RunError(f"{path} has format {told['format']!r}, this Weighbridge reads {FORMAT}", do="use the version that wrote it")
    try:
        keys = [_key(one) for one in told["keys"]]
        hashing = bytes.fromhex(told["hashing"])
        if len(hashing) != 32 or len({key.id for key in keys}) != len(keys):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError, UsageError):
        raise RunError(
            f"{path} is no file of keys, or was damaged", do="restore it from a copy, or move it away for a new admin key"
        ) from None
    return hashing, {key.id: key for key in keys}


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError as error:
        raise RunError(f"{path} can not be read ({error.strerror})", do="try again") from None


def _key(told: dict[str, Any]) -> Key:
    digest = bytes.fromhex(told["hash"])
    if not re.fullmatch(r"[0-9a-f]{10}", told["id"]) or len(digest) != 32:
        raise ValueError
    return Key(
        id=told["id"],
        name=_name(told["name"]),
        roles=_roles(told["roles"]),
        hash=digest,
        made_s=float(told["made_s"]),
        expires_s=None if told["expires_s"] is None else float(told["expires_s"]),
        revoked_s=None if told["revoked_s"] is None else float(told["revoked_s"]),
        allowance=Allowance.of(told),
    )
