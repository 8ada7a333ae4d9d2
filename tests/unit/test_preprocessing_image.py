"""Whatever an image file is, it becomes upright 8-bit pixels of one form; one that can not be read is named by its row."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.preprocessing_tables import picture
from weighbridge.errors import DataError
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.image import ImageFeature, ImageFit, header, load_image
from weighbridge.storage.seeds import rng

LEFT_RED = np.zeros((4, 6, 3), dtype=np.uint8)
LEFT_RED[:, :3, 0] = 255


def _fit(values: list[object], size: object = None, channels: int | None = None) -> ImageFeature:
    fit = ImageFit("photo", size=size, channels=channels, generator=rng(0, "photo"))  # type: ignore[arg-type]
    fit.add(objects(values))
    return ImageFeature.from_json(fit.finish().to_json())


def test_raw_arrays_of_one_size_pass_as_they_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 7), dtype=np.uint8)
    feature = _fit(list(images))
    assert feature.shape == (5, 7, 1)
    encoded = feature.encode(objects(list(images)))
    np.testing.assert_array_equal(encoded[..., 0], images)
    np.testing.assert_array_equal(feature.encode(images), encoded)
    np.testing.assert_array_equal(feature.encode(objects([*images[:3], None]))[:3], encoded[:3])
    assert feature.mean[0] == pytest.approx(images.mean() / 255)
    assert feature.std[0] == pytest.approx(images.std() / 255)


def test_a_path_bytes_an_array_and_a_pillow_image_give_the_same_pixels(tmp_path: Path) -> None:
    content = picture(LEFT_RED)
    (tmp_path / "a.png").write_bytes(content)
    feature = _fit([content])
    same = feature.encode(objects([content, str(tmp_path / "a.png"), LEFT_RED, Image.open(io.BytesIO(content))]))
    for image in same:
        np.testing.assert_array_equal(image, LEFT_RED)


def test_images_of_several_sizes_are_64_by_64_unless_the_recipe_says_otherwise() -> None:
    values: list[object] = [np.zeros((4, 6), np.uint8), np.zeros((8, 8), np.uint8)]
    assert _fit(values).shape == (64, 64, 1)
    assert _fit(values, (3, 9), 3).shape == (3, 9, 3)
    assert _fit(values).resized == 2


def test_most_images_decide_between_grey_and_colour() -> None:
    grey, colour = np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint8)
    assert _fit([grey, grey, colour]).channels == 1
    assert _fit([grey, colour, colour]).channels == 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_stands_upright_by_its_exif_mark(orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that a camera with this mark made
    image = Image.fromarray(LEFT_RED)
    stored = image if orientation == 1 else image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    held = io.BytesIO()
    stored.save(held, "PNG", exif=exif)
    assert header(held.getvalue(), "row 1") == (4, 6, False)
    np.testing.assert_array_equal(load_image(held.getvalue(), (4, 6, 3), "row 1"), LEFT_RED)


def test_what_is_transparent_is_white() -> None:
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    out = load_image(picture(pixels), (2, 2, 3), "row 1")
    assert out[0, 0].tolist() == [10, 20, 30]
    assert out[1, 1].tolist() == [255, 255, 255]
    assert load_image(picture(pixels), (2, 2, 1), "row 1")[1, 1, 0] == 255


def test_16_bits_palettes_grey_bilevel_and_cmyk_become_8_bits() -> None:
    deep = np.array([[0, 32768, 65535]], dtype=np.uint16)
    assert load_image(picture(deep), (1, 3, 1), "row 1").ravel().tolist() == [0, 128, 255]
    palette = io.BytesIO()
    Image.fromarray(LEFT_RED).quantize(4).save(palette, "PNG")
    np.testing.assert_array_equal(load_image(palette.getvalue(), (4, 6, 3), "row 1"), LEFT_RED)
    bilevel = io.BytesIO()
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1").save(bilevel, "PNG")
    assert load_image(bilevel.getvalue(), (1, 2, 1), "row 1").ravel().tolist() == [0, 255]
    cmyk = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).convert("CMYK").save(cmyk, "JPEG")
    assert np.abs(load_image(cmyk.getvalue(), (8, 8, 3), "row 1").astype(int) - 200).max() < 6


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    for side in (8_000, 10_000, 60_000):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        bomb = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        for call in (lambda bomb=bomb: header(bomb, "row r7"), lambda bomb=bomb: load_image(bomb, (4, 4, 1), "row r7")):
            with pytest.raises(DataError, match="row r7"):
                call()


def _is_refused(content: bytes) -> bool:
    try:
        return load_image(content, (12, 12, 3), "row r9").shape != (12, 12, 3)
    except DataError as error:
        return "row r9" in str(error)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_damaged_image_is_read_or_refused_by_its_row_and_nothing_else(kind: str) -> None:
    random = np.random.default_rng(0)
    whole = picture(random.integers(0, 256, (12, 12, 3), dtype=np.uint8), kind)
    refused = 0
    for trial in range(150):
        bad = bytearray(whole[: int(random.integers(1, len(whole)))] if trial % 3 == 0 else whole)
        for _ in range(int(random.integers(1, 5))):
            bad[int(random.integers(0, min(len(bad), 200)))] = int(random.integers(0, 256))
        refused += _is_refused(bytes(bad))
    assert refused > 20


def test_formats_that_run_programs_or_are_no_images_are_refused_with_their_row() -> None:
    feature = _fit([np.zeros((4, 4), np.uint8)])
    strange = [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"", b"<svg/>", "/nowhere/x.png", "/", np.zeros((2, 2), float), 7]
    for value in strange:
        with pytest.raises(DataError, match="column 'photo' row r1"):
            feature.encode(objects([np.zeros((4, 4), np.uint8), value]), np.array(["r0", "r1"]))


def test_a_large_batch_of_files_is_decoded_in_order() -> None:
    files = [picture(np.full((4, 4), value, np.uint8)) for value in range(50)]
    assert _fit(files).encode(objects(files))[:, 0, 0, 0].tolist() == list(range(50))


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="empty in all 2 training rows"):
        _fit([None, None])
