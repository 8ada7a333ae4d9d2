"""Law: what a served model reads ranks first in the explanation of its answer, what it does not read has no weight, and each explanation
says whether it is more than chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.explained_packages import SIDE, WORDS, numbers_model, picture_model, text_model
from tests.unit.preprocessing_tables import mixed
from tests.unit.runtime_packages import make_package
from weighbridge.data.table import Column, Schema
from weighbridge.errors import PackageError
from weighbridge.preprocessing.feature import objects
from weighbridge.runtime import Model
from weighbridge.runtime.occlusion import ORDERS, Explanation, background, explain
from weighbridge.runtime.parts import RUNS, word_runs
from weighbridge.stages.reference import VALUES, reference_of

Record = Callable[..., None]
NORMAL = [-1.4, -0.7, -0.2, 0.2, 0.7, 1.4]


def first(found: Explanation) -> int:
    return int(found.ranked[0])


def test_the_one_column_of_ten_that_is_read_ranks_first_of_a_hundred_rows(tmp_path: Path, record: Record) -> None:
    random, right, holds = np.random.default_rng(0), 0, 0
    reference = {f"x{place}": NORMAL for place in range(10)}
    for column in range(10):
        model = numbers_model(tmp_path / str(column), column, reference=reference)
        rows = {f"x{place}": random.normal(size=10) * 3 for place in range(10)}
        found = explain(model, rows, 10)
        right += sum(first(one) == column for one in found)
        holds += sum(one.faithfulness is not None and one.faithfulness.status != "fails" for one in found)
        assert all(np.count_nonzero(one.strength) == 1 for one in found)
    assert (right, holds) == (100, 100)
    record("serving.explained", right, n=100)


def test_the_square_that_is_read_is_found_in_a_picture(tmp_path: Path) -> None:
    random, right = np.random.default_rng(1), 0
    for down, across in ((0, 0), (3, 5), (7, 7)):
        model = picture_model(tmp_path / f"{down}{across}", down, across)
        noise = random.integers(0, 100, (10, SIDE, SIDE)) + 155 * random.integers(0, 2, (10, 1, 1))
        found = explain(model, {"picture": objects(noise.astype(np.uint8))}, 10)
        right += sum(first(one) == 8 * down + across for one in found)
        assert found[0].owner["image.picture"].shape == (SIDE, SIDE)
    assert right == 30


def test_the_word_that_is_read_is_found_in_a_text_and_its_letters_are_named(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    model = text_model(tmp_path / "text", WORDS[7])
    others = [word for word in WORDS if word != WORDS[7]]
    places = random.integers(12, size=20)
    texts = [" ".join([*random.choice(others, place), WORDS[7], *random.choice(others, 11 - place)]) for place in places]
    for place, text, one in zip(places, texts, explain(model, {"text": objects(texts)}, 20), strict=True):
        assert first(one) == place
        start, stop = one.pieces["text.text"].spans[place]
        assert text[start:stop] == WORDS[7]
        assert one.faithfulness is not None
        assert one.faithfulness.status == "holds" or one.faithfulness.chance < 0.4


def test_a_model_that_reads_nothing_gives_nothing_any_weight_and_its_explanation_fails(tmp_path: Path) -> None:
    model = numbers_model(tmp_path / "constant", 0, strength=0.0)
    for one in explain(model, {f"x{place}": np.arange(20.0) for place in range(10)}, 20):
        assert not one.strength.any()
        assert one.faithfulness is not None
        assert (one.faithfulness.status, one.faithfulness.slower, one.faithfulness.orders) == ("fails", 0, ORDERS)


@pytest.mark.parametrize("kind", ["category", "number", "set"])
def test_an_answer_of_every_kind_is_explained_in_its_own_units_and_each_time_the_same(kind: str, tmp_path: Path) -> None:
    _, data = make_package(tmp_path / "package", kind)
    model = Model.load(tmp_path / "package", threads=1)
    rows = {name: data.columns[name][:3] for name in model.signature}
    said, found, again = model.outputs(rows, 3), explain(model, rows, 3), explain(model, rows, 3)
    for place, (answer, one, other) in enumerate(zip(said, found, again, strict=True)):
        assert one.answer == pytest.approx(answer if kind == "number" else answer[one.choice], abs=1e-5)
        assert np.array_equal(one.strength, other.strength)
        assert one.faithfulness == other.faithfulness
        columns = [part.column for part in one.parts]
        assert set(columns) == set(model.signature)
        without = model.outputs({**rows, "city": objects([None] * 3)}, 3)[place]  # without a reference a column is switched off by None
        assert one.without[columns.index("city")] == pytest.approx(without if kind == "number" else without[one.choice], abs=1e-5)


def test_columns_are_switched_off_by_the_packages_own_reference(tmp_path: Path) -> None:
    model = numbers_model(tmp_path / "own", 2, reference={"x2": [5.0, 7.0]})
    assert background(model)["number"][:, 2].tolist() == [5.0, 7.0]
    (found,) = explain(model, {f"x{place}": np.zeros(1) for place in range(10)}, 1)
    low, high = (model.outputs({f"x{place}": np.array([value]) for place in range(10)}, 1)[0, found.choice] for value in (5.0, 7.0))
    assert found.without[2] == pytest.approx((low + high) / 2, abs=1e-6)


@pytest.mark.parametrize(
    "hurt", [{"x0": ["a"]}, {"x0": 3}, {"x0": [1.0], "x1": [1.0, 2.0]}, [1], "x", {"x0": [0.0] * 65}, {"x0": [[1.0]]}, {"x0": None}]
)
def test_a_reference_that_does_not_fit_is_refused_in_one_line(hurt: Any, tmp_path: Path) -> None:
    model = numbers_model(tmp_path / "hurt", 0, reference=hurt)
    with pytest.raises(PackageError, match="reference does not fit"):
        background(model)


@settings(max_examples=50)
@given(st.text("ab1 \n.,\u00e9\u597d\U0001f600", max_size=80))
def test_every_character_of_a_word_is_in_one_run_and_runs_rise(text: str) -> None:
    spans = [(place, place + 1) for place in range(len(text))]
    runs = word_runs(text, spans)
    assert len(runs) == len(text)
    assert runs.max(initial=-1) < RUNS
    kept = runs[runs >= 0]
    assert np.array_equal(np.unique(kept), np.arange(kept.max(initial=-1) + 1))
    assert (np.diff(kept) >= 0).all()
    assert all((run < 0) == letter.isspace() for run, letter in zip(runs, text, strict=True))


def test_pieces_of_a_word_are_one_part_signs_and_chinese_characters_their_own() -> None:
    text = "un believ able! 好电影"
    spans = [(0, 2), (2, 9), (9, 14), (14, 15), (15, 17), (17, 18), (18, 19), (0, 0)]
    assert word_runs("unbelievable!", [(0, 2), (2, 7), (7, 12), (12, 13)]).tolist() == [0, 0, 0, 1]
    assert word_runs(text, spans).tolist() == [0, 1, 2, 3, 4, 5, 6, -1]


class Kept:
    """A stored table as far as a reference reads it."""

    def __init__(self, columns: dict[str, np.ndarray], types: dict[str, str]) -> None:
        self.columns, self.schema = columns, Schema(tuple(Column(name=name, type=kind) for name, kind in types.items()))

    def spread(self, name: str, most: int) -> np.ndarray:
        return self.columns[name]


def test_a_reference_holds_typical_values_and_nothing_that_few_rows_share() -> None:
    data, known = mixed(600)
    data.columns["city"][:3] = ["Xanadu", "Atlantis", "Atlantis"]
    found = reference_of(Kept(data.columns, {column.name: column.type for column in known.columns}), list(data.columns))  # type: ignore[arg-type]
    assert set(found) == {"age", "city", "seen", "tags", "label"}
    assert all(len(values) == VALUES for values in found.values())
    assert found["age"] == sorted(found["age"])
    assert abs(np.mean(found["age"]) - 40) < 3
    assert set(found["city"]) <= {"Rom", "Oslo", "Kyiv", None}
    assert all(str(value)[:4] in ("2026", "2027") and len(str(value)) == 10 for value in found["seen"])
    assert all(value is None or set(value) <= {"a", "b"} for value in found["tags"])


def test_of_few_rows_the_median_stands_alone_and_of_four_nothing_is_told() -> None:
    one = Kept({"x": np.array([1.0, 2, 3, 4, 1000])}, {"x": "number"})
    assert reference_of(one, ["x"]) == {"x": [3.0] * VALUES}  # type: ignore[arg-type]
    assert reference_of(replace_values(one, 4), ["x"]) == {"x": [None] * VALUES}  # type: ignore[arg-type]


def replace_values(kept: Kept, count: int) -> Kept:
    return Kept({"x": kept.columns["x"][:count]}, {"x": "number"})


def test_rows_of_a_table_are_encoded_as_the_reference_is(tmp_path: Path) -> None:
    make_package(tmp_path / "package", photos=False)
    model = Model.load(tmp_path / "package", threads=1)
    typical = {"age": [30.0, 50.0], "city": ["Rom", None], "seen": ["2026-05-01", "2027-01-01"], "tags": [["a", "b"], []]}
    with_reference = replace(model, info=replace(model.info, content={**model.info.content, "reference": typical}))
    blocks = background(with_reference)
    assert {name: len(values) for name, values in blocks.items()} == {"number": 2, "category": 2}
    assert not np.array_equal(blocks["number"], background(model)["number"][:1].repeat(2, 0))
