"""A package whose tokenizer is damaged, enormous, made to fill the memory, or another model's is refused in one line before it answers."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.preprocessing_tables import SECTION, MemoryTable, schema
from tests.unit.runtime_packages import write_package
from weighbridge.errors import PackageError
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.ragged import lengths_of
from weighbridge.preprocessing.text import learn_tokenizer, read_tokenizer
from weighbridge.runtime import Model, write_manifest
from weighbridge.runtime.tokens import MOST_CHARACTERS, MOST_GROWTH, TEXT_ROWS, by_length, check_tokenizers, growth
from weighbridge.storage import read_json, write_json

WORDS = "good bad fine poor film story".split()


def texts_encoder() -> tuple[Encoder, dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    texts = objects([" ".join(random.choice(WORDS, size=5)) for _ in range(60)])
    label = objects(["yes" if "good" in text else "no" for text in texts])
    columns = {"review": texts, "label": label}
    table = MemoryTable(columns, np.array([f"r{row}" for row in range(60)]))
    return Encoder.fit(table, schema({"review": "text", "label": "category"}, "label"), SECTION), columns


ENCODED = texts_encoder()


def mean_of_vectors(encoder: Encoder) -> Any:
    """Return an ONNX model: the mean of the tokens' vectors, then softmax."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    [block] = encoder.blocks
    table = np.random.default_rng(0).normal(size=(block.cardinalities[0], 2)).astype(np.float32)
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], np.int64), "axis")]
    steps = [
        helper.make_node("Gather", ["table", block.name], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors", "axis"], ["mean"], keepdims=0),
        helper.make_node("Softmax", ["mean"], ["output"], axis=-1),
    ]
    given = [helper.make_tensor_value_info(block.name, TensorProto.INT32, ["n", "length"])]
    graph = helper.make_graph(steps, "tiny", given, [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 2])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=min(10, onnx.IR_VERSION))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    encoder, columns = ENCODED
    write_package(tmp_path / "p", encoder, columns, model=mean_of_vectors(encoder))
    return tmp_path / "p"


def changed(package: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Return the package with the state of its text column changed, its manifest true to it: as a hostile author would make it."""
    about = read_json(package / "package.json")
    [feature] = about["encoder"]["features"]
    change(feature)
    write_json(package / "package.json", about)
    write_manifest(package)
    return package


def with_steps(*steps: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(feature: dict[str, Any]) -> None:
        tokenizer = json.loads(feature["tokenizer"])
        tokenizer["normalizer"] = {"type": "Sequence", "normalizers": list(steps)}
        feature["tokenizer"] = json.dumps(tokenizer)

    return change


def replacing(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def another_models(feature: dict[str, Any]) -> None:
    """A tokenizer of a larger vocabulary, the state's own words true to it."""
    texts = [f"word{number} word{number}" for number in range(400)]
    feature["tokenizer"] = learn_tokenizer("word", texts, vocabulary=2000, normalize="nfkc", lowercase=True)
    feature["tokens"] = "word"
    feature["vocabulary"] = read_tokenizer(feature["tokenizer"]).get_vocab_size(with_added_tokens=True)


DOUBLING = [replacing({"String": "e"}, "ee")] * 40
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "not JSON": (lambda feature: feature.update(tokenizer="{" * 1000), "not the JSON of a tokenizer"),
    "nested": (lambda feature: feature.update(tokenizer="[" * 100_000), "not the JSON of a tokenizer"),
    "a number": (lambda feature: feature.update(tokenizer=7), "not a JSON text"),
    "an empty object": (lambda feature: feature.update(tokenizer="{}"), "not the JSON of a tokenizer"),
    "no model": (lambda feature: feature.update(tokenizer='{"normalizer": null, "model": {"type": "Evil"}}'), "can not be read"),
    "enormous": (lambda feature: feature.update(tokenizer="x" * (MOST_CHARACTERS + 1)), "at most"),
    "doubling": (with_steps(*DOUBLING), "times as long"),
    "doubling by an expression": (with_steps(*[replacing({"Regex": ""}, "x")] * 40), "times as long"),
    "one long replacement": (with_steps(replacing({"String": "e"}, "e" * 5000)), "times as long"),
    "bytes of bytes": (with_steps(*[{"type": "ByteLevel"}] * 30), "times as long"),
    "fewer tokens stated": (lambda feature: feature.update(vocabulary=5), "tokens where 5 are stated"),
    "another model's": (another_models, "does not take all tokens"),
    "an endless length": (lambda feature: feature.update(length=1 << 40), "has the length"),
}


