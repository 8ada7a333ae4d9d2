"""One process per run folder: the lock dies with its holder, so a dead one is taken over."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from weighbridge.errors import RunError, StorageError
from weighbridge.storage.files import make_folder, named_storage_errors, read_json, write_json

NAME_LOOKS, NAME_WAIT_S = 40, 0.05


class FolderLock:
    """Held while the block runs; a second process gets a RunError that names the holder.

    The operating system drops the lock when the holder dies (flock on POSIX, msvcrt on Windows), so no stale lock is
    left to be cleaned. The file `.lock` holds who took it last; it is for the message only.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock

        self.folder = folder
        self._lock = FileLock(folder / ".lock")
        self._holder = folder / ".lock-holder.json"

    def __enter__(self) -> Self:
        from filelock import Timeout

        with named_storage_errors(self.folder):
            make_folder(self.folder)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise RunError(
                    f"{self.folder} is in use by {self._who()}",
                    do="wait for it to end, stop it, or give this run another name with --set name=OTHER",
                ) from None
        try:
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            write_json(self._holder, holder)
        except StorageError:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()

    def _who(self) -> str:
        """Return who holds the lock; a holder writes its name just after it took the lock, so one that is dead is looked at again."""
        import psutil

        words = "another process"
        for _ in range(NAME_LOOKS):
            try:
                holder = read_json(self._holder)
                words = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
                if holder["host"] != socket.gethostname() or psutil.pid_exists(int(holder["pid"])):
                    return words
                words = "another process"
            except (RunError, KeyError, TypeError, ValueError):
                pass
            time.sleep(NAME_WAIT_S)
        return words
