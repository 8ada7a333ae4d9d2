"""How a graph takes its pixels: uint8 [B, H, W, C] in, float [B, C, H, W] centred and scaled for the first convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from weighbridge.export.rewrite import array, attributes, prune, readers, replace_nodes

CHANNELS_FIRST = [0, 3, 1, 2]


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Cast, Mul, Add and Transpose of one image input, in this order; `scale` and `shift` are float32 [C]."""

    nodes: tuple[NodeProto, ...]
    image: str
    out: str
    scale: np.ndarray
    shift: np.ndarray

    @property
    def code(self) -> tuple[np.float32, int] | None:
        """The scale and the zero point of which the pixels themselves are the 8-bit codes; None where channels differ in them.

        A zero point is whole: what the network sees moves by at most half a grey level.
        """
        if len(set(self.scale.tolist())) > 1 or len(set(self.shift.tolist())) > 1:
            return None
        zero = round(float(-self.shift[0] / self.scale[0]))
        return (np.float32(self.scale[0]), zero) if 0 <= zero <= 255 else None


def find_pixels(graph: GraphProto) -> list[Pixels]:
    """Return each image input that is centred and scaled as the exporter writes it."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    read_by = readers(graph)
    images = [value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8]
    return [found for name in images if (found := _pixels(name, read_by, constants))]


def _pixels(image: str, read_by: dict[str, list[NodeProto]], constants: dict[str, np.ndarray]) -> Pixels | None:
    nodes: list[NodeProto] = []
    name = image
    for kind in ("Cast", "Mul", "Add", "Transpose"):
        following = read_by.get(name, [])
        if len(following) != 1 or following[0].op_type != kind or following[0].input[0] != name:
            return None
        nodes.append(following[0])
        name = following[0].output[0]
    scale, shift = (constants.get(node.input[1]) for node in nodes[1:3])
    if scale is None or shift is None or attributes(nodes[3]).get("perm") != CHANNELS_FIRST:
        return None
    if scale.ndim > 1 or shift.ndim > 1:
        return None
    return Pixels(nodes=tuple(nodes), image=image, out=name, scale=np.atleast_1d(scale), shift=np.atleast_1d(shift))


def transpose_first(graph: GraphProto) -> None:
    """Images are turned as bytes and scaled as planes, to the same floats, bit for bit.

    onnxruntime multiplies [B, H, W, C] by [C] in steps of C: 9 us for 28 x 28 x 1, where planes take 1 us.
    """
    changed: dict[str, list[NodeProto]] = {}
    for found in find_pixels(graph):
        cast, multiply, add, _ = found.nodes
        planes = [array(values.reshape(-1, 1, 1), f"{found.image}:{word}") for word, values in _planes(found)]
        graph.initializer.extend(planes)
        turned, floats, scaled = (f"{found.image}:{word}" for word in ("turned", "floats", "scaled"))
        steps = [
            helper.make_node("Transpose", [found.image], [turned], name=turned, perm=CHANNELS_FIRST),
            helper.make_node("Cast", [turned], [floats], name=floats, to=TensorProto.FLOAT),
            helper.make_node("Mul", [floats, planes[0].name], [scaled], name=scaled),
            helper.make_node("Add", [scaled, planes[1].name], [found.out], name=found.out),
        ]
        changed[cast.name] = steps
        changed |= {node.name: [] for node in (multiply, add, found.nodes[3])}
    if changed:
        replace_nodes(graph, [step for node in graph.node for step in changed.get(node.name, [node])])
        prune(graph)


def _planes(found: Pixels) -> Sequence[tuple[str, np.ndarray]]:
    return ("scale", found.scale), ("shift", found.shift)


def take_codes(graph: GraphProto, found: Pixels) -> None:
    """What quantises the scaled pixels is gone: the pixels are the codes. Where floats of them are read still, they are as they were."""
    turned = helper.make_node("Transpose", [found.image], [f"{found.image}:codes"], name=f"{found.image}:codes", perm=CHANNELS_FIRST)
    quantised = {node.output[0] for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == found.out}
    nodes = [node for node in graph.node if not quantised.intersection(node.output)]
    for node in nodes:
        for place, name in enumerate(node.input):
            if name in quantised:
                node.input[place] = turned.output[0]
    replace_nodes(graph, [turned, *nodes] if quantised else nodes)
    prune(graph)