def test_an_untouched_package_answers_strings(package: Path) -> None:
    found = Model.load(package).predict([{"review": "good film"}, {"review": None}, {"review": "bad"}]).probabilities
    assert found is not None
    assert found.shape == (3, 2)


def test_many_texts_of_all_lengths_are_answered_in_their_order_as_each_alone(package: Path) -> None:
    """They are run from short to long; the tiny graph takes the mean over padding too, so only rows of a length may be compared."""
    random = np.random.default_rng(1)
    rows = [{"review": " ".join(["good", "film", "bad"][one] for one in random.integers(0, 3, size=3))} for _ in range(300)]
    model = Model.load(package)
    together = model.predict(rows).probabilities
    alone = np.concatenate([model.predict([row]).probabilities for row in rows])
    assert together is not None
    assert np.abs(together - alone).max() < 1e-6


@given(lengths=st.lists(st.integers(0, 20), min_size=1, max_size=150))
@settings(max_examples=40, deadline=None)
def test_every_row_comes_once_with_all_of_its_tokens(lengths: list[int]) -> None:
    encoder, _ = ENCODED
    codes = np.array([[1] * length + [0] * (20 - length) for length in lengths], dtype=np.int32)
    seen = []
    for part, arrays in by_length({"text.review": codes}, encoder):
        [taken] = arrays.values()
        assert (lengths_of(taken) == lengths_of(codes)[part]).all()
        assert len(part) <= TEXT_ROWS
        seen += part.tolist()
    assert sorted(seen) == list(range(len(lengths)))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tokenizer_is_refused_in_one_line_at_loading(package: Path, name: str) -> None:
    change, words = HOSTILE[name]
    with pytest.raises(PackageError, match=words) as refused:
        Model.load(changed(package, change))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_without_the_guard_twenty_small_steps_make_a_page_of_a_word(package: Path) -> None:
    """The naive way: the library runs what the JSON says; 20 steps of 45 characters make one letter a million."""
    feature = read_json(package / "package.json")["encoder"]["features"][0]
    with_steps(*DOUBLING[:20])(feature)
    assert len(read_tokenizer(feature["tokenizer"]).normalizer.normalize_str("e")) == 2**20
    with pytest.raises(PackageError):
        check_tokenizers({"features": [feature]})


def test_refusing_doubling_takes_no_memory(package: Path) -> None:
    feature = read_json(package / "package.json")["encoder"]["features"][0]
    with_steps(*DOUBLING)(feature)
    tracemalloc.start()
    with pytest.raises(PackageError):
        check_tokenizers({"features": [feature]})
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "steps",
    [
        None,
        {"type": "BertNormalizer", "clean_text": True},
        {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replacing({"String": " "}, "▁")]},
        {"type": "Sequence", "normalizers": [replacing({"String": "``"}, "x"), {"type": "NFKD"}, replacing({"Regex": " +"}, " ")]},
    ],
)  # fmt: skip
def test_what_known_tokenizers_do_is_allowed(steps: Any) -> None:
    assert growth(steps) <= MOST_GROWTH


def test_a_tokenizer_within_bounds_makes_no_text_longer_than_said() -> None:
    from tokenizers import Tokenizer, models

    for step in (replacing({"String": "ab"}, "xyzxyz"), replacing({"Regex": ""}, "xx"), {"type": "ByteLevel"}):
        state = json.loads(Tokenizer(models.BPE()).to_str()) | {"normalizer": step}
        for text in ("ab" * 50, "差" * 50, "e"):
            made = read_tokenizer(json.dumps(state)).normalizer.normalize_str(text)
            assert len(made) <= growth(step) * len(text) + growth(step)
