"""Which value of a graph is the embedding of a row: what its last layer reads, where everything that is answered goes through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighbridge.export.rewrite import names_read

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

LAYERS = ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul")
WHOLE_NUMBERS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")  # between an embedding and its layer


def last_hidden(model: ModelProto) -> str | None:
    """Return the name of the floating-point value that the last layer reads; None where there is no such value.

    There is none in trees, in averages of several networks, and in linear models that read their inputs as they stand.
    """
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    last = next((node for node in reversed(graph.node) if node.op_type in LAYERS), None)
    if last is None:
        return None
    value = last.input[0]
    while value in made and made[value].op_type in WHOLE_NUMBERS:
        value = made[value].input[0]
    return value if value in made and _all_passes(graph, made, value) else None


def _all_passes(graph: GraphProto, made: dict[str, NodeProto], value: str) -> bool:
    """Return whether no input of the graph reaches its output on a way around the value."""
    inputs = {one.name for one in graph.input} - {one.name for one in graph.initializer}
    left, seen = [one.name for one in graph.output], {value}
    while left:
        name = left.pop()
        if name in inputs:
            return False
        if name in seen:
            continue
        seen.add(name)
        left += names_read(made[name]) if name in made else ()
    return True
