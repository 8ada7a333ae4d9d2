"""What the forms of a graph have in common: read without notes, rewritten, proven standard, written whole.

A form is made of standard operators only. Weights that take fewer bytes are stored so and brought back by operators that onnxruntime
computes once, when it loads the graph (constant folding; DequantizeLinear is the exception that it leaves where it is): such a form is
smaller and as fast as before.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from weighbridge.errors import FormError
from weighbridge.runtime.graph import check_graph
from weighbridge.runtime.session import Refused
from weighbridge.storage import write_bytes

GO_ON = "the other forms are not concerned"
LIBRARY_ERRORS = (AssertionError, AttributeError, IndexError, KeyError, TypeError)  # of quantisers that meet a graph that they do not know
WIDENED_21 = {  # operators that opset 21 let take further types and changed in no other way; GroupNormalization it did change
    "Cast", "CastLike", "Constant", "ConstantOfShape", "DequantizeLinear", "Flatten", "Identity", "If", "Loop", "Pad", "QLinearMatMul",
    "QuantizeLinear", "Reshape", "Scan", "Shape", "Size", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip


def making(form: str) -> Refused:
    """Return a block in which what the libraries raise becomes a FormError that names the form."""
    return Refused(f"the form {form} can not be made", FormError, do=GO_ON, also=LIBRARY_ERRORS)


def read_graph(path: Path) -> ModelProto:
    """Return the graph without notes, every node named, without weights that nothing reads.

    Notes say which line of code a node came from: the files of another machine, and up to a third of a small network's bytes.
    Raises FormError for a file that is no graph, PackageError for one with custom operators or external data.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormError(f"the graph {path} can not be read ({error.strerror})", do="export the network first") from None
    check_graph(content)
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except (ValueError, DecodeError) as error:  # of some versions of protobuf one is the other
        raise FormError(f"{path} is no ONNX graph ({error})", do="export the network first") from None
    tidy(model)
    return model


def tidy(model: ModelProto) -> None:
    """`model` holds no notes and no intermediate shapes, its nodes have different names, and each of its weights is read."""
    graph = model.graph
    model.doc_string = ""
    for message in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        message.ClearField("metadata_props")
    for named in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        named.doc_string = ""
    del graph.value_info[:]
    names = [node.name for node in graph.node]
    if "" in names or len(set(names)) < len(names):
        for place, node in enumerate(graph.node):
            node.name = f"{node.op_type}_{place}"
    prune(graph)


def prune(graph: GraphProto) -> None:
    """Every node of `graph` leads to its output, and every initializer is read."""
    wanted = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted |= names_read(node)
            kept.append(node)
    if len(kept) < len(graph.node):
        replace_nodes(graph, list(reversed(kept)))
    unread = [tensor for tensor in graph.initializer if tensor.name not in wanted]
    for tensor in unread:
        graph.initializer.remove(tensor)


def names_read(node: NodeProto) -> set[str]:
    """Return the names of all values that a node reads, by graphs inside of it too."""
    inner = [part for attribute in node.attribute for part in (attribute.g, *attribute.graphs)]
    given = {value.name for graph in inner for value in graph.output}  # may be a value from outside, passed through
    return ({*node.input, *given} | {name for graph in inner for part in graph.node for name in names_read(part)}) - {""}


def replace_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    """`graph` holds these nodes in this order (they may be its own)."""
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def write_graph(model: ModelProto, path: Path) -> None:
    """`path` is the tidied graph with short names, valid by the specification, standard operators only; atomic, and always the same bytes.

    Raises FormError for what is not valid.
    """
    tidy(model)
    shorten(model.graph)
    with making(path.stem):
        onnx.checker.check_model(model)
    content = model.SerializeToString(deterministic=True)
    check_graph(content)
    write_bytes(path, content)


def shorten(graph: GraphProto) -> None:
    """Values between inputs and outputs are named by number and nodes not at all: of int8 weights of 12 KB, names would take 13 KB more.

    A graph that holds graphs keeps its names.
    """
    if any(attribute.g.node or attribute.graphs for node in graph.node for attribute in node.attribute):
        return
    kept = {value.name for value in (*graph.input, *graph.output)}
    inner = [name for node in graph.node for name in (*node.input, *node.output) if name and name not in kept]
    free = (str(number) for number in itertools.count() if str(number) not in kept)
    short = dict(zip(dict.fromkeys(inner), free, strict=False))
    for node in graph.node:
        node.name = ""
        node.input[:] = [short.get(name, name) for name in node.input]
        node.output[:] = [short.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = short.get(tensor.name, tensor.name)


def weights(graph: GraphProto) -> dict[str, TensorProto]:
    """Return the graph's float32 initializers that are matrices: at least two of their dimensions are above 1.

    Biases, normalisations and scales are not among them: they are few, and what they are wrong by, all their rows are wrong by.
    """
    return {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and sum(size > 1 for size in t.dims) >= 2}


def readers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Return for each value the nodes that read it, in their order."""
    found: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in sorted(names_read(node)):
            found[name].append(node)
    return found


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return the values of a node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def swap(graph: GraphProto, tensor: TensorProto, stored: Sequence[TensorProto], steps: Sequence[NodeProto]) -> bool:
    """`tensor` is what `steps` make of `stored` where that takes fewer bytes, and else as it was; returns whether it is."""
    taken = sum(part.ByteSize() for part in stored) + sum(step.ByteSize() for step in steps)
    if taken >= tensor.ByteSize():
        return False
    graph.initializer.remove(tensor)
    graph.initializer.extend(stored)
    replace_nodes(graph, [*steps, *graph.node])
    return True


def raise_opset(model: ModelProto, version: int) -> None:
    """`model` is of opset `version` (at most 21) or of its own where that is higher. Raises FormError where an operator would change."""
    standard = next(entry for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    for kind in sorted({node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")}):
        newer = onnx.defs.get_schema(kind, version).since_version > standard.version
        if newer and kind not in WIDENED_21:
            raise FormError(f"the operator {kind} of opset {standard.version} means something else in opset {version}", do=GO_ON)
    standard.version = max(standard.version, version)
    model.ir_version = max(model.ir_version, 10)


def gemm_as_matmul(graph: GraphProto) -> None:
    """Each Gemm of constant weights with alpha and beta of 1 is a MatMul and an Add: what quantises MatMul passes over Gemm in silence."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    turned: dict[str, TensorProto] = {}
    nodes: list[NodeProto] = []
    for node in graph.node:
        given = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0, **attributes(node)}
        plain = node.op_type == "Gemm" and given["alpha"] == given["beta"] == 1.0 and not given["transA"] and node.input[1] in constants
        if not plain:
            nodes.append(node)
            continue
        name = node.input[1]
        if given["transB"]:
            name = f"{name}:turned"
            turned.setdefault(name, array(np.ascontiguousarray(numpy_helper.to_array(constants[node.input[1]]).T), name))
        biased = len(node.input) > 2 and bool(node.input[2])
        product = f"{node.output[0]}:product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], name], [product], name=f"{node.name}:matmul"))
        if biased:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}:add"))
    replace_nodes(graph, nodes)
    graph.initializer.extend(turned.values())
    prune(graph)


def array(values: np.ndarray, name: str) -> TensorProto:
    """Return values as an initializer."""
    return numpy_helper.from_array(values, name)
