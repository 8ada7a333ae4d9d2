"""Clips are read once, whole, before anything is learned from them; one that can not be read is named."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

from weighbridge.data.pictures import THREADS
from weighbridge.errors import DataError
from weighbridge.sound import content_of, read_clip
from weighbridge.storage.progress import Progress, silent


def check_clips(values: list[str | bytes | None], progress: Progress = silent) -> Iterator[tuple[bytes, str]]:
    """Yield for each clip (digest of the file's bytes, why it can not be read or ""); a missing one has an empty digest.

    Raises DependencyError where clips other than WAV can not be read at all.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        for done, answer in enumerate(pool.map(check_clip, values), 1):
            if done % 256 == 0:
                progress("clips read", done, len(values))
            yield answer


def check_clip(value: str | bytes | None) -> tuple[bytes, str]:
    """Return (16-byte digest, "" or why the clip can not be read): all samples are decoded, within limits."""
    if value is None:
        return b"", ""
    digest = b""
    try:
        content = content_of(value, "")
        digest = blake2b(content, digest_size=16).digest()
        read_clip(content, "")
    except DataError as error:
        return digest, error.what.removeprefix(": ")
    return digest, ""
