"""Law: the embedding is what the last layer reads, in whatever form its weights are held; where answers go around it, there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from weighbridge.errors import PackageError
from weighbridge.evaluation.adjustment import Adjustment, Temperature
from weighbridge.export.adjust import adjust
from weighbridge.export.hidden import last_hidden
from weighbridge.runtime.inner import Inner

Node = tuple[str, Sequence[str], Sequence[str]]
WEIGHTS = {
    "first": np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32),
    "second": np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32),
    "straight": np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32),
    "whole": np.random.default_rng(2).integers(0, 9, (6, 3)).astype(np.uint8),
    "scale": np.array(0.1, dtype=np.float32),
    "zero": np.array(0, dtype=np.uint8),
}
BEGIN: list[Node] = [("MatMul", ["number", "first"], ["sum"]), ("Relu", ["sum"], ["hidden"])]
AROUND: Node = ("Add", ["one", "two"], ["scores"])
END: Node = ("Softmax", ["scores"], ["output"])
ROWS = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
HIDDEN = np.maximum(ROWS @ WEIGHTS["first"], 0)


def model(*nodes: Node) -> onnx.ModelProto:
    """Return a graph from `number` [rows, 4] to `output` [rows, 3]."""
    made = [helper.make_node(operator, inputs, outputs, **({"to": TensorProto.FLOAT} if operator == "Cast" else {}))
            for operator, inputs, outputs in nodes]  # fmt: skip
    read = {name for node in made for name in node.input}
    ends = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size])] for name, size in (("number", 4), ("output", 3)))
    graph = helper.make_graph(made, "test", *ends, [numpy_helper.from_array(WEIGHTS[name], name) for name in WEIGHTS if name in read])
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(found)
    return found


PLAIN = model(*BEGIN, ("MatMul", ["hidden", "second"], ["scores"]), END)
DYNAMIC = model(
    *BEGIN, ("DynamicQuantizeLinear", ["hidden"], ["q", "q_scale", "q_zero"]),
    ("MatMulInteger", ["q", "whole", "q_zero", "zero"], ["whole_scores"]), ("Cast", ["whole_scores"], ["cast"]),
    ("Mul", ["cast", "q_scale"], ["scores"]), END,
)  # fmt: skip
STATIC = model(
    *BEGIN, ("QuantizeLinear", ["hidden", "scale", "zero"], ["q"]), ("DequantizeLinear", ["q", "scale", "zero"], ["again"]),
    ("DequantizeLinear", ["whole", "scale", "zero"], ["weights"]), ("MatMul", ["again", "weights"], ["scores"]), END,
)  # fmt: skip


@pytest.mark.parametrize("graph", [PLAIN, DYNAMIC, STATIC], ids=["float", "dynamic integers", "static integers"])
def test_the_value_that_the_last_layer_reads_is_given_out_as_it_is(graph: onnx.ModelProto) -> None:
    name = last_hidden(graph)
    assert name == "hidden"
    inner = Inner.open(graph.SerializeToString(), name)
    found = inner.session.tensors({"number": ROWS}, ["hidden", "output"])
    assert np.allclose(found["hidden"], HIDDEN, atol=1e-5)
    assert np.allclose(found["output"].sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "nodes",
    [
        [("MatMul", ["number", "straight"], ["scores"]), END],
        [*BEGIN, ("MatMul", ["hidden", "second"], ["one"]), ("MatMul", ["number", "straight"], ["two"]), AROUND, END],
        [("Softmax", ["number"], ["shares"]), ("Slice", ["shares", "begin", "end", "axis"], ["output"])],
    ],
    ids=["inputs as they stand", "a way around it", "no layer"],
)  # fmt: skip
def test_there_is_none_where_answers_do_not_all_go_through_it(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("begin", 0), ("end", 3), ("axis", 1)):
        monkeypatch.setitem(WEIGHTS, name, np.array([value], dtype=np.int64))
    assert last_hidden(model(*nodes)) is None


def test_a_temperature_behind_the_last_layer_leaves_the_embedding(tmp_path: Path) -> None:
    onnx.save_model(PLAIN, tmp_path / "before.onnx")
    adjust(tmp_path / "before.onnx", tmp_path / "after.onnx", Adjustment(kind="category", steps=(Temperature(value=1.7),)))
    name = last_hidden(onnx.load_model(tmp_path / "after.onnx"))
    assert name is not None
    inner = Inner.open((tmp_path / "after.onnx").read_bytes(), name)
    assert np.allclose(inner.session.tensors({"number": ROWS}, [name])[name], HIDDEN, atol=1e-5)


@pytest.mark.parametrize("name", ["none of its values", "x" * 300], ids=["unknown", "long"])
def test_a_value_that_the_graph_does_not_have_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(PackageError) as caught:
        Inner.open(PLAIN.SerializeToString(), name)
    assert "\n" not in str(caught.value)


def test_long_names_are_written_as_protobuf_reads_them() -> None:
    long = onnx.ModelProto.FromString(PLAIN.SerializeToString())
    for node in long.graph.node:
        for names in (node.input, node.output):
            names[:] = ["h" * 300 if one == "hidden" else one for one in names]
    inner = Inner.open(long.SerializeToString(), "h" * 300)
    assert inner.session.outputs == ("output", "h" * 300)
