"""Law: any text becomes codes that a network can read, the same alone as in any batch, after storage as before, and never an error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.preprocessing_tables import SECTION, schema, table
from weighbridge.errors import PackageError
from weighbridge.preprocessing import Encoder, Ragged, open_arrays, write_arrays
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.ragged import ragged
from weighbridge.preprocessing.text import CHARACTERS_A_TOKEN, HIDDEN, TextFeature, TextFit, plain_text, script_shares
from weighbridge.storage.seeds import rng

ENGLISH = ["The film is wonderful, truly wonderful!", "A dull plot and a dull film.", "I liked the actors; the plot less."] * 20
CHINESE = ["这部电影非常好看，演员也好。", "情节无聊，演员也一般。", "我很喜欢这部电影！"] * 20
ANY_TEXT = st.text(st.characters(), max_size=60)  # surrogates, control characters and every script included


def fitted(texts: list[str | None], tokens: str = "auto", length: int | None = None, vocabulary: int = 400) -> TextFeature:
    fit = TextFit(
        "text", tokens=tokens, vocabulary=vocabulary, length=length, normalize="nfkc", lowercase=True, generator=rng(0, "text")
    )  # fmt: skip
    fit.add(objects(texts))
    return fit.finish()


KINDS = {kind: fitted(ENGLISH + CHINESE, kind) for kind in ("bpe", "word", "character")}


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(st.none() | ANY_TEXT, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_text_has_the_same_codes_alone_in_a_batch_and_after_storage(kind: str, texts: list[str | None]) -> None:
    feature = KINDS[kind]
    together = feature.encode(objects(texts))
    again = TextFeature.from_json(json.loads(json.dumps(feature.to_json()))).encode(objects(texts))
    np.testing.assert_array_equal(together, again)
    assert together.dtype == np.int32
    assert together.shape[1] <= feature.length
    for place, text in enumerate(texts):
        alone = feature.encode(objects([text]))[0]
        np.testing.assert_array_equal(alone[alone != 0], together[place][together[place] != 0])
        assert not (together[place][: np.count_nonzero(together[place])] == 0).any(), "padding stands behind the end only"
    assert ((together >= 0) & (together < feature.vocabulary)).all()


@pytest.mark.slow
@given(texts=st.lists(ANY_TEXT.filter(str.strip), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_byte_pieces_give_any_text_back_in_its_normal_form(texts: list[str]) -> None:
    import unicodedata

    feature = fitted(ENGLISH + CHINESE, "bpe", length=1000)
    back = feature.decode(feature.encode(objects(texts)))
    for text, found in zip(texts, back, strict=True):
        assert (found or "") == unicodedata.normalize("NFKC", plain_text(text)).lower() or text != text.lower()


def test_no_text_can_spell_a_reserved_token() -> None:
    for feature in KINDS.values():
        codes = feature.encode(objects(["\x00pad \x00hidden \x00unseen"]))
        assert 0 not in codes[0][: np.count_nonzero(codes[0])]
        assert HIDDEN not in codes


def test_chinese_needs_no_segmenter() -> None:
    assert "电影" in "".join(CHINESE)
    lengths = {kind: int(np.count_nonzero(feature.encode(objects(["这部电影非常好看"])))) for kind, feature in KINDS.items()}
    assert lengths["word"] == lengths["character"] == 8
    assert lengths["bpe"] < 8, "pieces longer than a character were learnt"


@pytest.mark.parametrize("texts", [["ACGTACGTTAGC" * 5, "TTAGGCATCCAA" * 4] * 30, ["CCO", "c1ccccc1", "CC(=O)OC1=CC=CC=C1C(=O)O"] * 30])
def test_strings_of_a_small_alphabet_are_read_by_character(texts: list[str]) -> None:
    feature = fitted(list(texts))
    assert feature.tokens == "character"
    row = feature.encode(objects(texts[:1]))
    assert feature.decode(row)[0] == texts[0]


def test_prose_is_read_in_words_where_few_come_once_and_else_in_byte_pieces() -> None:
    assert fitted(CHINESE).tokens == "bpe"
    assert fitted(ENGLISH).tokens == "word"
    assert fitted([f"{text} order{place}x{place * 7}" for place, text in enumerate(ENGLISH)]).tokens == "word"
    assert fitted([f"order{place} part{place * 7}" for place in range(60)]).tokens == "bpe", "words that come once"
    assert fitted([*ENGLISH, *CHINESE * 4]).tokens == "bpe", "mostly Chinese"


def test_capital_letters_are_kept_where_a_character_is_a_token() -> None:
    feature = fitted(["CCOc1", "cNO"] * 20, "character")
    upper, lower = feature.encode(objects(["C", "c"]))[:, 0]
    assert upper != lower


def test_a_megabyte_of_text_costs_no_more_than_a_page() -> None:
    feature = fitted(ENGLISH, length=16)
    assert feature.encode(objects(["word " * 200_000])).shape == (1, 16)
    assert len(plain_text("x" * 1_000_000, feature.length * CHARACTERS_A_TOKEN)) == 256


def test_lengths_and_empty_texts_are_counted() -> None:
    feature = fitted([*ENGLISH, "", "  ", None], length=5)
    assert (feature.rows, feature.missing, feature.empty) == (63, 1, 2)
    assert feature.cut == 60
    assert feature.longest > 5


def test_scripts_are_shares_of_letters() -> None:
    assert script_shares(["abcд"]) == (("Latin", 0.75), ("Cyrillic", 0.25))
    assert script_shares(["电影", "ab"])[0][1] == 0.5
    assert script_shares(["123 !"]) == ()


@pytest.mark.slow
def test_equal_rows_give_an_equal_vocabulary_in_another_process() -> None:
    program = (
        "from tests.unit.test_preprocessing_text import KINDS; import hashlib;"
        "print([hashlib.sha256(f.tokenizer.encode()).hexdigest() for f in KINDS.values()])"
    )
    root = Path(__file__).resolve().parents[2]
    found = {subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(found) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer": "{}"}, {"tokenizer": "not json"}, {"tokenizer": 3}, {"vocabulary": 7}, {"length": 0}, {"length": "x"}, {"scripts": 3},
        {"tokenizer": '{"model": {"type": "BPE"}}'}, {"unknown": 1},
    ],
)  # fmt: skip
def test_a_tokenizer_that_does_not_fit_is_refused(change: dict[str, object]) -> None:
    state = Encoder(features=(KINDS["bpe"],)).to_json()
    state["features"][0].update(change)
    with pytest.raises(PackageError, match="damaged"):
        Encoder.from_json(state)


@given(st.lists(st.lists(st.integers(1, 9), max_size=7), min_size=1, max_size=9), st.randoms())
def test_ragged_rows_come_back_padded_to_the_longest(rows: list[list[int]], random: Random) -> None:
    flat = Ragged(
        np.array([token for row in rows for token in row], np.int32), np.cumsum([0, *map(len, rows)]).astype(np.int64)
    )  # fmt: skip
    order = np.array(random.sample(range(len(rows)), len(rows)))
    padded = flat[order]
    assert padded.shape == (len(rows), max([1, *map(len, rows)]))
    for found, place in zip(padded, order, strict=True):
        assert found[: len(rows[place])].tolist() == rows[place]
        assert not found[len(rows[place]) :].any()
    np.testing.assert_array_equal(ragged(padded)[:], padded)
    np.testing.assert_array_equal(np.asarray(flat.subset(order)), padded)


def test_texts_are_stored_without_padding_and_read_back(tmp_path: Path) -> None:
    texts = table({"text": objects([*ENGLISH, None, "", *CHINESE]), "y": objects(["a", "b"] * 61)})
    encoder = Encoder.fit(texts, schema({"text": "text", "y": "category"}, "y"), SECTION)
    write_arrays(tmp_path, texts, encoder)
    arrays = open_arrays(tmp_path)
    stored = arrays.blocks["text.text"]
    assert isinstance(stored, Ragged)
    expected = encoder.encode(texts.columns)["text.text"]
    np.testing.assert_array_equal(stored[:], expected)
    assert len(stored.tokens) == np.count_nonzero(expected)
    part = arrays.subset(np.array([3, 60, 1]))
    assert len(part.blocks["text.text"][1]) == 0
