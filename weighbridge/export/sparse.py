"""Weights that are mostly zeros, stored as what is not zero and how far each is from the one before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from weighbridge.errors import FormError
from weighbridge.export.rewrite import array, prune, read_graph, replace_nodes, swap, write_graph

KINDS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8)
FARTHEST = 255  # places from one value to the next, in a byte; farther ones have zeros stored between them


def sparse(source: Path, target: Path) -> None:
    """`target` is the graph of `source`, its answers equal, with weights stored without their zeros where that takes fewer bytes.

    A value that is not zero takes its own bytes and one for its distance; onnxruntime puts them in their places when it loads the graph
    (CumSum and ScatterElements of constants). ONNX's own sparse_initializer takes eight bytes a place: worth it below a third of values
    in float32 and never in int8, where this is from 80 and 50 % of values down. Weights are dense in memory, and as fast as before.
    Raises FormError when no weight takes fewer bytes so.
    """
    model = read_graph(source)
    dense(model.graph)
    if not without_zeros(model.graph):
        raise FormError("no weight of the graph takes fewer bytes without its zeros", do="prune the network first (magnitude)")
    write_graph(model, target)


def without_zeros(graph: GraphProto) -> int:
    """Weights of float32, float16 and int8 are stored without their zeros where that takes fewer bytes; returns how many are."""
    large = [tensor for tensor in graph.initializer if tensor.data_type in KINDS and np.prod(tensor.dims) > FARTHEST]
    return sum(_store(graph, tensor) for tensor in large)


def dense(graph: GraphProto) -> bool:
    """Weights that `without_zeros` has stored are whole again, so that another form can be made of them; returns whether there were any."""
    made = {node.output[0]: node for node in graph.node}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    found: dict[str, TensorProto] = {}
    for node in graph.node:
        placed = made.get(node.input[0]) if node.op_type == "Reshape" else None
        if placed is None or placed.op_type != "ScatterElements":
            continue
        places = made.get(placed.input[1])
        far = made.get(places.input[0]) if places is not None and places.op_type == "CumSum" else None
        if far is None or not {far.input[0], placed.input[2], node.input[1]} <= constants.keys():
            continue
        distances, held, shape = (numpy_helper.to_array(constants[name]) for name in (far.input[0], placed.input[2], node.input[1]))
        flat = np.zeros(int(np.prod(shape)), held.dtype)
        flat[np.cumsum(distances.astype(np.int64))] = held
        found[node.output[0]] = array(flat.reshape(shape), node.output[0])
    if found:
        replace_nodes(graph, [node for node in graph.node if node.output[0] not in found])
        graph.initializer.extend(found.values())
        prune(graph)
    return bool(found)


def gaps(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances uint8 [m] from one stored place to the next and the values there [m], of flat weights.

    The first distance counts from place 0. The places are those that are not zero, and as many others as keep each distance in a byte.
    """
    places = np.flatnonzero(flat)
    before = np.concatenate([[0], places[:-1]]) if len(places) else places
    between = np.maximum(0, -(-(places - before) // FARTHEST) - 1)  # zeros to store before each
    ends = np.cumsum(between + 1) - 1
    steps = np.full(int(ends[-1]) + 1 if len(ends) else 0, FARTHEST, dtype=np.int64)
    steps[ends] = places - before - between * FARTHEST
    return steps.astype(np.uint8), np.asarray(flat[np.cumsum(steps)])


def _store(graph: GraphProto, tensor: TensorProto) -> bool:
    values = numpy_helper.to_array(tensor)
    name, flat = tensor.name, values.reshape(-1)
    distances, held = gaps(flat)
    if not len(held) or held.nbytes + distances.nbytes >= flat.nbytes:
        return False
    stored = [
        array(distances, f"{name}:gaps"),
        array(held, f"{name}:held"),
        array(np.zeros(1, flat.dtype), f"{name}:zero"),
        array(np.array([flat.size], np.int64), f"{name}:size"),
        array(np.array(0, np.int64), f"{name}:axis"),
        array(np.array(values.shape, np.int64), f"{name}:shape"),
    ]
    return swap(graph, tensor, stored, _steps(name))


def _steps(name: str) -> list[NodeProto]:
    return [
        helper.make_node("Cast", [f"{name}:gaps"], [f"{name}:far"], name=f"{name}:far", to=TensorProto.INT64),
        helper.make_node("CumSum", [f"{name}:far", f"{name}:axis"], [f"{name}:places"], name=f"{name}:places"),
        helper.make_node("Expand", [f"{name}:zero", f"{name}:size"], [f"{name}:zeros"], name=f"{name}:zeros"),
        helper.make_node(
            "ScatterElements", [f"{name}:zeros", f"{name}:places", f"{name}:held"], [f"{name}:flat"], name=f"{name}:flat", axis=0
        ),
        helper.make_node("Reshape", [f"{name}:flat", f"{name}:shape"], [name], name=f"{name}:whole"),
    ]
