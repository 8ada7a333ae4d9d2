"""Weights as small integers times a scale, symmetric about zero, so that a weight of zero stays zero (padding, pruning).

A matrix is brought back when the graph is loaded (Cast and Mul of constants, which onnxruntime folds; it does not fold
DequantizeLinear, and would compute a whole table at each call: 322 us instead of 6 us for 30,000 x 64). A large table stays integers
in memory too: rows are gathered first and scaled then.
Shape suffixes: G scales, V codes of a table, D its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from weighbridge.export.rewrite import array, attributes, readers, replace_nodes, swap, weights

LARGE_TABLE_BYTES = 256 << 10  # of float32: below, four more nodes a table cost more time (3 us) than the memory is worth
BLOCK = 32  # neighbours that share the scale of their 4-bit codes
SMALLEST_HALF = 2.0**-14  # below, float16 loses digits
SHRUNK = np.linspace(0.7, 1.0, 13)  # parts of the largest weight that the largest of 4-bit codes may stand for


@dataclass(frozen=True, kw_only=True)
class Codes:
    """Integers and scales whose product is the weights: `codes` int8 of the weights' shape, `scales` float32 that broadcasts to it."""

    codes: np.ndarray
    scales: np.ndarray
    bits: int

    @property
    def weights(self) -> np.ndarray:
        return np.asarray(self.codes.astype(np.float32) * self.scales)

    def tensor(self, name: str) -> TensorProto:
        """Return the codes as an initializer: INT8, or INT4 with two codes a byte."""
        if self.bits == 8:
            return array(self.codes, name)
        return helper.make_tensor(name, TensorProto.INT4, self.codes.shape, pack(self.codes), raw=True)


def pack(codes: np.ndarray) -> bytes:
    """Return 4-bit codes (-8 to 7) as bytes, the first of two in the lower half."""
    flat = codes.reshape(-1).astype(np.uint8) & 15
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    return bytes(flat[0::2] | (flat[1::2] << 4))


def rounded(values: np.ndarray, axes: tuple[int, ...], bits: int) -> Codes:
    """Return the codes of `values` float32, one scale for all that lies along `axes`; at 4 bits the scale of least squared error.

    At 8 bits the largest weight gets code 127. At 4 bits that wastes: the 16 codes serve the many better when the largest are clipped.
    """
    largest = np.abs(values).max(axis=axes, keepdims=True).astype(np.float32)
    largest[largest == 0] = 1.0
    if bits == 8:
        return _coded(values, _short(largest / np.float32(127)), bits)
    best, least = largest / np.float32(7), np.full(largest.shape, np.inf)
    for share in SHRUNK:
        for top in (7.0, 8.0):  # code -8 too may stand for the largest
            scales = _short(largest * np.float32(share / top))
            error = np.square(_coded(values, scales, bits).weights - values).sum(axis=axes, keepdims=True)
            best, least = np.where(error < least, scales, best), np.minimum(error, least)
    return _coded(values, best.astype(np.float32), bits)


def _short(scales: np.ndarray) -> np.ndarray:
    """Return the scales as float32 that float16 holds exactly, where it has the digits for all of them."""
    fits = scales.min() >= SMALLEST_HALF and scales.max() <= np.finfo(np.float16).max
    return scales.astype(np.float16).astype(np.float32) if fits else scales


def _coded(values: np.ndarray, scales: np.ndarray, bits: int) -> Codes:
    lowest, highest = (-127, 127) if bits == 8 else (-8, 7)
    return Codes(codes=np.clip(np.rint(values / scales), lowest, highest).astype(np.int8), scales=scales, bits=bits)


def by_channel(values: np.ndarray, bits: int) -> Codes:
    """Return the codes with one scale for each slice along the first or along the last dimension, whichever errs less."""
    first = rounded(values, tuple(range(1, values.ndim)), bits)
    last = rounded(values, tuple(range(values.ndim - 1)), bits)
    return min((first, last), key=lambda codes: float(np.square(codes.weights - values).sum()))


def in_blocks(values: np.ndarray) -> Codes:
    """Return 4-bit codes [G, BLOCK] with one scale for each BLOCK neighbours of the flattened weights, whose number BLOCK divides."""
    return rounded(values.reshape(-1, BLOCK), (1,), 4)


