"""Images: decoded, turned upright, put on white, scaled to one size and kept as bytes; normalised later on the device."""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from weighbridge.errors import DataError, DependencyError
from weighbridge.preprocessing.feature import BlockKind, each_row, objects
from weighbridge.preprocessing.sample import ItemSample
from weighbridge.storage.starts import start_of

if TYPE_CHECKING:
    from PIL.Image import Image

# Formats with plain decoders only: none of these runs a program (EPS calls Ghostscript) or nests containers.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
MOST_PIXELS = 64_000_000
MOST_FILE_BYTES = 256 << 20
MOST_SIDE = 4096
SAMPLE_IMAGES = 1000
SIZE_WHEN_MIXED = 64
ORIENTATION = 0x0112
BYTES = np.dtype(np.uint8)
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"})


@dataclass(frozen=True, kw_only=True)
class ImageFeature:
    """A fitted image column. `mean` and `std` a channel are of training images in 0..1; a missing image is the mean colour.

    `masked`: networks are told which rows have an image, and leave the others' out.
    """

    type: ClassVar[str] = "image"
    kind: ClassVar[BlockKind] = "image"

    column: str
    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rows: int
    missing: int
    resized: int = 0
    masked: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.height, self.width, self.channels)

    def encode(self, column: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return uint8 [n, H, W, C].

        Raw arrays of the right form are copied as they are; everything else is stretched to H x W (bilinear with
        antialiasing). Raises DataError that names the row (`rows` are its names; else its place) for an unreadable image.
        """
        if column.dtype == np.uint8 and column.ndim >= 3 and column.shape[1:3] == self.shape[:2] and column[0:1].size in (0, self._size):
            return column.reshape(len(column), *self.shape)
        out = np.empty((len(column), *self.shape), dtype=np.uint8)
        if len(column) and self._are_raw(column):
            np.concatenate(column.tolist(), out=out.reshape(-1, *column[0].shape[1:]))
            return out
        return self._each(column, rows, out)

    def _are_raw(self, column: np.ndarray) -> bool:
        """Whether all values are raw arrays of the one right form, so that a copy is all there is to do."""
        first = column[0]
        if not isinstance(first, np.ndarray) or not self._fits(first.shape):
            return False
        shape = first.shape
        return all([isinstance(value, np.ndarray) and value.shape == shape and value.dtype == BYTES for value in column.tolist()])

    @property
    def _size(self) -> int:
        return self.height * self.width * self.channels

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return shape == self.shape or (self.channels == 1 and shape == self.shape[:2])

    def _each(self, column: np.ndarray, rows: np.ndarray | None, out: np.ndarray) -> np.ndarray:
        names = rows if rows is not None else range(len(column))

        def work(place: int) -> None:
            self._one(column[place], names[place], out[place])

        each_row(work, len(column))
        return out

    def _one(self, value: Any, name: Any, out: np.ndarray) -> None:
        if value is None:
            out[:] = np.round(np.array(self.mean) * 255).astype(np.uint8)
        elif isinstance(value, np.ndarray) and self._fits(value.shape) and value.dtype == np.uint8:
            out[:] = value.reshape(self.shape)
        else:
            out[:] = load_image(value, self.shape, f"column '{self.column}' row {name}")

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Return object [n] of uint8 [H, W, C] arrays."""
        return objects(list(array))

    def to_json(self) -> dict[str, Any]:
        return {"type": self.type, **asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Return the feature. Raises ValueError, TypeError or KeyError for a state that is not one."""
        known = {**state, "mean": tuple(map(float, state["mean"])), "std": tuple(map(float, state["std"]))}
        known.pop("type")
        feature = cls(**known)
        sides = (feature.height, feature.width)
        if not all(isinstance(side, int) and 1 <= side <= MOST_SIDE for side in sides) or feature.channels not in (1, 3):
            raise ValueError(f"image column {feature.column!r} has the form {feature.shape}")
        if len(feature.mean) != feature.channels or len(feature.std) != feature.channels:
            raise ValueError(f"image column {feature.column!r} has {len(feature.mean)} means for {feature.channels} channels")
        return feature


class ImageFit:
    """Streams an image column: sizes and colours of all (headers only), mean and deviation of at most 1,000 images.

    `most` is the size that a pretrained network reads: more is not kept, and less is enlarged by the network, on the device.
    """

    def __init__(
        self, column: str, *, size: int | tuple[int, int] | None, channels: int | None, generator: np.random.Generator,
        most: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        self._column, self._size, self._channels, self._most = column, size, channels, most
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._grey: Counter[bool] = Counter()
        self._sample = ItemSample(generator, SAMPLE_IMAGES)
        self._rows, self._missing = 0, 0

    def add(self, column: np.ndarray, rows: np.ndarray | None = None) -> None:
        names = rows if rows is not None else range(self._rows, self._rows + len(column))
        self._rows += len(column)
        for value, name in zip(column, names, strict=True):
            if value is None:
                self._missing += 1
                continue
            height, width, grey = header(value, f"column '{self._column}' row {name}")
            self._sizes[height, width] += 1
            self._grey[grey] += 1
        self._sample.add(column)

    def finish(self) -> ImageFeature:
        """Return the feature. Raises DataError when no training row has an image."""
        if not self._sizes:
            what = f"image column '{self._column}' is empty in all {self._rows} training rows"
            raise DataError(what, do="leave it out, or check its paths")
        height, width = self._decide_size()
        channels = self._channels or (1 if self._grey[True] >= self._grey[False] else 3)
        blank = ImageFeature(
            column=self._column, height=height, width=width, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels,
            rows=self._rows, missing=self._missing, resized=self._sizes.total() - self._sizes[height, width], masked=self._missing > 0,
        )  # fmt: skip
        known = [value for value in self._sample.items() if value is not None]
        mean, std = _colours(blank, known)
        return ImageFeature(**{**asdict(blank), "mean": mean, "std": std})

    def _decide_size(self) -> tuple[int, int]:
        if isinstance(self._size, int):
            return self._size, self._size
        if self._size is not None:
            return self._size[0], self._size[1]
        if len(self._sizes) > 1:
            return self._most or (SIZE_WHEN_MIXED, SIZE_WHEN_MIXED)
        height, width = next(iter(self._sizes))
        if self._most and (height > self._most[0] or width > self._most[1]):
            return self._most
        if max(height, width) > MOST_SIDE:
            raise DataError(f"images of column '{self._column}' are {height} x {width} pixels", do="set preprocessing.image.size")
        return height, width


def _colours(feature: ImageFeature, values: list[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation a channel of the images, in 0..1; a deviation of at least 1/255."""
    total, squares, pixels = np.zeros(feature.channels), np.zeros(feature.channels), 0
    for start in range(0, len(values), 64):
        images = feature.encode(objects(values[start : start + 64])).reshape(-1, feature.channels) / 255.0
        total, squares, pixels = total + images.sum(axis=0), squares + np.square(images).sum(axis=0), pixels + len(images)
    mean = total / max(pixels, 1)
    std = np.sqrt(np.maximum(squares / max(pixels, 1) - np.square(mean), 0))
    return tuple(mean.tolist()), tuple(np.maximum(std, 1 / 255).tolist())


def header(value: Any, where: str) -> tuple[int, int, bool]:
    """Return height, width (upright) and whether it is grey, without decoding pixels. Raises DataError that names `where`."""
    if isinstance(value, np.ndarray):
        _check_array(value, where)
        return value.shape[0], value.shape[1], value.ndim == 2 or value.shape[2] == 1
    with _naming(where):
        image = _open(value, where)
        grey = image.mode in GREY_MODES
        width, height = image.size
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height, grey) if turned else (height, width, grey)


def load_image(value: Any, shape: tuple[int, int, int], where: str) -> np.ndarray:
    """Return uint8 of `shape` from a path, an encoded file, a raw array or a Pillow image. Raises DataError that names `where`."""
    height, width, channels = shape
    with _naming(where):
        image = _open(value, where)
        image.draft(None, (2 * width, 2 * height))  # lets the JPEG decoder skip detail that is scaled away
        upright = _plain(_upright(image), channels)
        if upright.size != (width, height):
            upright = upright.resize((width, height), _pillow().Resampling.BILINEAR)
        return np.asarray(upright, dtype=np.uint8).reshape(shape)


def _open(value: Any, where: str) -> Image:
    """Return a Pillow image, its size checked before any pixel is decoded."""
    pillow = _pillow()
    image: Image
    if isinstance(value, np.ndarray):
        _check_array(value, where)
        image = pillow.fromarray(value[:, :, 0] if value.ndim == 3 and value.shape[2] == 1 else value)
    elif isinstance(value, pillow.Image):
        image = value.copy()
    elif isinstance(value, bytes):
        image = pillow.open(io.BytesIO(value), formats=FORMATS)
    elif isinstance(value, str | os.PathLike):  # a bare number would open that file handle of this process
        image = pillow.open(io.BytesIO(start_of(value, MOST_FILE_BYTES)), formats=FORMATS)
    else:
        raise DataError(f"{where}: a {type(value).__name__} is not an image", do="give a path, the bytes of a file, or a uint8 array")
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise DataError(f"{where}: the image has {width} x {height} pixels, at most {MOST_PIXELS:,} are read", do="make it smaller")
    return image


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    turned: Image = ImageOps.exif_transpose(image)
    return turned if image.getexif().get(ORIENTATION, 1) != 1 else image


def _plain(image: Image, channels: int) -> Image:
    """Return mode L or RGB: 16 bits scaled to 8, transparency put on white, palettes and other colour spaces resolved."""
    pillow = _pillow()
    if image.mode.startswith("I"):
        deep = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        image = pillow.fromarray(((deep + 128) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = pillow.new("RGBA", image.size, (255, 255, 255, 255))
        image = pillow.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _check_array(value: np.ndarray, where: str) -> None:
    form = value.dtype == np.uint8 and (value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3, 4)))
    if not form or 0 in value.shape or value.size > 4 * MOST_PIXELS:
        what = f"{where}: an array of {value.dtype} {list(value.shape)} is not an image"
        raise DataError(what, do="give uint8 [H, W] or [H, W, 1, 3 or 4]")


class _naming:  # noqa: N801 - reads as a statement
    """Turns what Pillow raises for a damaged file into a DataError that names the row."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, DataError):
            return
        bombs = (_pillow().DecompressionBombError, _pillow().DecompressionBombWarning)
        # Decoders raise all of these on damaged bytes (counted by flipping bytes of each format, tests/attacks).
        damaged = (OSError, ValueError, SyntaxError, TypeError, IndexError, KeyError, OverflowError, EOFError, MemoryError, AttributeError)
        if isinstance(error, (*damaged, *bombs, Warning, NotImplementedError, ZeroDivisionError, RuntimeError)):
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
            if isinstance(error, _pillow().UnidentifiedImageError):  # its own words hold an address of memory
                reason = "it is of no known format"
            raise DataError(
                f"{self._where}: the image can not be read ({reason[:200]})", do="repair or remove it, or set data.clean.unreadable: skip"
            ) from None


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise DependencyError("images need Pillow", do="pip install pillow") from None
    return Image
