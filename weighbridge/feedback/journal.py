"""The journal: what a serving process answered, on disk before the answer leaves, and moved into the database later.

One process appends to one file at a time, in one write a batch; so its own death, by SIGKILL too, loses nothing that was appended. A power
cut may lose what the last `sync_s` seconds appended, because the disk is asked to keep it only that often (0: before every answer).

A line is JSON that guards itself, `["<crc32>",<number>,{record}]`: the checksum covers what follows it, the number counts the lines of the
file from 0. A line that was cut, changed or taken out is found when the file is read (journal_reading.py). A full or failing disk stops
no answer unless `strict`: records wait in memory within `hold_bytes`, then are counted as lost; the count is written when the disk is back.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import secrets
import sys
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from weighbridge.errors import StorageError
from weighbridge.storage.files import PART, current_disk, storage_error

Record = Mapping[str, Any]
Inputs = Literal["keep", "fingerprint", "none"]
FOLDER = "journal"  # of a server's state folder; here, since log.py takes a database library along
SUFFIX = ".jsonl"
ROOM_EVERY_S = 1.0  # how often the size of all waiting journals is looked at
KEY_FILE = ".fingerprint-key"


class Vault(Protocol):
    """What seals inputs (weighbridge.storage.vault): only who has the key and names the same context can open them."""

    def seal(self, plaintext: bytes, context: bytes) -> bytes: ...
    def open(self, sealed: bytes, context: bytes) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How far journals may grow.

    Attributes:
        rotate_bytes: a file that has reached it is closed and another begun.
        most_bytes: all waiting files of the folder together; beyond it new records are lost and counted.
        hold_bytes: records that wait in memory for a disk that refuses.
        sync_s: the disk is asked to keep what was appended at least so often; 0 before every answer, None never.
    """

    rotate_bytes: int = 32 << 20
    most_bytes: int = 4 << 30
    hold_bytes: int = 16 << 20
    sync_s: float | None = 1.0


@dataclass(frozen=True, kw_only=True)
class JournalState:
    """Counts since this journal was opened: records that came, that wait in memory, that were lost; times that the disk refused.

    `error` is the line of its last refusal, "" while it works.
    """

    appended: int = 0
    held: int = 0
    lost: int = 0
    refusals: int = 0
    error: str = ""


def guarded(number: int, payload: bytes) -> bytes:
    """Return the line that holds `payload`, JSON without a line break, as number `number` of its file."""
    rest = b"%d,%b]" % (number, payload)
    return b'["%08x",%b\n' % (zlib.crc32(rest), rest)


def input_context(id_: str) -> bytes:
    """Return the context to which the inputs of an answer are sealed: they open under its id and no other."""
    return b"prediction/" + id_.encode()


