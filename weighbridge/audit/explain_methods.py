"""Shapley values (Lundberg 2017): what every part of a row adds to its answer, over many orders of the parts.

Occlusion of one part at a time, which needs only answers too, is in runtime/occlusion.py: a served model explains its answers by it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from weighbridge.errors import DependencyError
from weighbridge.runtime.explained import Explained
from weighbridge.runtime.occlusion import Attributions

PERMUTATIONS = 5  # of the columns, each also backwards
MOST_COLUMNS = 40  # of a row that is given Shapley values: more would take longer than all other audits


def shapley(rows: Explained, *, seed: int) -> Attributions:
    """Return Shapley values by shap's permutation explainer, over `PERMUTATIONS` orders of the parts and back.

    They sum to the answer minus the answer without any part. Raises DependencyError where shap is not installed.
    """
    library = shap()
    found = []
    for place in range(len(rows)):
        size = len(rows.layouts[place])
        if size < 2:
            found.append(np.zeros(size))
            continue

        def strength(kept: np.ndarray, place: int = place) -> np.ndarray:
            return rows.answers(place, kept > 0.5).strength

        masker = library.maskers.Independent(np.zeros((1, size)))
        explainer = library.explainers.Permutation(strength, masker, seed=seed)
        found.append(np.asarray(explainer(np.ones((1, size)), max_evals=PERMUTATIONS * (2 * size + 1), silent=True).values[0], float))
    return found


def shap() -> Any:
    """Return the library; its import warns of other libraries. Raises DependencyError with the pip line where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import shap as library
    except ImportError:
        raise DependencyError("Shapley values need shap", do="pip install 'weighbridge[audit]'") from None
    return library
