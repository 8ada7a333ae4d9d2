"""Clips: mixed to one channel, brought to one rate and length, kept as a log-mel spectrogram in bytes, which networks read as an image.

A byte is a level between `floor_db` and `floor_db` + RANGE_DB, so that one step is 0.31 dB. The highest band is the first line, as a
spectrogram is drawn; behind a clip's end is silence. Shapes: n clips, M bands, T frames.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np

from weighbridge.errors import DataError
from weighbridge.preprocessing.feature import BlockKind, each_row, objects
from weighbridge.preprocessing.sample import ItemSample, NumberSample
from weighbridge.sound import Clip, header, read_clip, resample
from weighbridge.sound.mel import Mel

RANGE_DB = 80.0  # from the loudest levels of the training clips down
SAMPLE_CLIPS = 1000
MOST_BANDS, MOST_FRAMES = 256, 8192
AUTO_RATE = 16_000  # what speech needs; telephones have 8,000
AUTO_SECONDS = 10.0
LONG = 95.0  # per cent of the training clips that the automatic length holds whole
LOUD = 99.9  # per cent of all levels that lie under the highest byte


@dataclass(frozen=True, kw_only=True)
class AudioFeature:
    """A fitted column of clips. `window` and `hop` in samples at `rate` Hz; `mean` and `std` are of the training spectrograms in 0..1.

    `cut` training clips are longer than `samples`, `resampled` have another rate. A missing clip is the mean level; `masked`: networks
    are told which rows have a clip, and leave the others' out.
    """

    type: ClassVar[str] = "audio"
    kind: ClassVar[BlockKind] = "image"

    column: str
    rate: int
    samples: int
    window: int
    hop: int
    bands: int
    floor_db: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rows: int
    missing: int
    cut: int = 0
    resampled: int = 0
    masked: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column,)

    @cached_property
    def mel(self) -> Mel:
        return Mel(rate=self.rate, window=self.window, hop=self.hop, bands=self.bands)

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.bands, self.mel.frames(self.samples), 1)

    def encode(self, column: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return uint8 [n, M, T, 1]. Raises DataError that names the row (`rows` are its names; else its place) for an unreadable clip."""
        out = np.empty((len(column), *self.shape), dtype=np.uint8)
        names = rows if rows is not None else range(len(column))

        def work(place: int) -> None:
            value = column[place]
            if value is None:
                out[place] = round(self.mean[0] * 255)
            else:
                out[place, :, :, 0] = self.levels(self.clip(value, f"column '{self.column}' row {names[place]}"))

        each_row(work, len(column))
        return out

    def clip(self, value: Any, where: str) -> Clip:
        """Return a clip at the feature's rate, at most as long as it reads. Raises DataError that names `where`."""
        found = read_clip(value, where, seconds=self.seconds)
        return Clip(samples=resample(found.samples, found.rate, self.rate)[: self.samples], rate=self.rate)

    def levels(self, clip: Clip) -> np.ndarray:
        """Return uint8 [M, T] of a clip at the feature's rate."""
        decibels_MT = self.mel.decibels(clip.samples[: self.samples])
        out = np.zeros(self.shape[:2], dtype=np.uint8)
        parts = np.clip((decibels_MT[::-1] - self.floor_db) / RANGE_DB, 0, 1)
        out[:, : parts.shape[1]] = np.round(255 * parts)
        return out

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Return object [n] of uint8 [M, T, 1]: the spectrograms, because they do not hold the waveform."""
        return objects(list(array))

    def to_json(self) -> dict[str, Any]:
        return {"type": self.type, **asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Return the feature. Raises ValueError, TypeError or KeyError for a state that is not one."""
        known = {**state, "mean": tuple(map(float, state["mean"])), "std": tuple(map(float, state["std"]))}
        known.pop("type")
        feature = cls(**known)
        whole = (feature.rate, feature.samples, feature.window, feature.hop, feature.bands)
        if not all(type(one) is int and one >= 1 for one in whole) or len(feature.mean) != 1 or len(feature.std) != 1:
            raise ValueError(f"audio column {feature.column!r} has the form {whole}")
        bounds = feature.rate <= 384_000 and feature.window <= feature.rate and feature.bands <= MOST_BANDS
        if not bounds or feature.shape[1] > MOST_FRAMES or not np.isfinite(feature.floor_db):
            raise ValueError(f"audio column {feature.column!r} has {feature.bands} bands and {feature.shape[1]} frames")
        return feature


