"""Weights of four bits in blocks: an eighth of the bytes, and scales."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import GraphProto, TensorProto, helper, numpy_helper

from weighbridge.errors import FormError
from weighbridge.export.form import begin, finish
from weighbridge.export.integers import BLOCK, Codes, rounded, scales_of, store_as_integers
from weighbridge.export.linear import products
from weighbridge.export.rewrite import array, gemm_as_matmul, prune, raise_opset, readers, swap

OPSET = 21  # the first whose DequantizeLinear knows INT4 and blocks
LEAST_WEIGHTS = 1 << 17  # of a matrix that is multiplied as it is stored; a smaller one is as fast in float32 (256 x 320: 10 us both)


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
    changed = []
    for tensor in chosen:
        values = numpy_helper.to_array(tensor)
        K, N = values.shape
        if K % BLOCK:
            continue
        coded = rounded(values.reshape(K // BLOCK, BLOCK, N), (1,), 4)
        codes = Codes(codes=coded.codes.reshape(K, N), scales=coded.scales[:, 0], bits=4)
        if _behind_dequantize(graph, tensor, codes):
            changed.append(tensor.name)
    _subtract_biases(graph, changed)
    return len(changed)


def _subtract_biases(graph: GraphProto, matrices: Sequence[str]) -> None:
    """Behind products with these matrices the bias is subtracted, negated: onnxruntime would make a Gemm of MatMul and Add.

    A Gemm it does not fuse with the DequantizeLinear, and would restore the matrix at each call: 984 us for 1,024 x 1,024 where float32
    takes 65 us and the fused product 32 us.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    products_ = {node.output[0] for node in graph.node if node.op_type == "MatMul" and node.input[1] in matrices}
    for node in graph.node:
        if node.op_type == "Add" and node.input[0] in products_ and node.input[1] in constants:
            bias = constants[node.input[1]]
            negative = array(-numpy_helper.to_array(bias), f"{bias.name}:negative")
            if negative.name not in constants:
                graph.initializer.append(negative)
                constants[negative.name] = negative
            node.op_type, node.input[1] = "Sub", negative.name
    prune(graph)


def _behind_dequantize(graph: GraphProto, tensor: TensorProto, codes: Codes) -> bool:
    scales, steps = scales_of(codes.scales, tensor.name)
    inputs = [f"{tensor.name}:codes", f"{tensor.name}:scales"]
    steps.append(helper.make_node("DequantizeLinear", inputs, [tensor.name], name=f"{tensor.name}:restored", axis=0, block_size=BLOCK))
    return swap(graph, tensor, [codes.tensor(inputs[0]), scales], steps)
