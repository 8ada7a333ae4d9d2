"""Several graphs as one that answers with the mean of their answers: an ensemble is packaged like any model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from weighbridge.errors import FormError
from weighbridge.export.rewrite import GO_ON, array, making, prune, raise_opset, read_graph, write_graph

OUTPUT = "output"


def merge(sources: Sequence[Path], target: Path, *, weights: Sequence[float] | None = None) -> None:
    """`target` is one graph that answers the mean of the graphs' outputs, weighted (None: equally; weights need not sum to 1).

    All must read the same inputs and give outputs of one shape and type: probabilities of the same classes, or values. What equal steps
    compute of the inputs is computed once, equal initializers are held once. Each answer is within 1e-6 of the mean of the members' own
    (of its size, where it is a value). Raises FormError where the graphs do not fit together, or a weight is not above 0.
    """
    shares = _shares(len(sources), weights)
    models = [read_graph(path) for path in sources]
    _refuse_others(models)
    version = max(_opset(model) for model in models)
    for model in models:
        raise_opset(model, version)
    whole = _empty(models)
    graph = whole.graph
    with making("merge"):
        outputs = [_joined(graph, model, f"m{place}/") for place, model in enumerate(models)]
    kind = models[0].graph.output[0].type.tensor_type.elem_type
    number = np.float64 if kind == TensorProto.DOUBLE else np.float32
    for place, (name, share) in enumerate(zip(outputs, shares, strict=True)):
        graph.initializer.append(array(np.array(share, number), f"share{place}"))
        graph.node.append(helper.make_node("Mul", [name, f"share{place}"], [f"part{place}"]))
    graph.node.append(helper.make_node("Sum", [f"part{place}" for place in range(len(models))], [OUTPUT]))
    share_equal(graph)
    write_graph(whole, target)


def share_equal(graph: GraphProto) -> None:
    """Equal initializers are one, and so are equal nodes that read the same values; names of outputs stay."""
    same: dict[str, str] = {}
    held: dict[bytes, str] = {}
    for tensor in graph.initializer:
        same[tensor.name] = held.setdefault(_content(tensor), tensor.name)
    given = {value.name for value in graph.output}
    seen: dict[bytes, NodeProto] = {}
    nodes = []
    for node in graph.node:
        if _holds_graphs(node):  # reads names that do not stand among its inputs
            return
        node.input[:] = [same.get(name, name) for name in node.input]
        twin = seen.setdefault(_work(node), node)
        if twin is node or given.intersection(node.output) or "Random" in node.op_type:
            nodes.append(node)
            continue
        same |= dict(zip(node.output, twin.output, strict=True))
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    prune(graph)


def _shares(count: int, weights: Sequence[float] | None) -> np.ndarray:
    given = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if count < 1 or len(given) != count or not np.isfinite(given).all() or (given <= 0).any():
        raise FormError(f"{count} graphs can not be averaged with the weights {given.tolist()}", do="give each graph one weight above 0")
    return np.asarray(given / given.sum())


def _refuse_others(models: Sequence[ModelProto]) -> None:
    """Raise FormError unless all graphs take the same inputs and give one output of the same kind."""
    inputs = [{value.name: _form(value) for value in model.graph.input} for model in models]
    outputs = [[(value.name, _form(value)) for value in model.graph.output] for model in models]
    for place in range(1, len(models)):
        for name in sorted({*inputs[0], *inputs[place]}):
            found, first = inputs[place].get(name), inputs[0].get(name)
            if found != first:
                raise FormError(f"graph {place + 1} reads {_said(name, found)}, the first {_said(name, first)}", do=GO_ON)
        if outputs[place] != outputs[0]:
            raise FormError(f"graph {place + 1} gives {outputs[place]}, the first {outputs[0]}", do=GO_ON)
    if [name for name, _ in outputs[0]] != [OUTPUT]:
        raise FormError(f"the graphs give {[name for name, _ in outputs[0]]}, not one 'output'", do=GO_ON)


def _form(value: onnx.ValueInfoProto) -> tuple[int, tuple[int, ...]]:
    """Return type and shape, -1 for a free dimension, which may have any name."""
    tensor = value.type.tensor_type
    return tensor.elem_type, tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)


def _said(name: str, form: tuple[int, tuple[int, ...]] | None) -> str:
    if form is None:
        return f"no {name}"
    return f"{name} as {TensorProto.DataType.Name(form[0])} {list(form[1])}"


def _opset(model: ModelProto) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _empty(models: Sequence[ModelProto]) -> ModelProto:
    """Return a model of the first one's inputs and output, of the highest versions, without nodes."""
    versions: dict[str, set[int]] = {}
    for model in models:
        for entry in model.opset_import:
            versions.setdefault("" if entry.domain == "ai.onnx" else entry.domain, set()).add(entry.version)
    apart = [domain for domain, found in versions.items() if domain and len(found) > 1]
    if apart:
        raise FormError(f"the graphs use the operators of {apart[0]} in the versions {sorted(versions[apart[0]])}", do=GO_ON)
    graph = helper.make_graph([], "mean", list(models[0].graph.input), list(models[0].graph.output))
    opsets = [helper.make_opsetid(domain, max(found)) for domain, found in sorted(versions.items())]
    return helper.make_model(graph, opset_imports=opsets, ir_version=max(model.ir_version for model in models))


def _joined(graph: GraphProto, model: ModelProto, prefix: str) -> str:
    """Add a member's nodes and initializers under names of its own; returns the name of its output."""
    from onnx import compose

    renamed = compose.add_prefix(model, prefix, rename_inputs=False)
    graph.node.extend(renamed.graph.node)
    graph.initializer.extend(renamed.graph.initializer)
    return str(renamed.graph.output[0].name)


def _holds_graphs(node: NodeProto) -> bool:
    return any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute)


def _content(tensor: TensorProto) -> bytes:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.name = ""
    return bytes(copy.SerializeToString(deterministic=True))


def _work(node: NodeProto) -> bytes:
    """Return what a node does, without its name and those of its outputs."""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = ""
    copy.output[:] = ["" if not name else "*" for name in node.output]
    ordered = sorted(copy.attribute, key=lambda attribute: attribute.name)
    del copy.attribute[:]
    copy.attribute.extend(ordered)
    return bytes(copy.SerializeToString(deterministic=True))
