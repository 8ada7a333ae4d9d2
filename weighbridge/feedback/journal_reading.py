"""Read journals: each line proven by its checksum and number; a torn end, a damaged or a missing line is counted, never guessed at."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from weighbridge.errors import StorageError
from weighbridge.feedback.journal import SUFFIX, guarded, hold
from weighbridge.storage.files import PART, current_disk, named_storage_errors, storage_error

HEAD = len('["00000000",')
MOST_LINE_BYTES = 256 << 20
DAMAGED_FOLDER = "damaged"
UNBORN_S = 60.0  # a file gets its name within milliseconds


@dataclass(frozen=True, kw_only=True)
class Place:
    """How far a file was read: the byte after the last line, and the number of the line that comes next."""

    offset: int = 0
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line: its record, or None where it is damaged; `missing` lines that should stand before it; the place after it."""

    record: dict[str, Any] | None
    after: Place
    missing: int = 0


def journal_files(folder: Path) -> list[Path]:
    """Return the journals of a folder, oldest first (their names begin with the time)."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def read_lines(path: Path, start: Place | None = None) -> Iterator[Line]:
    """Give the whole lines after `start`; what follows the last line break is left for later. Raises StorageError.

    A writer whose disk refused cuts its file back and writes the same records again: where no sound line with the expected number
    follows, the file is read again from its start. Whoever reads keeps records apart by their id.
    """
    begin = Place() if start is None else start
    with named_storage_errors(path), open(path, "rb") as file:
        if begin.offset and not _goes_on(file, begin):
            begin = Place()
        yield from _lines(file, begin)


def _goes_on(file: IO[bytes], start: Place) -> bool:
    size = os.fstat(file.fileno()).st_size
    if size <= start.offset:
        return size == start.offset
    file.seek(start.offset)
    raw = file.readline(MOST_LINE_BYTES)
    found = _parsed(raw)
    return not raw.endswith(b"\n") or (found is not None and found[0] == start.number)


def _lines(file: IO[bytes], start: Place) -> Iterator[Line]:
    offset, number = start.offset, start.number
    file.seek(offset)
    while (raw := file.readline(MOST_LINE_BYTES)).endswith(b"\n"):
        offset += len(raw)
        found = _parsed(raw)
        if found is None:
            number += 1
            yield Line(record=None, after=Place(offset=offset, number=number))
            continue
        missing, number = max(0, found[0] - number), found[0] + 1
        yield Line(record=found[1], after=Place(offset=offset, number=number), missing=missing)


def _parsed(raw: bytes) -> tuple[int, dict[str, Any]] | None:
    """Return number and record of a line, None where its checksum or form does not hold."""
    import orjson

    rest = raw[HEAD:-1]
    if raw[:HEAD] != b'["%08x",' % zlib.crc32(rest):
        return None
    try:
        _, number, record = orjson.loads(raw)
    except (ValueError, TypeError):
        return None
    return (number, record) if type(number) is int and isinstance(record, dict) else None


def torn_bytes(path: Path, after: Place) -> int:
    """Return how many bytes follow the last whole line: a write that a death cut off."""
    with named_storage_errors(path):
        return max(0, path.stat().st_size - after.offset)


def is_finished(path: Path) -> bool:
    """Whether no living process will append to this file: its writer closed it or is dead. Raises StorageError."""
    with named_storage_errors(path):
        if sys.platform == "win32":
            try:
                os.rename(path, path)  # refused while it is open
            except PermissionError:
                return False
            return True
        with open(path, "rb") as file:
            return hold(file)


def put_away(path: Path, *, damaged: bool) -> None:
    """A finished file that was moved is gone; one with damaged lines is kept under `damaged/` for a person. Raises StorageError."""
    disk = current_disk()
    with named_storage_errors(path):
        if damaged:
            disk.make_folder(path.parent / DAMAGED_FOLDER)
            disk.replace(path, path.parent / DAMAGED_FOLDER / path.name)
        else:
            disk.remove(path)


def sweep_unborn(folder: Path) -> None:
    """No file is left that a writer died on, a minute ago or earlier, before it had its name. Raises StorageError."""
    for path in folder.glob(f".*{SUFFIX}{PART}"):
        with contextlib.suppress(FileNotFoundError), named_storage_errors(path):
            if time.time() - path.stat().st_mtime > UNBORN_S and is_finished(path):
                path.unlink()


def blank(folder: Path, ids: Sequence[str], *, field: str = "id") -> int:
    """Overwrite in place every line whose `field` is one of these ids, in finished, damaged and open journals; return how many lines.

    The lines keep their length, number and a right checksum, so their neighbours are read as before, while their writer goes on. On a
    disk that writes to other blocks than it overwrites (SSD, copy on write) the old bytes may remain under the file system.
    Raises StorageError.
    """
    wanted = {one: b'"%b":%b' % (field.encode(), _quoted(one)) for one in ids}
    files = [*journal_files(folder), *journal_files(folder / DAMAGED_FOLDER)]
    return sum(_blank_in(path, field, wanted) for path in files)


def _blank_in(path: Path, field: str, wanted: dict[str, bytes]) -> int:
    count = 0
    try:
        with open(path, "r+b", buffering=0) as file:
            for offset, size, number in list(_holding(path, field, wanted)):
                os.pwrite(file.fileno(), _blanked(size, number), offset)
                count += 1
            if count:
                os.fsync(file.fileno())
    except FileNotFoundError:  # moved meanwhile
        return 0
    except OSError as error:
        raise storage_error(error, path) from None
    return count


def _holding(path: Path, field: str, wanted: dict[str, bytes]) -> Iterator[tuple[int, int, int]]:
    """Give offset, size and number of each line with such an id; of a damaged one that only seems to have it, too."""
    offset = number = 0
    finished = is_finished(path)
    with open(path, "rb") as file:
        for raw in file:
            found = _parsed(raw)
            number = number if found is None else found[0]
            whole = raw.endswith(b"\n") or finished  # the end of an open file may be in the middle of a write
            if found[1].get(field) in wanted if found is not None else whole and any(one in raw for one in wanted.values()):
                yield offset, len(raw), number
            offset, number = offset + len(raw), number + 1


def _blanked(size: int, number: int) -> bytes:
    """Return a sound line of exactly `size` bytes that says nothing."""
    shell = guarded(number, b'{"about":"erased","pad":""}')
    if size < len(shell):
        return b" " * (size - 1) + b"\n"
    return guarded(number, b'{"about":"erased","pad":"%b"}' % (b"0" * (size - len(shell))))


def _quoted(text: str) -> bytes:
    import orjson

    return orjson.dumps(text)


def waiting_bytes(folder: Path) -> int:
    """Return the size of the journals that wait to be moved. Raises StorageError."""
    try:
        return sum(path.stat().st_size for path in journal_files(folder))
    except FileNotFoundError:  # moved while we looked
        return waiting_bytes(folder)
    except OSError as error:
        raise StorageError(f"can not look into {folder}: {error.strerror}", do="see who may read it") from None
