"""Damage to clips at five strengths, done to the waveform at the rate that the model hears: noise, clipping, another moment, a lower voice.

Each clip float [n] of -1..1 is changed alone; n samples, a missing one stays missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.damage import Kind
from weighbridge.findings import Message
from weighbridge.preprocessing.feature import objects
from weighbridge.sound import Clip

if TYPE_CHECKING:
    from weighbridge.preprocessing import Encoder
    from weighbridge.preprocessing.audio import AudioFeature

TIMED = 8  # clips whose spectrogram is timed
Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def noise(samples: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """White noise, `level` dB under the clip's own power."""
    power = float(np.mean(np.square(samples)))
    return np.asarray(samples + np.sqrt(power / 10 ** (level / 10)) * random.standard_normal(len(samples)))


def clipping(samples: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Peaks above this share of the largest one are cut off, as an overdriven microphone does."""
    most = level * float(np.abs(samples).max(initial=0))
    return np.asarray(np.clip(samples, -most, most))


def shift(samples: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """The clip begins later by this share of its length; silence stands before it."""
    return np.concatenate([np.zeros(round(level * len(samples))), samples])


def quieter(samples: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """The clip is quieter by this many dB."""
    return np.asarray(samples * 10 ** (-level / 20))


def damaged_clips(feature: AudioFeature, column: np.ndarray, change: Change, level: float, random: np.random.Generator) -> np.ndarray:
    """Return uint8 [n, M, T, 1]: what the model hears of the clips of a raw column after damage."""
    blocks = feature.encode(objects([None] * len(column)))
    for place in np.flatnonzero([value is not None for value in column]).tolist():
        clip = feature.clip(column[place], f"column '{feature.column}' row {place}")
        changed = change(clip.samples.astype(np.float64), level, random)
        blocks[place, :, :, 0] = feature.levels(Clip(samples=changed.astype(np.float32), rate=clip.rate))
    return blocks


def encode_seconds(encoder: Encoder, column_of: Callable[[str], np.ndarray]) -> float:
    """Return about how many seconds of a processor it takes to decode the clips of a row and to make their spectrograms."""
    seconds = 0.0
    for feature in encoder.features:
        if feature.type == "audio":
            few = column_of(feature.column)[:TIMED]
            began = time.process_time()
            feature.encode(few)
            seconds += (time.process_time() - began) / max(1, len(few))
    return seconds


def _kind(name: str, title: str, levels: tuple[float, ...], apply: Any, unit: str) -> Kind:
    return Kind(of="audio", name=name, title=Message(title), levels=levels, apply=apply, unit=Message(unit))


KINDS: tuple[Kind, ...] = (
    _kind("noise", "noise in clips", (30.0, 20.0, 10.0, 5.0, 0.0), noise, "ratio of signal to noise, in dB"),
    _kind("clipping", "overdriven clips", (0.5, 0.3, 0.2, 0.1, 0.05), clipping, "share of the largest amplitude that is kept"),
    _kind("shift", "clips that begin later", (0.05, 0.1, 0.2, 0.3, 0.4), shift, "way, as a share of the length"),
    _kind("quieter", "quieter clips", (3.0, 6.0, 12.0, 18.0, 24.0), quieter, "how much quieter, in dB"),
)
