"""Gradient boosting of scikit-learn as one TreeEnsemble operator (ai.onnx.ml 5): every row falls into the very leaves it falls into there.

Rows and thresholds are float64, as scikit-learn compares them, so no threshold is rounded. A split of categories becomes a further column
of each row that is 0 for the codes that go one way and 1 for the others, looked up in a table; codes that no training row had go where
scikit-learn sends what is missing. The operator's own sets (BRANCH_MEMBER) are not used: onnxruntime 1.21.1 and 1.22.1 answer 40 of 300
random ensembles with sets wrongly, and loop for ever on some. What is written here they run as 1.32 does; 1.20 has no such operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weighbridge.export.nodes import ML, Graph

SIDE_BY_SIDE = 16  # sets of a column that are looked up at once
AT_MOST = 0  # how a node decides: BRANCH_LEQ, true where the value is at most the threshold


@dataclass(kw_only=True)
class _Ensemble:
    """The operator's attributes while trees are added, and what is added to each target whatever the row."""

    base: np.ndarray
    splits: list[np.ndarray] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    in_set: list[np.ndarray] = field(default_factory=list)  # number of the set of codes that goes to the false side, -1 for a threshold
    children: list[np.ndarray] = field(default_factory=list)  # int64 [m, 2]: true, false
    leaves: list[np.ndarray] = field(default_factory=list)  # bool [m, 2]: whether that child is a leaf
    missing: list[np.ndarray] = field(default_factory=list)  # whether what is missing goes to the true side
    weights: list[np.ndarray] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    sets: dict[int, dict[bytes, int]] = field(default_factory=dict)  # of each column: bool [codes] of a set, and its number there

    def set_of(self, column: int, goes_right: np.ndarray) -> int:
        """Return the number of a set of a column's codes; equal sets have one."""
        known = self.sets.setdefault(column, {})
        return known.setdefault(goes_right.tobytes(), len(known))


def tree_scores(graph: Graph, rows: str, models: Sequence[Any], codes: Sequence[int]) -> str:
    """Return the raw scores of fitted HistGradientBoosting models, float64 [n, R], R one or one a class for each model in turn.

    rows: float64 [n, D], the columns that the models were fitted on. codes: how many codes each column has, 0 for a number.
    """
    ensemble = _Ensemble(base=np.concatenate([model._baseline_prediction.ravel() for model in models]))
    first = 0
    for model in models:
        columns = _columns(model)
        positions = [_positions(model, place, count) for place, count in enumerate(codes)]
        for trees in model._predictors:
            for target, tree in enumerate(trees):
                _add(ensemble, tree, first + target, columns, positions)
        first += model.n_trees_per_iteration_
    if not ensemble.roots:
        return graph.repeated(ensemble.base, np.float64, rows)
    if ensemble.sets:
        rows = graph.joined([rows, _members(graph, rows, ensemble, len(codes))])
    return graph.add("Add", graph.add("TreeEnsemble", rows, domain=ML, **_attributes(ensemble)), graph.constant(ensemble.base[None]))


