"""Whatever a clip's file is, it becomes finite mono samples at one rate, or one line that names its row; a tone keeps its frequency."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.unit.clips import hostile, hostile_compressed, tone, wav
from weighbridge.errors import DataError, DependencyError
from weighbridge.sound import header, is_sound, read_clip, resample, write_wav
from weighbridge.sound.mel import Mel, centres, to_hertz, to_mel


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_whole_numbers_of_every_width_are_parts_of_full_scale(width: int) -> None:
    samples = tone(440, seconds=0.1)
    found = read_clip(wav(samples, width=width), "row 1")
    assert found.rate == 16_000
    assert found.samples.dtype == np.float32
    np.testing.assert_allclose(found.samples, samples, atol=2.0 / 2 ** (8 * width - 1) + 1e-6)


def test_a_waveform_is_written_and_read_sample_for_sample(tmp_path: Path) -> None:
    floats, whole = tone(300).astype(np.float32), np.arange(-300, 300, dtype=np.int16)
    np.testing.assert_array_equal(read_clip(write_wav(floats, 8000), "row 1").samples, floats)
    np.testing.assert_array_equal(read_clip(write_wav(whole, 8000), "row 1").samples, whole.astype(np.float32) / 32768)
    (tmp_path / "a.wav").write_bytes(write_wav(whole, 8000))
    assert read_clip(str(tmp_path / "a.wav"), "row 1").seconds == pytest.approx(600 / 8000)


def test_channels_are_mixed_to_their_mean() -> None:
    left, right = tone(300, seconds=0.1), tone(900, seconds=0.1)
    both = np.stack([left, right], axis=1).reshape(-1)
    found = read_clip(wav(both, width=2, channels=2), "row 1")
    np.testing.assert_allclose(found.samples, (left + right) / 2, atol=1e-4)


def test_no_more_is_decoded_than_is_asked_for() -> None:
    assert len(read_clip(wav(tone(300, seconds=1.0)), "row 1", seconds=0.25).samples) == 4000


def test_a_header_is_read_without_a_sample() -> None:
    said = header(wav(tone(300, seconds=0.5)), "row 1")
    assert (said.rate, said.channels, said.seconds) == (16_000, 1, 0.5)


def test_a_stream_of_unknown_length_reaches_to_the_end_of_its_file() -> None:
    content = bytearray(wav(tone(300, seconds=0.1), width=2))
    content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    assert header(bytes(content), "row 1").frames == 1600


@pytest.mark.parametrize(("name", "content"), hostile())
def test_a_damaged_clip_is_one_line_that_names_its_row(name: str, content: bytes) -> None:
    with pytest.raises(DataError, match="column 'clip' row 7: "):
        read_clip(content, "column 'clip' row 7")


@pytest.mark.parametrize(("name", "content"), hostile_compressed())
def test_a_compressed_clip_that_is_none_is_one_line_too(name: str, content: bytes) -> None:
    pytest.importorskip("soundfile")
    with pytest.raises(DataError, match="row 7: "):
        read_clip(content, "row 7")


@pytest.mark.parametrize("place", range(44))
@pytest.mark.parametrize("value", [0, 0x7F, 0xFF])
def test_any_byte_of_a_header_may_be_wrong_and_only_a_typed_refusal_follows(place: int, value: int) -> None:
    content = bytearray(wav(tone(300, seconds=0.05), width=2))
    content[place] = value
    try:
        found = read_clip(bytes(content), "row 1")
    except DataError:
        return
    assert np.isfinite(found.samples).all()


@pytest.mark.parametrize("length", range(0, 2000, 97))
def test_a_clip_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(DataError):
        read_clip(wav(tone(300, seconds=0.0625), width=2)[:length], "row 1")


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3"])
def test_compressed_forms_are_read_through_soundfile_and_refused_where_they_are_cut(form: str, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    samples = tone(440, seconds=1.0, rate=44_100)
    soundfile.write(tmp_path / "a", samples, 44_100, format=form)
    content = (tmp_path / "a").read_bytes()
    assert is_sound(content)
    found = read_clip(content, "row 1")
    assert found.rate == 44_100
    spectrum = np.abs(np.fft.rfft(found.samples[4096 : 4096 + 32_768]))
    assert spectrum.argmax() * 44_100 / 32_768 == pytest.approx(440, abs=2)
    for part in (0.1, 0.5, 0.9, 0.999):
        cut = content[: int(part * len(content))]
        if form == "MP3":  # states no length: what is there is played
            continue
        with pytest.raises(DataError):
            read_clip(cut, "row 1")


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3"])
def test_flipped_bytes_of_compressed_clips_give_finite_samples_or_a_typed_refusal(form: str, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a", tone(440, seconds=0.3, rate=44_100), 44_100, format=form)
    content, random = (tmp_path / "a").read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(256)
        try:
            found = read_clip(bytes(damaged), "row 1")
        except DataError:
            continue
        assert np.isfinite(found.samples).all()


def test_without_soundfile_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(DependencyError, match="need soundfile"):
        read_clip(b"fLaC" + bytes(100), "row 1")


@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 16_000), (16_000, 8_000), (8_000, 16_000), (22_050, 16_000), (11_127, 16_000)])
def test_a_resampled_sine_is_the_same_sine(rate: int, wanted: int) -> None:
    frequency, seconds = 1234.5, 0.5
    samples = tone(frequency, seconds=seconds, rate=rate)
    out = resample(samples, rate, wanted)
    assert len(out) == -(-len(samples) * wanted // rate)
    expected = tone(frequency, seconds=2 * seconds, rate=wanted)[: len(out)]
    inner = slice(200, len(expected) - 200)
    assert np.abs(out[inner] - expected[inner]).max() < 2e-3


def test_what_lies_above_half_the_new_rate_is_let_go() -> None:
    out = resample(tone(6000, seconds=0.5, rate=44_100), 44_100, 8_000)
    assert np.abs(out[200:-200]).max() < 1e-3


def test_equal_rates_give_the_samples_as_they_are() -> None:
    samples = tone(300).astype(np.float32)
    assert resample(samples, 16_000, 16_000) is samples


def test_the_mel_scale_goes_back_and_has_its_known_points() -> None:
    hertz = np.array([0.0, 700.0, 1000.0, 8000.0])
    np.testing.assert_allclose(to_hertz(to_mel(hertz)), hertz, atol=1e-9)
    assert float(to_mel(1000.0)) == pytest.approx(999.99, abs=0.01)  # 1000 mel at 1000 Hz is how the scale is defined


@pytest.mark.parametrize("bands", [20, 40, 128])
@pytest.mark.parametrize("frequency", [150.0, 440.0, 1000.0, 3500.0])
def test_a_pure_tone_lands_in_its_band_at_about_full_scale(frequency: float, bands: int) -> None:
    mel = Mel(rate=16_000, window=400, hop=160, bands=bands)
    levels = mel.decibels(tone(frequency, seconds=0.5))
    assert levels.shape == (bands, 50)
    middle = levels[:, 25]
    nearest = int(np.abs(to_mel(centres(mel)) - to_mel(frequency)).argmin())
    assert abs(int(middle.argmax()) - nearest) <= 1
    assert -4 < middle.max() < 4


def test_half_the_amplitude_is_six_decibels_less() -> None:
    mel = Mel(rate=16_000, window=400, hop=160, bands=40)
    loud, quiet = mel.decibels(tone(1000)), mel.decibels(0.5 * tone(1000))
    assert float((loud - quiet)[:, 10].max()) == pytest.approx(6.02, abs=0.05)


def test_silence_is_the_lowest_level() -> None:
    assert (Mel(rate=16_000, window=400, hop=160, bands=40).decibels(np.zeros(1600)) == -120).all()
