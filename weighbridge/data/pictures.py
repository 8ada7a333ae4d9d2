"""Images are opened once, whole, before anything is learned from them; one that can not be opened is named."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Any

from weighbridge.storage.progress import Progress, silent
from weighbridge.storage.starts import start_of

MOST_PIXELS = 64_000_000
MOST_BYTES = 256 << 20
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")  # none of them starts another program
THREADS = 4


def check_images(values: list[str | bytes | None], progress: Progress = silent) -> Iterator[tuple[bytes, str]]:
    """Yield for each image (digest of the file's bytes, why it can not be opened or ""); a missing one has an empty digest."""
    from PIL import Image

    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # here: the filters are shared by all threads
        for done, answer in enumerate(pool.map(check_image, values), 1):
            if done % 256 == 0:
                progress("images opened", done, len(values))
            yield answer


def check_image(value: str | bytes | None) -> tuple[bytes, str]:
    """Return (16-byte digest, "" or why the image can not be opened): header and all pixels are decoded, within limits."""
    if value is None:
        return b"", ""
    try:
        content = value if isinstance(value, bytes) else start_of(value, MOST_BYTES)
    except OSError as error:
        return b"", error.strerror or str(error)
    return blake2b(content, digest_size=16).digest(), _problem(content)


def _problem(content: bytes) -> str:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                return f"{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}"
            image.load()
    except UnidentifiedImageError:
        return "not an image of a known form"
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError, Image.DecompressionBombError) as error:
        return " ".join(str(error).split())[:100] or type(error).__name__
    return ""


def shown(value: Any, kind: str = "image") -> str:
    """Return words for an image or a clip in a message: its path, or how long its bytes are."""
    return f"{'an image' if kind == 'image' else 'a clip'} of {len(value)} bytes" if isinstance(value, bytes) else str(value)
