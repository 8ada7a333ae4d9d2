"""A clip as mono samples at its own rate, whatever file it is, or one line that says why it can not be read.

WAV is read with numpy; FLAC, Ogg (Vorbis, Opus) and MP3 by libsndfile, through soundfile. No more is held in memory than the samples that
are asked for and one block of the file, whatever the file unfolds to.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.errors import DataError, DependencyError
from weighbridge.sound.wav import BLOCK_FRAMES, is_wav, parse_wav, read_wav
from weighbridge.storage.starts import start_of

FORMATS = ("WAV", "FLAC", "OGG", "MP3")
MOST_FILE_BYTES = 256 << 20
MOST_SECONDS = 600.0  # a clip is one thing that is said, played or heard; a longer recording is cut into clips first
LEAST_RATE, MOST_RATE = 1_000, 384_000
MOST_CHANNELS = 32
MOST_LEVEL = 1e6  # times full scale: floats may be whole numbers of 16 bits, unscaled
MOST_SAMPLES = 64_000_000  # of one clip, all channels mixed: 256 MB
DO = "repair or remove it, or set data.clean.unreadable: skip"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Mono `samples` float32 [n], each finite, at `rate` Hz."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of itself: `rate` in Hz, `channels`, and how many samples each channel has."""

    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def is_sound(content: bytes) -> bool:
    """Say whether the bytes begin as a file of FORMATS does."""
    return bool(_format(content))


def header(value: Any, where: str) -> Header:
    """Return what a file says of itself; no sample is decoded. Raises DataError that names `where`."""
    content = content_of(value, where)
    with _naming(where):
        if is_wav(content):
            wav = parse_wav(content)
            return _within(Header(rate=wav.rate, channels=wav.channels, frames=wav.frames))
        with _opened(content) as file:
            return _within(Header(rate=file.samplerate, channels=file.channels, frames=file.frames))


def read_clip(value: Any, where: str, *, seconds: float = MOST_SECONDS) -> Clip:
    """Return the first `seconds` of a clip, from a path or a file's bytes, its channels mixed to their mean.

    Raises DataError that names `where`: no such file, another form, cut short, longer than MOST_SECONDS, empty, a sample that is no
    finite number. DependencyError where soundfile is missing and the file is no WAV.
    """
    content = content_of(value, where)
    with _naming(where):
        if is_wav(content):
            wav = parse_wav(content)
            said = _within(Header(rate=wav.rate, channels=wav.channels, frames=wav.frames))
            samples = read_wav(content, wav, _frames(seconds, said.rate))
        else:
            with _opened(content) as file:
                said = _within(Header(rate=file.samplerate, channels=file.channels, frames=file.frames))
                samples = _decoded(file, said, _frames(seconds, said.rate))
        if not np.abs(samples).max() <= MOST_LEVEL:  # so is no number
            raise ValueError("a sample is no finite number, or beyond a million times full scale")
    return Clip(samples=samples, rate=said.rate)


def _frames(seconds: float, rate: int) -> int:
    return math.ceil(min(seconds, MOST_SECONDS) * rate)


def _within(said: Header) -> Header:
    """Return the header of a clip that is within the limits. Raises ValueError."""
    if not LEAST_RATE <= said.rate <= MOST_RATE:
        raise ValueError(f"its rate of {said.rate:,} Hz is not between {LEAST_RATE:,} and {MOST_RATE:,}")
    if not 1 <= said.channels <= MOST_CHANNELS:
        raise ValueError(f"it has {said.channels} channels, at most {MOST_CHANNELS} are read")
    if said.frames < 1:
        raise ValueError("it holds no sample")
    if said.seconds > MOST_SECONDS or said.frames > MOST_SAMPLES:
        raise ValueError(f"it lasts {said.seconds:,.0f} s, at most {MOST_SECONDS:,.0f} s and {MOST_SAMPLES:,} samples are read")
    return said


def content_of(value: Any, where: str) -> bytes:
    """Return the bytes of a clip's file, from a path or as they are. Raises DataError that names `where`."""
    if isinstance(value, bytes):
        content = value
    elif isinstance(value, str | os.PathLike):  # a bare number would open that file handle of this process
        with _naming(where):
            content = start_of(str(value), MOST_FILE_BYTES)
    else:
        raise DataError(f"{where}: a {type(value).__name__} is not a clip", do="give a path or the bytes of a file")
    if not _format(content):
        raise DataError(f"{where}: the clip is none of {', '.join(FORMATS)}", do=DO)
    return content


def _format(content: bytes) -> str:
    """Return which of FORMATS the bytes begin as, or ""."""
    if is_wav(content):
        return "WAV"
    if content[:4] in (b"fLaC", b"OggS"):
        return "FLAC" if content[:4] == b"fLaC" else "OGG"
    sync = len(content) > 3 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2 and content[1] & 0x18 != 0x08  # MPEG, layer III
    return "MP3" if content[:3] == b"ID3" or sync else ""


@contextmanager
def _opened(content: bytes) -> Iterator[Any]:
    """Give the file as libsndfile opens it, of the form that its first bytes say."""
    form = _format(content)
    if form == "OGG":
        _check_ogg(content)
    with _soundfile().SoundFile(io.BytesIO(content)) as file:
        if file.format != form and form != "MP3":  # libsndfile calls some MP3 files MPEG
            raise ValueError(f"it begins as {form} and is {file.format}")
        yield file


def _check_ogg(content: bytes) -> None:
    """Raise ValueError unless the last page is whole and says that the stream ends (RFC 3533): libsndfile plays what is there."""
    at = content.rfind(b"OggS")
    table = content[at + 27 : at + 27 + content[at + 26]] if at + 26 < len(content) else b""
    whole = at + 26 < len(content) and len(table) == content[at + 26] and at + 27 + len(table) + sum(table) <= len(content)
    if not whole or not content[at + 5] & 4:
        raise ValueError("it is cut short: its last page is not whole")


def _decoded(file: Any, said: Header, frames: int) -> np.ndarray:
    """Return float32 [n], block by block. Raises ValueError for fewer samples than the header says, or more than are read."""
    parts, done, wanted = [], 0, min(frames, said.frames)
    while done < wanted:
        block = file.read(min(BLOCK_FRAMES, wanted - done), dtype="float32", always_2d=True)
        if not len(block):
            break
        parts.append(block[:, 0] if said.channels == 1 else block.mean(axis=1))
        done += len(block)
    if done < wanted and file.format not in ("MP3", "MPEG"):  # whose length is an estimate where it does not say
        raise ValueError(f"it is cut short: {done:,} of {said.frames:,} samples are there")
    if not done:
        raise ValueError("it holds no sample")
    return np.concatenate(parts)


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Turns what a damaged file makes its reader raise into a DataError that names the row."""
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError, OverflowError, MemoryError, TypeError) as error:  # LibsndfileError is a RuntimeError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{where}: the clip can not be read ({reason[:200]})", do=DO) from None


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: its library libsndfile is not there
        raise DependencyError("clips other than WAV need soundfile", do="pip install 'weighbridge[audio]', or give WAV files") from None
    return soundfile
