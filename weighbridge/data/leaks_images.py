"""Near copies among images: candidates by a perceptual hash, each verified on pixels. What was shifted, turned or cut is not found.

The hash is the DCT hash of Zauner 2010: of a grey thumbnail the signs of 63 low frequencies against their median. Shape suffixes: N images.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np

from weighbridge.data.pictures import FORMATS, THREADS
from weighbridge.storage.progress import Progress, silent

SIDE = 32
LOW = 8
MOST_BITS = 8  # of 63; JPEG at quality 75 turns over at most 6 in 99 of 100 images of 28 x 28
LEAST_LIKENESS = 0.995  # correlation of two thumbnails; the nearest two of 1,797 handwritten digits reach 0.9943
MOST_DARKER = 16.0  # mean absolute difference of two thumbnails in levels of 255: the same cut in another colour is another picture
LEAST_CONTRAST = 2.0  # standard deviation in levels: nothing can be told of a plain surface
BLOCK, STRIP, STRETCH = 1024, 64, 4096


def image_rows(column: Any, field: Any) -> np.ndarray | None:
    """Return the grey pixels float32 [n, H, W] of a column that holds pixels, None for one of files."""
    import pyarrow.types as pt

    if not pt.is_fixed_size_list(column.type) or b"shape" not in (field.metadata or {}):
        return None
    size = column.type.list_size
    flat = column.values.to_numpy(zero_copy_only=False)[column.offset * size : (column.offset + len(column)) * size]
    height, width, depth = map(int, field.metadata[b"shape"].split(b","))
    pixels = flat.reshape(len(column), height, width, depth).astype(np.float32)
    return np.asarray(pixels[..., 0] if depth == 1 else pixels.mean(axis=3, dtype=np.float32))


def thumbnail_of(pixels: np.ndarray) -> np.ndarray:
    """Return thumbnails uint8 [n, SIDE * SIDE] of grey images [n, H, W]: each pixel is the mean of the area under it."""
    n, height, width = pixels.shape
    rows = pixels.astype(np.float32, copy=False).reshape(-1, width) @ _areas(width).T
    turned = np.ascontiguousarray(rows.reshape(n, height, SIDE).swapaxes(1, 2)).reshape(-1, height) @ _areas(height).T
    whole = np.rint(turned.reshape(n, SIDE, SIDE).swapaxes(1, 2))
    return np.asarray(np.clip(whole, 0, 255), dtype=np.uint8).reshape(n, SIDE * SIDE)


def thumbnails_of_files(images: Sequence[str | bytes | None]) -> np.ndarray:
    """Return thumbnails uint8 [n, SIDE * SIDE] of image files (paths or bytes); black for one that is missing or can not be opened."""
    from PIL import Image

    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        found = list(pool.map(_thumbnail, images))
    return np.array(found, dtype=np.uint8).reshape(len(images), SIDE * SIDE)


def perceptual_hash(thumbnails: np.ndarray) -> np.ndarray:
    """Return the 63 bits of each thumbnail (uint8 [n, SIDE * SIDE]) as uint64 [n]."""
    return _hash(_frequencies(thumbnails))


def likeness(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the correlation of each pair of thumbnails (uint8 [n, pixels] each), 0 where one is a plain surface. float64 [n]."""
    one, other = _centred(ours), _centred(theirs)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    told = (ours.std(axis=1) >= LEAST_CONTRAST) & (theirs.std(axis=1) >= LEAST_CONTRAST)
    return np.asarray(np.where(told, (one * other).sum(axis=1) / np.maximum(norms, 1e-9), 0.0))


def near_images(thumbnails: np.ndarray, later: np.ndarray, progress: Progress = silent) -> np.ndarray:
    """Return int64 [k, 2]: each image before the split (`later` False) with one of the `later` images (bool [n]) that is a near copy.

    Every pair across is looked at, in strips of images that can be alike: where the correlation of two thumbnails is r, their unit
    vectors are at most sqrt(2 - 2r) apart, and so is each of their frequencies (Parseval).
    """
    low, hashes, told = _described(thumbnails, progress)
    axis = int(np.argmax(low.var(axis=0))) if len(low) else 0
    reach = np.sqrt(2 - 2 * LEAST_LIKENESS)
    earlier, others = (np.flatnonzero(told & chosen) for chosen in (~later, later))
    earlier, others = (rows[np.argsort(low[rows, axis], kind="stable")] for rows in (earlier, others))
    place, found = low[earlier, axis], [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(others), STRIP):
        ours = others[start : start + STRIP]
        first = np.searchsorted(place, low[ours[0], axis] - reach - 1e-4)
        last = np.searchsorted(place, low[ours[-1], axis] + reach + 1e-4, side="right")
        parts = [earlier[begin : min(begin + STRETCH, last)] for begin in range(first, last, STRETCH)]
        found += [_verified(thumbnails, low, hashes, part, ours) for part in parts]
        progress("images compared", min(start + STRIP, len(others)), len(others))
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return np.asarray(pairs[np.unique(pairs[:, 0], return_index=True)[1]])


