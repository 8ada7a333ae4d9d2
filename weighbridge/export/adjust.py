"""A graph whose probabilities pass an adjustment before they leave it: what is packaged then answers so, with nothing added to what serves.

What each step does is told in weighbridge.evaluation.adjustment; here it is written in standard operators of float32.
Shapes: B rows, C classes or labels, M maps, K knots.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from weighbridge.errors import FormError
from weighbridge.evaluation.adjustment import MOST_EXACT, NEAR_ONE, TINY, Adjustment, Isotonic, Offsets, Temperature
from weighbridge.export.form import begin, finish
from weighbridge.export.rewrite import GO_ON, array, making, names_read

OUTPUT, CATEGORY = "output", "category"
STATED = "stated"  # what the graph said before


def adjust(source: Path, target: Path, adjustment: Adjustment) -> None:
    """`target` is the graph of `source` whose float32 probabilities [B, C] have passed the adjustment; within 1e-5 of `applied`.

    Raises FormError for a graph that gives no such probabilities, or has no block `category` where offsets need one; PackageError.
    """
    model, was_sparse = begin(source)
    _refuse_unfit(model, adjustment)
    with making("adjusted"):
        _rename_output(model)
        nodes = _Nodes(model)
        value, classes = STATED, _classes(model)
        for step in adjustment.steps:
            value = _WRITE[step.name](nodes, value, step, adjustment.kind, classes)
        nodes.add("Identity", value, output=OUTPUT)
        finish(model, target, was_sparse=was_sparse)


class _Nodes:
    """Adds nodes and constants to a graph under names that nothing else has."""

    def __init__(self, model: ModelProto) -> None:
        self._graph = model.graph
        self._count = 0

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Return the name of what the operator makes of its inputs."""
        self._count += 1
        name = output or f"adjust/{self._count}"
        self._graph.node.append(helper.make_node(operator, inputs, [name], name=f"adjust/{self._count}:node", **attributes))
        return name

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Return the name of a constant."""
        self._count += 1
        name = f"adjust/{self._count}"
        self._graph.initializer.append(array(np.asarray(values, dtype), name))
        return name

    def log(self, value: str) -> str:
        """Return the logarithm of probabilities."""
        return self.add("Log", self.add("Max", value, self.constant(TINY)))

    def label_log_odds(self, value: str) -> str:
        """Return the log-odds of labels."""
        beside = self.add("Max", self.add("Sub", self.constant(1), value), self.constant(NEAR_ONE))
        return self.add("Sub", self.log(value), self.add("Log", beside))

    def columns(self, value: str, places: list[int]) -> str:
        """Return these columns of a value [B, C]."""
        return self.add("Gather", value, self.constant(places, np.int64), axis=1)


def _temperature(nodes: _Nodes, value: str, step: Temperature, kind: str, classes: int) -> str:
    colder = nodes.constant(1 / step.value)
    if kind == "set":
        return nodes.add("Sigmoid", nodes.add("Mul", nodes.label_log_odds(value), colder))
    return nodes.add("Softmax", nodes.add("Mul", nodes.log(value), colder), axis=1)


def _isotonic(nodes: _Nodes, value: str, step: Isotonic, kind: str, classes: int) -> str:
    two = kind == "category" and classes == 2
    stated = nodes.columns(value, [1]) if two else value
    width = np.diff(step.x, axis=1)
    rising = np.diff(step.y, axis=1)
    scores = nodes.add("Unsqueeze", _scores(nodes, value, kind, classes), nodes.constant([2], np.int64))
    along = nodes.add("Mul", nodes.add("Sub", scores, nodes.constant(step.x[:, :-1])), nodes.constant(1 / width))
    along = nodes.add("Clip", along, nodes.constant(0), nodes.constant(1))
    risen = nodes.add("ReduceSum", nodes.add("Mul", along, nodes.constant(rising)), nodes.constant([2], np.int64), keepdims=0)
    mapped = nodes.add("Mul", nodes.add("Add", risen, nodes.constant(step.y[:, 0])), nodes.constant(1 - step.own))
    mixed = nodes.add("Add", mapped, nodes.add("Mul", stated, nodes.constant(step.own)))
    if two:
        return nodes.add("Concat", nodes.add("Sub", nodes.constant(1), mixed), mixed, axis=1)
    if kind == "set":
        return mixed
    return nodes.add("Div", mixed, nodes.add("ReduceSum", mixed, nodes.constant([1], np.int64), keepdims=1))


def _scores(nodes: _Nodes, value: str, kind: str, classes: int) -> str:
    if kind == "set":
        return nodes.label_log_odds(value)
    if classes == 2:
        odds = nodes.log(value)
        return nodes.add("Sub", nodes.columns(odds, [1]), nodes.columns(odds, [0]))
    if classes <= MOST_EXACT:
        rest = nodes.add("MatMul", value, nodes.constant(1 - np.eye(classes)))
    else:
        rest = nodes.add("Max", nodes.add("Sub", nodes.constant(1), value), nodes.constant(NEAR_ONE))
    return nodes.add("Sub", nodes.log(value), nodes.log(rest))


def _offsets(nodes: _Nodes, value: str, step: Offsets, kind: str, classes: int) -> str:
    table = nodes.constant(np.stack([np.zeros(len(step.values)), step.values], axis=1))
    codes = nodes.add("Gather", CATEGORY, nodes.constant(step.place, np.int64), axis=1)
    return nodes.add("Softmax", nodes.add("Add", nodes.log(value), nodes.add("Gather", table, codes, axis=0)), axis=1)


_WRITE: dict[str, Any] = {Temperature.name: _temperature, Isotonic.name: _isotonic, Offsets.name: _offsets}


def _refuse_unfit(model: ModelProto, adjustment: Adjustment) -> None:
    given = [value.name for value in model.graph.output]
    form = model.graph.output[0].type.tensor_type
    if given != [OUTPUT] or form.elem_type != TensorProto.FLOAT or len(form.shape.dim) != 2 or not _classes(model):
        raise FormError(f"the graph gives {given} of no known number of float32 probabilities a row", do=GO_ON)
    for step in adjustment.steps:
        if isinstance(step, Offsets) and CATEGORY not in [value.name for value in model.graph.input]:
            raise FormError(f"the graph reads no categories, so nothing can depend on {step.column}", do=GO_ON)
        if isinstance(step, Offsets) and (_classes(model) != 2 or adjustment.kind != "category"):
            raise FormError(f"offsets by {step.column} are for two classes, the graph has {_classes(model)}", do=GO_ON)


def _classes(model: ModelProto) -> int:
    """Return how many probabilities a row has."""
    return int(model.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def _rename_output(model: ModelProto) -> None:
    """What the graph gave as `output` is `stated`."""
    for node in model.graph.node:
        if OUTPUT in names_read(node) - set(node.input):
            raise FormError("a graph inside of the graph reads its output", do=GO_ON)
        for names in (node.input, node.output):
            names[:] = [STATED if name == OUTPUT else name for name in names]
