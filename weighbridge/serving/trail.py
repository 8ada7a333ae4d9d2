"""The audit trail: who did what and when, in lines that can not be changed, removed, added or moved without being found.

Each line is one JSON object in canonical form: its number `n`, `time`, `who`, `what`, `detail`, `before` (the hash of the line before) and
`hash` (SHA-256 of the line without it). So a change in the middle breaks the chain. Whoever may write the files may also cut the end off,
or write everything anew with right hashes: that is what an **anchor** finds, the number of lines and the hash of the last one, kept where
that person can not write. What came after the last anchor is not protected from them; so anchors are exported often (`weigh trail anchor`,
or `anchor_file`, which gets one with every rotation and when a server stops).

A line is on the disk (fsync) before `add` returns. Files are opened for append only and go on in a new one beyond `FILE_BYTES`; the chain
goes through them. The server and the command line may write in turn: each append holds the lock of the folder and looks whether the other
one wrote.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weighbridge.errors import RunError, StorageError
from weighbridge.serving.redact import redacted
from weighbridge.storage import canonical_json, make_folder, sha256_bytes
from weighbridge.storage.files import named_storage_errors

START = "0" * 64
FILE = re.compile(r"trail-(\d{6})\.jsonl", re.ASCII)
WHAT = re.compile(r"[a-z_]+(\.[a-z_]+)+", re.ASCII)
FILE_BYTES = 16 << 20
LINE_BYTES = 32 << 10
LOCK_WAIT_S = 10.0
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """How far a trail went: `count` lines, of which the last has the hash `head`."""

    count: int
    head: str

    def __str__(self) -> str:
        return f"{self.count}:{self.head}"


class Trail:
    """Appends to the trail in `folder`; safe for threads and beside other processes.

    Args: anchor_file, a file elsewhere (another disk, a write-once mount) which gets an anchor with each rotation and on `close`.
    """

    def __init__(self, folder: Path, *, anchor_file: Path | None = None, clock: Clock = time.time, file_bytes: int = FILE_BYTES) -> None:
        from filelock import FileLock

        make_folder(folder)
        self.folder, self._anchor_file, self._clock, self._file_bytes = folder, anchor_file, clock, file_bytes
        self._thread, self._lock = threading.Lock(), FileLock(folder / ".trail.lock", mode=0o600, thread_local=False)
        self._at: tuple[Path, int] | None = None
        self._head, self._broken = Anchor(count=0, head=START), ""

    def add(self, what: str, who: str, detail: dict[str, Any] | None = None) -> Anchor:
        """A line is on the disk; return the anchor after it. Secrets in it are replaced.

        Args: what, dotted words such as `key.made`; who, a key's id, `terminal` for the command line.
        Raises StorageError: the disk refused it, and nothing may be acknowledged; RunError: the end of the trail is damaged, or another
        process holds it.
        """
        if not WHAT.fullmatch(what):
            raise ValueError(f"{what!r} is not such as key.made")
        with self._writing():
            return self._append(what, who, detail or {})

    def anchor(self) -> Anchor:
        """Return how far the trail goes now."""
        with self._writing():
            return self._head

    def export(self, path: Path) -> Anchor:
        """The anchor of now is the last line of `path`, on the disk. Raises StorageError."""
        anchor = self.anchor()
        _export(path, anchor, self._clock())
        return anchor

    def close(self) -> None:
        """An anchor is exported where the trail has a file for it. Raises StorageError."""
        if self._anchor_file is not None:
            self.export(self._anchor_file)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """While the block runs this is the only writer, and `_head` and `_at` are those of the disk."""
        from filelock import Timeout

        with self._thread:
            if self._broken:
                raise StorageError(f"the trail in {self.folder} can not be written since {self._broken}", do="start the server again")
            try:
                self._lock.acquire(timeout=LOCK_WAIT_S)
            except Timeout:
                raise RunError(f"another process writes the trail in {self.folder}", do="wait for it to end and try again") from None
            try:
                self._look()
                yield
            finally:
                self._lock.release()

    def _look(self) -> None:
        """Read the end of the trail again where it is not as this object left it; a line that a kill cut off is taken away, and said."""
        files = trail_files(self.folder)
        if not files:
            if self._head.count:
                raise RunError(
                    f"the trail in {self.folder} is gone", do="restore it from a copy; `weigh trail verify` says what is missing"
                )
            self._at = self.folder / "trail-000001.jsonl", 0
            return
        path = files[-1]
        if self._at == (path, path.stat().st_size):
            return
        torn = _cut_torn(path)
        last = _last_line(path) or (_last_line(files[-2]) if len(files) > 1 else None)
        head = Anchor(count=0, head=START) if last is None else _anchor_of(last, path)
        if head.count < self._head.count:
            what = f"the trail in {self.folder} was cut while it was written: it had {self._head.count} lines and has {head.count}"
            raise RunError(what, do="find out who did; restore it from a copy and start the server again")
        self._head = head
        self._at = path, path.stat().st_size
        if torn:
            self._append("trail.mended", "", {"torn_bytes": len(torn), "sha256": sha256_bytes(torn)})

    def _append(self, what: str, who: str, detail: dict[str, Any]) -> Anchor:
        assert self._at is not None
        line = _line(self._head, moment(self._clock()), who, what, detail)
        path, size = self._at
        if size and size + len(line) > self._file_bytes:
            path, size = _next_file(path), 0
            if self._anchor_file is not None:
                _export(self._anchor_file, self._head, self._clock())
        try:
            with named_storage_errors(path):
                _write(path, line, new=size == 0)
        except StorageError as error:
            self._at = None if not trail_files(self.folder) else (path, -1)  # what the disk kept of it is looked at next time
            self._broken = "" if _undone(path, size) else str(error)
            raise
        self._at, self._head = (path, size + len(line)), _anchor_of(line, path)
        return self._head


def trail_files(folder: Path) -> list[Path]:
    """Return the files of a trail in their order."""
    return sorted(path for path in folder.glob("trail-*.jsonl") if FILE.fullmatch(path.name))


def moment(at_s: float) -> str:
    """Return a moment as ISO 8601 in UTC with microseconds."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def sealed(record: dict[str, Any]) -> bytes:
    """Return the line of a record: its canonical JSON with the hash over it."""
    return canonical_json(record | {"hash": sha256_bytes(canonical_json(record).encode())}).encode() + b"\n"


