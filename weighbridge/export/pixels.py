"""How a graph takes its pixels: uint8 [B, H, W, C] in, float [B, C, H, W] centred and scaled for the first convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from weighbridge.export.rewrite import array, attributes, prune, readers, replace_nodes

CHANNELS_FIRST = [0, 3, 1, 2]
AS_EXPORTED, AS_PLANES = ("Cast", "Mul", "Add", "Transpose"), ("Transpose", "Cast", "Mul", "Add")


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Cast, Mul, Add and Transpose of one image input, the Transpose last or first; `scale` and `shift` are float32 [C]."""

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
    for kinds in (AS_EXPORTED, AS_PLANES):
        nodes = _chain(image, kinds, read_by)
        by_kind = {node.op_type: node for node in nodes}
        if not nodes or attributes(by_kind["Transpose"]).get("perm") != CHANNELS_FIRST:
            continue
        scale, shift = (constants.get(by_kind[kind].input[1]) for kind in ("Mul", "Add"))
        if scale is None or shift is None or scale.size != max(scale.shape, default=1) or scale.size != shift.size:
            continue
        return Pixels(nodes=nodes, image=image, out=nodes[-1].output[0], scale=scale.reshape(-1), shift=shift.reshape(-1))
    return None


def _chain(name: str, kinds: Sequence[str], read_by: dict[str, list[NodeProto]]) -> tuple[NodeProto, ...]:
    """Return the nodes of these kinds, each the only reader of the one before; empty where they do not stand so."""
    nodes: list[NodeProto] = []
    for kind in kinds:
        following = read_by.get(name, [])
        if len(following) != 1 or following[0].op_type != kind or following[0].input[0] != name:
            return ()
        nodes.append(following[0])
        name = following[0].output[0]
    return tuple(nodes)


def transpose_first(graph: GraphProto) -> None:
    """Images are turned as bytes and scaled as planes, to the same floats, bit for bit.

    onnxruntime multiplies [B, H, W, C] by [C] in steps of C: 9 us for 28 x 28 x 1, where planes take 1 us.
    """
    instead: dict[str, list[NodeProto]] = {}
    for found in find_pixels(graph):
        if found.nodes[0].op_type == "Transpose":
            continue
        turned, floats, scaled, scale, shift = (f"{found.image}:{word}" for word in ("turned", "floats", "scaled", "scale", "shift"))
        graph.initializer.extend([array(found.scale.reshape(-1, 1, 1), scale), array(found.shift.reshape(-1, 1, 1), shift)])
        instead |= {node.name: [] for node in found.nodes}
        instead[found.nodes[0].name] = [
            helper.make_node("Transpose", [found.image], [turned], name=turned, perm=CHANNELS_FIRST),
            helper.make_node("Cast", [turned], [floats], name=floats, to=TensorProto.FLOAT),
            helper.make_node("Mul", [floats, scale], [scaled], name=scaled),
            helper.make_node("Add", [scaled, shift], [found.out], name=found.out),
        ]
    if instead:
        replace_nodes(graph, [step for node in graph.node for step in instead.get(node.name, [node])])
        prune(graph)


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
