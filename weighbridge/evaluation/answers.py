"""What a model says about encoded rows, as Predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weighbridge.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Encoder


def predictions_of(
    output: np.ndarray, arrays: Arrays, encoder: Encoder, *, model: str = "model", split: str, groups: np.ndarray | None = None
) -> Predictions:
    """Return outputs beside the truth of their rows, in the target's own units."""
    target = encoder.learnt
    return Predictions(
        kind=target.kind, row_id=arrays.row_ids, target=truth_of(arrays, encoder), output=output, classes=target.classes, model=model,
        split=split, group=groups,
    )  # fmt: skip


def truth_of(arrays: Arrays, encoder: Encoder) -> np.ndarray:
    """Return the truth of rows in the form that Predictions has, in the order of the rows."""
    target, truth = encoder.learnt, np.asarray(arrays.target)
    if target.kind == "number":
        return target.decode(truth)
    return truth > 0.5 if target.kind == "set" else truth
