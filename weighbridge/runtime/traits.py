"""The numbers that stand for a value of an input column when its distribution is watched: the same code at release and in service.

    number  value                 date   days (since 1970), month, weekday, hour
    text    tokens, unseen, and   image  brightness, contrast (of each channel where there are three), sharpness, and
            text_features                image_features (fixed_features.py)
    set     labels                category none: its values are counted by name
    audio   seconds, loudness (dB of full scale), background (dB, the tenth part of the frames that is quietest), centroid (Hz)

NaN stands for a missing value. Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.preprocessing.date import cyclic_part, linear_part
from weighbridge.preprocessing.ragged import PAD
from weighbridge.preprocessing.text import UNSEEN
from weighbridge.runtime.fixed_features import image_features, text_features
from weighbridge.sound import header
from weighbridge.sound.mel import LOWEST_DB, centres

if TYPE_CHECKING:
    from weighbridge.preprocessing.audio import AudioFeature
    from weighbridge.preprocessing.feature import Feature
    from weighbridge.preprocessing.image import ImageFeature
    from weighbridge.preprocessing.set import SetFeature
    from weighbridge.preprocessing.text import TextFeature

Traits = dict[str, np.ndarray]
CHANNELS = {1: ("",), 3: ("red ", "green ", "blue ")}
CYCLES = ("month", "weekday", "hour")
PIECE = 256  # images at a time: their pixels as float64 stay under 1 GB at 384 x 384


def traits_of(feature: Feature, column: np.ndarray) -> Traits:
    """Return float64 [n] by trait for canonical values of a fitted column, as its steps (Encoder.steps) leave them.

    Raises DataError for an unreadable image or clip.
    """
    return TRAITS[feature.type](feature, column)


def is_known(column: np.ndarray) -> np.ndarray:
    """bool [n]: the row has a value."""
    if column.dtype.kind == "f":
        return np.asarray(~np.isnan(column))
    if column.dtype.kind == "M":
        return np.asarray(~np.isnat(column))
    if column.dtype != object:
        return np.ones(len(column), dtype=bool)
    return np.fromiter((value is not None for value in column), bool, len(column))


def names_in(feature: Feature, column: np.ndarray) -> Iterable[str]:
    """Give the value of each row of a category, or each label of each row of a set, missing ones left out."""
    for value in column[is_known(column)].tolist():
        yield from dict.fromkeys(value) if feature.type == "set" else (value,)


def _number(feature: Feature, column: np.ndarray) -> Traits:
    return {"value": np.asarray(column, dtype=np.float64)}


def _date(feature: Feature, column: np.ndarray) -> Traits:
    dates = np.asarray(column, dtype="datetime64[us]")
    found = {"days": linear_part(dates, "trend")}
    return found | {part: np.where(np.isnat(dates), np.nan, cyclic_part(dates, part).astype(np.float64)) for part in CYCLES}


def _text(feature: TextFeature, column: np.ndarray) -> Traits:
    """Tokens as far as the network reads them, and the share of them that the vocabulary does not hold (pieces of bytes hold all)."""
    codes = feature.encode(column)
    tokens = (codes != PAD).sum(axis=1).astype(np.float64)
    unseen = (codes == UNSEEN).sum(axis=1) if feature.tokens in ("word", "character") else np.zeros(len(codes))
    share = np.divide(unseen, tokens, out=np.zeros(len(codes)), where=tokens > 0)
    known = is_known(column)
    own = {"tokens": np.where(known, tokens, np.nan), "unseen": np.where(known, share, np.nan)}
    return own | text_features(column.tolist())


def _image(feature: ImageFeature, column: np.ndarray) -> Traits:
    """Of the picture as the network reads it, 0..1: means, deviations, and log10 of the variance of its Laplacian (Pech-Pacheco 2000)."""
    parts: list[Traits] = []
    for start in range(0, len(column), PIECE):
        pixels = feature.encode(column[start : start + PIECE]).astype(np.float64) / 255
        parts.append(_of_pixels(pixels, CHANNELS[feature.channels]))
    known = is_known(column)
    return {name: np.where(known, np.concatenate([part[name] for part in parts]), np.nan) for name in (parts[0] if parts else {})}


def _of_pixels(pixels: np.ndarray, channels: Sequence[str]) -> Traits:
    grey = pixels.mean(axis=3)
    found = {"sharpness": _sharpness(grey)} | image_features(grey)
    for name, values in (("brightness", pixels.mean(axis=(1, 2))), ("contrast", pixels.std(axis=(1, 2)))):
        found |= {f"{channel}{name}": one for channel, one in zip(channels, values.T, strict=True)}
    return found


def _sharpness(grey: np.ndarray) -> np.ndarray:
    """float64 [n] for grey [n, H, W]: log10 of the variance of the Laplacian, at least -8 (a picture of one colour)."""
    edges = 4 * grey
    for axis in (1, 2):
        edges -= np.roll(grey, 1, axis) + np.roll(grey, -1, axis)
    inner = edges[:, 1:-1, 1:-1] if min(grey.shape[1:]) > 2 else edges
    return np.asarray(np.log10(inner.var(axis=(1, 2)) + 1e-8))


def _audio(feature: AudioFeature, column: np.ndarray) -> Traits:
    found = np.full((len(column), 4), np.nan)
    for place in np.flatnonzero(is_known(column)).tolist():
        where = f"column '{feature.column}' row {place}"
        found[place] = (header(column[place], where).seconds, *_of_clip(feature, feature.clip(column[place], where).samples))
    return dict(zip(("seconds", "loudness", "background", "centroid"), found.T, strict=True))


def _of_clip(feature: AudioFeature, samples: np.ndarray) -> tuple[float, float, float]:
    """Return loudness, background and spectral centroid (mean frequency of the bands, weighted by their power)."""
    decibels_MT = feature.mel.decibels(samples).astype(np.float64)
    power_MT = 10 ** (decibels_MT / 10)
    loudness = 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 10 ** (LOWEST_DB / 10))
    centroid = (power_MT.sum(axis=1) @ centres(feature.mel)) / power_MT.sum()
    return float(loudness), float(np.percentile(10 * np.log10(power_MT.sum(axis=0)), 10)), float(centroid)


def _set(feature: SetFeature, column: np.ndarray) -> Traits:
    sizes = [np.nan if value is None else len(set(value)) for value in column.tolist()]
    return {"labels": np.array(sizes, dtype=np.float64)}


TRAITS: dict[str, Callable[[Any, np.ndarray], Traits]] = {
    "number": _number,
    "date": _date,
    "text": _text,
    "image": _image,
    "audio": _audio,
    "set": _set,
    "category": lambda feature, column: {},
}
