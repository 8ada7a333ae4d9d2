"""Law: word vectors of a file are what their tokens begin with; a file that is none is refused in one line, and nothing in it is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.test_preprocessing_text import ENGLISH, fitted
from weighbridge.errors import RecipeError
from weighbridge.models.registry import DIAL, NetworkSpec, build_network
from weighbridge.models.text import TokenTable
from weighbridge.models.vectors import begin_with_vectors
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.vectors import read_vectors, vector_width, vectors_sha256
from weighbridge.recipe import parse_recipe

WORDS = {"film": [0.5, -1.0, 2.0], "plot": [1.0, 0.0, 0.25], "of the": [9.0, 9.0, 9.0], "nowhere": [3.0, 3.0, 3.0]}


def write(folder: Path, form: str) -> Path:
    lines = [" ".join([word, *map(str, vector)]) for word, vector in WORDS.items()]
    if form == "npy":
        np.save(folder / "words.npy", np.array(list(WORDS.values()), dtype=np.float32))
        (folder / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
        return folder / "words.npy"
    path = folder / f"{form}.txt"
    path.write_text("\n".join([f"{len(lines)} 3", *lines] if form == "word2vec" else lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["word2vec", "glove", "npy"])
def test_each_form_gives_the_same_vectors(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form)
    assert vector_width(path) == 3
    codes, vectors = read_vectors(path, {"plot": 4, "film": 7, "of the": 9, "unknown": 5})
    assert codes.tolist() == [4, 7, 9]
    np.testing.assert_array_equal(vectors, np.array([WORDS["plot"], WORDS["film"], WORDS["of the"]], np.float32))


@pytest.mark.parametrize("tokens", ["word", "bpe"])
def test_tokens_begin_with_their_vectors_and_the_others_at_random(tmp_path: Path, tokens: str) -> None:
    path, feature = write(tmp_path, "glove"), fitted(ENGLISH, tokens)
    encoder = Encoder(features=(feature,))
    torch.manual_seed(0)
    network = build_network(NetworkSpec(type="rnn", blocks=encoder.blocks, outputs=2, sizes=DIAL["xs"], vectors=3))
    begin_with_vectors(network, encoder, path)
    (table,) = (part.table.weight.detach() for part in network.modules() if isinstance(part, TokenTable))
    words = feature.words()
    assert table[words.index("film")].tolist() == WORDS["film"]
    assert table[words.index("plot")].tolist() == WORDS["plot"]
    others = [place for place, word in enumerate(words) if place > 2 and word not in WORDS]
    assert table[others].std() > 0
    assert not table[:3].any(), "padding, unseen and hidden tokens stay zero"
    with torch.inference_mode():
        found = network({"text.text": torch.from_numpy(feature.encode(np.array(["the film", None], dtype=object)))})
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "line 1"), (b"film\n", "line 1"), (b"film 0.1 x\n", "line 1"), (b"film 0.1 0.2\nplot 0.1\n", "line 2"),
        (b"\x80\x04\x95.", "line 1"),
        (b"film nan 0.1\n", "not finite"), (b"2 3\nfilm 0.1 oh 0.2\n", "line 2"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_vectors_is_refused_in_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=line) as refused:
        read_vectors(path, {"film": 3, "plot": 4})
    assert "\n" not in str(refused.value)
    assert refused.value.do


def test_an_array_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "words.npy"
    np.save(path, np.array([["film", {"a": 1}]], dtype=object), allow_pickle=True)
    (tmp_path / "words.txt").write_text("film", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"can not be read"):
        vector_width(path)


def test_a_missing_file_and_another_network_are_said(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="can not be read"):
        vector_width(tmp_path / "nowhere.txt")
    with pytest.raises(RecipeError, match=r"word vectors are for type rnn"):
        parse_recipe({"data": {"source": "x.csv"}, "training": {"model": {"type": "mlp", "vectors": "v.txt"}}})


def test_other_vectors_are_another_hash(tmp_path: Path) -> None:
    path = write(tmp_path, "npy")
    first = vectors_sha256(path)
    assert first == vectors_sha256(path)
    (tmp_path / "words.txt").write_text("\n".join([*list(WORDS)[:-1], "else"]), encoding="utf-8")
    assert vectors_sha256(path) != first
