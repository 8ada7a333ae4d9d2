"""Clips of sound: read within limits as mono samples, brought to one rate, drawn as a log-mel spectrogram; with numpy alone for WAV."""

from weighbridge.sound.clip import FORMATS, Clip, Header, content_of, header, is_sound, read_clip
from weighbridge.sound.resample import resample
from weighbridge.sound.wav import write_wav

__all__ = ["FORMATS", "Clip", "Header", "content_of", "header", "is_sound", "read_clip", "resample", "write_wav"]
