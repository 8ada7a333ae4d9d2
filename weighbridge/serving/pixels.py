"""Images and clips of a request, before they are decoded: a file of 100 KB may unfold to 200 MB, and a request holds thousands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from weighbridge.errors import DataError, InputError
from weighbridge.preprocessing.image import header
from weighbridge.runtime import Model
from weighbridge.serving.limits import Limits, TooLarge
from weighbridge.sound import header as sound_header


def refuse_pixels(model: Model, columns: Mapping[str, np.ndarray], limits: Limits) -> None:
    """Raise TooLarge where the images of a request have more pixels than `limits.pixels`; InputError for what is no image.

    Sizes are read from the files' headers; no pixel is decoded.
    """
    total = 0
    for name in (one.name for one in model.inputs if one.type == "image" and columns[one.name].dtype == object):
        for row, value in enumerate(columns[name], 1):
            total += 0 if value is None else _pixels(value, name, row)
            if total > limits.pixels:
                what = f"row {row}: the images up to that of column '{name}' have more than {limits.pixels:,} pixels together"
                raise TooLarge(what, do="make them smaller, or send fewer rows at once")


def refuse_clips(model: Model, columns: Mapping[str, np.ndarray]) -> None:
    """Raise InputError for what is no clip, is cut short in its header, or lasts longer than one that is read; no sample is decoded.

    Of each no more is decoded later than the model reads, so that many clips need no more memory than their answers.
    """
    for name in (one.name for one in model.inputs if one.type == "audio"):
        for row, value in enumerate(columns[name], 1):
            try:
                _ = None if value is None else sound_header(value, f"column '{name}' row {row}")
            except DataError as error:
                raise InputError(error.what, do="send WAV, FLAC, Ogg or MP3, or None") from None


def _pixels(value: bytes | np.ndarray, name: str, row: int) -> int:
    if isinstance(value, np.ndarray):
        return int(value.shape[0] * value.shape[1])
    try:
        height, width, _ = header(value, f"column '{name}' row {row}")
    except DataError as error:
        raise InputError(error.what, do="send PNG, JPEG, GIF, BMP, TIFF, WEBP or PPM, or None") from None
    return height * width
