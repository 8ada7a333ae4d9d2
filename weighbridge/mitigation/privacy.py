"""Remedies against telling who was learnt from: private training (DP-SGD) under a strong, a usual and a weak promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.registry import Patient, Remedy, register

WATCHES = ("training.privacy", "audit.privacy.membership*", "audit.privacy.canary*", "audit.privacy.attribute*")


def _private(epsilon: float) -> Callable[[Patient], Mapping[str, Any]]:
    """Return what is changed for a promise: steps are as large as it asks for, and nothing beside the network reads the rows.

    Momentum, not an adaptive rule, which scales noise up where gradients are small. Of images, tanh (Papernot 2021) and every place of the
    last stage, whose gradients are long enough to stand above the noise (measured in docs/mitigation-privacy.md).
    """

    def changes(patient: Patient) -> Mapping[str, Any]:
        section = patient.recipe.training
        if section.privacy.enabled:
            raise RecipeError("the recipe trains privately already (training.privacy)", do="leave this remedy out")
        wanted: dict[str, Any] = {"training.privacy.epsilon": epsilon, "training.batch_size": "auto"}
        wanted |= {"training.precision": "fp32", "training.compile": False}  # the run's own trial may have chosen others
        if section.accumulate != 1:
            wanted["training.accumulate"] = 1
        if section.optimizer.type != "momentum":
            wanted["training.optimizer.type"] = "momentum"
        if section.optimizer.lr != "auto":
            wanted["training.optimizer.lr"] = "auto"
        if patient.recipe.optimization.enabled:
            wanted["optimization.enabled"] = False
        if section.model.type in ("auto", "cnn") and "image" in patient.types:
            wanted |= {"training.model.norm": False, "training.model.flatten": True, "training.model.activation": "tanh"}
        if section.class_weights == "balanced" and not section.reweigh:
            wanted["training.class_weights"] = "none"  # they are counted from the rows
        return wanted

    return changes


for _epsilon in (8.0, 3.0, 1.0):
    register(
        Remedy(
            name=f"dp_eps{_epsilon:g}", against="privacy",
            title=Message("private training, epsilon {epsilon}", epsilon=f"{_epsilon:g}"),
            changes=_private(_epsilon), watches=WATCHES, audits=("privacy",), source="Abadi 2016; Mironov 2017",
        )
    )  # fmt: skip
