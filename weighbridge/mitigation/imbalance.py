"""Remedies against rare classes: they count more in the loss, or come more often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.registry import Patient, Remedy, register

if TYPE_CHECKING:
    from weighbridge.recipe import TrainingSection

WATCHES = ("evaluation.balanced_accuracy", "evaluation.f1", "evaluation.weakest_class", "evaluation.recall", "evaluation.precision")
EVEN = 1.05  # the most frequent class may have so many times the rows of the rarest before there is anything to balance


def refuse_even(patient: Patient, key: str) -> TrainingSection:
    """Return the run's section training. Raises RecipeError where its classes are as frequent as each other, or balanced already."""
    from weighbridge.storage import read_json

    section = patient.recipe.training
    if patient.kind != "category":
        raise RecipeError(f"{key} is for classes, and the target is of type {patient.kind}", do="leave this remedy out")
    counts = [count for count in read_json(patient.folder / "preprocessing" / "encoder.json")["target"]["counts"] if count]
    if max(counts) < EVEN * min(counts):
        raise RecipeError(f"the classes have {min(counts)} to {max(counts)} training rows: there is nothing to balance", do="leave it out")
    if section.class_weights != "none" or section.balance != "none":
        named = f"class_weights: {section.class_weights}" if section.class_weights != "none" else f"balance: {section.balance}"
        raise RecipeError(f"the recipe balances its classes already (training.{named})", do="leave this remedy out")
    return section


def _class_weights(patient: Patient) -> Mapping[str, Any]:
    refuse_even(patient, "training.class_weights")
    return {"training.class_weights": "balanced"}


def _resample(patient: Patient) -> Mapping[str, Any]:
    section = refuse_even(patient, "training.balance")
    if section.reweigh:
        raise RecipeError(f"the recipe reweighs its rows (training.reweigh: {', '.join(section.reweigh)})", do="see class_weights")
    if section.order == "blocks":
        raise RecipeError(
            "training.order: blocks reads neighbouring rows together, and rows of a class lie anywhere", do="see class_weights"
        )
    return {"training.balance": "resample"}


register(
    Remedy(
        name="class_weights", against="imbalance", title=Message("rows of rare classes count more in the loss"), changes=_class_weights,
        watches=WATCHES, less=False, source="King and Zeng 2001",
    )
)  # fmt: skip
register(
    Remedy(
        name="resample", against="imbalance", title=Message("rows of rare classes come more often"), changes=_resample,
        watches=WATCHES, less=False, source="Kang 2020",
    )
)  # fmt: skip
