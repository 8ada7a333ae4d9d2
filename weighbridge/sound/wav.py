"""WAV (RIFF) files of plain samples, read from their bytes with numpy and written sample for sample.

Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft 1991); WAVEFORMATEXTENSIBLE (Microsoft 2001).
Read: whole numbers of 8, 16, 24 or 32 bits and floats of 32 or 64 bits; compressed forms are refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
OPEN_END = 0xFFFFFFFF  # what a program that writes into a pipe states as the size of what is to come
WIDTHS = {PCM: (1, 2, 3, 4), FLOAT: (4, 8)}
BLOCK_FRAMES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Wav:
    """Where a file's samples lie and what they are; `width` in bytes."""

    rate: int
    channels: int
    frames: int
    width: int
    is_float: bool
    start: int


def is_wav(content: bytes) -> bool:
    """Say whether the bytes begin as a WAV file does (a WebP picture begins with RIFF, too)."""
    return content[:4] == b"RIFF" and content[8:12] == b"WAVE"


def parse_wav(content: bytes) -> Wav:
    """Return what the file's header says. Raises ValueError that says what is wrong: cut short, compressed, no samples."""
    at, form = 12, None
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8
        if name == b"fmt ":
            form = _form(content[at : at + size], size)
        elif name == b"data":
            if form is None:
                raise ValueError("its samples come before their form")
            return _placed(form, at, size, len(content))
        at += size + size % 2
    raise ValueError("the file ends before its samples")


def read_wav(content: bytes, wav: Wav, frames: int) -> np.ndarray:
    """Return float32 [n]: the first `frames` of the file, at most as many as it has, as the mean of their channels."""
    frames = min(frames, wav.frames)
    out = np.empty(frames, dtype=np.float32)
    step = wav.width * wav.channels
    for first in range(0, frames, BLOCK_FRAMES):
        count = min(BLOCK_FRAMES, frames - first)
        part = np.frombuffer(content, dtype=np.uint8, count=count * step, offset=wav.start + first * step)
        samples = _samples(part, wav).reshape(count, wav.channels)
        with np.errstate(over="ignore"):  # a float of 64 bits may be beyond float32: it is infinite there, and refused
            out[first : first + count] = samples[:, 0] if wav.channels == 1 else samples.mean(axis=1)
    return out


def write_wav(samples: np.ndarray, rate: int) -> bytes:
    """Return a WAV file of mono samples [n]: int16 as they are, all else as float32. Raises ValueError for another form."""
    samples = np.asarray(samples)
    if samples.dtype.kind == "i" and samples.dtype != np.int16 and np.abs(samples).max(initial=0) > 1:
        raise ValueError("whole samples are int16, others lie in -1..1")
    if samples.ndim != 1 or samples.dtype.kind not in "if" or not 1 <= rate < 2**31:
        raise ValueError(f"a waveform is samples [n] at a rate in Hz, not {samples.dtype} {list(samples.shape)} at {rate}")
    code, kind = (PCM, "<i2") if samples.dtype == np.int16 else (FLOAT, "<f4")
    content = samples.astype(kind).tobytes()
    width = np.dtype(kind).itemsize
    form = struct.pack("<HHIIHH", code, 1, rate, rate * width % 2**32, width, 8 * width)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _form(chunk: bytes, size: int) -> tuple[int, int, int, int]:
    """Return code, channels, rate and bits of a sample."""
    if size < 16 or len(chunk) < size:
        raise ValueError("its form is cut short")
    code, channels, rate, _, block, bits = struct.unpack("<HHIIHH", chunk[:16])
    if code == EXTENSIBLE:
        if len(chunk) < 26:
            raise ValueError("its form is cut short")
        code = int.from_bytes(chunk[24:26], "little")
    if code not in WIDTHS:
        raise ValueError(f"it is compressed (form {code:#06x})")
    if bits % 8 or bits // 8 not in WIDTHS[code]:
        raise ValueError(f"its samples have {bits} bits")
    if not channels or block != channels * bits // 8:
        raise ValueError(f"it has {channels} channels in blocks of {block} bytes")
    return code, channels, rate, bits


def _placed(form: tuple[int, int, int, int], start: int, size: int, length: int) -> Wav:
    code, channels, rate, bits = form
    there = length - start
    if size == OPEN_END:
        size = there
    if size > there:
        raise ValueError(f"it is cut short: {there:,} of {size:,} bytes of samples are there")
    width = bits // 8
    return Wav(rate=rate, channels=channels, frames=size // (width * channels), width=width, is_float=code == FLOAT, start=start)


def _samples(part: np.ndarray, wav: Wav) -> np.ndarray:
    """Return float32 or float64 in -1..1 (floats as they are) of raw bytes."""
    if wav.is_float:
        return part.view("<f4" if wav.width == 4 else "<f8")
    if wav.width == 1:  # the only width without a sign
        return (part.astype(np.float32) - 128) / 128
    if wav.width == 3:
        wide = np.zeros((len(part) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = part.reshape(-1, 3)
        return wide.reshape(-1).view("<i4").astype(np.float64) / 2**31
    if wav.width == 2:
        return part.view("<i2").astype(np.float32) / 2**15
    return part.view("<i4").astype(np.float64) / 2**31
