"""A fitted baseline as an ONNX graph with the inputs and the output of the network's graph, so that the better of them can be the package.

Beside the network's graph nothing else changes: the same encoder, the same blocks, probabilities or values out. What is kept of a baseline
is this file; scikit-learn is not needed to run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import RefusedArtefact
from weighbridge.export.nodes import Graph
from weighbridge.export.terms import TermValues, aligned_codes, dense_terms, linear_terms, term_values
from weighbridge.export.trees import count_tree_values, tree_scores
from weighbridge.models.baseline_inputs import shrunk_sizes

if TYPE_CHECKING:
    from weighbridge.models.baseline_inputs import Inputs
    from weighbridge.models.baselines import Fitted
    from weighbridge.preprocessing import Block, Encoder, TargetFeature


def export_baseline(fitted: Fitted, encoder: Encoder, path: Path) -> None:
    """`path` is an ONNX graph (opset 20, ai.onnx.ml 5, weights inside) that says of encoded blocks what `fitted.predict` says; atomic.

    Inputs are all of the encoder's blocks by name, read or not; rows and lengths of texts are free. `output`: float32 probabilities [n, C]
    in the order of the target's classes, [n, L] for a set, or float64 values [n] in the target's own units. Equal baselines give equal
    bytes.

    Raises RefusedArtefact for a baseline that no graph is known for, too large for a file, or with weights that are not finite.
    """
    feature, graph = encoder.learnt, Graph()
    models = [model for model in fitted.models if not isinstance(model, float)]
    if fitted.answer is not None or not models:
        said = fitted.models if fitted.answer is None else fitted.answer
        answer = graph.repeated(np.asarray(said), np.float64, encoder.blocks[0].name)
    else:
        answer = _answer(graph, _scores(graph, fitted, models), fitted, feature)
    is_number = feature.kind == "number"
    graph.save(path, encoder.blocks, answer if is_number else graph.cast(answer, np.float32), None if is_number else len(feature.classes))


def count_values(fitted: Fitted) -> int:
    """Return how many learnt numbers an answer may read: what a network's parameters are to it.

    The trivial answer: its shares or its mean. A linear model: coefficients and intercepts. Boosting: for each split its feature and its
    threshold (or set of categories), for each leaf its value, and the first guess. Of texts, besides: the weight of each term, and for
    boosting the directions. A label with one value only counts as one.
    """
    if fitted.answer is not None or fitted.inputs is None:
        return 0 if fitted.answer is None else fitted.answer.size
    count = 0
    for model in fitted.models:
        if isinstance(model, float):
            count += 1
        else:
            count += count_tree_values(model) if _is_boosting(model) else model.coef_.size + np.size(model.intercept_)
    for terms in fitted.inputs.texts.values():
        count += terms.weigh.idf_.size
        if terms.directions is not None and fitted.name == "boosting":
            count += terms.directions.components_.size
    return int(count)


def _scores(graph: Graph, fitted: Fitted, models: Sequence[Any]) -> str:
    """Return what the estimators give before their link, float64 [n, R]: one score, one a class, or one a label."""
    assert fitted.inputs is not None
    if all(map(_is_boosting, models)):
        return tree_scores(graph, _boosting_rows(graph, fitted.inputs), models, fitted.inputs.codes())
    if not all(hasattr(model, "coef_") for model in models):
        raise RefusedArtefact(f"no graph is known for {type(models[0]).__name__}", do="keep the network, or another baseline")
    return _linear_scores(graph, fitted.inputs, models)


def _is_boosting(model: Any) -> bool:
    return hasattr(model, "_predictors")


def _answer(graph: Graph, scores: str, fitted: Fitted, feature: TargetFeature) -> str:
    """Return probabilities [n, C] or [n, L], or values [n], float64."""
    if feature.kind == "number":
        scaled = graph.add("Mul", graph.reshape(scores, (-1,)), graph.constant(feature.std, np.float64))
        return graph.add("Add", scaled, graph.constant(feature.mean, np.float64))
    if feature.kind == "set":
        shares = np.array([model if isinstance(model, float) else 0.0 for model in fitted.models])
        learnt = np.array([place for place, model in enumerate(fitted.models) if not isinstance(model, float)])
        return _placed(graph, graph.add("Sigmoid", scores), learnt, shares)
    classes = fitted.models[0].classes_.astype(int)
    if len(classes) == 2:
        second = graph.add("Sigmoid", scores)
        found = graph.joined([graph.add("Sub", graph.constant(1, np.float64), second), second])
    else:
        found = graph.add("Softmax", scores, axis=1)
    return _placed(graph, found, classes, np.zeros(len(feature.classes)))


def _placed(graph: Graph, found: str, columns: np.ndarray, others: np.ndarray) -> str:
    """Return [n, all columns]: what was found at its columns, `others` where nothing was learnt."""
    if len(columns) == len(others):
        return found
    moved = np.zeros((len(columns), len(others)))
    moved[np.arange(len(columns)), columns] = 1
    return graph.add("Add", graph.add("MatMul", found, graph.constant(moved)), graph.constant(others[None]))


def _linear_scores(graph: Graph, inputs: Inputs, models: Sequence[Any]) -> str:
    """Return what linear models say, float64 [n, R]. Each block adds its share: no row is ever as wide as its values and terms are many."""
    weights = np.concatenate([np.atleast_2d(model.coef_) for model in models]).T.astype(np.float32)
    intercepts = np.concatenate([np.atleast_1d(model.intercept_) for model in models]).astype(np.float64)
    at, parts = 0, []
    for block in inputs.encoder.blocks:
        for size, part in _linear_parts(graph, inputs, block):
            parts.append(graph.cast(part(weights[at : at + size]), np.float64))
            at += size
    if at != len(weights):
        raise RefusedArtefact(f"the linear model reads {len(weights)} columns, its rows have {at}", do="fit it again on these rows")
    return graph.add("Sum", *parts, graph.constant(intercepts[None]))


def _linear_parts(graph: Graph, inputs: Inputs, block: Block) -> list[tuple[int, Any]]:
    """Return of each group of columns that a block gives (see Inputs.linear) how many there are, and what their weights make of it."""
    if block.kind == "category":
        return [(sum(block.cardinalities), lambda weights: _chosen(graph, block.name, block.cardinalities, weights))]
    if block.kind == "text":
        terms = inputs.texts[block.name]
        values: TermValues = term_values(graph, block.name, terms, block.shape[0])
        found = [(len(terms.terms), lambda weights: linear_terms(graph, values, weights))]
        if terms.places:
            codes, sizes = aligned_codes(graph, block.name, terms.places), (terms.vocabulary,) * terms.places
            found.append((sum(sizes), lambda weights: _chosen(graph, codes, sizes, weights)))
        return found
    if block.kind == "image":
        pixels = graph.reshape(graph.cast(block.name, np.float32), (0, -1))
        return [(int(np.prod(block.shape)), lambda weights: graph.add("MatMul", pixels, graph.constant(weights / np.float32(255))))]
    return [(block.shape[0], lambda weights: graph.add("MatMul", block.name, graph.constant(weights)))]


def _chosen(graph: Graph, codes: str, sizes: Sequence[int], weights: np.ndarray) -> str:
    """Return the sum of the weights that codes int32 [n, K] choose of one-hot columns, float32 [n, R]."""
    starts = graph.constant((np.cumsum(sizes) - sizes)[None], np.int32)
    return graph.sum(graph.add("Gather", graph.constant(weights), graph.add("Add", codes, starts)), 1)


def _boosting_rows(graph: Graph, inputs: Inputs) -> str:
    """Return what Inputs.boosting returns, float64 [n, D]."""
    parts = []
    for block in inputs.encoder.blocks:
        if block.kind == "text":
            terms = inputs.texts[block.name]
            parts.append(dense_terms(graph, term_values(graph, block.name, terms, block.shape[0]), terms))
            if terms.places:
                parts.append(aligned_codes(graph, block.name, terms.places))
        else:
            parts.append(_shrunk(graph, block) if block.kind == "image" else block.name)
    return graph.joined([graph.cast(part, np.float64) for part in parts])


def _shrunk(graph: Graph, block: Block) -> str:
    """Return an image's means over squares, float32 [n, D]; sums of whole numbers are exact, so are the means."""
    step, high, wide = shrunk_sizes(block.shape)
    cut = graph.slice(graph.slice(block.name, 0, high * step, 1), 0, wide * step, 2)
    squares = graph.reshape(graph.cast(cut, np.float32), (0, high, step, wide, step, block.shape[2]))
    sums = graph.add("ReduceSum", squares, graph.constant([2, 4], np.int64), keepdims=0)
    return graph.reshape(graph.add("Div", sums, graph.constant(step * step, np.float32)), (0, -1))
