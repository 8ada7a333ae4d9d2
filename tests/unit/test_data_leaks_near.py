"""Law: what MinHash proposes is verified on the texts, what the hash proposes on the pixels; no pair at the bound is invented."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.data.leaks_images import (
    SIDE,
    image_rows,
    likeness,
    near_images,
    perceptual_hash,
    thumbnail_of,
    thumbnails_of_files,
)
from weighbridge.data.leaks_near_text import LEAST_LIKENESS, near_texts
from weighbridge.data.leaks_text import (
    ABSENT,
    PIECE,
    PLACES,
    common_shingles,
    is_dense,
    is_sequence,
    jaccard,
    least_shingles,
    minhash,
    normal,
    points_of,
    shingles,
)

WORDS = st.lists(st.sampled_from("ab abc cda bad 日本 語文 zeta eta theta iota kappa".split()), min_size=0, max_size=30).map(" ".join)
PROSE = (
    "the mill on the river was sold last autumn to two brothers who had never ground a sack of corn in their lives",
    "nobody in the village believed that the new bridge would carry the weight of the harvest carts before winter",
    "她在窗边读完那封很长的信以后又把它折好放回抽屉里什么也没有说就出门去了",
    "酒店离地铁站只有两三分钟的路程，早餐很丰富，前台的服务员态度也非常热情。",
)


def pairs_of(texts: Sequence[str | None], later: list[bool]) -> list[list[int]]:
    found: list[list[int]] = near_texts(texts, np.array(later, dtype=bool)).pairs.tolist()
    return found


def brute(texts: list[str | None], later: list[bool]) -> set[int]:
    """Return the rows before the split that are near a later one, by comparing all pairs."""
    cut = [shingles(normal(text or "")) for text in texts]
    told = [len(runs) >= least_shingles(normal(text or "")) for runs, text in zip(cut, texts, strict=True)]
    same = [normal(text or "") for text in texts]
    rows = range(len(texts))

    def near(one: int, two: int) -> bool:
        return same[one] == same[two] != "" or (told[one] and told[two] and jaccard(cut[one], cut[two]) >= LEAST_LIKENESS)

    return {one for one in rows if not later[one] and any(later[two] and near(one, two) for two in rows)}


@given(st.lists(st.tuples(st.none() | WORDS, st.booleans()), max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_pairs_of_texts_are_those_of_comparing_all(rows: list[tuple[str | None, bool]]) -> None:
    texts, later = [text for text, _ in rows], [side for _, side in rows]
    pairs = pairs_of(texts, later)
    assert {row for row, _ in pairs} <= brute(texts, later)  # none is invented
    assert len({row for row, _ in pairs}) == len(pairs)
    assert all(later[other] and not later[row] for row, other in pairs)


@pytest.mark.parametrize("text", PROSE)
@given(place=st.integers(0, 20), change=st.sampled_from(["!", " ", "。", "x", "好"]))
@settings(max_examples=20, deadline=None)
def test_a_text_with_one_mark_more_is_found_and_other_texts_are_not(text: str, place: int, change: str) -> None:
    copy = f"{text}{change}".upper() if place % 2 else f"{change}{text}"
    assert pairs_of([text, *PROSE, copy], [False] * (len(PROSE) + 1) + [True]) == [[0, 5], [1 + PROSE.index(text), 5]]


@given(WORDS, WORDS)
@settings(max_examples=100, deadline=None)
def test_equal_places_of_sketches_estimate_jaccard(one: str, other: str) -> None:
    """Their error is at most that of as many independent places as the smaller text has different runs."""
    ours, theirs = shingles(normal(one)), shingles(normal(other))
    sketches = minhash([normal(one), normal(other)])
    if not len(ours) or not len(theirs):
        assert (sketches[0] == ABSENT).all() or (sketches[1] == ABSENT).all()
        return
    likely, n = jaccard(ours, theirs), min(PLACES, len(ours), len(theirs))
    assert abs((sketches[0] == sketches[1]).mean() - likely) <= 5 * np.sqrt(max(likely * (1 - likely), 1 / n) / n)


@pytest.mark.slow
@given(st.text(max_size=40), st.text(max_size=40))
@settings(deadline=None)
def test_jaccard_is_symmetric_within_0_and_1_and_1_for_equal_texts(one: str, other: str) -> None:
    ours, theirs = shingles(one), shingles(other)
    assert jaccard(ours, theirs) == jaccard(theirs, ours)
    assert 0 <= jaccard(ours, theirs) <= 1
    assert jaccard(ours, ours) == (1.0 if len(ours) else 0.0)


def test_known_jaccard() -> None:
    assert len(shingles("abcdef")) == 2
    assert jaccard(shingles("abcdef"), shingles("abcdeX")) == pytest.approx(1 / 3)
    assert len(shingles("abcd")) == 0
    assert len(shingles("日本語文")) == 2  # runs of three where characters say more


def test_text_of_one_megabyte_and_a_longer_one_are_cut_in_pieces_without_loss() -> None:
    random = np.random.default_rng(0)
    text = "".join(random.choice(list("abcdefgh "), 3 * PIECE + 7).tolist())
    assert len(shingles(text)) == len({text[place : place + 5] for place in range(len(text) - 4)})
    assert pairs_of([text, text[:-9] + "other end"], [False, True]) == [[0, 1]]


def test_unpaired_surrogates_control_characters_and_missing_texts_are_compared_as_any_other() -> None:
    odd = "\ud800 \x00 \u202e" + PROSE[0]
    assert pairs_of([odd, None, "", "\ud800", odd + "."], [False, False, False, False, True]) == [[0, 4]]


def test_runs_that_most_texts_have_are_not_looked_at() -> None:
    texts = [f"{PROSE[0]}, says number {row * 7919 % 100_003}" for row in range(200)]
    common = common_shingles(texts)
    assert 100 <= common.sum() <= 140
    assert all(len(shingles(text, common)) <= 10 < len(shingles(text)) for text in texts)
    assert not common_shingles(texts[:20]).any()  # of few texts nothing is called common


@pytest.mark.parametrize(("text", "said"), [("CC(C)Cc1ccccc1C(=O)OCCNC", True), (PROSE[0], False), (PROSE[2], False), ("CCO", False)])
def test_a_molecule_is_a_sequence_and_prose_is_none(text: str, said: bool) -> None:
    assert is_sequence(text) == said


def test_chinese_japanese_and_korean_are_dense() -> None:
    assert [is_dense(points_of(text)) for text in ("房间", "かな", "한국어", "abc 房", "", "word")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_letters_of_a_molecule_keep_their_case() -> None:
    rings = [f"C{'C' * row}c1ccccc1OC(=O)CCNC(=O)" for row in range(1, 30)]
    found = near_texts([*rings, rings[0].upper()], np.array([False] * len(rings) + [True]))
    assert found.sequences
    assert not len(found.pairs)


def test_thousands_of_texts_of_one_form_are_compared_in_bounded_time_and_are_no_copies() -> None:
    texts = [f"no comment was left by visitor number {row}, thank you very much" for row in range(2000)]
    assert pairs_of(texts, [row >= 1500 for row in range(2000)]) == []


def smooth(seed: int, n: int = 1, size: int = 64) -> np.ndarray:
    """Return pictures of 36 slow waves. float64 [n, size, size]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    waves = np.stack([np.sin(2 * np.pi * (u * x + v * y) + random.uniform(0, 6)) for u in range(6) for v in range(6)])
    return np.asarray(128 + np.tensordot(random.normal(0, 10, (n, len(waves))), waves, axes=1))