def _described(thumbnails: np.ndarray, progress: Progress) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (low frequencies of the unit vectors float32 [n, 63], hashes uint64 [n], which have contrast bool [n])."""
    n = len(thumbnails)
    low, hashes, told = np.empty((n, LOW * LOW - 1), dtype=np.float32), np.empty(n, dtype=np.uint64), np.empty(n, dtype=bool)
    for start in range(0, n, BLOCK):
        part = slice(start, start + BLOCK)
        frequencies = _frequencies(thumbnails[part])
        deviation = thumbnails[part].std(axis=1, dtype=np.float32)
        told[part] = deviation >= LEAST_CONTRAST
        hashes[part] = _hash(frequencies)
        low[part] = frequencies / np.maximum(deviation * SIDE, 1e-6)[:, None]
        progress("images hashed", min(start + BLOCK, n), n)
    return low, hashes, told


def _verified(thumbnails: np.ndarray, low: np.ndarray, hashes: np.ndarray, earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Return the pairs (earlier, later) whose hashes are near, then their frequencies, then their pixels. int64 [k, 2]."""
    bits = np.bitwise_count(hashes[later][:, None] ^ hashes[earlier][None, :])
    ours, theirs = np.nonzero(bits <= MOST_BITS)
    pairs = np.column_stack([earlier[theirs], later[ours]])
    if len(pairs):
        apart = low[pairs[:, 0]] - low[pairs[:, 1]]
        pairs = pairs[(apart * apart).sum(axis=1) <= 2 - 2 * LEAST_LIKENESS + 1e-4]
    one, other = thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]]
    darker = np.abs(one.astype(np.int16) - other).mean(axis=1) if len(pairs) else np.empty(0)
    return pairs[(likeness(one, other) >= LEAST_LIKENESS) & (darker <= MOST_DARKER)]


def _frequencies(thumbnails: np.ndarray) -> np.ndarray:
    """Return the low frequencies of the orthonormal DCT-II without the mean. float32 [n, 63]."""
    waves, n = _waves(), len(thumbnails)
    rows = thumbnails.astype(np.float32).reshape(-1, SIDE) @ waves.T
    both = np.ascontiguousarray(rows.reshape(n, SIDE, LOW).swapaxes(1, 2)).reshape(-1, SIDE) @ waves.T
    return np.asarray(both.reshape(n, LOW * LOW)[:, 1:])


def _hash(frequencies: np.ndarray) -> np.ndarray:
    above = frequencies > np.median(frequencies, axis=1, keepdims=True)
    eights = np.packbits(above, axis=1, bitorder="little")  # 63 bits fill 8 bytes but one bit
    return np.asarray(np.ascontiguousarray(eights).view("<u8").reshape(len(frequencies)))


def _centred(thumbnails: np.ndarray) -> np.ndarray:
    values = thumbnails.astype(np.float32)
    return np.asarray(values - values.mean(axis=1, keepdims=True))


@cache
def _waves() -> np.ndarray:
    """Return the first LOW rows of the orthonormal DCT-II of SIDE points. float32 [LOW, SIDE]."""
    place, order = np.arange(SIDE), np.arange(LOW)
    waves = np.cos(np.pi * (2 * place[None, :] + 1) * order[:, None] / (2 * SIDE)) * np.sqrt(2 / SIDE)
    waves[0] /= np.sqrt(2)
    return np.asarray(waves, dtype=np.float32)


@cache
def _areas(length: int) -> np.ndarray:
    """Return the share of each of `length` pixels in each of SIDE means. float32 [SIDE, length]."""
    edges = np.linspace(0, length, SIDE + 1)
    low, high = edges[:-1, None], edges[1:, None]
    shared = np.clip(np.minimum(high, np.arange(1, length + 1)) - np.maximum(low, np.arange(length)), 0, None)
    return np.asarray(shared / shared.sum(axis=1, keepdims=True), dtype=np.float32)


def _thumbnail(image: str | bytes | None) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    black = np.zeros(SIDE * SIDE, dtype=np.uint8)
    if image is None:
        return black
    try:
        with Image.open(io.BytesIO(image if isinstance(image, bytes) else _content(image)), formats=FORMATS) as opened:
            opened.draft("L", (2 * SIDE, 2 * SIDE))  # JPEG alone: decoded at an eighth, a quarter or a half
            return np.asarray(opened.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8).reshape(-1)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError,
            Image.DecompressionBombError):  # fmt: skip
        return black


def _content(path: str) -> bytes:
    import fsspec

    with fsspec.open(path, "rb") if "://" in path else open(path, "rb") as stream:
        return b"".join(iter(partial(stream.read, 1 << 20), b""))