class AudioFit:
    """Streams a column of clips: rates and lengths of all (headers only), levels of at most 1,000 clips.

    `window_s` and `hop_s` in seconds; "auto": the most frequent rate, at most AUTO_RATE, and the length that holds 95 % of the training
    clips whole, at most AUTO_SECONDS.
    """

    def __init__(
        self, column: str, *, rate: int | Literal["auto"], seconds: float | Literal["auto"], bands: int, window_s: float, hop_s: float,
        generator: np.random.Generator,
    ) -> None:  # fmt: skip
        self._column, self._rate, self._seconds = column, rate, seconds
        self._bands, self._window_s, self._hop_s = bands, window_s, hop_s
        self._rates: Counter[int] = Counter()
        self._lengths = NumberSample(generator)
        self._sample = ItemSample(generator, SAMPLE_CLIPS)
        self._rows, self._missing = 0, 0

    def add(self, column: np.ndarray, rows: np.ndarray | None = None) -> None:
        names = rows if rows is not None else range(self._rows, self._rows + len(column))
        self._rows += len(column)
        lengths = []
        for value, name in zip(column, names, strict=True):
            if value is None:
                self._missing += 1
                continue
            found = header(value, f"column '{self._column}' row {name}")
            self._rates[found.rate] += 1
            lengths.append(found.seconds)
        self._lengths.add(np.array(lengths))
        self._sample.add(column)

    def finish(self) -> AudioFeature:
        """Return the feature. Raises DataError when no training row has a clip, or when its spectrogram would be too large."""
        if not self._rates:
            what = f"audio column '{self._column}' is empty in all {self._rows} training rows"
            raise DataError(what, do="leave it out, or check its paths")
        rate = min(AUTO_RATE, self._rates.most_common(1)[0][0]) if self._rate == "auto" else self._rate
        lengths = self._lengths.values()
        seconds = min(AUTO_SECONDS, float(np.percentile(lengths, LONG))) if self._seconds == "auto" else self._seconds
        hop = max(1, round(self._hop_s * rate))
        samples = hop * max(1, -(-round(seconds * rate) // hop))
        blank = AudioFeature(
            column=self._column, rate=rate, samples=samples, window=max(2, round(self._window_s * rate)), hop=hop, bands=self._bands,
            floor_db=0.0, mean=(0.5,), std=(0.25,), rows=self._rows, missing=self._missing, masked=self._missing > 0,
            cut=round(self._rates.total() * float(np.mean(lengths > samples / rate))), resampled=self._rates.total() - self._rates[rate],
        )  # fmt: skip
        if blank.shape[1] > MOST_FRAMES:
            what = f"a clip of column '{self._column}' would be {blank.shape[1]:,} frames, at most {MOST_FRAMES:,} are read"
            raise DataError(what, do="lower preprocessing.audio.seconds or raise preprocessing.audio.hop")
        return self._levelled(blank)

    def _levelled(self, blank: AudioFeature) -> AudioFeature:
        """Return the feature with the levels of the sampled clips."""
        clips = [blank.clip(value, f"column '{self._column}'") for value in self._sample.items() if value is not None]
        loud = max(float(np.percentile(blank.mel.decibels(clip.samples), LOUD)) for clip in clips)
        floored = AudioFeature(**{**asdict(blank), "floor_db": loud - RANGE_DB})
        total, squares = 0.0, 0.0
        for clip in clips:
            parts = floored.levels(clip) / 255.0
            total, squares = total + float(parts.mean()), squares + float(np.square(parts).mean())
        mean = total / len(clips)
        std = max(1 / 255, max(squares / len(clips) - mean**2, 0.0) ** 0.5)
        return AudioFeature(**{**asdict(floored), "mean": (mean,), "std": (std,)})
