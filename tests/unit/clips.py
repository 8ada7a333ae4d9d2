"""Clips of sound for tests: tones, WAV files of every width, and files that are damaged on purpose."""

from __future__ import annotations

import struct

import numpy as np

RATE = 16_000


def tone(frequency: float, *, seconds: float = 0.25, rate: int = RATE) -> np.ndarray:
    """Return float64 [n]: a sine of full scale."""
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def wav(samples: np.ndarray, *, width: int = 2, rate: int = RATE, channels: int = 1) -> bytes:
    """Return a WAV file of samples in -1..1 as whole numbers of `width` bytes; several channels lie side by side in `samples`."""
    most = 2 ** (8 * width - 1) - 1
    whole = np.round(samples * most).astype("<i4")
    if width == 1:
        content = (whole + 128).astype(np.uint8).tobytes()
    elif width == 3:
        content = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        content = whole.astype(f"<i{width}").tobytes()
    return riff(struct.pack("<HHIIHH", 1, channels, rate, rate * width * channels, width * channels, 8 * width), content)


def riff(form: bytes, content: bytes, *, size: int | None = None) -> bytes:
    """Return a WAV file of a form and its samples' bytes, which states `size` bytes of them."""
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(content) if size is None else size) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def form(code: int = 1, channels: int = 1, rate: int = RATE, block: int = 2, bits: int = 16) -> bytes:
    return struct.pack("<HHIIHH", code, channels, rate, min(rate * block, 2**32 - 1), block, bits)


def hostile() -> list[tuple[str, bytes]]:
    """Return damaged clips by name: none of them may be read."""
    good, samples = wav(tone(300, seconds=0.05)), b"\0\0" * 800
    floats = struct.pack("<HHIIHH", 3, 1, RATE, RATE * 4, 4, 32)
    doubles = struct.pack("<HHIIHH", 3, 1, RATE, RATE * 8, 8, 64)
    return [
        ("no bytes", b""),
        ("zeros", bytes(1000)),
        ("a text", b"clip.wav"),
        ("RIFF alone", b"RIFF"),
        ("a WebP picture", b"RIFF\x10\0\0\0WEBPVP8 "),
        ("an AIFF file", b"FORM\0\0\0\x10AIFFCOMM"),
        ("no chunk", good[:12]),
        ("half a chunk's head", good[:16]),
        ("half a form", good[:30]),
        ("no samples", good[:36]),
        ("an empty clip", riff(form(), b"")),
        ("less than a sample", riff(form(), b"\0")),
        ("half of its samples", good[: len(good) // 2]),
        ("one byte less", good[:-1]),
        ("states 2 GB", riff(form(), samples, size=2**31)),
        ("states all but 4 GB", riff(form(), samples, size=2**32 - 2)),
        ("samples before their form", b"RIFF\x10\0\0\0WAVEdata\x04\0\0\0\0\0\0\0"),
        ("a form of 4 bytes", riff(b"\1\0\1\0", samples)),
        ("no channel", riff(form(channels=0, block=0), samples)),
        ("33 channels", riff(form(channels=33, block=66), samples * 33)),
        ("65,535 channels", riff(form(channels=65_535, block=65_534), samples)),
        ("blocks that do not fit", riff(form(block=3), samples)),
        ("blocks of no byte", riff(form(block=0), samples)),
        ("12 bits", riff(form(bits=12), samples)),
        ("0 bits", riff(form(bits=0, block=0), samples)),
        ("64 bits, whole", riff(form(bits=64, block=8), samples)),
        ("a rate of 0", riff(form(rate=0), samples)),
        ("a rate of 10 Hz: hours in a small file", riff(form(rate=10), samples)),
        ("a rate of 4 GHz", riff(form(rate=2**32 - 1), samples)),
        ("601 seconds", riff(form(rate=1000), b"\0\0" * 601_000)),
        ("ADPCM", riff(form(code=2), samples)),
        ("mu-law", riff(form(code=7, bits=8, block=1), samples)),
        ("MP3 in WAV", riff(form(code=0x55), samples)),
        ("an extension cut short", riff(form(code=0xFFFE) + b"\0\0", samples)),
        ("an extension of an unknown form", riff(form(code=0xFFFE) + struct.pack("<HHIH", 22, 16, 0, 0x1234) + bytes(14), samples)),
        ("a sample that is no number", riff(floats, struct.pack("<2f", 0.0, float("nan")))),
        ("an infinite sample", riff(floats, struct.pack("<2f", float("-inf"), 0.0))),
        ("a sample beyond float32", riff(doubles, struct.pack("<2d", 1e300, 0.0))),
        ("half a float", riff(floats, b"\0\0")),
        ("an Ogg page that is none", b"OggS" + b"\xff" * 40),
        ("an Ogg page's first bytes", b"OggS\0\2"),
    ]


def hostile_compressed() -> list[tuple[str, bytes]]:
    """Return what only begins as a compressed clip, by name."""
    return [
        ("a FLAC file that is none", b"fLaC" + b"\xff" * 60),
        ("a FLAC file of its first four bytes", b"fLaC"),
        ("an MP3 file that is none", b"ID3" + b"\xff" * 60),
        ("an MP3 frame alone", b"\xff\xfb\x90\x00"),
        ("an Ogg page of no codec", b"OggS\0\6" + bytes(20) + b"\1\4abcd"),
    ]
