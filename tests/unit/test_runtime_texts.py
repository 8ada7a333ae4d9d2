"""Law: a row of a CSV gets the answer that its training row would get, whether it comes as a file or as texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime_packages import make_package, write_package
from weighbridge.data import open_data, prepare
from weighbridge.data.infer import as_dates
from weighbridge.data.splits import Splits
from weighbridge.data.table import Schema
from weighbridge.errors import InputError, PackageError
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.date import read_date
from weighbridge.recipe import parse_recipe
from weighbridge.runtime import Model, predict_file, write_manifest
from weighbridge.storage import read_json, write_json

ROWS = 120


def lines(form: str) -> list[str]:
    days = [(row % 12 + 1, row % 28 + 1, 2020 + row % 5) for row in range(ROWS)]
    seen = [form.replace("%m", f"{month}").replace("%d", f"{day:02d}").replace("%Y", str(year)) for month, day, year in days]
    sizes = ["-999" if row % 11 == 0 else f"{row * 1.5}" for row in range(ROWS)]
    return [f"{sizes[row]},{seen[row]}, {'abc?'[row % 4]} ,{'no' if row % 3 else 'yes'}" for row in range(ROWS)]


def trained(folder: Path, form: str = "%d.%m.%Y", **options: Any) -> tuple[Model, Splits]:
    """Return the package of a CSV with dates written in `form`, and the splits that its encoder was fitted on."""
    (folder / "rows.csv").write_text("size,seen,kind,label\n" + "\n".join(lines(form)) + "\n")
    recipe = parse_recipe({"data": {"source": f"{folder}/rows.csv", "target": "label", "columns": {"seen": "date"}, "csv": options}})
    prepare(recipe.data, seed=0, folder=folder / "data", command="x")
    splits = open_data(folder / "data")
    encoder = Encoder.fit(splits.train, splits.schema, recipe.preprocessing)
    texts = splits.schema.texts
    assert texts is not None
    columns = {name: splits.train.column(name) for name in encoder.columns}
    write_package(folder / "package", encoder, columns, **texts.to_json())
    return Model.load(folder / "package", threads=1), splits


def test_the_package_answers_a_csv_as_training_saw_it(tmp_path: Path) -> None:
    for place, form in enumerate(("%d.%m.%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y年%m月%d日", "%Y/%m/%d")):
        folder = tmp_path / str(place)
        folder.mkdir()
        model, splits = trained(folder, form, missing=["-999", "?"])
        assert splits.schema["seen"].pattern == form
        table = splits.train
        expected = model.outputs({name: table.column(name) for name in model.signature}, len(table))
        with open(folder / "rows.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        predict_file(model, folder / "rows.csv", folder / "out.jsonl")
        from_file = [json.loads(line)["probabilities"]["yes"] for line in (folder / "out.jsonl").read_text().splitlines()]
        from_texts = model.predict(rows).probabilities
        assert from_texts is not None
        np.testing.assert_array_equal(from_texts[:, 1], from_file)
        known = {round(value, 12) for value in from_file}
        assert {round(value, 12) for value in expected[:, 1]} <= known


def test_a_date_may_also_be_given_in_iso_form_and_no_other(tmp_path: Path) -> None:
    model, _ = trained(tmp_path, "%m/%d/%Y", missing=["-999"])
    row = {"size": 3, "kind": "a"}
    answers = [model.predict([row | {"seen": seen}]).probabilities for seen in ("4/02/2021", "2021-04-02", np.datetime64("2021-04-02"))]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answers[0], answer)
    with pytest.raises(InputError, match=r"column 'seen' is '2\.4\.2021', not a date"):
        model.predict([row | {"seen": "2.4.2021"}])


def test_texts_that_the_recipe_calls_missing_are_missing_and_others_are_values(tmp_path: Path) -> None:
    model, splits = trained(tmp_path, missing=["-999"])
    assert "?" in set(splits.train.column("kind"))
    row = {"size": "4.5", "seen": "02.04.2021", "kind": "a"}
    assert _same(model, row | {"size": "-999"}, row | {"size": None})
    assert _same(model, row | {"kind": " a "}, row)
    assert not _same(model, row | {"kind": "?"}, row | {"kind": None})
    with pytest.raises(InputError, match="column 'size' is '\\?', not a number"):
        model.predict([row | {"size": "?"}])
    (tmp_path / "new.csv").write_text("size,seen,kind\n4.5,02.04.2021,?\n4.5,02.04.2021,\n")
    (tmp_path / "bad.csv").write_text("size,seen,kind\n?,02.04.2021,a\n")
    with pytest.raises(InputError, match="not a number"):
        predict_file(model, tmp_path / "bad.csv", tmp_path / "out.csv")
    predict_file(model, tmp_path / "new.csv", tmp_path / "out.jsonl")
    said = [json.loads(line)["probabilities"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert list(said[0].values()) == pytest.approx(_answer(model, row | {"kind": "?"}), abs=0)


def test_spaces_belong_to_a_value_where_the_recipe_says_so(tmp_path: Path) -> None:
    model, splits = trained(tmp_path, missing=["-999"], strip=False)
    assert " a " in set(splits.train.column("kind"))
    row = {"size": 4.5, "seen": "02.04.2021", "kind": " a "}
    assert not _same(model, row, row | {"kind": "a"})


def test_a_package_that_says_nothing_of_texts_reads_rows_as_they_stand(tmp_path: Path) -> None:
    make_package(tmp_path / "p", photos=False)
    model = Model.load(tmp_path / "p", threads=1)
    row = {"age": 41, "city": "Rom", "seen": "2026-05-01", "tags": ["a"]}
    with pytest.raises(InputError, match="not a number"):
        model.predict([row | {"age": "?"}])
    assert not _same(model, row | {"city": "NA"}, row | {"city": None})


@pytest.mark.parametrize("hurt", [{"missing": "?"}, {"missing": [1]}, {"missing": [], "strip": "yes"}])
def test_a_package_with_damaged_words_on_texts_is_refused(tmp_path: Path, hurt: dict[str, Any]) -> None:
    make_package(tmp_path / "p", photos=False)
    write_json(tmp_path / "p" / "package.json", read_json(tmp_path / "p" / "package.json") | hurt)
    write_manifest(tmp_path / "p")
    with pytest.raises(PackageError, match="missing is not a list of texts"):
        Model.load(tmp_path / "p")


@pytest.mark.parametrize("pattern", ["%d%d", "%c", "%", "%d" + "x" * 50, "%-d", 3])
def test_a_pattern_that_no_data_stage_writes_is_refused(tmp_path: Path, pattern: Any) -> None:
    encoder, _ = make_package(tmp_path / "p", photos=False)
    state = encoder.to_json()
    for feature in state["features"]:
        if feature["type"] == "date":
            feature["pattern"] = pattern
    with pytest.raises(PackageError, match="damaged"):
        Encoder.from_json(state)


def test_a_schema_and_an_encoder_without_the_new_keys_are_read() -> None:
    old = {"columns": [{"name": "y", "type": "category", "role": "target", "why": {"template": "", "values": {}}}]}
    schema = Schema.from_json(old)
    assert (schema.texts, schema.classes, schema.target.pattern) == (None, {}, "")
    assert Schema.from_json(schema.to_json()) == schema


FORMS = ("%m/%d/%Y", "%d.%m.%Y", "%Y年%m月%d日", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %H:%M", "%Y-%m-%d")


@given(st.sampled_from(FORMS), st.lists(st.integers(0, 3000) | st.integers(0, 61), min_size=6, max_size=6), st.booleans())
def test_what_the_data_stage_takes_for_a_date_the_package_reads_as_the_same(form: str, numbers: list[int], wide: bool) -> None:
    text = form
    for mark, number in zip(("%Y", "%m", "%d", "%H", "%M", "%S"), numbers, strict=True):
        text = text.replace(mark, f"{number:02d}" if wide else str(number))
    dates = as_dates(pa.array([text], pa.string()), form)
    if dates is not None:
        assert dates[0].as_py() == read_date(text, form)


@pytest.mark.parametrize("text", ["2/30/2026", "2/29/2025", "1/2/26", "4/31/2026", "1/2/0000"])
def test_what_is_no_day_of_the_calendar_or_has_a_short_year_is_no_date(text: str) -> None:
    assert as_dates(pa.array(["3/4/2026", text, None]), "%m/%d/%Y") is None


def _answer(model: Model, row: dict[str, Any]) -> list[float]:
    probabilities = model.predict([row]).probabilities
    assert probabilities is not None
    return list(probabilities[0].tolist())


def _same(model: Model, one: dict[str, Any], other: dict[str, Any]) -> bool:
    return _answer(model, one) == _answer(model, other)
