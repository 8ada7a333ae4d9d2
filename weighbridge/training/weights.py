"""How much each training row counts in the loss: by a column of the recipe's, and by how groups and classes go together.

Reweighing (Kamiran and Calders 2012): a row of group g and class y counts P(g) P(y) / P(g, y), so that in the weighted rows the group
tells nothing of the class. Weights of both kinds are multiplied and brought to a mean of 1, so that the learning rate keeps its meaning.
They follow from the rows alone: a resumed training has the same. Shape: n training rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from weighbridge.errors import DataError, RecipeError
from weighbridge.training.beside import column_beside, crossed, groups_beside
from weighbridge.training.companion import Companion, Piece

if TYPE_CHECKING:
    from pathlib import Path

    from weighbridge.training.stage import Course


class RowWeights(Companion):
    """Each row counts as its weight says; float32 [n] on the device of the training. A mixed row keeps the weight of its own."""

    name = "weights"

    def __init__(self, weight: np.ndarray, device: torch.device) -> None:
        self.weight = torch.from_numpy(np.asarray(weight, dtype=np.float32)).to(device)

    def before(self, piece: Piece) -> Piece:
        """Return the rows with their weights; those that they had already are multiplied."""
        own = self.weight[torch.from_numpy(piece.rows).to(self.weight.device)]
        return replace(piece, weight_B=own if piece.weight_B is None else own * piece.weight_B)


def row_weights(course: Course) -> np.ndarray | None:
    """Return the weights of the course's training rows, float32 [n] with mean 1; None where the recipe asks for none.

    Raises RecipeError for reweighing without classes, DataError for a column that is not there or holds what is no weight.
    """
    name = weight_column(course.data)
    if name is None and not course.section.reweigh:
        return None
    weight = np.ones(len(course.train)) if name is None else _own_weights(course, name)
    if course.section.reweigh:
        weight = weight * _reweighing(course)
    return np.asarray(weight / weight.mean(), dtype=np.float32)


def weight_column(folder: Path | None) -> str | None:
    """Return the name of the column that a run's data folder holds as data.weight, None where there is none."""
    from weighbridge.data import open_data

    if folder is None:
        return None
    return next((column.name for column in open_data(folder).schema.columns if column.role == "weight"), None)


def worth(weight: np.ndarray) -> float:
    """Return how many rows of equal weight tell as much as these (Kish 1965): between 1 and n."""
    return float(weight.sum(dtype=np.float64) ** 2 / np.square(weight, dtype=np.float64).sum())


def reweighing(groups: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return P(g) P(y) / P(g, y) for each row, float64 [n], of int codes [n] (Kamiran and Calders 2012)."""
    counts = np.zeros((int(groups.max()) + 1, int(target.max()) + 1))
    np.add.at(counts, (groups, target), 1.0)
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / len(target)
    return np.asarray(expected[groups, target] / counts[groups, target])


def _own_weights(course: Course, name: str) -> np.ndarray:
    values = column_beside(course.data, name, course.train.row_ids).astype(np.float64)
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise DataError(
            f"data.weight '{name}': {int(bad.sum())} training rows have none, or one below 0", do="give each row a weight of 0 or more"
        )
    if not values.any():
        raise DataError(f"data.weight '{name}' is 0 in every training row", do="leave data.weight out")
    return values


def _reweighing(course: Course) -> np.ndarray:
    named = ", ".join(course.section.reweigh)
    if course.encoder.learnt.kind != "category" or course.train.target is None:
        raise RecipeError(f"training.reweigh: {named} does not fit a target of type {course.encoder.learnt.kind}", do="it is for classes")
    groups = crossed([groups_beside(course.data, name, course.train.row_ids) for name in course.section.reweigh])
    return reweighing(groups.codes, np.asarray(course.train.target))
