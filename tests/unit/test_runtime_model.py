"""A package answers as the encoder and the network together do, whatever form the rows have, and says which row does not fit."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import weighbridge
from tests.unit.preprocessing_tables import MemoryTable, picture
from tests.unit.runtime_packages import make_package
from weighbridge.errors import InputError, PackageError
from weighbridge.runtime import Model, write_manifest
from weighbridge.storage import read_json, write_json

ROW = {"age": 41, "city": "Rom", "seen": "2026-05-01T12:00:00", "tags": ["a"], "photo": np.zeros((4, 5, 3), np.uint8)}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MemoryTable]:
    folder = tmp_path_factory.mktemp("packages") / "tiny"
    return folder, make_package(folder)[1]


@pytest.fixture(scope="module")
def model(package: tuple[Path, MemoryTable]) -> Model:
    return weighbridge.load(package[0], threads=1)


def _inputs(data: MemoryTable) -> dict[str, np.ndarray]:
    return {name: values for name, values in data.columns.items() if name != "label"}


def test_the_answer_names_classes_model_and_what_was_not_read(model: Model) -> None:
    answer = model.predict([{**ROW, "extra": 1, "label": "yes"}])
    assert model.signature == {"age": "number", "city": "category", "seen": "date", "tags": "set", "photo": "image"}
    assert answer.classes == model.classes == ("no", "yes")
    assert answer.probabilities is not None
    assert answer.probabilities.sum() == pytest.approx(1)
    assert answer.labels == [answer.classes[int(answer.probabilities.argmax())]]
    assert answer.model_hash == model.hash
    assert answer.ignored == ("extra", "label")
    assert set(answer.to_json()[0]["probabilities"]) == {"no", "yes"}


def test_lists_dicts_pandas_and_arrow_give_the_same_answer(model: Model, package: tuple[Path, MemoryTable]) -> None:
    import pandas as pd
    import pyarrow as pa

    columns = _inputs(package[1])
    expected = model.predict(columns).probabilities
    assert expected is not None
    dicts = [{name: values[row] for name, values in columns.items()} for row in range(60)]
    frame = pd.DataFrame({name: list(values) if name in ("photo", "tags") else values for name, values in columns.items()})
    files = [None if image is None else picture(image) for image in columns["photo"]]
    arrow = pa.table(
        {
            "age": pa.array(columns["age"], from_pandas=True),
            "city": pa.array(columns["city"].tolist()),
            "seen": pa.array(columns["seen"]),
            "tags": pa.array([None if value is None else list(value) for value in columns["tags"]], pa.list_(pa.string())),
            "photo": pa.array(files, pa.binary()),
        }
    )
    for rows in (
        dicts,
        iter(dicts),
        frame,
        arrow,
        {name: values.tolist() for name, values in columns.items() if name != "seen"} | {"seen": columns["seen"]},
    ):
        np.testing.assert_array_equal(model.predict(rows).probabilities, expected)


def test_many_rows_answer_as_each_alone(model: Model, package: tuple[Path, MemoryTable]) -> None:
    columns = {name: np.concatenate([values] * 10) for name, values in _inputs(package[1]).items()}
    many = model.predict(columns).probabilities
    assert many is not None
    for row in (0, 255, 256, 599):
        alone = model.predict({name: values[row : row + 1] for name, values in columns.items()}).probabilities
        np.testing.assert_allclose(alone, many[row : row + 1], atol=1e-6)


def test_no_rows_give_no_answers(model: Model) -> None:
    assert len(model.predict({name: [] for name in ROW})) == 0
    assert len(model.predict([])) == 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"age": "41"}, r"row 2: column 'age' is '41', not a number"),
        ({"age": True}, r"row 2: column 'age' is True, not a number"),
        ({"age": 10**400}, r"row 2: column 'age' is 1000"),
        ({"city": ["Rom"]}, r"row 2: column 'city' is \['Rom'\], not a text"),
        ({"seen": "last week"}, r"row 2: column 'seen' is 'last week', not a date"),
        ({"seen": 5}, r"row 2: column 'seen' is 5, not a date"),
        ({"tags": 5}, r"row 2: column 'tags' is 5, not a list"),
        ({"tags": [["a"]]}, r"row 2: column 'tags'"),
        ({"photo": np.zeros((4, 5, 3))}, r"row 2: column 'photo' is an array of float64"),
        ({"photo": b"no image"}, r"column 'photo' row 2: the image can not be read"),
        ({"photo": "/nowhere.png"}, r"column 'photo' row 2: the image can not be read"),
        ({"photo": "data:image/png;base64,@@"}, r"row 2: column 'photo'"),
        ({"photo": {"uint8": "AAAA", "shape": [9, 9]}}, r"row 2: column 'photo'"),
    ],
)
def test_a_value_of_a_wrong_type_is_named_by_row_column_and_value(model: Model, change: dict[str, object], line: str) -> None:
    with pytest.raises(InputError, match=line):
        model.predict([ROW, {**ROW, **change}])


def test_values_that_people_have_are_understood(model: Model) -> None:
    import decimal

    import pandas as pd

    plain = model.predict([ROW]).probabilities
    noon = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
    for change in (
        {"age": np.float32(41)}, {"age": decimal.Decimal(41)}, {"seen": noon}, {"seen": pd.Timestamp("2026-05-01 12:00")},
        {"seen": "2026-05-01T14:00:00+02:00"}, {"tags": "a;a"}, {"tags": {"a"}}, {"photo": np.zeros((4, 5, 3), np.int64).tolist()},
        {"photo": picture(np.zeros((4, 5, 3), np.uint8))},
    ):  # fmt: skip
        np.testing.assert_array_equal(model.predict([{**ROW, **change}]).probabilities, plain)
    for missing in (None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT")):
        assert len(model.predict([dict.fromkeys(ROW, missing)])) == 1


def test_a_missing_column_is_named_with_the_one_that_was_meant(model: Model) -> None:
    with pytest.raises(InputError, match=r"row 2: column 'city' is missing \(did you mean 'citty'\?\)"):
        model.predict([ROW, {**{name: value for name, value in ROW.items() if name != "city"}, "citty": "Rom"}])
    with pytest.raises(InputError, match="column 'age' is missing"):
        model.predict({"city": ["Rom"]})


@pytest.mark.parametrize("rows", ["text", b"bytes", 5, None, [5], [None], {"age": 5}, {**{name: [1, 2] for name in ROW}, "age": [1]}])
def test_what_is_no_table_is_refused(model: Model, rows: object) -> None:
    with pytest.raises(InputError):
        model.predict(rows)


def test_a_server_can_forbid_paths(model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(np.zeros((4, 5, 3), np.uint8)))
    row = {**ROW, "photo": str(tmp_path / "a.png")}
    assert len(model.predict([row])) == 1
    with pytest.raises(InputError, match="names a file"):
        model.predict([row], paths=False)
    with pytest.raises(InputError, match="not read here"):
        model.predict([{**ROW, "photo": "http://169.254.169.254/x.png"}])


def test_golden_rows_are_answered_as_when_the_package_was_built(model: Model) -> None:
    assert model.check_golden() <= 1e-6


def test_golden_rows_answered_otherwise_are_refused(tmp_path: Path) -> None:
    make_package(tmp_path / "p")
    golden = read_json(tmp_path / "p" / "golden.json")
    golden["outputs"][3][0] += 0.01
    write_json(tmp_path / "p" / "golden.json", golden)
    write_manifest(tmp_path / "p")
    with pytest.raises(PackageError, match=r"otherwise here, by 0\.01"):
        Model.load(tmp_path / "p").check_golden()


def test_numbers_and_sets_are_answered_in_their_own_form(tmp_path: Path) -> None:
    for kind in ("number", "set"):
        _, data = make_package(tmp_path / kind, kind)
        answer = Model.load(tmp_path / kind).predict(data.columns)
        assert len(answer) == 60
        if kind == "number":
            assert answer.values is not None
            assert answer.probabilities is None
            assert answer.labels == answer.values.tolist()
        else:
            assert answer.probabilities is not None
            assert [set(label) for label in answer.labels] == [
                {"ab"[code] for code in np.flatnonzero(row > 0.5)} for row in answer.probabilities
            ]
        json.dumps(answer.to_json())
        assert Model.load(tmp_path / kind).check_golden() <= 1e-5


def test_a_fresh_process_answers_without_heavy_libraries(tmp_path: Path) -> None:
    make_package(tmp_path / "p", photos=False)
    code = f"""
import sys, weighbridge
assert not {{'numpy', 'onnxruntime'}} & set(sys.modules)
model = weighbridge.load({str(tmp_path / "p")!r})
answer = model.predict([{{"age": 3, "city": "Rom", "seen": "2026-01-01", "tags": ["a"]}}])
model.check_golden()
assert len(answer.labels) == 1
heavy = {{'torch', 'pandas', 'pyarrow', 'sklearn', 'scipy', 'pydantic', 'onnx', 'PIL', 'yaml'}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_says_its_version_and_nothing_more() -> None:
    assert weighbridge.__all__ == ["__version__", "load"]
    assert dir(weighbridge) == weighbridge.__all__
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = weighbridge.lod
