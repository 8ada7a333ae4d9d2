"""A package as one .zip file: read into memory, within limits, and never unpacked to a disk.

Nothing in an archive is trusted: names are those that a package may hold and no others, each once; the sizes that it declares are checked
before a byte is read, and counted while reading; links, devices, encrypted and nested entries are refused.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path

from weighbridge.errors import PackageError

MOST_ENTRIES = 16
MOST_RATIO = 200  # a model's weights hardly shrink; zeros shrink a thousandfold (and up to the 1 MiB below anything may)
RATIO_FROM = 1 << 20
PIECE = 1 << 20
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
REGULAR = (0, stat.S_IFREG)


def read_archive(path: Path, limits: dict[str, int]) -> dict[str, bytes]:
    """Return name -> content of the files in a .zip, which may all lie in one folder of it.

    Args:
        limits: the names that may be there, and the most bytes of each.
    Raises: PackageError that names the entry and the rule; before that entry is read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(path, archive, limits)
            return {name: _content(path, archive, entry, limits[name]) for name, entry in entries.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise PackageError(f"{path} is not a whole archive ({str(error)[:120]})", do="build or download the package again") from None


def _entries(path: Path, archive: zipfile.ZipFile, limits: dict[str, int]) -> dict[str, zipfile.ZipInfo]:
    found = archive.infolist()
    if len(found) > MOST_ENTRIES:
        raise _refused(path, f"holds {len(found):,} entries, a package has at most {MOST_ENTRIES}")
    folders = {entry.orig_filename for entry in found if entry.orig_filename.endswith("/")}
    files = [entry for entry in found if not entry.orig_filename.endswith("/")]
    prefix = _prefix([entry.orig_filename for entry in files])
    if folders - {prefix}:
        raise _refused(path, f"holds the folder {sorted(folders - {prefix})[0][:80]!r}")
    chosen: dict[str, zipfile.ZipInfo] = {}
    for entry in files:
        name = entry.orig_filename.removeprefix(prefix)  # filename was cut at a NUL and had its separators turned
        if name not in limits:
            raise _refused(path, f"holds {entry.orig_filename[:80]!r}, which is not a file of a package")
        if name in chosen:
            raise _refused(path, f"holds {name!r} twice")
        _check(path, entry, limits[name])
        chosen[name] = entry
    return chosen


def _prefix(names: list[str]) -> str:
    """Return the one folder (with its slash) that all names lie in, or "": it names nothing, so any plain word will do."""
    folders = {name.partition("/")[0] if "/" in name else "" for name in names}
    folder = folders.pop() if len(folders) == 1 else ""
    plain = folder.strip(".") and not any(mark in folder for mark in "\\:\0")
    return f"{folder}/" if plain else ""


def _check(path: Path, entry: zipfile.ZipInfo, most: int) -> None:
    """Raise PackageError unless the entry is a plain file within its limits."""
    name = entry.orig_filename[:80]
    if stat.S_IFMT(entry.external_attr >> 16) not in REGULAR:
        raise _refused(path, f"holds {name!r} as a link or a device")
    if entry.flag_bits & 1:
        raise _refused(path, f"holds {name!r} encrypted")
    if entry.compress_type not in METHODS:
        raise _refused(path, f"holds {name!r} in the compression method {entry.compress_type}; stored and deflated are read")
    if entry.file_size > most:
        raise _refused(path, f"declares {entry.file_size:,} bytes for {name!r}, at most {most:,} are read")
    if entry.file_size > max(RATIO_FROM, MOST_RATIO * entry.compress_size):
        raise _refused(path, f"declares {entry.file_size:,} bytes for {name!r} from {entry.compress_size:,} compressed ones")


def _content(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    pieces, size = [], 0
    with archive.open(entry) as stream:
        while piece := stream.read(PIECE):
            size += len(piece)
            if size > min(most, entry.file_size):
                raise _refused(path, f"holds more bytes in {entry.orig_filename[:80]!r} than it declares")
            pieces.append(piece)
    return b"".join(pieces)


def _refused(path: Path, what: str) -> PackageError:
    return PackageError(f"{path} {what}", do="a package's archive holds its files and nothing else: zip the package folder again")
