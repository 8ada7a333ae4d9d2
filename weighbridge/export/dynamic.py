"""Integer weights, and matrix products in integers whose inputs are scaled at each call: no rows are needed to make them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto

from weighbridge.errors import FormError
from weighbridge.export.form import begin, finish
from weighbridge.export.integers import store_as_integers
from weighbridge.export.linear import LEAST_OF_SEQUENCES, LEAST_WEIGHTS, prepared, products
from weighbridge.export.rewrite import gemm_as_matmul, making, tidy


def int8_weights(source: Path, target: Path) -> None:
    """`target` is the graph of `source` with its matrices stored as int8, a scale a channel: a quarter of the bytes, the speed of float32.

    Each weight is within 1/254 of the largest of its channel. Raises FormError when no weight takes fewer bytes so.
    """
    model, was_sparse = begin(source)
    if not store_as_integers(model.graph, bits=8):
        raise FormError("no weight of the graph takes fewer bytes as int8", do="the graph holds no large float32 weights")
    finish(model, target, was_sparse=was_sparse)


def int8_dynamic(source: Path, target: Path) -> None:
    """`target` is the graph of `source` with its large matrix products in int8, inputs scaled at each call; all matrices stored as int8.

    Linear layers only: a convolution so is slower than in float32 (digits, one row: 115 us for 26 us), and recurrent cells have no
    standard operator; their weights are int8 and computed with as float32, like those of small layers and tables.
    Raises FormError when no weight takes fewer bytes so.
    """
    model, was_sparse = begin(source)
    chosen = products(model.graph, least=LEAST_WEIGHTS, least_of_sequences=LEAST_OF_SEQUENCES)
    if chosen:
        gemm_as_matmul(model.graph)
        names = [name for node in chosen for name in (node.name, f"{node.name}:matmul")]
        model = _computed_in_integers(model, names)
    stored = store_as_integers(model.graph, bits=8)
    if not chosen and not stored:
        raise FormError("no weight of the graph takes fewer bytes as int8", do="the graph holds no large float32 weights")
    finish(model, target, was_sparse=was_sparse)


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
        quantised = onnx.load(path)
    tidy(quantised)
    return quantised
