"""Controls of the counter of operations: random graphs whose operations are known, and one more layer that must be seen exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from weighbridge.audit.flops_graph import Work, graph_work
from weighbridge.controls import control
from weighbridge.storage.seeds import rng

ROWS = 3


def random_graph(seed: int, *, more: bool = False) -> tuple[bytes, dict[str, np.ndarray], int]:
    """Return a graph of a convolution, a product and a transposed Gemm of random sizes (`more`: and a second convolution), rows for it, and
    its operations: two for each multiply-add.
    """
    from onnx import TensorProto, helper, numpy_helper

    random = rng(seed, "control of operations")
    groups, side, kernel, out, each, more_each = (int(size) for size in random.integers((1, 6, 1, 2, 1, 1), (3, 12, 4, 5, 4, 5)))
    channels, filters = groups * each, groups * more_each
    left = side - kernel + 1
    nodes: list[Any] = [helper.make_node("Conv", ["x", "w"], ["c"], group=groups)]
    held = {"w": random.normal(size=(filters, channels // groups, kernel, kernel))}
    total = 2 * ROWS * filters * left * left * (channels // groups) * kernel * kernel
    last = "c"
    if more:
        held["w2"] = random.normal(size=(filters, filters, 1, 1))
        nodes.append(helper.make_node("Conv", ["c", "w2"], ["c2"]))
        total, last = total + 2 * ROWS * filters * left * left * filters, "c2"
    held["m"] = random.normal(size=(left, out))
    held["g"] = random.normal(size=(4, filters * left * out))
    nodes += [
        helper.make_node("MatMul", [last, "m"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["output"], transB=1),
    ]
    total += 2 * ROWS * filters * left * left * out + 2 * ROWS * 4 * filters * left * out
    weights = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in held.items()]
    graph = helper.make_graph(
        nodes, "control", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, side, side])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 4])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    x = random.normal(size=(ROWS, channels, side, side)).astype(np.float32)
    return model.SerializeToString(), {"x": x}, total


def _work(seed: int, *, more: bool) -> tuple[Work, int]:
    content, blocks, total = random_graph(seed, more=more)
    return graph_work(content, blocks), total


@control("audit.cost.flops", "clean", "random layers: counted exactly", trials=200, low=1.0)
def exact(seed: int) -> bool:
    work, total = _work(seed, more=False)
    return work.total == total


@control("audit.cost.flops", "planted", "one convolution more: seen with its own operations and no others", trials=200, low=1.0)
def one_more(seed: int) -> bool:
    (work, total), (plain, before) = _work(seed, more=True), _work(seed, more=False)
    return work.total == total > plain.total == before
