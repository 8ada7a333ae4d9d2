"""Where a source lies: any path or URL that fsspec opens, named exactly when it is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from weighbridge.errors import DataError, DependencyError, did_you_mean

PEEK = 1 << 18
REMARK = b"remark"  # in a batch's metadata: a line that was skipped before its first row


class Meter:
    """How many bytes of a source were read, of how many (None where that is not known beforehand). Compressed ones count as they lie."""

    def __init__(self, total_bytes: int | None = None, total_rows: int | None = None) -> None:
        self.total_bytes, self.total_rows = total_bytes, total_rows
        self._past, self._stream = 0, None

    def watch(self, stream: Any) -> None:
        """The bytes read of this file count from now on, and not those of one that was watched before and did not end."""
        self._stream = stream

    def end(self, size: int) -> None:
        """A file of so many bytes was read to its end."""
        self._past, self._stream = self._past + size, None

    @property
    def done_bytes(self) -> int:
        stream: Any = self._stream
        return self._past + (0 if stream is None or stream.closed else int(stream.tell()))


@dataclass(frozen=True, kw_only=True)
class Place:
    """A file system and the files (sorted) that a path, a folder or a pattern stands for; what is read of them counts on the meter."""

    system: Any
    root: str
    files: tuple[str, ...]
    folder: bool = False
    meter: Meter = field(default_factory=Meter, compare=False)

    @property
    def local(self) -> bool:
        return "file" in ([self.system.protocol] if isinstance(self.system.protocol, str) else self.system.protocol)

    def inner(self, file: str) -> str:
        """Return the file's path inside the root, with forward slashes."""
        return file.removeprefix(self.root).lstrip("/")


def locate(path: str) -> Place:
    """Return the files of a path, URL, folder or pattern. Raises DataError for a missing one, with the nearest name beside it."""
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(path)
    except ImportError as error:
        raise DependencyError(f"{path} needs a library that is not installed ({error})", do=f"pip install {_library(path)}") from None
    except ValueError as error:
        raise DataError(f"{path} can not be opened ({error})", do="give a path, or a URL of a kind that fsspec knows") from None
    with readable(path):
        if any(mark in root for mark in "*?["):
            found = tuple(sorted(system.glob(root)))
            if not found:
                raise DataError(f"no file fits {path}", do="check the pattern")
            return Place(system=system, root=root, files=found)
        if system.isdir(root):
            files = tuple(sorted(file for file in system.find(root) if not _hidden(file.removeprefix(root))))
            return Place(system=system, root=root.rstrip("/"), files=files, folder=True)
        if not system.exists(root):
            raise DataError(f"there is no {path}{did_you_mean(root.rsplit('/', 1)[-1], _siblings(system, root))}", do="check data.source")
    return Place(system=system, root=root, files=(root,))


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn an OSError of the block, and damage of what is compressed, into a DataError that names `path`."""
    import lzma
    import zipfile
    import zlib

    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} is damaged, or not what its ending says ({error})", do="fetch it again") from None
    except OSError as error:
        raise DataError(f"{path} can not be read ({error.strerror or error})", do="check that it is there, whole and open to you") from None


@contextmanager
def open_file(place: Place, file: str) -> Iterator[IO[bytes]]:
    """Give the file's bytes, decompressed by its ending (.gz, .bz2, .xz, .zip)."""
    import fsspec

    opened = fsspec.core.OpenFile(place.system, file, mode="rb", compression=compression(file))
    with readable(file), opened as stream:
        place.meter.watch(opened.fobjects[0])  # beneath what decompresses
        yield stream


def compression(file: str) -> str | None:
    """Return fsspec's name of the compression that the file's ending means, or None."""
    from fsspec.utils import infer_compression

    name: str | None = infer_compression(file)
    return name


def peek(place: Place, file: str, size: int = PEEK) -> bytes:
    """Return the first bytes of a file, decompressed. Raises DataError when it is empty or not what its ending says."""
    with open_file(place, file) as stream:
        head = stream.read(size)
    if not head:
        raise DataError(f"{file} is empty", do="give a file with rows")
    return head


def blocks(stream: IO[bytes], size: int) -> Iterable[bytes]:
    """Yield the stream in pieces of at most `size` bytes."""
    while piece := stream.read(size):
        yield piece


def _hidden(inner: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in inner.split("/") if part)


def _siblings(system: Any, root: str) -> list[str]:
    parent = root.rstrip("/").rsplit("/", 1)[0]
    try:
        return [name.rsplit("/", 1)[-1] for name in system.ls(parent or "/", detail=False)]
    except (OSError, NotImplementedError):
        return []


def _library(path: str) -> str:
    known = {
        "s3": "s3fs",
        "gs": "gcsfs",
        "gcs": "gcsfs",
        "abfs": "adlfs",
        "az": "adlfs",
        "http": "aiohttp",
        "https": "aiohttp",
        "sftp": "paramiko",
    }
    return known.get(path.split("://", 1)[0], "fsspec[full]")
