"""The start of a file, whole unless it is larger than what is read of its kind."""

from __future__ import annotations

import os


def start_of(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """Return a file's first bytes, at most so many; a URL is opened by fsspec. Raises OSError, ValueError, and what fsspec raises."""
    if "://" in str(path):
        import fsspec

        with fsspec.open(str(path), "rb") as stream:
            return bytes(stream.read(most_bytes))
    with open(path, "rb") as file:
        return file.read(most_bytes)
