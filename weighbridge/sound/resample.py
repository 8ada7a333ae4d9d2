"""Samples brought to another rate by a windowed sinc (Smith and Gossett 1984, "A flexible sampling-rate conversion method").

Each output sample is the sum of the inputs around its place, weighted by a sinc that is cut at the lower of both half rates and tapered by
a Kaiser window. Shapes: n samples in, m out, P phases, T taps.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

CROSSINGS = 16  # zero crossings of the sinc on each side
ROLL_OFF = 0.94  # of the lower half rate: what lies above is let go, so that nothing folds back
BETA = 9.0  # of the Kaiser window: side lobes about 90 dB down
MOST_PHASES = 2048  # places between two inputs; rates without a common measure are read at the nearest of so many
CHUNK = 4096  # outputs at a time


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Return float32 [m] at `wanted` Hz of samples [n] at `rate` Hz, m = ceil(n * wanted / rate); equal rates give them as they are."""
    if rate == wanted or not len(samples):
        return np.asarray(samples, dtype=np.float32)
    up, down = (one // math.gcd(rate, wanted) for one in (wanted, rate))
    bank_PT, half = _bank(up, down)
    padded = np.pad(np.asarray(samples, dtype=np.float64), (half, half + 2))
    count = -(-len(samples) * wanted // rate)
    out, taps = np.empty(count, dtype=np.float32), np.arange(bank_PT.shape[1])
    for first in range(0, count, CHUNK):
        place = np.arange(first, min(first + CHUNK, count), dtype=np.int64) * down
        base, phase = place // up, (place % up) * len(bank_PT) // up
        out[first : first + CHUNK] = np.einsum("nt,nt->n", padded[base[:, None] + taps], bank_PT[phase])
    return out


@lru_cache(maxsize=8)
def _bank(up: int, down: int) -> tuple[np.ndarray, int]:
    """Return the weights of each phase float64 [P, T], each with sum 1, and how many inputs before its place a phase reads."""
    cut = ROLL_OFF * min(1.0, up / down)
    half = math.ceil(CROSSINGS / cut)
    phases = min(up, MOST_PHASES)
    offset_PT = np.arange(-half, half + 2)[None, :] - (np.arange(phases) / phases)[:, None]
    inside_PT = np.clip(1 - np.square(offset_PT / (half + 1)), 0, None)
    bank_PT = np.sinc(cut * offset_PT) * np.i0(BETA * np.sqrt(inside_PT)) / np.i0(BETA)
    bank_PT /= bank_PT.sum(axis=1, keepdims=True)
    bank_PT.setflags(write=False)
    return bank_PT, half
