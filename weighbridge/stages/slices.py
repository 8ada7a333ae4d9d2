"""The inputs of validation and test rows beside what the model said about them: where is it weak?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.errors import RunError
from weighbridge.findings import Finding
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.data import Table
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.slice_inputs import Feature
    from weighbridge.preprocessing import Arrays

CUT = ("number", "date", "category", "set")
NO_INPUT = ("target", "id", "split")
DAY_US = 86_400_000_000


def measure_slices(
    folder: Path, tables: dict[str, Table], arrays: dict[str, Arrays], made: dict[str, Predictions], *, seed: int, command: str
) -> list[Finding]:
    """Return the findings of weak slices and leave `slices.json` in `folder`; found on validation rows, judged on test rows."""
    from weighbridge.evaluation.slice_findings import slice_findings
    from weighbridge.evaluation.slices import find_slices, slices_json

    inputs = {split: _inputs(tables[split], arrays[split], made[split]) for split in ("validation", "test")}
    chooser = _same_middles(inputs["validation"], inputs["validation"])
    found = find_slices(made["validation"], chooser, made["test"], _same_middles(inputs["test"], chooser), seed=seed)
    write_json(folder / "slices.json", slices_json(found, made["test"].kind))
    return slice_findings(found, made["test"], len(made["validation"]), command)


def _inputs(table: Table, arrays: Arrays, predictions: Predictions) -> list[Feature]:
    """Return the columns that can be cut, in the order of the predictions. Raises RunError when their rows are not the same."""
    from weighbridge.evaluation.slice_inputs import Feature

    order = np.argsort(table.row_ids, kind="stable")
    if not np.array_equal(table.row_ids[order], predictions.row_id):
        raise RunError("the stored predictions are not of the rows that the data stage holds", do="run the recipe again")
    found = []
    for column in table.schema.columns:
        if column.name not in table.names or column.role in NO_INPUT:
            continue
        if column.type in CUT:
            values = table.column(column.name)[order]
            found.append(Feature(name=column.name, kind=column.type, values=_days(values) if column.type == "date" else values))  # type: ignore[arg-type]
        elif column.type == "image" and isinstance(images := arrays.blocks.get(f"image.{column.name}"), np.ndarray):
            for name, light in _light(images).items():
                found.append(Feature(name=f"{column.name}.{name}", kind="number", values=light[order]))
        elif column.type == "text":
            lengths = np.array([len(text or "") for text in table.column(column.name)], dtype=np.float64)
            found.append(Feature(name=f"{column.name}.characters", kind="number", values=lengths[order]))
    return found


def _days(values: np.ndarray) -> np.ndarray:
    """Return dates as days since 1970, NaN where missing."""
    return np.where(np.isnat(values), np.nan, values.astype("datetime64[us]").astype(np.int64) / DAY_US)


def _light(images: np.ndarray, size: int = 1024) -> dict[str, np.ndarray]:
    """Return mean and standard deviation of each image's pixels in 0 to 1; uint8 [n, H, W, C], read in pieces."""
    parts = [
        np.asarray(images[start : start + size]).reshape(len(images[start : start + size]), -1) / 255
        for start in range(0, len(images), size)
    ]
    return {
        "brightness": np.concatenate([part.mean(axis=1) for part in parts]),
        "contrast": np.concatenate([part.std(axis=1) for part in parts]),
    }


def _same_middles(features: list[Feature], of: list[Feature]) -> list[Feature]:
    """Return the features with the medians of `of`: a missing number then counts as the same on both splits."""
    middles = {feature.name: _median(feature) for feature in of}
    return [replace(feature, middle=middles[feature.name]) for feature in features]


def _median(feature: Feature) -> float:
    if feature.kind not in ("number", "date"):
        return 0.0
    known = feature.values[~np.isnan(feature.values)]
    return float(np.median(known)) if len(known) else 0.0
