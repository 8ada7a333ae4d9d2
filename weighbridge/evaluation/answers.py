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
    truth = np.asarray(arrays.target)
    if target.kind == "number":
        truth = target.decode(truth)
    elif target.kind == "set":
        truth = truth > 0.5
    return Predictions(
        kind=target.kind, row_id=arrays.row_ids, target=truth, output=output, classes=target.classes, model=model, split=split, group=groups
    )