def _members(graph: Graph, rows: str, ensemble: _Ensemble, width: int) -> str:
    """Return for each set 1 where the row's code is in it, else 0, float64 [n, m]; splits of categories read these columns now.

    The sets of a column stand in pieces of SIDE_BY_SIDE, filled up with empty ones: a row copies a piece for its code at once.
    """
    tables, columns, firsts = list[np.ndarray](), list[int](), dict[int, int]()
    for column, sets in sorted(ensemble.sets.items()):
        firsts[column] = width + SIDE_BY_SIDE * len(tables)
        table = np.stack([np.frombuffer(held, np.uint8) for held in sets], axis=1)
        table = np.pad(table, ((0, 0), (0, -len(sets) % SIDE_BY_SIDE)))
        tables += np.split(table, table.shape[1] // SIDE_BY_SIDE, axis=1)
        columns += [column] * (len(tables) - len(columns))
    for features, in_set in zip(ensemble.features, ensemble.in_set, strict=True):
        chosen = in_set >= 0
        features[chosen] = [firsts[column] + number for column, number in zip(features[chosen], in_set[chosen], strict=True)]
    sizes = np.array([len(table) for table in tables])
    codes = graph.cast(graph.add("Gather", rows, graph.constant(columns, np.int32), axis=1), np.int32)
    place = graph.add("Add", codes, graph.constant((np.cumsum(sizes) - sizes)[None], np.int32))
    pieces = graph.add("Gather", graph.constant(np.concatenate(tables)), place)
    return graph.cast(graph.reshape(pieces, (0, -1)), np.float64)


def count_tree_values(model: Any) -> int:
    """Return how many numbers answers read: feature and threshold (or set of categories) of splits, values of leaves, the first guess."""
    nodes = [tree.nodes["is_leaf"] for trees in model._predictors for tree in trees]
    leaves = sum(int(is_leaf.sum()) for is_leaf in nodes)
    return 2 * (sum(map(len, nodes)) - leaves) + leaves + int(model._baseline_prediction.size)


def _columns(model: Any) -> np.ndarray:
    """Return which column each feature of the trees is: scikit-learn puts categories first."""
    if model.is_categorical_ is None:
        return np.arange(model.n_features_in_)
    return np.concatenate([np.flatnonzero(model.is_categorical_), np.flatnonzero(~model.is_categorical_)])


def _positions(model: Any, column: int, count: int) -> np.ndarray:
    """Return the position among its training rows' categories that scikit-learn gives each code of a column, -1 for one that none had."""
    found = np.full(count, -1)
    if count and model.is_categorical_ is not None and model.is_categorical_[column]:
        encoder = model._preprocessor.named_transformers_["encoder"]
        known = encoder.categories_[int(model.is_categorical_[:column].sum())].astype(int)
        found[known] = np.arange(len(known))
    return found


def _add(ensemble: _Ensemble, tree: Any, target: int, columns: np.ndarray, positions: Sequence[np.ndarray]) -> None:
    """`ensemble` holds the tree as well; one that is a single leaf is part of the first guess."""
    nodes, is_leaf = tree.nodes, tree.nodes["is_leaf"].astype(bool)
    if is_leaf[0]:
        ensemble.base[target] += nodes["value"][0]
        return
    splits_before, leaves_before = sum(map(len, ensemble.splits)), sum(map(len, ensemble.weights))
    numbers = np.where(is_leaf, leaves_before + np.cumsum(is_leaf) - 1, splits_before + np.cumsum(~is_leaf) - 1)
    inner, weights = nodes[~is_leaf], nodes["value"][is_leaf]
    ends = is_leaf[[nodes["left"][0], nodes["right"][0]]]
    if ends[0] != ends[1] and numbers[nodes["left"][0]] == numbers[nodes["right"][0]]:
        # onnxruntime up to 1.23.0 takes a root for a leaf when its children have one number, also where one is a split and one is a leaf
        numbers[is_leaf], weights = np.roll(numbers[is_leaf], 1), np.roll(weights, -1)
    children = np.stack([inner["left"], inner["right"]], axis=1).astype(np.int64)
    splits, features = inner["num_threshold"].astype(np.float64), columns[inner["feature_idx"]]
    missing, in_set = inner["missing_go_to_left"].astype(bool), np.full(len(inner), -1)
    for place in np.flatnonzero(inner["is_categorical"]):
        left = _goes_left(tree.raw_left_cat_bitsets[inner["bitset_idx"][place]], positions[features[place]], bool(missing[place]))
        if not left[0]:  # a set and its opposite are one column
            left, children[place] = ~left, children[place][::-1]
        in_set[place] = ensemble.set_of(int(features[place]), ~left)
        splits[place], missing[place] = 0.5, False  # a code is never NaN
    ensemble.roots.append(splits_before)
    for held, values in (
        (ensemble.splits, splits), (ensemble.features, features), (ensemble.in_set, in_set), (ensemble.missing, missing),
        (ensemble.children, numbers[children]), (ensemble.leaves, is_leaf[children]),
        (ensemble.weights, weights), (ensemble.targets, np.full(len(weights), target)),
    ):  # fmt: skip
        held.append(values)


def _goes_left(bitset: np.ndarray, positions: np.ndarray, missing_left: bool) -> np.ndarray:
    """Return which codes go left, bool [codes]: those whose position is in the set, and those without one where missing values go left."""
    held = np.maximum(positions, 0)
    inside = (bitset[held // 32] >> (held % 32).astype(np.uint32)) & 1
    return np.where(positions < 0, missing_left, inside.astype(bool))


def _attributes(ensemble: _Ensemble) -> dict[str, Any]:
    from onnx import numpy_helper

    children, leaves = np.concatenate(ensemble.children), np.concatenate(ensemble.leaves).astype(np.int64)
    return {
        "n_targets": len(ensemble.base),
        "tree_roots": ensemble.roots,
        "nodes_splits": numpy_helper.from_array(np.concatenate(ensemble.splits)),
        "nodes_modes": numpy_helper.from_array(np.full(len(children), AT_MOST, np.uint8)),
        "nodes_featureids": np.concatenate(ensemble.features).tolist(),
        "nodes_truenodeids": children[:, 0].tolist(),
        "nodes_falsenodeids": children[:, 1].tolist(),
        "nodes_trueleafs": leaves[:, 0].tolist(),
        "nodes_falseleafs": leaves[:, 1].tolist(),
        "nodes_missing_value_tracks_true": np.concatenate(ensemble.missing).astype(int).tolist(),
        "leaf_targetids": np.concatenate(ensemble.targets).tolist(),
        "leaf_weights": numpy_helper.from_array(np.concatenate(ensemble.weights)),
    }
