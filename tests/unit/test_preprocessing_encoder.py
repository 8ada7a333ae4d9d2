"""A row gives the same numbers alone and in any batch, now and after the state went through JSON; no input value makes encoding fail."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.preprocessing_tables import SECTION, mixed, schema, table
from weighbridge.errors import DataError, InputError, PackageError
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.encoder import FORMAT
from weighbridge.preprocessing.feature import objects
from weighbridge.recipe.schema import PreprocessingSection

TABLE, SCHEMA = mixed()
ENCODER = Encoder.fit(TABLE, SCHEMA, SECTION)
RAW = st.fixed_dictionaries(
    {
        "age": st.floats(allow_nan=True, allow_infinity=True),
        "city": st.none() | st.text(max_size=8) | st.sampled_from(["Rom", "Oslo"]),
        "seen": st.integers(-(2**62), 2**62) | st.none(),
        "tags": st.none() | st.lists(st.sampled_from("abcé"), max_size=4).map(tuple),
        "photo": st.none() | st.integers(0, 255),
    }
)


def _columns(rows: list[dict[str, object]]) -> dict[str, np.ndarray]:
    pixels = [None if row["photo"] is None else np.full((4, 5, 3), row["photo"], dtype=np.uint8) for row in rows]
    times = [np.iinfo(np.int64).min if row["seen"] is None else row["seen"] for row in rows]
    return {
        "age": np.array([row["age"] for row in rows], dtype=np.float64),
        "city": objects([row["city"] for row in rows]),
        "seen": np.array(times, dtype=np.int64).view("datetime64[us]"),
        "tags": objects([row["tags"] for row in rows]),
        "photo": objects(pixels),
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(RAW, min_size=1, max_size=20))
def test_a_row_encodes_alone_as_in_a_batch_and_always_to_finite_numbers(rows: list[dict[str, object]]) -> None:
    columns = _columns(rows)
    together = ENCODER.encode(columns)
    again = Encoder.from_json(json.loads(json.dumps(ENCODER.to_json()))).encode(columns)
    for block in ENCODER.blocks:
        array = together[block.name]
        assert array.shape == (len(rows), *block.shape)
        assert array.dtype == block.dtype
        assert np.isfinite(array).all()
        alone = [ENCODER.encode({name: values[place : place + 1] for name, values in columns.items()}) for place in range(len(rows))]
        np.testing.assert_array_equal(np.concatenate([one[block.name] for one in alone]), array)
        np.testing.assert_array_equal(again[block.name], array)


def test_the_blocks_hold_every_column_of_the_schema_in_order() -> None:
    number, category, has_photo, photo = ENCODER.blocks
    assert number.columns == ("age", "seen", "tags")
    assert number.names[:2] == ("age", "age is missing")
    assert number.names[-3:] == ("tags has a", "tags has b", "tags is missing")
    assert category.columns == ("city",)
    assert category.cardinalities == (5,)
    assert (photo.name, photo.shape, photo.dtype) == ("image.photo", (4, 5, 3), "uint8")
    assert (has_photo.name, has_photo.kind, has_photo.shape, has_photo.dtype) == ("present.photo", "present", (1,), "float32")
    assert all(0.4 < mean < 0.6 and 0.2 < std < 0.4 for mean, std in zip(photo.mean, photo.std, strict=True))


def test_large_batches_of_every_number_encode_as_their_rows_do() -> None:
    random = np.random.default_rng(0)
    columns = _columns([{"age": 0.0, "city": None, "seen": 0, "tags": None, "photo": None}] * 1003)
    columns["age"] = random.normal(0, 1e3, 1003)
    columns["seen"] = random.integers(-(2**55), 2**55, 1003).view("datetime64[us]")
    whole = ENCODER.encode(columns)["number"]
    parts = [ENCODER.encode({name: values[at : at + 7] for name, values in columns.items()})["number"] for at in range(0, 1003, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_state_does_not_depend_on_the_size_of_batches() -> None:
    first = Encoder.fit(TABLE, SCHEMA, SECTION, seed=4)
    assert first.to_json() == Encoder.fit(TABLE, SCHEMA, SECTION, seed=4).to_json()


def test_a_missing_column_is_named_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match=r"'city' is missing \(did you mean 'citty'"):
        ENCODER.encode({**{name: values for name, values in TABLE.columns.items() if name != "city"}, "citty": TABLE.columns["city"]})


def test_a_newer_or_damaged_state_is_refused() -> None:
    state = ENCODER.to_json()
    with pytest.raises(PackageError, match=f"format {FORMAT + 1}"):
        Encoder.from_json({**state, "format": FORMAT + 1})
    for broken in ({}, {**state, "features": [{"type": "pickle"}]}, {**state, "features": 3}, {**state, "format": "1"}):
        with pytest.raises(PackageError, match="damaged"):
            Encoder.from_json(broken)


def _places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [path, *(place for key, inner in items for place in _places(inner, (*path, key)))]
    return [path]


@pytest.mark.parametrize("poison", [None, -1, 1e308, "x", [], {}, 10**9, True])
def test_a_state_with_any_value_replaced_is_refused_or_loads_without_another_error(poison: object) -> None:
    text = json.dumps(ENCODER.to_json())
    for path in _places(json.loads(text))[1:]:
        state = json.loads(text)
        place = state
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = poison
        try:
            loaded = Encoder.from_json(state)
            assert all(np.prod(block.shape) < 1e8 for block in loaded.blocks)
        except PackageError:
            continue


def test_a_table_without_inputs_leaves_nothing_to_learn_from() -> None:
    data = table({"label": objects(["x", "y"])})
    with pytest.raises(DataError, match="no input column"):
        Encoder.fit(data, schema({"label": "category"}, "label"), SECTION)


def test_the_options_of_the_recipe_reach_the_columns() -> None:
    section = PreprocessingSection.model_validate(
        {"number": {"scale": "quantile", "indicator": False}, "image": {"size": 8, "channels": 1}}
    )
    encoder = Encoder.fit(TABLE, SCHEMA, section)
    assert "age is missing" not in encoder.blocks[0].names
    assert encoder.blocks[-1].shape == (8, 8, 1)


def test_preprocessing_imports_numpy_and_nothing_heavy() -> None:
    code = (
        "import sys, weighbridge.preprocessing\n"
        "heavy = {'torch', 'pandas', 'pyarrow', 'sklearn', 'scipy', 'pydantic', 'PIL', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
