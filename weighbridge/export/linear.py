"""Which linear layers are worth computing in integers, and how a graph is handed to the quantiser."""

from __future__ import annotations

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from weighbridge.export.rewrite import attributes

LEAST_WEIGHTS = 4096  # of a product of one row of numbers with a matrix: below, scaling the input costs more than integers save
LEAST_OF_SEQUENCES = 1024  # of a product of many places at once (texts, columns as tokens)
PREPARED = "onnx.quant.pre_process", "onnxruntime.quant"  # without it the quantiser asks for a step that the exporter has done


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


def prepared(model: ModelProto) -> None:
    """`model` says that it was prepared for quantisation: the exporter has folded constants and normalisations already."""
    entry = model.metadata_props.add()
    entry.key, entry.value = PREPARED
