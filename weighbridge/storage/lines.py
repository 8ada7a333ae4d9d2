"""A file of JSON lines that only grows: a line is whole and on the disk when `append_line` returns, or it is not there.

What a kill or a full disk left of a line is cut away before the next one is written, and is not read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from weighbridge.errors import RunError
from weighbridge.storage.files import current_disk, make_folder, named_storage_errors

LOCK_WAIT_S = 30.0


def append_line(path: Path, value: dict[str, Any]) -> None:
    """`value` is the last line of `path`, on the disk; safe beside other processes. Raises StorageError: nothing was added; RunError."""
    from filelock import FileLock, Timeout

    line = (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode()
    make_folder(path.parent)
    try:
        with FileLock(path.parent / f".{path.name}.lock", timeout=LOCK_WAIT_S), named_storage_errors(path):
            _append(path, line)
    except Timeout:
        raise RunError(f"another process writes {path}", do="wait for it to end and try again") from None


def _append(path: Path, line: bytes) -> None:
    new = not path.exists()
    with open(path, "ab+") as file:
        end = _whole(file)
        file.truncate(end)
        try:
            current_disk().write(file, line)
            file.flush()
            current_disk().sync(file)
        except OSError:
            os.truncate(path, end)
            raise
    if new:
        current_disk().sync_folder(path.parent)


def _whole(file: Any) -> int:
    """Return where the last whole line ends."""
    size = file.seek(0, os.SEEK_END)
    position = size
    while position > 0:
        start = max(0, position - 65536)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        position = start
    return 0


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines, oldest first; [] where there is no file. Raises RunError for a whole line that is no JSON object."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path} can not be read ({error.strerror})", do="see who may read it") from None
    found = []
    for number, line in enumerate(raw[: raw.rfind(b"\n") + 1].splitlines(), 1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise RunError(f"{path} line {number} is damaged", do="restore it from a copy")
        found.append(value)
    return found