@given(st.integers(0, 10_000), st.floats(0.85, 1.0), st.floats(-6, 6), st.integers(64, 200))
@settings(max_examples=40, deadline=None)
def test_a_picture_stays_near_itself_in_other_light_and_size(seed: int, gain: float, shift: float, size: int) -> None:
    from PIL import Image

    picture = np.clip(smooth(seed)[0], 30, 225)
    changed = Image.fromarray(np.clip(picture * gain + shift, 0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    ours, theirs = thumbnail_of(picture[None]), thumbnail_of(np.asarray(changed, dtype=np.float32)[None])
    assert likeness(ours, theirs)[0] > 0.99
    assert np.bitwise_count(perceptual_hash(ours) ^ perceptual_hash(theirs))[0] <= 12  # of 63


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_near_images_are_those_of_comparing_all_pixels(seed: int, n: int) -> None:
    pictures = smooth(seed, n)
    pictures[n // 2] = pictures[0] + 2
    thumbnails = thumbnail_of(pictures)
    later = np.arange(n) >= n // 2
    pairs = near_images(thumbnails, later)
    every = [(a, b) for a in range(n // 2) for b in range(n // 2, n)]
    near = {a for a, b in every if likeness(thumbnails[[a]], thumbnails[[b]])[0] >= 0.995}
    assert set(pairs[:, 0].tolist()) <= near
    assert [0, n // 2] in pairs.tolist() or 0 in pairs[:, 0].tolist()


def test_a_plain_surface_and_a_picture_that_can_not_be_opened_are_near_to_nothing() -> None:
    thumbnails = np.vstack([thumbnail_of(np.full((4, 9, 7), 200.0)), thumbnails_of_files([None, b"no image", "/no/such/file.png", b""])])
    assert thumbnails.shape == (8, SIDE * SIDE)
    assert len(near_images(thumbnails, np.arange(8) % 2 == 1)) == 0
    assert len(near_images(thumbnails[:0], np.zeros(0, dtype=bool))) == 0


def test_a_picture_of_another_shade_is_another_picture() -> None:
    picture = smooth(1)
    thumbnails = np.vstack([thumbnail_of(picture * 0.4), thumbnail_of(picture * 0.9)])
    assert likeness(thumbnails[:1], thumbnails[1:])[0] > 0.995
    assert len(near_images(thumbnails, np.array([False, True]))) == 0


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "RGBA", "CMYK"])
def test_files_of_every_mode_have_a_thumbnail(mode: str) -> None:
    from PIL import Image

    stream = io.BytesIO()
    image = Image.fromarray(np.clip(smooth(3)[0], 0, 255).astype(np.uint8)).convert(mode)
    image.save(stream, "JPEG" if mode == "CMYK" else "PNG")
    assert thumbnails_of_files([stream.getvalue()])[0].std() > 5


def test_pixels_and_files_give_the_same_thumbnail() -> None:
    import pyarrow as pa
    from PIL import Image

    pixels = np.clip(smooth(4, 3, 64), 0, 255).astype(np.uint8)
    streams = [io.BytesIO() for _ in pixels]
    for stream, one in zip(streams, pixels, strict=True):
        Image.fromarray(one).save(stream, "PNG")
    column = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 64 * 64)
    field = pa.field("image", column.type, metadata={b"shape": b"64,64,1"})
    rows = image_rows(column.slice(1), field)
    assert rows is not None
    found = thumbnails_of_files([stream.getvalue() for stream in streams[1:]])
    assert np.abs(thumbnail_of(rows).astype(int) - found).max() <= 1
    assert image_rows(pa.array([b"x"]), pa.field("image", pa.binary())) is None
