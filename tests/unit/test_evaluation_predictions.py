"""Law: predictions are checked once, when they are made; what can not be judged is refused in one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weighbridge.errors import DataError
from weighbridge.evaluation import Predictions, read_predictions, write_predictions


def binary(**changed: Any) -> Predictions:
    parts: dict[str, Any] = {
        "kind": "category",
        "row_id": np.array(["b", "a", "c"]),
        "target": np.array([0, 1, 1]),
        "output": np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]),
        "classes": ("no", "yes"),
    }
    return Predictions(**{**parts, **changed})


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_rows_are_kept_in_the_order_of_their_ids() -> None:
    assert binary().row_id.tolist() == ["a", "b", "c"]
    assert binary().target.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"row_id": np.array([])}, "no rows"),
        ({"row_id": np.array(["a", "a", "c"])}, "'a' appears 2 times"),
        ({"target": np.array([0, 1])}, "target has 2 rows"),
        ({"target": np.array([0, 1, 2])}, "row 'c' has target 2"),
        ({"target": np.array([0.0, 1.0, 1.0])}, "holds no class codes"),
        ({"output": np.array([[0.9, 0.1], [np.nan, 0.8], [0.6, 0.4]])}, "row 'a' has an output that is not finite"),
        ({"output": np.array([[1.1, -0.1], [0.2, 0.8], [0.6, 0.4]])}, "outside 0 to 1"),
        ({"output": np.array([[0.9, 0.3], [0.2, 0.8], [0.6, 0.4]])}, "sum to 1.2"),
        ({"output": np.array([[1.0], [1.0], [1.0]])}, "shape (3, 1) for 2 classes"),
        ({"classes": ("yes", "yes")}, "2 classes"),
        ({"classes": ("yes",)}, "1 classes"),
        ({"group": np.array(["g"])}, "group has 1 rows"),
        ({"kind": "number"}, "one value a row"),
        ({"kind": "set"}, "target has shape (3,)"),
    ],
)
def test_what_can_not_be_judged_is_refused_in_one_line(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=r"^[^\n]*$") as caught:
        binary(**changed)
    assert words in str(caught.value)
    assert caught.value.do


def test_a_number_without_a_finite_target_is_refused() -> None:
    with pytest.raises(DataError, match="no finite target"):
        Predictions(kind="number", row_id=np.array(["a"]), target=np.array([np.nan]), output=np.array([1.0]))


@pytest.mark.parametrize("kind", ["category", "number", "set"])
def test_a_file_gives_back_what_was_written(tmp_path: Path, kind: str) -> None:
    rows = {
        "category": binary(model="net", split="validation", group=np.array(["p", "q", "p"])),
        "number": Predictions(kind="number", row_id=np.array(["a", "b"]), target=np.array([1.5, 2]), output=np.array([1.0, 2.25])),
        "set": Predictions(kind="set", row_id=np.array(["a", "b"]), target=np.array([[True, False], [True, True]]),
                           output=np.array([[0.5, 0.25], [0.75, 1]]), classes=("x", "y")),
    }[kind]  # fmt: skip
    write_predictions(tmp_path / "p.parquet", rows)
    again = read_predictions(tmp_path / "p.parquet")
    for name in ("kind", "classes", "model", "split", "hard"):
        assert getattr(again, name) == getattr(rows, name)
    for name in ("row_id", "target", "output"):
        np.testing.assert_array_equal(getattr(again, name), getattr(rows, name))
    assert (again.group is None) == (rows.group is None)


class TestFilesMadeElsewhere:
    def test_a_column_of_probabilities_a_class(self, tmp_path: Path) -> None:
        path = table(tmp_path / "p.parquet", target=["cat", "dog"], p_dog=[0.25, 0.75], p_cat=[0.75, 0.25])
        found = read_predictions(path)
        assert found.classes == ("cat", "dog")
        assert found.output.tolist() == [[0.75, 0.25], [0.25, 0.75]]
        assert found.model == "p"

    def test_classes_are_in_natural_order(self, tmp_path: Path) -> None:
        columns = {f"prob_{c}": [1.0 if c == 10 else 0.0] * 2 for c in range(11)}
        assert read_predictions(table(tmp_path / "p.parquet", target=[10, 3], **columns)).classes[-1] == "10"

    def test_one_probability_of_the_positive_class(self, tmp_path: Path) -> None:
        for column in ({"output": [0.25, 0.5, 1.0]}, {"p_1": [0.25, 0.5, 1.0]}):
            found = read_predictions(table(tmp_path / "p.parquet", target=[0, 1, 1], **column))
            assert found.output[:, 1].tolist() == [0.25, 0.5, 1.0]
            assert found.classes == ("0", "1")

    def test_a_list_of_probabilities(self, tmp_path: Path) -> None:
        found = read_predictions(table(tmp_path / "p.parquet", target=[0, 2], output=[[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]))
        assert (found.kind, found.classes) == ("category", ("0", "1", "2"))

    def test_a_list_of_truths_is_a_set(self, tmp_path: Path) -> None:
        found = read_predictions(table(tmp_path / "p.parquet", target=[[0, 1], [1, 1]], output=[[0.5, 0.25], [0.0, 1.0]]))
        assert found.kind == "set"

    def test_a_value_is_a_number(self, tmp_path: Path) -> None:
        for column in ("output", "prediction"):
            assert read_predictions(table(tmp_path / "p.parquet", target=[1.5, 2.0], **{column: [1.0, 2.5]})).kind == "number"

    def test_a_chosen_class_alone_is_hard(self, tmp_path: Path) -> None:
        for target, choice in ((["a", "b"], ["a", "c"]), ([1, 2], [1, 3]), ([True, False], [True, True])):
            found = read_predictions(table(tmp_path / "p.parquet", target=target, prediction=choice))
            assert found.hard
            assert (found.chosen == found.target).tolist() == [True, False]

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({"targt": [1], "output": [0.5]}, "did you mean 'targt'"),
            ({"target": [1, 0]}, "no column 'output'"),
            ({"target": ["a", "b", "c"], "output": [0.1, 0.2, 0.3]}, "3 classes"),
            ({"target": ["a", "zebra"], "p_a": [0.5, 0.5], "p_zebre": [0.5, 0.5]}, "did you mean 'zebre'"),
            ({"target": [1, None], "output": [0.1, 0.2]}, "1 rows have no target"),
            ({"target": [0, 1], "output": [0.1, None]}, "not finite"),
            ({"target": [0, 1], "output": [0.1, 0.5], "split": ["test", "train"]}, "2 values of 'split'"),
            ({"target": [0, 1], "output": [[0.5, 0.5], [1.0]]}, "different lengths"),
            ({"target": [0, 1], "output": [0.1, 0.5], "row_id": ["x", "x"]}, "appears 2 times"),
        ],
    )
    def test_a_file_that_can_not_be_judged_is_refused(self, tmp_path: Path, columns: dict[str, Any], words: str) -> None:
        with pytest.raises(DataError) as caught:
            read_predictions(table(tmp_path / "p.parquet", **columns))
        assert words in str(caught.value)

    def test_a_split_is_chosen_by_name(self, tmp_path: Path) -> None:
        path = table(tmp_path / "p.parquet", target=[0, 1, 1], output=[0.1, 0.5, 0.7], split=["test", "train", "test"])
        assert len(read_predictions(path, split="test")) == 2
        with pytest.raises(DataError, match="did you mean 'test'"):
            read_predictions(path, split="tset")

    def test_missing_and_damaged_files_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="missing"):
            read_predictions(tmp_path / "none.parquet")
        (tmp_path / "bad.parquet").write_bytes(b"PAR1 this is not Parquet")
        with pytest.raises(DataError, match="not a readable Parquet"):
            read_predictions(tmp_path / "bad.parquet")


def test_other_rows_or_another_truth_are_not_compared() -> None:
    with pytest.raises(DataError, match="has no row 'b'"):
        binary(row_id=np.array(["x", "a", "c"])).on_rows_of(binary())
    with pytest.raises(DataError, match="truth"):
        binary(target=np.array([1, 1, 1])).on_rows_of(binary())
    assert len(binary(row_id=np.array(["b", "a", "c"])).on_rows_of(binary())) == 3
