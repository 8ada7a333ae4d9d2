"""Floating-point operations of a graph, by the shapes that its tensors really had while it answered rows.

Counted as torch.utils.flop_counter does: products and sums of matrix products, convolutions and recurrences, two operations for each
multiply-add; what is done element by element is not. Trees have comparisons instead, bounded by their depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

Shape = tuple[int, ...]
UNSEEN = ("Attention", "Einsum", "If", "Loop", "Scan", "LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor")


@dataclass(frozen=True, kw_only=True)
class Work:
    """What answering some rows once takes.

    Attributes:
        flops: by operator.
        comparisons: of a row that falls to the deepest leaf of every tree.
        uncounted: operators that compute and are not counted.
        parameters: weights that the graph holds, integers of a quantised one included; shapes and scales of integers are not.
    """

    rows: int
    flops: dict[str, int]
    comparisons: int
    uncounted: tuple[str, ...]
    parameters: int

    @property
    def total(self) -> int:
        return sum(self.flops.values())


def graph_work(content: bytes, blocks: Mapping[str, np.ndarray]) -> Work:
    """Return what a graph's answer to the blocks of some rows takes. Raises PackageError for a graph that can not be run."""
    import onnx

    model = onnx.load_model_from_string(content)
    shapes = _shapes(model, blocks)
    flops: dict[str, int] = {}
    for node in model.graph.node:
        if count := COUNTED.get(node.op_type):
            flops[node.op_type] = flops.get(node.op_type, 0) + count([shapes.get(name, ()) for name in node.input], shapes[node.output[0]])
    rows = len(next(iter(blocks.values())))
    kinds = {node.op_type for node in model.graph.node}
    comparisons = sum(_depths(node) for node in model.graph.node if node.op_type.startswith("TreeEnsemble"))
    return Work(
        rows=rows, flops=flops, comparisons=comparisons, uncounted=tuple(sorted(kinds & set(UNSEEN))), parameters=_parameters(model)
    )


def _shapes(model: Any, blocks: Mapping[str, np.ndarray]) -> dict[str, Shape]:
    """Return the shape of each tensor that a counted operator reads or gives, by running the graph with those as outputs too."""
    import onnx

    from weighbridge.runtime.session import Session

    shapes: dict[str, Shape] = {one.name: tuple(one.dims) for one in model.graph.initializer}
    shapes |= {name: values.shape for name, values in blocks.items()}
    counted = [node for node in model.graph.node if node.op_type in COUNTED]
    asked = {name for node in counted for name in (*node.input, node.output[0]) if name and name not in shapes}
    own = [one.name for one in model.graph.output]
    added = sorted(asked - set(own))
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in added)
    session = Session.open(watched.SerializeToString(), threads=1)
    given = {name: blocks[name] for name in session.inputs}
    return shapes | {name: values.shape for name, values in session.tensors(given, [*own, *added]).items()}


def _convolution(inputs: list[Shape], out: Shape) -> int:
    weight = next(shape for shape in inputs[1:] if len(shape) == len(out))
    return 2 * prod(out) * prod(weight[1:])


def _transposed(inputs: list[Shape], out: Shape) -> int:
    return 2 * prod(inputs[0]) * prod(inputs[1][1:])


def _product(inputs: list[Shape], out: Shape) -> int:
    return 2 * prod(out) * inputs[0][-1]


def _gemm(inputs: list[Shape], out: Shape) -> int:
    return 2 * prod(inputs[0]) * out[-1]  # transposed or not, the first matrix has rows x inner numbers


def _recurrent(inputs: list[Shape], out: Shape) -> int:
    length, rows = inputs[0][:2]
    return 2 * length * rows * (prod(inputs[1]) + prod(inputs[2]))


COUNTED: dict[str, Callable[[list[Shape], Shape], int]] = {
    "Conv": _convolution, "ConvInteger": _convolution, "QLinearConv": _convolution, "ConvTranspose": _transposed,
    "MatMul": _product, "MatMulInteger": _product, "QLinearMatMul": _product, "Gemm": _gemm,
    "GRU": _recurrent, "LSTM": _recurrent, "RNN": _recurrent,
}  # fmt: skip


def _parameters(model: Any) -> int:
    """Return how many weights there are: numbers of at least two dimensions, and all floating-point ones; of trees the thresholds."""
    from onnx import TensorProto

    whole = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING)
    quantised = {name for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear") for name in node.input[1:]}
    held = sum(prod(one.dims) for one in model.graph.initializer if one.data_type not in whole and one.name not in quantised)
    biases = {node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    held += sum(prod(one.dims) for one in model.graph.initializer if one.data_type == TensorProto.INT32 and one.name in biases)
    trees = (one for node in model.graph.node if node.op_type.startswith("TreeEnsemble") for one in node.attribute)
    return int(held) + sum(_numbers(one) for one in trees if one.name in ("nodes_splits", "nodes_values", "leaf_weights", "target_weights"))


def _numbers(attribute: Any) -> int:
    return int(prod(attribute.t.dims)) if attribute.HasField("t") else len(attribute.floats)


def _depths(node: Any) -> int:
    """Return the sum over trees of the comparisons on the way to the deepest leaf of a TreeEnsemble operator (ai.onnx.ml 5)."""
    held = {one.name: list(one.ints) for one in node.attribute}
    if "tree_roots" not in held:
        return 0
    sides = [held[f"nodes_{side}nodeids"] for side in ("true", "false")]
    leaves = [held[f"nodes_{side}leafs"] for side in ("true", "false")]

    def deepest(root: int) -> int:
        found, level = 0, [root]
        while level:
            found += 1
            level = [sides[side][place] for place in level for side in (0, 1) if not leaves[side][place]]
        return found

    return sum(map(deepest, held["tree_roots"]))
