"""Law: a session answers every encoded row once, in its place, as it would answer it alone; it runs standard graphs only, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.unit.form_graphs import layers, numbers, rows
from tests.unit.runtime_packages import make_package
from weighbridge.errors import FormError, PackageError
from weighbridge.preprocessing import Arrays
from weighbridge.preprocessing.ragged import ragged
from weighbridge.runtime import Model
from weighbridge.runtime.session import BATCH_ROWS, Refused, Session, each_once
from weighbridge.runtime.tokens import TEXT_ROWS


def lengths(path: Path) -> Path:
    """`path` is a graph that answers how many tokens a text has, and how long the batch is that it came in."""
    nodes = [
        helper.make_node("Cast", ["text.note"], ["codes"], to=TensorProto.FLOAT),
        helper.make_node("Sign", ["codes"], ["held"]),
        helper.make_node("ReduceSum", ["held", "axis"], ["count"], keepdims=1),
        helper.make_node("Shape", ["text.note"], ["size"], start=1, end=2),
        helper.make_node("Cast", ["size"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["count", "count"], ["zero"]),
        helper.make_node("Add", ["zero", "wide"], ["width"]),
        helper.make_node("Concat", ["count", "width"], ["output"], axis=1),
    ]
    given = helper.make_tensor_value_info("text.note", TensorProto.INT32, ["rows", "length"])
    answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", 2])
    graph = helper.make_graph(nodes, "lengths", [given], [answer], [numpy_helper.from_array(np.array([1], np.int64), "axis")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_texts_are_answered_in_batches_of_like_length_and_stand_in_the_order_of_the_rows(tmp_path: Path) -> None:
    arrays = rows("texts", 500)
    found = Session.open(lengths(tmp_path / "g.onnx"), threads=1).answer(arrays)
    held = arrays.blocks["text.note"].lengths  # type: ignore[union-attr]
    assert found.dtype == np.float64
    assert np.array_equal(found[:, 0], held)
    assert found[:, 1].mean() < 1.15 * np.maximum(held, 1).mean()  # all rows at once would each be as long as the longest
    assert max(len(part) for _, part in each_once(arrays)) == TEXT_ROWS


@given(st.integers(0, 700), st.integers(1, 300), st.booleans())
@settings(max_examples=40)
def test_each_row_comes_once(count: int, size: int, with_text: bool) -> None:
    blocks: dict[str, object] = {"number": np.arange(count, dtype=np.float32)[:, None]}
    if with_text:
        blocks["text.note"] = ragged(np.tril(np.ones((count, max(1, count)), np.int32))[:, :9])
    arrays = Arrays(blocks=blocks, target=None, stored_ids=np.empty(count, "S1"))  # type: ignore[arg-type]
    batches = list(each_once(arrays, rows=size))
    numbers_ = np.concatenate([part for _, part in batches]) if batches else np.empty(0, int)
    assert np.array_equal(np.sort(numbers_), np.arange(count))
    for blocks_, part in batches:
        assert np.array_equal(blocks_["number"][:, 0], part)
        assert len(part) <= max(size, TEXT_ROWS)


def test_large_rows_are_not_in_memory_all_at_once() -> None:
    images = np.zeros((100, 200, 200, 3), np.uint8)
    arrays = Arrays(blocks={"image.photo": images}, target=None, stored_ids=np.empty(100, "S1"))
    assert max(len(part) for _, part in each_once(arrays)) == 34  # 4 MB of them


def test_a_row_is_answered_the_same_alone_and_among_others(tmp_path: Path) -> None:
    session, arrays = Session.open(layers(tmp_path / "g.onnx"), threads=1), numbers(count=BATCH_ROWS + 7)
    together = session.answer(arrays)
    for place in (0, BATCH_ROWS, BATCH_ROWS + 6):
        assert np.abs(session.answer(arrays.subset(np.array([place])))[0] - together[place]).max() < 1e-6


def test_a_package_and_a_session_of_its_graph_say_the_same(tmp_path: Path) -> None:
    encoder, data = make_package(tmp_path / "package")
    columns = {name: data.columns[name] for name in encoder.columns}
    arrays = Arrays(blocks=encoder.encode(columns), target=None, stored_ids=np.empty(len(data.row_ids), "S1"))  # type: ignore[arg-type]
    outputs = Model.load(tmp_path / "package", threads=1).outputs(columns, len(data.row_ids))
    assert np.array_equal(Session.open(tmp_path / "package" / "model.onnx", threads=1).answer(arrays), outputs)


def test_what_is_no_standard_graph_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="can not be read"):
        Session.open(tmp_path / "gone.onnx")
    with pytest.raises(PackageError, match="damaged"):
        Session.open(b"\x08\x01garbage")
    model = onnx.load(layers(tmp_path / "g.onnx"))
    model.graph.node[0].domain = "com.microsoft"
    with pytest.raises(PackageError, match=r"com\.microsoft"):
        Session.open(model.SerializeToString())


def test_rows_that_do_not_fit_are_an_error_of_one_line(tmp_path: Path) -> None:
    session = Session.open(layers(tmp_path / "g.onnx"), threads=1)
    with pytest.raises(PackageError, match="can not be run") as caught:
        session.answer(numbers(width=5))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no rows"):
        session.answer(numbers(count=0))


def test_a_graph_that_gives_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    given_ = helper.make_tensor_value_info("number", TensorProto.FLOAT, ["rows", 48])
    answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    nodes = [helper.make_node("ReduceMean", ["number"], ["output"], keepdims=1)]
    graph = helper.make_graph(nodes, "g", [given_], [answer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(PackageError, match=r"gives \[1, 1\] for 64 rows"):
        Session.open(model.SerializeToString()).answer(numbers())


def test_errors_of_the_libraries_are_turned_and_others_pass() -> None:
    with pytest.raises(FormError, match=r"it failed \(why\)"), Refused("it failed", FormError):
        raise RuntimeError("why")
    with pytest.raises(ZeroDivisionError), Refused("it failed"):
        raise ZeroDivisionError


WITHOUT_TORCH = """
import sys
from pathlib import Path
from weighbridge.runtime.session import Session
Session.open(Path(sys.argv[1]))
print(sorted({"torch", "onnx", "scipy", "sklearn", "pandas", "pyarrow"} & set(sys.modules)))
"""


def test_a_session_needs_numpy_and_onnxruntime_only(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(layers(tmp_path / "g.onnx"))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
