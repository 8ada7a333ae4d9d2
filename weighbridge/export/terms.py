"""TF-IDF of token runs as a graph, without a column for each of up to 300,000 terms: each row holds the terms that it has.

B rows, L tokens, M = L times the longest run, T terms, R scores. Every run of tokens of a row is a number, a LabelEncoder tells which
term that is, and the terms of a row are sorted, so that equal ones stand side by side: their counts, their weights and what they add
take M steps, not T. ONNX's own TfIdfVectorizer gives dense rows [B, T]: with 300,000 terms and 128 tokens 2.1 ms for one row and 594 ms
and 1.5 GB for 256, this way 0.04 ms, 6 to 10 ms and 3 MB (linear, one score, one thread of a shared AMD EPYC).

Boosting compares what comes out with thresholds that are values of training rows, so there every step is the one that scikit-learn and
scipy take, in their types and in their order (sums by CumSum, from the lowest term to the highest): a sum that differs in its last bit
falls on the other side of a threshold that a training row gave. (Where scipy was compiled to fuse multiply and add, as for arm64, the last
bit may still differ.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.errors import RefusedArtefact
from weighbridge.export.nodes import ML, TO_END, Graph

if TYPE_CHECKING:
    from weighbridge.models.baseline_inputs import TextTerms

MOST_TABLED = 4096  # counts of a term whose logarithm is held; numpy's float32 logarithm is not everywhere the nearest number


@dataclass(frozen=True, kw_only=True)
class TermValues:
    """Names of two values: `terms` int64 [B, M], rising in each row, T where there is none; `weights` float32 [B, M], the TF-IDF of a term
    at its first place, 0 at its others."""

    terms: str
    weights: str


def term_values(graph: Graph, tokens: str, terms: TextTerms, length: int) -> TermValues:
    """Return the TF-IDF of the terms in rows of tokens int32 [B, L], 0 behind a text's end; `length`: the most tokens of a text.

    Equals TextTerms.sparse bit by bit (sublinear counts, idf, rows of length one).
    """
    keys = graph.joined(_runs(graph, tokens, terms))
    found = graph.add(
        "LabelEncoder",
        keys,
        domain=ML,
        keys_tensor=_tensor(terms.terms.astype(np.int64)),
        values_tensor=_tensor(np.arange(len(terms.terms), dtype=np.float32)),  # whole numbers below 2**24 are exact
        default_tensor=_tensor(np.array([len(terms.terms)], np.float32)),
    )
    sorted_BM, first_BM = _side_by_side(graph, found)
    counts = _counts(graph, sorted_BM, first_BM)
    most = min(length, MOST_TABLED)
    logarithms = np.log(np.maximum(np.arange(most + 1, dtype=np.float32), 1)) + np.float32(1)
    place = graph.cast(graph.add("Min", counts, graph.constant(most, np.float32)), np.int64)
    sublinear = graph.add("Gather", graph.constant(logarithms, np.float32), place)
    numbers = graph.cast(sorted_BM, np.int64)
    idf = graph.add("Gather", graph.constant(np.append(terms.weigh.idf_, 0), np.float32), numbers)
    raw = graph.add("Mul", graph.add("Mul", sublinear, idf), first_BM)
    return TermValues(terms=numbers, weights=_of_length_one(graph, raw))


def linear_terms(graph: Graph, values: TermValues, weights: np.ndarray) -> str:
    """Return what the terms of each row add to R scores, float32 [B, R]; weights: float32 [T, R]."""
    table = graph.add("Gather", graph.constant(_with_blank(weights), np.float32), values.terms)
    return graph.sum(graph.add("Mul", table, graph.add("Unsqueeze", values.weights, graph.constant([2], np.int64))), 1)


def dense_terms(graph: Graph, values: TermValues, terms: TextTerms) -> str:
    """Return the text's directions, or its TF-IDF itself where there are none, float32 [B, D]: TextTerms.dense bit by bit."""
    if terms.directions is None:
        return _one_column_a_term(graph, values, len(terms.terms))
    table = graph.add("Gather", graph.constant(_with_blank(terms.directions.components_.T), np.float32), values.terms)
    added = graph.add("Mul", table, graph.add("Unsqueeze", values.weights, graph.constant([2], np.int64)))
    return graph.reshape(_sum_in_order(graph, added), (0, -1))


