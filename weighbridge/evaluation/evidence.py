"""The raw material behind the findings: confusion, reliability, residuals, metrics and the worst mistakes, as JSON files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.evaluation.calibration import reliability
from weighbridge.evaluation.conformal import Coverage
from weighbridge.evaluation.metrics import log_losses, set_loss
from weighbridge.evaluation.predictions import Floats, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.storage import write_json
from weighbridge.storage.seeds import rng

RESIDUALS = 1000


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One row that the model got wrong; `probability` is that of what it chose. Thumbnail and text are added by the caller."""

    row_id: str
    truth: str
    predicted: str
    probability: float | None = None
    thumbnail: str | None = None
    text: str | None = None


def worst_mistakes(predictions: Predictions, count: int) -> list[Mistake]:
    """Return up to `count` mistakes: the largest loss among wrong rows, or for numbers the largest error; ties by row id."""
    loss, wrong = _losses(predictions)
    order = [int(row) for row in np.argsort(-loss, kind="stable") if wrong[row]]
    return [_mistake(predictions, row) for row in order[:count]]


def confusion(predictions: Predictions) -> dict[str, Any]:
    """Return counts [C, C], rows the truth and columns the choice."""
    size = len(predictions.classes)
    counts = np.bincount(predictions.target * size + predictions.chosen, minlength=size * size).reshape(size, size)
    return {"classes": list(predictions.classes), "counts": counts.tolist()}


def write_evidence(
    folder: Path, predictions: Predictions, metrics: dict[str, Any], *, coverage: Coverage | None, worst: int, how: Resampling
) -> None:
    """`folder` holds metrics.json, mistakes.json and what the kind has to show; each file atomic. Raises StorageError."""
    files: dict[str, Any] = {"metrics": metrics, "mistakes": {"mistakes": [asdict(one) for one in worst_mistakes(predictions, worst)]}}
    if predictions.kind == "category":
        files["confusion"] = confusion(predictions)
        if not predictions.hard:
            files["reliability"] = reliability(predictions, how.level)
    if predictions.kind == "number":
        files["residuals"] = residuals(predictions, coverage, how.seed)
    for name, content in files.items():
        write_json(folder / f"{name}.json", content)


def residuals(predictions: Predictions, coverage: Coverage | None, seed: int) -> dict[str, Any]:
    """Return at most 1,000 points of predicted against actual, and the width of the interval around them."""
    n = len(predictions)
    rows = np.arange(n) if n <= RESIDUALS else np.sort(rng(seed, "evaluation", "residuals").choice(n, RESIDUALS, replace=False))
    interval = None if coverage is None else {"width": coverage.width, "coverage": coverage.value}
    return {"predicted": predictions.output[rows].tolist(), "actual": predictions.target[rows].tolist(), "interval": interval}


def _losses(predictions: Predictions) -> tuple[Floats, Any]:
    if predictions.kind == "number":
        error = np.abs(predictions.output - predictions.target)
        return error, error > 0
    if predictions.kind == "category":
        return log_losses(predictions), predictions.chosen != predictions.target
    return set_loss(predictions), (predictions.chosen != predictions.target).any(axis=1)


def _mistake(predictions: Predictions, row: int) -> Mistake:
    name, truth, chosen = str(predictions.row_id[row]), predictions.target[row], predictions.chosen[row]
    if predictions.kind == "number":
        return Mistake(row_id=name, truth=f"{truth:.6g}", predicted=f"{chosen:.6g}")
    if predictions.kind == "set":
        return Mistake(row_id=name, truth=_labels(predictions, truth), predicted=_labels(predictions, chosen))
    probability = None if predictions.hard else float(predictions.output[row, chosen])
    return Mistake(row_id=name, truth=predictions.classes[truth], predicted=predictions.classes[chosen], probability=probability)


def _labels(predictions: Predictions, present: Any) -> str:
    return ", ".join(np.asarray(predictions.classes)[present])
