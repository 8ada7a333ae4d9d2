"""How much each training row counts in the loss: by a column of the recipe's, and by how groups and classes go together.

Reweighing (Kamiran and Calders 2012): a row of group g and class y counts P(g) P(y) / P(g, y), so that in the weighted rows the group
tells nothing of the class. Weights of both kinds are multiplied and brought to a mean of 1, so that the learning rate keeps its meaning.
They follow from the rows alone: a resumed training has the same.

Weights are kept by what the training makes small: validation rows count as training rows of their kind do. Judged by rows that count alike,
early stopping would keep those from before the reweighing had worked. Shape: n training rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from weighbridge.errors import DataError, RecipeError
from weighbridge.training.beside import column_beside, crossed, groups_beside
from weighbridge.training.companion import Companion, Piece
from weighbridge.training.predict import forward_all

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from weighbridge.training.plan import Plan
    from weighbridge.training.stage import Course


class RowWeights(Companion):
    """Each row counts as its weight says; float32 [n] on the device of the training. A mixed row keeps the weight of its own."""

    name = "weights"

    def __init__(self, weight: np.ndarray, device: torch.device, course: Course | None = None) -> None:
        """`course`: whose validation rows judge; None: no row does."""
        self.weight = torch.from_numpy(np.asarray(weight, dtype=np.float32)).to(device)
        self.course = course
        self.judging = None if course is None else validation_weights(course)

    def before(self, piece: Piece) -> Piece:
        """Return the rows with their weights; those that they had already are multiplied."""
        own = self.weight[torch.from_numpy(piece.rows).to(self.weight.device)]
        return replace(piece, weight_B=own if piece.weight_B is None else own * piece.weight_B)

    def judged(self, network: nn.Module, plan: Plan) -> dict[str, float]:
        """Return the loss over validation rows that count by their weights, and how far that (or the metric) is from rows alike."""
        if self.course is None or self.judging is None or self.course.validation.target is None:
            return {}
        answers = forward_all(network, self.course.validation, precision=plan.precision, device=plan.device)
        target, kind = np.asarray(self.course.validation.target), self.course.encoder.learnt.kind
        loss_n, share = row_losses(answers, target, kind), self.judging / self.judging.sum()
        loss, metric = float(loss_n @ share), self.course.section.early_stopping.metric
        if metric == "accuracy" and kind == "category":
            wrong_n = (answers.argmax(1) != target).astype(np.float64)
            return {"weighted_loss": loss, "penalty": float(wrong_n @ share - wrong_n.mean())}
        if metric == "rmse" and kind == "number":
            return {"weighted_loss": loss, "penalty": (np.sqrt(loss) - np.sqrt(loss_n.mean())) * float(self.course.encoder.learnt.std)}
        return {"weighted_loss": loss, "penalty": loss - float(loss_n.mean())}


def row_losses(answers: np.ndarray, target: np.ndarray, kind: str) -> np.ndarray:
    """Return the plain loss of each row of raw answers, float64 [n]: their mean is predict.plain_loss."""
    out, truth = torch.from_numpy(answers), torch.from_numpy(np.array(target))
    if kind == "category":
        found = functional.cross_entropy(out, truth, reduction="none")
    elif kind == "set":
        found = functional.binary_cross_entropy_with_logits(out, truth, reduction="none").mean(1)
    else:
        found = (out.squeeze(1) - truth).square()
    return found.numpy().astype(np.float64)


def row_weights(course: Course) -> np.ndarray | None:
    """Return the weights of the course's training rows, float32 [n] with mean 1; None where the recipe asks for none.

    Raises RecipeError for reweighing without classes, DataError for a column that is not there or holds what is no weight.
    """
    name = weight_column(course.data)
    if name is None and not course.section.reweigh:
        return None
    weight = np.ones(len(course.train)) if name is None else _own_weights(course, name)
    if course.section.reweigh:
        weight = weight * _reweighing(course)[0]
    return np.asarray(weight / weight.mean(), dtype=np.float32)


def validation_weights(course: Course) -> np.ndarray | None:
    """Return the weights by which validation rows judge, float64 [n]: their own, times those of training rows of their group and class.

    None where the recipe asks for no weights, or no validation row has one above 0.
    """
    name = weight_column(course.data)
    if name is None and not course.section.reweigh:
        return None
    weight = np.ones(len(course.validation))
    if name is not None:
        own = column_beside(course.data, name, course.validation.row_ids).astype(np.float64)
        weight = np.where(np.isfinite(own), np.maximum(own, 0.0), 0.0)
    if course.section.reweigh:
        weight = weight * _reweighing(course)[1]
    return weight if weight.any() else None


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
    return np.asarray(_table(groups, target)[groups, target])


def _table(groups: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the weight of each group and class, 1 where no row has both."""
    counts = np.zeros((int(groups.max()) + 1, int(target.max()) + 1))
    np.add.at(counts, (groups, target), 1.0)
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / len(target)
    return np.asarray(np.divide(expected, counts, out=np.ones_like(counts), where=counts > 0))


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


def _reweighing(course: Course) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of training and of validation rows; those of a group or class that no training row has count 1."""
    named = ", ".join(course.section.reweigh)
    if course.encoder.learnt.kind != "category" or course.train.target is None:
        raise RecipeError(f"training.reweigh: {named} does not fit a target of type {course.encoder.learnt.kind}", do="it is for classes")
    rows, ids = len(course.train), np.concatenate([course.train.row_ids, course.validation.row_ids])
    codes = crossed([groups_beside(course.data, name, ids) for name in course.section.reweigh]).codes
    target = np.asarray(course.train.target)
    table = _table(codes[:rows], target)
    if course.validation.target is None:
        return table[codes[:rows], target], np.ones(len(codes) - rows)
    judging = np.asarray(course.validation.target)
    known = (codes[rows:] < table.shape[0]) & (judging < table.shape[1])
    found = np.ones(len(judging))
    found[known] = table[codes[rows:][known], judging[known]]
    return table[codes[:rows], target], found
