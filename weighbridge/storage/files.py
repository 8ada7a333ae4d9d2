"""Atomic files: a reader sees the old content or the new one, never a part of either.

The order is the one that POSIX file systems need: write to a temporary name in the same folder, flush, fsync the
file, rename over the target, fsync the folder. All disk operations pass through the current `Disk`, so a test can
fail the n-th, or end the process there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from weighbridge.errors import RunError, StorageError

PART = ".part"  # the end of a temporary name: `.<name>.<8 hex digits>.part`


class Disk(Protocol):
    """The operations that writing consists of. Code that streams into `atomic_path` opens and writes its file itself."""

    def make_folder(self, path: Path) -> None: ...
    def open(self, path: Path) -> IO[bytes]: ...
    def write(self, file: IO[bytes], content: bytes) -> None: ...
    def sync(self, file: IO[bytes]) -> None: ...
    def replace(self, source: Path, target: Path) -> None: ...
    def sync_folder(self, folder: Path) -> None: ...
    def remove(self, path: Path) -> None: ...


class OsDisk:
    """The real disk."""

    def make_folder(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def open(self, path: Path) -> IO[bytes]:
        return open(path, "w+b")

    def write(self, file: IO[bytes], content: bytes) -> None:
        file.write(content)

    def sync(self, file: IO[bytes]) -> None:
        file.flush()
        os.fsync(file.fileno())

    def replace(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def sync_folder(self, folder: Path) -> None:
        if os.name == "nt":  # Windows has no handle on a folder to sync
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, path: Path) -> None:
        """`path`, a file or a folder with what it holds, is gone; it may have been gone before."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


_disk: Disk = OsDisk()


@contextlib.contextmanager
def use_disk(disk: Disk) -> Iterator[None]:
    """While the block runs, everything that is written passes through `disk`. For tests; not for threads."""
    global _disk
    before, _disk = _disk, disk
    try:
        yield
    finally:
        _disk = before


def current_disk() -> Disk:
    """Return the disk through which writes pass now: for what appends to a file, which `atomic_path` can not do."""
    return _disk


_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some room and run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some room and run the same command again"),
    errno.EACCES: ("permission is denied", "choose a folder that you may write to"),
    errno.EPERM: ("the operation is not permitted", "choose a folder that you may write to"),
    errno.EROFS: ("the file system is read-only", "choose a folder that you may write to"),
    errno.EIO: ("the disk reported an I/O error", "check the disk; the previous file is intact"),
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return the StorageError that names the file, the reason and what to do."""
    reason, do = _REASONS.get(error.errno or 0, (error.strerror or str(error), "the previous file is intact"))
    return StorageError(f"can not write {path}: {reason}", do=do)


@contextlib.contextmanager
def named_storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that names `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from None


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; when the block ends well, `path` is that file, synced; else it is untouched.

    Raises:
        StorageError: the disk refused; the previous file is intact and the temporary one is removed.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}{PART}"
    try:
        with named_storage_errors(path):
            _disk.make_folder(path.parent)
            yield temporary
            with open(temporary, "rb+") as file:
                _disk.sync(file)
            _disk.replace(temporary, path)
            _disk.sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """`path` holds exactly `content`, synced; on any failure it holds all of the old or of the new. Raises StorageError."""
    with atomic_path(path) as temporary, _disk.open(temporary) as file:
        _disk.write(file, content)


def write_private(path: Path, content: bytes) -> None:
    """`path` holds exactly `content` and only its owner may read it, from the first byte on; atomic like `write_bytes`."""
    with atomic_path(path) as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with _disk.open(temporary) as file:
            _disk.write(file, content)


def write_text(path: Path, text: str) -> None:
    """`path` holds `text` as UTF-8; atomic like `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """`path` holds `value` as readable JSON (UTF-8, NaN refused with ValueError); atomic like `write_bytes`."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def make_folder(path: Path) -> None:
    """`path` is a folder. Raises StorageError."""
    with named_storage_errors(path):
        _disk.make_folder(path)


def remove(path: Path) -> None:
    """`path`, a file or a folder with what it holds, is gone. Raises StorageError."""
    with named_storage_errors(path):
        _disk.remove(path)


def sweep(folder: Path) -> None:
    """No file that a killed writer left unfinished is in `folder` or under it. Only for who holds the folder's lock."""
    with named_storage_errors(folder):
        unfinished = sorted(folder.rglob(f".*{PART}"))
    for left in unfinished:
        remove(left)


def move(source: Path, target: Path) -> None:
    """The file or folder `source` is `target` now, where nothing was before, or a file. Raises StorageError."""
    with named_storage_errors(target):
        _disk.replace(source, target)
        _disk.sync_folder(target.parent)


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`. Raises RunError when it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing", do="run the command that makes it first") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number of 5,000 digits, nested too deep
        raise RunError(f"{path} is not valid JSON ({error})", do="remove it and run the same command again") from None
    except OSError as error:
        raise RunError(f"{path} can not be read ({error.strerror})", do="see who may read it, and what stands in its place") from None


def fresh_folder(path: Path) -> Path:
    """`path` is an empty folder afterwards; what it held is gone. Raises StorageError."""
    with named_storage_errors(path):
        _disk.remove(path)
        _disk.make_folder(path)
    return path