def aligned_codes(graph: Graph, tokens: str, places: int) -> str:
    """Return the token at each of the first places, int32 [B, places], 0 behind a text's end."""
    pads = graph.constant([0, 0, 0, places], np.int64)
    return graph.slice(graph.add("Pad", tokens, pads, graph.constant(0, np.int32)), 0, places, 1)


def _runs(graph: Graph, tokens: str, terms: TextTerms) -> list[str]:
    """Return the number of the run of one to `longest_run` codes that begins at each place, int64 [B, L] each.

    No two runs have one number, and no term holds a code that is no token: a run that does, or reaches over the text's end, is no term.
    """
    base, longest = terms.vocabulary + 1, terms.longest_run
    if base**longest > np.iinfo(np.int64).max:
        what = f"runs of {longest} of {terms.vocabulary:,} tokens have more numbers than fit in 64 bits"
        raise RefusedArtefact(what, do="set preprocessing.text.vocabulary lower")
    digits = graph.add("Add", graph.cast(tokens, np.int64), graph.constant(1, np.int64))
    padded = graph.add("Pad", digits, graph.constant([0, 0, 0, longest - 1], np.int64), graph.constant(1, np.int64))
    run, found = digits, [digits]
    for size in range(2, longest + 1):
        last = graph.slice(padded, size - 1, TO_END if size == longest else size - longest, 1)
        run = graph.add("Add", graph.add("Mul", run, graph.constant(base, np.int64)), last)
        found.append(run)
    return found


def _side_by_side(graph: Graph, found: str) -> tuple[str, str]:
    """Return the terms of each row from the lowest to the highest and 1 where a term comes first, else 0: float32 [B, M] both."""
    sorted_BM = graph.sorted(found)
    changed = graph.add("Less", graph.slice(sorted_BM, 0, -1, 1), graph.slice(sorted_BM, 1, TO_END, 1))
    pads = graph.constant([0, 1, 0, 0], np.int64)
    return sorted_BM, graph.add("Pad", graph.cast(changed, np.float32), pads, graph.constant(1, np.float32))


def _counts(graph: Graph, sorted_BM: str, first_BM: str) -> str:
    """Return at each place how often its row holds the term that stands there, float32 [B, M]."""
    number = graph.add("CumSum", first_BM, graph.constant(1, np.int64))
    group = graph.cast(graph.add("Sub", number, graph.constant(1, np.float32)), np.int64)
    ones = graph.add("Expand", graph.constant(1, np.float32), graph.add("Shape", sorted_BM))
    zeros = graph.add("Sub", ones, ones)
    held = graph.add("ScatterElements", zeros, group, ones, axis=1, reduction="add")
    return graph.add("GatherElements", held, group, axis=1)


def _of_length_one(graph: Graph, raw: str) -> str:
    """Return each row of float32 [B, M] divided by its length; a row of zeros stays. As scikit-learn: squares float32, the rest float64."""
    squares = graph.cast(graph.add("Mul", raw, raw), np.float64)
    length = graph.add("Sqrt", _sum_in_order(graph, squares))
    is_blank = graph.add("Equal", length, graph.constant(0, np.float64))
    divisor = graph.add("Where", is_blank, graph.constant(1, np.float64), length)
    return graph.cast(graph.add("Div", graph.cast(raw, np.float64), divisor), np.float32)


def _sum_in_order(graph: Graph, values: str) -> str:
    """Return the sums along axis 1, which has length one then; added from first to last in the type of the values."""
    return graph.slice(graph.add("CumSum", values, graph.constant(1, np.int64)), -1, TO_END, 1)


def _one_column_a_term(graph: Graph, values: TermValues, count: int) -> str:
    """Return float32 [B, T]: the last of T + 1 columns takes what is no term, and is cut off."""
    shape = graph.joined([graph.rows_of(values.terms), graph.constant([count + 1], np.int64)], axis=0)
    zeros = graph.add("Expand", graph.constant(0, np.float32), shape)
    return graph.slice(graph.add("ScatterElements", zeros, values.terms, values.weights, axis=1, reduction="add"), 0, count, 1)


def _with_blank(weights: np.ndarray) -> np.ndarray:
    return np.concatenate([weights, np.zeros((1, weights.shape[1]), weights.dtype)])


def _tensor(values: np.ndarray) -> object:
    from onnx import numpy_helper

    return numpy_helper.from_array(values)