class Journal:
    """Appends to a file of its own in `folder`; safe from several threads of one process.

    vault: seals the inputs of every record. inputs: `keep` them (sealed where there is a vault), a keyed `fingerprint` only, or `none`.
    strict: a record that can not be written raises StorageError, so that the caller can refuse; else it is held, then lost and counted.
    """

    def __init__(
        self, folder: Path, vault: Vault | None = None, *, inputs: Inputs = "keep", bounds: Bounds | None = None, strict: bool = False
    ) -> None:
        self.folder, self.bounds, self.strict = Path(folder), bounds or Bounds(), strict
        self._vault, self._inputs, self._key = vault, inputs, b""
        self._lock, self._state = threading.Lock(), JournalState()
        self._name, self._files = f"{_stamp()}-{os.getpid()}-{secrets.token_hex(4)}", 0
        self._file: IO[bytes] | None = None
        self._number = self._size = self._others = 0
        self._looked_s = -ROOM_EVERY_S
        self._models: dict[str, bytes] = {}
        self._held: list[bytes] = []
        self._lost_since, self._gap = "", 0
        self._retired: list[IO[bytes]] = []
        self._dirty, self._done, self._closed = False, False, threading.Event()
        self._keeper: threading.Thread | None = None

    def describe(self, *, model: str, package: str, kind: str, classes: Sequence[str]) -> None:
        """Every file of this journal says what this model is, so that answers can be read and labels checked without its package."""
        about = {"about": "model", "model": model, "package": package, "kind": kind, "classes": list(classes)}
        payload = _json(about)
        with self._lock:
            if self._models.get(model) == payload:
                return
            self._models[model] = payload
            if self._file is not None:
                self._put([payload])

    def append(self, records: Iterable[Record]) -> None:
        """The records are in the file (the process may die now), or held or counted as lost where the disk refuses.

        Keys of a record: `id` (unique), `time` (UTC, ISO 8601), `package`, `model`, `key`, `inputs`, `output` (a float or a list) and
        `latency_s`.
        Raises StorageError only where the journal is strict: then none of these records is kept.
        """
        payloads = [self._payload(record) for record in records]
        with self._lock:
            self._put(payloads)
        self._keep_watch()

    @property
    def state(self) -> JournalState:
        with self._lock:
            return replace(self._state, held=len(self._held))

    def close(self) -> None:
        """What was appended is on the disk, and the file may be moved. Nothing can be appended afterwards."""
        self._closed.set()
        if self._keeper is not None:
            self._keeper.join()
        with self._lock:
            if self._held or self._gap:
                self._put([])
            self._retire()
            for file in self._retired:
                self._finish(file)
            self._retired, self._done = [], True

    def _payload(self, record: Record) -> bytes:
        """Return the record as JSON; inputs sealed, reduced to a fingerprint or left out, as this journal keeps them."""
        kept = dict(record)
        inputs = kept.pop("inputs", None)
        if inputs is not None and self._inputs != "none":
            plain = _json(inputs)
            if self._inputs == "fingerprint":
                kept["fingerprint"] = self._fingerprint(plain)
            elif self._vault is not None:
                kept["sealed"] = b64encode(self._vault.seal(plain, input_context(kept["id"]))).decode("ascii")
            else:
                kept["inputs"] = inputs
        return _json(kept)

    def _fingerprint(self, plain: bytes) -> str:
        """A keyed hash: without the folder's key nobody can try inputs until one fits."""
        if not self._key:
            self._key = fingerprint_key(self.folder)
        return hashlib.blake2b(plain, digest_size=16, key=self._key).hexdigest()

    def _put(self, payloads: list[bytes]) -> None:
        """Write what was held and these in one write; on refusal hold them, or raise where strict."""
        if self._done:
            raise StorageError(f"the journal in {self.folder} is closed", do="open another one")
        gap = [_json({"about": "gap", "lost": self._gap, "since": self._lost_since})] if self._gap else []
        waiting = [*gap, *self._held, *payloads]
        try:
            file = self._open()
            if not self._room(sum(map(len, waiting))):
                raise OSError(0, f"the journals have reached {self.bounds.most_bytes:,} bytes and nobody moves them")
            self._write(file, waiting)
        except OSError as error:
            self._refused(error, payloads)
            return
        self._held, self._gap, self._lost_since = [], 0, ""
        self._state = replace(self._state, appended=self._state.appended + len(payloads), error="")
        if self._size >= self.bounds.rotate_bytes:
            self._retire()

    def _write(self, file: IO[bytes], payloads: list[bytes]) -> None:
        """All lines are in the file, or it is cut back to what it held before."""
        block = b"".join(guarded(self._number + place, payload) for place, payload in enumerate(payloads))
        try:
            current_disk().write(file, block)
            file.flush()
            if self.bounds.sync_s == 0:
                current_disk().sync(file)
        except OSError:
            self._cut_back(file)
            raise
        self._number += len(payloads)
        self._size += len(block)
        self._dirty = True

    def _cut_back(self, file: IO[bytes]) -> None:
        """What was half written is gone; where even that is refused, the file is left with a torn end, which readers know."""
        try:
            file.truncate(self._size)
            file.seek(self._size)
        except OSError:
            self._retire()

    def _refused(self, error: OSError, payloads: list[bytes]) -> None:
        told = storage_error(error, self.folder)
        self._state = replace(self._state, refusals=self._state.refusals + 1, error=str(told))
        if self.strict:
            raise told from None
        room = self.bounds.hold_bytes - sum(map(len, self._held))
        for payload in payloads:
            room -= len(payload)
            if room >= 0:
                self._held.append(payload)
                continue
            self._lost_since = self._lost_since or datetime.datetime.now(datetime.UTC).isoformat()
            self._gap += 1
            self._state = replace(self._state, lost=self._state.lost + 1)

    def _room(self, wanted: int) -> bool:
        """Whether the folder may grow by so many bytes; other files are measured once a second."""
        now = time.monotonic()
        if now - self._looked_s >= ROOM_EVERY_S:
            self._looked_s, self._others = now, folder_bytes(self.folder) - self._size
        return self._others + self._size + wanted <= self.bounds.most_bytes

    def _open(self) -> IO[bytes]:
        """Return this journal's file; a new one is locked before it gets its name, so that nobody takes it for a finished one."""
        if self._file is not None:
            return self._file
        disk = current_disk()
        disk.make_folder(self.folder)
        path = self.folder / f"{self._name}-{self._files:06d}{SUFFIX}"
        started = path if sys.platform == "win32" else path.parent / f".{path.name}{PART}"
        file = disk.open(started)
        try:
            os.chmod(started, 0o600)
            hold(file)
            self._number = self._size = 0
            if self._models:
                self._write(file, list(self._models.values()))
            if started != path:
                disk.replace(started, path)
            disk.sync_folder(self.folder)
        except OSError:
            with contextlib.suppress(OSError):
                file.close()
            started.unlink(missing_ok=True)
            raise
        self._file, self._files = file, self._files + 1
        return file

    def _retire(self) -> None:
        """The next record begins a new file; this one is synced and let go, by the keeper where there is one."""
        file, self._file = self._file, None
        self._looked_s = -ROOM_EVERY_S
        if file is None:
            return
        if self._keeper is None:
            self._finish(file)
        else:
            self._retired.append(file)

    def _finish(self, file: IO[bytes]) -> None:
        try:
            if self.bounds.sync_s is not None:
                current_disk().sync(file)
        except OSError as error:
            self._not_kept(error)
        finally:
            with contextlib.suppress(OSError):
                file.close()

    def _not_kept(self, error: OSError) -> None:
        told = str(storage_error(error, self.folder))
        self._state = replace(self._state, refusals=self._state.refusals + 1, error=told)

    def _keep_watch(self) -> None:
        if self._keeper is None and self.bounds.sync_s:
            self._keeper = threading.Thread(target=self._keep, name="journal", daemon=True)
            self._keeper.start()

    def _keep(self) -> None:
        """Every `sync_s`: the disk keeps what was appended, closed files are let go, held records are tried again."""
        while not self._closed.wait(self.bounds.sync_s):
            with self._lock:
                retired, self._retired = self._retired, []
                file, dirty = self._file, self._dirty
                self._dirty = False
                if self._held or self._gap:
                    self._put([])
            if dirty and file is not None and file not in retired:
                self._sync(file)
            for one in retired:
                self._finish(one)

    def _sync(self, file: IO[bytes]) -> None:
        """Sync without the lock: an answer never waits for the disk. After a failed sync nothing later goes into that file."""
        try:
            current_disk().sync(file)
        except OSError as error:
            with self._lock:
                self._not_kept(error)
                if self._file is file:
                    self._retire()


def folder_bytes(folder: Path) -> int:
    """Return the size of all journals in a folder."""
    total = 0
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def fingerprint_key(folder: Path) -> bytes:
    """Return the key of the folder's fingerprints, 32 random bytes, made once for all processes. Raises StorageError."""
    path = folder / KEY_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            fresh = folder / f".{KEY_FILE}.{secrets.token_hex(4)}{PART}"
            fresh.touch(mode=0o600)
            fresh.write_bytes(secrets.token_bytes(32))
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)  # the first of several processes wins, whole
            fresh.unlink()
        return path.read_bytes()
    except OSError as error:
        raise storage_error(error, path) from None


def hold(file: IO[bytes]) -> bool:
    """Whether this process holds the file now; the system lets go of it when the process dies. On Windows an open file can not be moved."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _json(value: Any) -> bytes:
    import orjson

    return orjson.dumps(value)


def _stamp() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")
