"""Answers for every row from cheap models that did not see it; evaluation/label_errors.py holds the labels against them. C classes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from weighbridge.evaluation.label_errors import Rate, noise_rate, suspects
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.storage.seeds import seed31

__all__ = ["FOLDS", "LEAST_ROWS", "TREES", "Rate", "noise_rate", "out_of_fold", "suspects"]

FOLDS = 5
LEAST_OF_A_CLASS = 5  # rows, one a fold
LEAST_ROWS = 100
TREES = 60


def out_of_fold(parts: Sequence[Any], target: Array, classes: int, seed: int, group: Array | None = None) -> Floats:
    """Return probabilities [n, C] of each row from models that did not see it: the mean of a model for each of `parts`.

    parts: the rows as a linear model reads them, and (optional) as trees do; [n, D] each, may be sparse. Rows of a group stay together.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    found = np.zeros((len(target), classes))
    number = seed31(seed, "audit", "labels")
    kind = StratifiedKFold if group is None else StratifiedGroupKFold
    folds = kind(FOLDS, shuffle=True, random_state=number).split(np.zeros(len(target)), target, group)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The least populated class")
        for learn, judge in folds:
            for place, rows in enumerate(parts):
                strength = 10.0 if hasattr(rows, "tocsr") else 1.0
                model = (
                    LogisticRegression(C=strength, max_iter=100, tol=1e-3)
                    if place == 0
                    else ExtraTreesClassifier(TREES, min_samples_leaf=2, random_state=number)
                )
                if len(np.unique(target[learn])) < 2:
                    found[judge, target[learn][0]] += 1
                    continue
                model.fit(rows[learn], target[learn])
                found[np.ix_(judge, model.classes_.astype(int))] += model.predict_proba(rows[judge])
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-12))
