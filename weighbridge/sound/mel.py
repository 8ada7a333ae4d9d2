"""A waveform as decibels in mel bands over time: Hann windows, their power spectrum, triangles that are even on the mel scale.

Sources: Davis and Mermelstein 1980 (triangular bands); the mel scale of O'Shaughnessy 1987, 2595 log10(1 + f / 700), as HTK has it.
A sine of full scale stands at about 0 dB. Shapes: M bands, F frequencies, T frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

LOWEST_DB = -120.0
CHUNK = 1024  # frames at a time


@dataclass(frozen=True, kw_only=True)
class Mel:
    """How a waveform at `rate` Hz is cut into frames and bands; `window` and `hop` in samples."""

    rate: int
    window: int
    hop: int
    bands: int

    def frames(self, samples: int) -> int:
        """Return how many frames so many samples have: one each hop, the first around the first sample."""
        return max(1, -(-samples // self.hop))

    def decibels(self, samples: np.ndarray) -> np.ndarray:
        """Return float32 [M, T], lowest band first."""
        bank_MF, size = _bank(self)
        count = self.frames(len(samples))
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
        padded = np.zeros((count - 1) * self.hop + self.window)
        before = self.window // 2
        known = np.asarray(samples[: len(padded) - before], dtype=np.float64)
        padded[before : before + len(known)] = known
        frames_TW = np.lib.stride_tricks.sliding_window_view(padded, self.window)[:: self.hop]
        out = np.empty((self.bands, count), dtype=np.float32)
        for first in range(0, count, CHUNK):
            spectrum_TF = np.fft.rfft(frames_TW[first : first + CHUNK] * hann, n=size, axis=1)
            power_TF = np.square(np.abs(spectrum_TF) / (hann.sum() / 2))
            level_MT = 10 * np.log10(np.maximum(bank_MF @ power_TF.T, 10 ** (LOWEST_DB / 10)))
            out[:, first : first + CHUNK] = level_MT
        return out


def to_mel(hertz: np.ndarray | float) -> np.ndarray:
    """Return frequencies on the mel scale."""
    return np.asarray(2595 * np.log10(1 + np.asarray(hertz, dtype=np.float64) / 700))


def to_hertz(mel: np.ndarray | float) -> np.ndarray:
    """Return what `to_mel` made of frequencies as frequencies."""
    return np.asarray(700 * (10 ** (np.asarray(mel, dtype=np.float64) / 2595) - 1))


def centres(mel: Mel) -> np.ndarray:
    """Return the frequency in Hz at which each band is most sensitive, float64 [M]."""
    return _edges(mel)[1:-1]


def _edges(mel: Mel) -> np.ndarray:
    return to_hertz(np.linspace(0, float(to_mel(mel.rate / 2)), mel.bands + 2))


@lru_cache(maxsize=8)
def _bank(mel: Mel) -> tuple[np.ndarray, int]:
    """Return the weights of each frequency in each band float64 [M, F], 1 at a band's centre, and the size of the transform.

    The transform is as fine as the narrowest band needs: none is without a frequency.
    """
    edges = _edges(mel)
    narrowest = float(np.diff(edges).min())
    size = 1 << math.ceil(math.log2(max(mel.window, 1.01 * mel.rate / narrowest, 2)))
    hertz_F = np.arange(size // 2 + 1) * mel.rate / size
    rising = (hertz_F - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz_F) / np.diff(edges)[1:, None]
    bank_MF = np.maximum(0, np.minimum(rising, falling)) * mel.window / size  # a finer transform counts the same power more often
    bank_MF.setflags(write=False)
    return bank_MF, size