def _line(head: Anchor, now: str, who: str, what: str, detail: dict[str, Any]) -> bytes:
    told = redacted(detail)
    record = {"n": head.count + 1, "time": now, "who": redacted(who)[:200], "what": what, "detail": told, "before": head.head}
    line = sealed(record)
    if len(line) > LINE_BYTES:
        record["detail"] = {"cut": True, "sha256": sha256_bytes(canonical_json(told).encode()), "bytes": len(canonical_json(told))}
        line = sealed(record)
    return line


def _anchor_of(line: bytes, path: Path) -> Anchor:
    try:
        told = json.loads(line)
        return Anchor(count=int(told["n"]), head=str(told["hash"]))
    except (ValueError, KeyError, TypeError):
        raise RunError(f"the last line of {path} is damaged", do="run `weigh trail verify`, and restore it from a copy") from None


def _write(path: Path, line: bytes, *, new: bool) -> None:
    """The line is at the end of the file, and on the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | (os.O_CREAT if new else 0) | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if os.write(handle, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    finally:
        os.close(handle)
    if new and os.name != "nt":
        _sync_folder(path.parent)


def _undone(path: Path, size: int) -> bool:
    """What was written of a line that failed is gone again, on the disk; False where that failed, too."""
    try:
        if path.exists():
            _cut(path, size)
        return True
    except OSError:
        return False


def _cut(path: Path, size: int) -> None:
    handle = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(handle, size)
        os.fsync(handle)
    finally:
        os.close(handle)


def _cut_torn(path: Path) -> bytes:
    """The file ends with a whole line; return what a kill had left of one more, which was never acknowledged."""
    with named_storage_errors(path):
        tail = _tail(path)
        torn = tail[tail.rfind(b"\n") + 1 :]
        if torn:
            _cut(path, path.stat().st_size - len(torn))
        return torn


def _last_line(path: Path) -> bytes | None:
    lines = _tail(path).splitlines()
    return lines[-1] if lines else None


def _tail(path: Path) -> bytes:
    """Return the end of a file, at least its last two lines."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 3 * LINE_BYTES))
        return file.read()


def _next_file(path: Path) -> Path:
    found = FILE.fullmatch(path.name)
    assert found is not None
    return path.with_name(f"trail-{int(found[1]) + 1:06d}.jsonl")


def _export(path: Path, anchor: Anchor, now_s: float) -> None:
    told = {"count": anchor.count, "head": anchor.head, "time": moment(now_s)}
    with named_storage_errors(path):
        make_folder(path.parent)
        _write(path, canonical_json(told).encode() + b"\n", new=not path.exists())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
