"""Integer weights, and matrix products in integers whose inputs are scaled at each call: no rows are needed to make them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from weighbridge.errors import FormError
from weighbridge.export.integers import store_as_integers
from weighbridge.export.rewrite import attributes, gemm_as_matmul, making, read_graph, tidy, write_graph

LEAST_WEIGHTS = 4096  # of a product of one row of numbers with a matrix: below, scaling the input costs more than integers save
LEAST_OF_SEQUENCES = 1024  # of a product of many places at once (texts, columns as tokens)
PREPARED = "onnx.quant.pre_process", "onnxruntime.quant"  # without it the quantiser asks for a step that the exporter has done


def int8_weights(source: Path, target: Path) -> None:
    """`target` is the graph of `source` with its matrices stored as int8, a scale a channel: a quarter of the bytes, the speed of float32.

    Each weight is within 1/254 of the largest of its channel. Raises FormError when no weight takes fewer bytes so.
    """
    model = read_graph(source)
    if not store_as_integers(model.graph, bits=8):
        raise FormError("no weight of the graph takes fewer bytes as int8", do="the graph holds no large float32 weights")
    write_graph(model, target)


def int8_dynamic(source: Path, target: Path) -> None:
    """`target` is the graph of `source` with its large matrix products in int8, inputs scaled at each call; all matrices stored as int8.

    Linear layers only: a convolution so is slower than in float32 (digits, one row: 115 us for 26 us), and recurrent cells have no
    standard operator; their weights are int8 and computed with as float32, like those of small layers and tables.
    Raises FormError when no weight takes fewer bytes so.
    """
    model = read_graph(source)
    chosen = products(model.graph, least=LEAST_WEIGHTS, least_of_sequences=LEAST_OF_SEQUENCES)
    if chosen:
        gemm_as_matmul(model.graph)
        names = [name for node in chosen for name in (node.name, f"{node.name}:matmul")]
        model = _computed_in_integers(model, names)
    stored = store_as_integers(model.graph, bits=8)
    if not chosen and not stored:
        raise FormError("no weight of the graph takes fewer bytes as int8", do="the graph holds no large float32 weights")
    write_graph(model, target)


def products(graph: GraphProto, *, least: int = 1, least_of_sequences: int = 1) -> list[NodeProto]:
    """Return the products of an input with a constant float32 matrix [K, N] of at least so many weights.

    The exporter writes Gemm where the input is a matrix, and MatMul where it has more dimensions.
    """
    sizes = {t.name: t.dims[0] * t.dims[1] for t in graph.initializer if len(t.dims) == 2 and t.data_type == onnx.TensorProto.FLOAT}
    return [
        node
        for node in graph.node
        if (node.op_type == "Gemm" and not attributes(node).get("transA") and sizes.get(node.input[1], 0) >= least)
        or (node.op_type == "MatMul" and sizes.get(node.input[1], 0) >= least_of_sequences)
    ]


def _computed_in_integers(model: ModelProto, names: list[str]) -> ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    prepared(model)
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder, making("int8_dynamic"):
        path = Path(folder) / "graph.onnx"
        options = {"MatMulConstBOnly": True}
        quantize_dynamic(
            model, path, op_types_to_quantize=["MatMul"], nodes_to_quantize=names, per_channel=True, weight_type=QuantType.QInt8,
            extra_options=options,
        )  # fmt: skip
        return _tidied(onnx.load(path))


def prepared(model: ModelProto) -> None:
    """`model` says that it was prepared for quantisation: the exporter has folded constants and normalisations already."""
    entry = model.metadata_props.add()
    entry.key, entry.value = PREPARED


def _tidied(model: ModelProto) -> ModelProto:
    tidy(model)
    return model
