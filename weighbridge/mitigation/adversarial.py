"""Remedy against attacks: the network learns from inputs that are moved against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.registry import Patient, Remedy, register

WATCHES = ("audit.robustness.attack.image*", "audit.robustness.attack.table*")  # accuracy under attack, of numbers the RMSE
LEVELS = 8.0  # of 255: the bound that Madry 2018 and most since them train small photographs under
DEVIATIONS = 0.1  # of a number: within what most are rounded or measured to


def _adversarial(patient: Patient) -> Mapping[str, Any]:
    if patient.recipe.training.adversarial.enabled:
        raise RecipeError("the recipe trains against an attack already (training.adversarial)", do="leave this remedy out")
    types = patient.types
    changes: dict[str, Any] = {}
    if "image" in types:
        changes["training.adversarial.images"] = LEVELS
    if "number" in types:
        changes["training.adversarial.numbers"] = DEVIATIONS
    if not changes:
        raise RecipeError("an attack moves pixels and numbers, and the data has neither", do="see the remedies against robustness for text")
    return changes


register(
    Remedy(
        name="adversarial_training", against="robustness", title=Message("learns from inputs that are moved against it"),
        changes=_adversarial, watches=WATCHES, less=lambda kind: kind == "number", audits=("robustness",), source="Madry 2018",
    )
)  # fmt: skip
