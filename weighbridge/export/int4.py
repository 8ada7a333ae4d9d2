"""Weights of four bits in blocks: an eighth of the bytes, and scales."""

from __future__ import annotations

from pathlib import Path

from onnx import GraphProto, TensorProto, helper, numpy_helper

from weighbridge.errors import FormError
from weighbridge.export.form import begin, finish
from weighbridge.export.integers import BLOCK, Codes, rounded, scales_of, store_as_integers
from weighbridge.export.linear import products
from weighbridge.export.rewrite import gemm_as_matmul, raise_opset, readers, swap

OPSET = 21  # the first whose DequantizeLinear knows INT4 and blocks
LEAST_WEIGHTS = 1 << 16  # of a matrix that is multiplied as it is stored


def int4(source: Path, target: Path) -> None:
    """`target` is the graph of `source` with its matrices stored as 4-bit integers, one scale for each 32 neighbours; opset 21.

    Large matrices of linear layers are multiplied as they are stored (DequantizeLinear in blocks along K, which onnxruntime fuses with
    MatMul); others are brought back as float32 when the graph is loaded. A table has one scale a row.
    Raises FormError when no weight was changed, and where opset 21 would change what an operator does.
    """
    model, was_sparse = begin(source)
    gemm_as_matmul(model.graph)
    raise_opset(model, OPSET)
    blocked = _block(model.graph)
    stored = store_as_integers(model.graph, bits=4)
    if not blocked and not stored:
        raise FormError("no weight of the graph takes fewer bytes as int4", do="the graph holds no large float32 weights")
    finish(model, target, was_sparse=was_sparse)


def _block(graph: GraphProto) -> int:
    """Large matrices [K, N] that only products read are INT4 behind a DequantizeLinear; returns how many."""
    read_by = readers(graph)
    large = {node.input[1] for node in products(graph, least=LEAST_WEIGHTS, least_of_sequences=LEAST_WEIGHTS)}
    chosen = [t for t in graph.initializer if t.name in large and all(node.op_type == "MatMul" for node in read_by[t.name])]
    changed = 0
    for tensor in chosen:
        values = numpy_helper.to_array(tensor)
        K, N = values.shape
        if K % BLOCK:
            continue
        coded = rounded(values.reshape(K // BLOCK, BLOCK, N), (1,), 4)
        codes = Codes(codes=coded.codes.reshape(K, N), scales=coded.scales[:, 0], bits=4)
        changed += _behind_dequantize(graph, tensor, codes)
    return changed


def _behind_dequantize(graph: GraphProto, tensor: TensorProto, codes: Codes) -> bool:
    scales, steps = scales_of(codes.scales, tensor.name)
    inputs = [f"{tensor.name}:codes", f"{tensor.name}:scales"]
    steps.append(helper.make_node("DequantizeLinear", inputs, [tensor.name], name=f"{tensor.name}:restored", axis=0, block_size=BLOCK))
    return swap(graph, tensor, [codes.tensor(inputs[0]), scales], steps)
