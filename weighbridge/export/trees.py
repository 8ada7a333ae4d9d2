"""Gradient boosting of scikit-learn as one TreeEnsemble operator (ai.onnx.ml 5): every row falls into the very leaves it falls into there.

Rows and thresholds are float64, as scikit-learn compares them, so no threshold is rounded. A split of categories becomes the set of codes
that go one way (BRANCH_MEMBER), the shorter of the two; codes that no training row had go where scikit-learn sends what is missing.
onnxruntime runs the operator from version 1.21 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weighbridge.export.nodes import ML, Graph

AT_MOST, MEMBER = 0, 6  # how a node decides: BRANCH_LEQ, BRANCH_MEMBER


@dataclass(kw_only=True)
class _Ensemble:
    """The operator's attributes while trees are added, and what is added to each target whatever the row."""

    base: np.ndarray
    splits: list[np.ndarray] = field(default_factory=list)
    modes: list[np.ndarray] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    children: list[np.ndarray] = field(default_factory=list)  # int64 [m, 2]: true, false
    leaves: list[np.ndarray] = field(default_factory=list)  # bool [m, 2]: whether that child is a leaf
    missing: list[np.ndarray] = field(default_factory=list)  # whether what is missing goes to the true side
    weights: list[np.ndarray] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    members: list[float] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)


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
    return graph.add("Add", graph.add("TreeEnsemble", rows, domain=ML, **_attributes(ensemble)), graph.constant(ensemble.base[None]))


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
    inner = nodes[~is_leaf]
    children = np.stack([inner["left"], inner["right"]], axis=1).astype(np.int64)
    splits, features = inner["num_threshold"].astype(np.float64), columns[inner["feature_idx"]]
    missing, modes = inner["missing_go_to_left"].astype(bool), np.full(len(inner), AT_MOST, np.uint8)
    for place in np.flatnonzero(inner["is_categorical"]):
        left = _goes_left(tree.raw_left_cat_bitsets[inner["bitset_idx"][place]], positions[features[place]], bool(missing[place]))
        if left.all() or not left.any():  # no set may be empty: a threshold that none or all reach
            splits[place] = np.inf if left.any() else -np.inf
            continue
        modes[place], splits[place], missing[place] = MEMBER, 0, False  # a code is never NaN
        if left.sum() > len(left) / 2:
            left, children[place] = ~left, children[place][::-1]
        ensemble.members += [*np.flatnonzero(left).tolist(), float("nan")]
    ensemble.roots.append(splits_before)
    for held, values in (
        (ensemble.splits, splits), (ensemble.modes, modes), (ensemble.features, features), (ensemble.children, numbers[children]),
        (ensemble.leaves, is_leaf[children]), (ensemble.missing, missing), (ensemble.weights, nodes["value"][is_leaf]),
        (ensemble.targets, np.full(int(is_leaf.sum()), target)),
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
    found: dict[str, Any] = {
        "n_targets": len(ensemble.base),
        "tree_roots": ensemble.roots,
        "nodes_splits": numpy_helper.from_array(np.concatenate(ensemble.splits)),
        "nodes_modes": numpy_helper.from_array(np.concatenate(ensemble.modes)),
        "nodes_featureids": np.concatenate(ensemble.features).tolist(),
        "nodes_truenodeids": children[:, 0].tolist(),
        "nodes_falsenodeids": children[:, 1].tolist(),
        "nodes_trueleafs": leaves[:, 0].tolist(),
        "nodes_falseleafs": leaves[:, 1].tolist(),
        "nodes_missing_value_tracks_true": np.concatenate(ensemble.missing).astype(int).tolist(),
        "leaf_targetids": np.concatenate(ensemble.targets).tolist(),
        "leaf_weights": numpy_helper.from_array(np.concatenate(ensemble.weights)),
    }
    if ensemble.members:
        found["membership_values"] = numpy_helper.from_array(np.array(ensemble.members))
    return found
