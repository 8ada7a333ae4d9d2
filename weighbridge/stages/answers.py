"""What a network says about encoded rows, as Predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.preprocessing import Arrays, Encoder


def network_answers(training_folder: Path, encoder: Encoder) -> Callable[[Arrays], np.ndarray]:
    """Return the function from rows to outputs of a kept network."""
    from weighbridge import training

    network = training.Deployable(training.load_network(training_folder), encoder.learnt)
    return lambda arrays: training.forward_all(network, arrays)


def predictions_of(
    output: np.ndarray, arrays: Arrays, encoder: Encoder, *, model: str = "model", split: str, groups: np.ndarray | None = None
) -> Predictions:
    """Return outputs beside the truth of their rows, in the target's own units."""
    from weighbridge.evaluation import Predictions

    target = encoder.learnt
    truth = np.asarray(arrays.target)
    if target.kind == "number":
        truth = target.decode(truth)
    elif target.kind == "set":
        truth = truth > 0.5
    return Predictions(
        kind=target.kind, row_id=arrays.row_ids, target=truth, output=output, classes=target.classes, model=model, split=split, group=groups
    )
