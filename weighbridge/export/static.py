"""A graph whose convolutions and linear layers compute in int8, inputs scaled as they were on rows that are looked at beforehand.

The form is QDQ: QuantizeLinear and DequantizeLinear, standard operators, around layers that onnxruntime then runs in integers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from weighbridge.errors import FormError
from weighbridge.export.form import begin, finish
from weighbridge.export.integers import store_as_integers
from weighbridge.export.linear import LEAST_OF_SEQUENCES, LEAST_WEIGHTS, prepared, products
from weighbridge.export.pixels import Pixels, find_pixels, take_codes
from weighbridge.export.rewrite import attributes, making, prune, readers, replace_nodes, tidy
from weighbridge.runtime.session import each_once

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays

CALIBRATED_ROWS = 32  # at once
IN_INTEGERS = ("Add", "AveragePool", "Flatten", "Gemm", "GlobalAveragePool", "MaxPool", "Relu")  # what need not leave them on the way
FUSED = ("Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu")
# Activations that onnxruntime fuses with a Gemm in float32 before it looks for integers, unless its output is quantised at once.
LAYERS = ("Conv", "Gemm", "MatMul")


def int8_static(source: Path, target: Path, rows: Arrays) -> None:
    """`target` is the graph of `source` whose convolutions and large linear layers compute in int8; all matrices are stored as int8.

    `rows`: encoded training rows, a few hundred. Weights are symmetric with a scale a channel, inputs of layers uint8 with one scale each,
    from the smallest to the largest value that these rows give, so that none of them is clipped. Percentile, entropy and averaged ranges
    were as near to float32 on the mean row of Fashion-MNIST, digits and Adult, and mean ranges further off on the worst (docs/notebook.md).
    Raises FormError when there is no layer to compute in int8, or no row to look at.
    """
    if not len(rows):
        raise FormError("there are no rows to calibrate int8_static with", do="give a few hundred training rows")
    model, was_sparse = begin(source)
    relu_before_pool(model.graph)
    mean_as_pool(model.graph)
    nodes = computed(model.graph)
    if not any(node.op_type in LAYERS for node in nodes):
        raise FormError("the graph has no convolution and no large linear layer to compute in int8", do="take int8_dynamic")
    pixels = [found for found in find_pixels(model.graph) if found.code and _read_by_convolutions(model.graph, found)]
    last = _last(model.graph, nodes)
    model = _quantised(model, nodes, rows, pixels)
    float_answers(model.graph, last)
    for found in find_pixels(model.graph):
        if found.image in {one.image for one in pixels}:
            take_codes(model.graph, found)
    store_as_integers(model.graph, bits=8)
    finish(model, target, was_sparse=was_sparse)


def relu_before_pool(graph: GraphProto) -> None:
    """Relu behind MaxPool stands before it, for the same values: then both are part of the convolution's rescaling, or keep its scale."""
    read_by = readers(graph)
    relus = {node.input[0]: node for node in graph.node if node.op_type == "Relu"}
    changed: dict[str, NodeProto] = {}
    for pool in graph.node:
        relu = relus.get(pool.output[0])
        if pool.op_type != "MaxPool" or len(pool.output) > 1 or relu is None or len(read_by[pool.output[0]]) > 1:
            continue
        changed[pool.name] = helper.make_node("Relu", [pool.input[0]], [pool.output[0]], name=pool.name)
        changed[relu.name] = helper.make_node("MaxPool", [pool.output[0]], [relu.output[0]], name=relu.name, **attributes(pool))
    replace_nodes(graph, [changed.get(node.name, node) for node in graph.node])


def mean_as_pool(graph: GraphProto) -> None:
    """The mean over places is GlobalAveragePool, which has a form in integers; ReduceMean has none."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        axes = constants.get(node.input[1]) if node.op_type == "ReduceMean" and len(node.input) > 1 else None
        if axes is None or sorted(axes.tolist()) != [2, 3] or attributes(node).get("keepdims", 1):
            nodes.append(node)
            continue
        pooled = f"{node.output[0]}:pooled"
        nodes.append(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=f"{node.name}:pool"))
        nodes.append(helper.make_node("Flatten", [pooled], [node.output[0]], name=f"{node.name}:flat", axis=1))
    replace_nodes(graph, nodes)
    prune(graph)


def computed(graph: GraphProto) -> list[NodeProto]:
    """Return the nodes to compute in int8: convolutions, large linear layers, and what follows them in integers."""
    constants = {tensor.name for tensor in graph.initializer}
    large = {node.name for node in products(graph, least=LEAST_WEIGHTS, least_of_sequences=LEAST_OF_SEQUENCES)}
    behind: set[str] = set()  # values of such layers, and of what follows them
    chosen = []
    for node in graph.node:
        starts = node.name in large or (node.op_type == "Conv" and node.input[1] in constants)
        follows = node.op_type in IN_INTEGERS and all(name in behind | constants for name in node.input)
        if starts or follows:
            chosen.append(node)
        if (starts or follows) and node.op_type != "MatMul":  # its output stays float32: what follows it in a transformer needs that
            behind.update(node.output)
    return chosen


def float_answers(graph: GraphProto, names: Sequence[str]) -> None:
    """The linear layers of these names give float32: a logit of 8 bits would be a coarse one."""
    read_by, instead = readers(graph), dict[str, str]()
    for node in graph.node:
        if node.op_type == "Gemm" and node.name in names:
            quantised = [reader for reader in read_by[node.output[0]] if reader.op_type == "QuantizeLinear"]
            restored = [reader for one in quantised for reader in read_by[one.output[0]] if reader.op_type == "DequantizeLinear"]
            instead |= {one.output[0]: node.output[0] for one in restored}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in instead:
                node.input[place] = instead[name]
    prune(graph)


def _last(graph: GraphProto, nodes: list[NodeProto]) -> list[str]:
    """Return the names of the linear layers among `nodes` that neither an activation nor one of `nodes` follows."""
    read_by, names = readers(graph), {node.name for node in nodes}
    return [
        node.name
        for node in nodes
        if node.op_type == "Gemm" and not any(reader.name in names or reader.op_type in FUSED for reader in read_by[node.output[0]])
    ]


def _read_by_convolutions(graph: GraphProto, found: Pixels) -> bool:
    return all(node.op_type == "Conv" for node in readers(graph)[found.out])


def _quantised(model: ModelProto, nodes: list[NodeProto], rows: Arrays, pixels: list[Pixels]) -> ModelProto:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Gives the encoded rows, a batch at a time."""

        def __init__(self) -> None:
            self._batches: Iterator[Mapping[str, np.ndarray]] = (blocks for blocks, _ in each_once(rows, rows=CALIBRATED_ROWS))

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(self._batches, None)

    fixed: dict[str, list[dict[str, Any]]] = {}
    for found in pixels:
        if found.code:
            scale, zero = found.code
            fixed[found.out] = [{"quant_type": QuantType.QUInt8, "scale": np.array(scale), "zero_point": np.array(zero, np.uint8)}]
    options = {"TensorQuantOverrides": fixed, "OpTypesToExcludeOutputQuantization": ["MatMul"]}
    prepared(model)
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder, making("int8_static"):
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        quantize_static(
            before, after, Reader(), quant_format=QuantFormat.QDQ, calibrate_method=CalibrationMethod.MinMax, extra_options=options,
            op_types_to_quantize=sorted({node.op_type for node in nodes}), nodes_to_quantize=[node.name for node in nodes],
            per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        quantised = onnx.load(after)
    tidy(quantised)
    return quantised