def store_as_integers(graph: GraphProto, *, bits: int) -> int:
    """The float32 matrices of `graph` are stored as integers where that takes fewer bytes; returns how many. 4 bits need opset 21."""
    changed, read_by = 0, readers(graph)
    for name, tensor in weights(graph).items():
        values = numpy_helper.to_array(tensor)
        gathers = read_by[name]
        if all(node.op_type == "Gather" and node.input[0] == name and not attributes(node).get("axis", 0) for node in gathers):
            codes = rounded(values, tuple(range(1, values.ndim)), bits)
            large = values.nbytes >= LARGE_TABLE_BYTES
            changed += _scaled_after(graph, tensor, codes, gathers) if large else _scaled_before(graph, tensor, codes)
        elif bits == 4 and values.size % BLOCK == 0:
            changed += _scaled_before(graph, tensor, in_blocks(values))
        else:
            changed += _scaled_before(graph, tensor, by_channel(values, bits))
    return changed


def _scaled_before(graph: GraphProto, tensor: TensorProto, codes: Codes) -> bool:
    """Bring the weights back in front of all that reads them."""
    name = tensor.name
    scales, steps = scales_of(codes.scales, name)
    stored = [codes.tensor(f"{name}:codes"), scales]
    shaped = codes.codes.shape == tuple(tensor.dims)
    product = name if shaped else f"{name}:product"
    steps += [
        helper.make_node("Cast", [f"{name}:codes"], [f"{name}:cast"], name=f"{name}:cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}:cast", f"{name}:scales"], [product], name=f"{name}:scale"),
    ]
    if not shaped:
        stored.append(array(np.array(tensor.dims, np.int64), f"{name}:shape"))
        steps.append(helper.make_node("Reshape", [product, f"{name}:shape"], [name], name=f"{name}:reshape"))
    return swap(graph, tensor, stored, steps)


def _scaled_after(graph: GraphProto, tensor: TensorProto, codes: Codes, gathers: Sequence[NodeProto]) -> bool:
    """Gather rows of integers and their scales, and multiply then: the table is never in memory as float32."""
    name = tensor.name
    graph.initializer.remove(tensor)
    stored = codes.tensor(f"{name}:codes")
    scales, steps = scales_of(codes.scales, name)
    graph.initializer.extend([stored, scales])
    table = stored.name
    if codes.bits == 4:  # Gather takes no INT4; this cast is folded
        table = f"{name}:bytes"
        steps.append(helper.make_node("Cast", [stored.name], [table], name=table, to=TensorProto.INT8))
    changed = {node.name for node in gathers}
    nodes: list[NodeProto] = [*steps]
    for node in graph.node:
        nodes += _gathered(node, table, f"{name}:scales") if node.name in changed else [node]
    replace_nodes(graph, nodes)
    return True


def _gathered(node: NodeProto, table: str, scales: str) -> list[NodeProto]:
    place, out = node.input[1], node.output[0]
    return [
        helper.make_node("Gather", [table, place], [f"{out}:codes"], name=f"{node.name}:codes"),
        helper.make_node("Cast", [f"{out}:codes"], [f"{out}:cast"], name=f"{node.name}:cast", to=TensorProto.FLOAT),
        helper.make_node("Gather", [scales, place], [f"{out}:scales"], name=f"{node.name}:scales"),
        helper.make_node("Mul", [f"{out}:cast", f"{out}:scales"], [out], name=f"{node.name}:scale"),
    ]


def scales_of(scales: np.ndarray, name: str) -> tuple[TensorProto, list[NodeProto]]:
    """Return the scales as an initializer and what makes `name:scales` of it: as float16 where nothing is lost and bytes are won."""
    whole, short = array(scales, f"{name}:scales"), array(scales.astype(np.float16), f"{name}:half")
    cast = helper.make_node("Cast", [short.name], [whole.name], name=whole.name, to=TensorProto.FLOAT)
    if not np.array_equal(scales.astype(np.float16).astype(np.float32), scales) or short.ByteSize() + cast.ByteSize() >= whole.ByteSize():
        return whole, []
    return short, [cast]
