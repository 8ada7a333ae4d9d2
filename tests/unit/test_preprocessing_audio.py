"""A clip gives the same spectrogram alone and in any batch, now and from the stored state; what is cut, missing or damaged is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.clips import RATE, tone, wav
from tests.unit.preprocessing_tables import SECTION, MemorySplits, schema, table
from weighbridge.errors import DataError, PackageError
from weighbridge.findings import by_key
from weighbridge.preprocessing import Encoder, prepare
from weighbridge.preprocessing.audio import AudioFeature, AudioFit
from weighbridge.preprocessing.feature import objects
from weighbridge.recipe.schema import PreprocessingSection
from weighbridge.runtime.traits import traits_of
from weighbridge.storage.seeds import rng
from weighbridge.training.augment import mask_spectrogram, shift_time


def fit(values: list[object], **options: object) -> AudioFeature:
    chosen = {"rate": "auto", "seconds": "auto", "bands": 40, "window_s": 0.025, "hop_s": 0.01, **options}
    made = AudioFit("clip", generator=rng(0, "clip"), **chosen)  # type: ignore[arg-type]
    made.add(objects(values))
    return AudioFeature.from_json(json.loads(json.dumps(made.finish().to_json())))


def clips(count: int = 20, **options: int) -> list[object]:
    random = np.random.default_rng(0)
    return [
        wav(0.8 * tone(float(random.uniform(200, 3000)), seconds=float(random.uniform(0.1, 0.3)), **options), **options)
        for _ in range(count)
    ]


def test_the_training_clips_decide_rate_and_length() -> None:
    feature = fit(clips(40))
    assert feature.rate == RATE
    lengths = sorted(len(one) - 44 for one in clips(40))  # type: ignore[arg-type]
    assert feature.seconds == pytest.approx(np.percentile(lengths, 95) / 2 / RATE, abs=0.011)
    assert feature.cut <= 2
    assert feature.shape == (40, feature.samples // 160, 1)


def test_a_rate_above_what_speech_needs_is_brought_down() -> None:
    feature = fit(clips(4, rate=44_100))
    assert (feature.rate, feature.resampled) == (16_000, 4)
    assert fit(clips(4, rate=44_100), rate=44_100).resampled == 0


def test_long_clips_are_cut_to_ten_seconds_unless_the_recipe_says_otherwise() -> None:
    long = [wav(tone(300, seconds=12.0))] * 3
    assert (fit(long).seconds, fit(long).cut) == (10.0, 3)
    assert fit(long, seconds=0.5).shape == (40, 50, 1)
    with pytest.raises(DataError, match="frames, at most"):
        fit(long, seconds=600.0)


def test_a_tone_is_a_bright_line_in_its_band_and_silence_follows_it() -> None:
    feature = fit([wav(tone(1000, seconds=0.2)), wav(tone(3000, seconds=0.4))], seconds=0.4)
    low, high = feature.encode(objects([wav(tone(1000, seconds=0.2)), wav(tone(3000, seconds=0.2))]))[..., 0]
    assert low[:, 5].argmax() > high[:, 5].argmax()  # the highest band is the first line
    assert low[:, 5].max() > 240
    assert not low[:, 25:].any()


def test_each_row_is_encoded_alone() -> None:
    values, feature = clips(30), fit(clips(30))
    whole = feature.encode(objects(values))
    for place in (0, 7, 29):
        np.testing.assert_array_equal(feature.encode(objects([values[place]]))[0], whole[place])


def test_a_path_and_its_bytes_are_the_same_clip(tmp_path: Path) -> None:
    content, feature = wav(tone(700)), fit(clips())
    (tmp_path / "a.wav").write_bytes(content)
    one, other = feature.encode(objects([content, str(tmp_path / "a.wav")]))
    np.testing.assert_array_equal(one, other)


def test_a_missing_clip_is_the_mean_level_and_is_marked() -> None:
    feature = fit([*clips(), None])
    assert (feature.missing, feature.masked) == (1, True)
    assert (feature.encode(objects([None])) == round(255 * feature.mean[0])).all()


def test_no_clip_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="is empty in all 2 training rows"):
        fit([None, None])


def test_a_damaged_clip_names_its_row() -> None:
    with pytest.raises(DataError, match="column 'clip' row b: the clip can not be read"):
        fit(clips()).encode(objects([wav(tone(300)), wav(tone(300))[:-9]]), np.array(["a", "b"]))


@pytest.mark.parametrize(
    "change", [{"bands": 10**6}, {"hop": 0}, {"rate": -1}, {"samples": 2**40}, {"floor_db": float("nan")}, {"mean": [0.1, 0.2]}]
)
def test_a_damaged_state_is_refused(change: dict[str, object]) -> None:
    columns = {"clip": objects(clips()), "label": objects(["a", "b"] * 10)}
    state = Encoder.fit(table(columns), schema({"clip": "audio", "label": "category"}, "label"), SECTION).to_json()
    state["features"][0] |= change
    with pytest.raises(PackageError, match="damaged"):
        Encoder.from_json(state)


def test_the_block_is_read_as_an_image_and_named_as_a_clip(tmp_path: Path) -> None:
    columns = {"clip": objects([*clips(19), None]), "age": np.arange(20.0), "label": objects(["a", "b"] * 10)}
    rows, known = table(columns), schema({"clip": "audio", "age": "number", "label": "category"}, "label")
    findings = prepare(
        PreprocessingSection(),
        data=MemorySplits(schema=known, train=rows, validation=rows),
        folder=tmp_path,
        command="weigh preprocess runs/x",
    )
    encoder = Encoder.fit(rows, known, SECTION)
    assert [(block.name, block.kind, block.of) for block in encoder.blocks] == [
        ("number", "number", "number"), ("present.clip", "present", "present"), ("audio.clip", "image", "audio"),
    ]  # fmt: skip
    assert by_key(findings, "preprocessing.audio").n == 19
    assert by_key(findings, "preprocessing.missing.clip").value == pytest.approx(0.05)


def test_what_is_watched_of_a_clip_are_its_length_loudness_background_and_pitch() -> None:
    feature = fit(clips(), seconds=0.5)
    quiet, loud = wav(0.1 * tone(400, seconds=0.4)), wav(tone(3000, seconds=0.2))
    found = traits_of(feature, objects([quiet, loud, None]))
    assert found["seconds"][:2] == pytest.approx([0.4, 0.2])
    assert found["loudness"][:2] == pytest.approx([-23.01, -3.01], abs=0.1)
    assert found["centroid"][0] == pytest.approx(400, abs=60)
    assert found["centroid"][1] == pytest.approx(3000, abs=200)
    assert all(np.isnan(values[2]) for values in found.values())


def test_a_shifted_spectrogram_is_the_same_one_at_another_time() -> None:
    levels = torch.arange(1, 101, dtype=torch.uint8).reshape(1, 1, 100, 1).expand(8, 4, 100, 1)
    moved = shift_time(levels, 0.1, torch.Generator().manual_seed(0))
    assert moved.dtype == torch.uint8
    for one in moved:
        inside = one[0, :, 0] > 0
        assert ((one[0, inside, 0].long() - torch.arange(100)[inside]) == (one[0, inside, 0].long() - torch.arange(100)[inside])[0]).all()
        assert int((~inside).sum()) <= 10


def test_masks_hide_whole_bands_and_whole_moments() -> None:
    levels = torch.full((16, 20, 50, 1), 200, dtype=torch.uint8)
    masked = mask_spectrogram(levels, 2, torch.Generator().manual_seed(0))[..., 0]
    hidden = masked == 0
    bands, moments = hidden.all(dim=2), hidden.all(dim=1)
    assert bool((hidden == (bands[:, :, None] | moments[:, None, :])).all())
    assert 0 < float(hidden.float().mean()) < 0.6
