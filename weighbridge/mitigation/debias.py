"""Remedy against unlike treatment of groups: answers from which an adversary can not read the protected columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.fairness import WATCHES, protected
from weighbridge.mitigation.registry import Patient, Remedy, register


def _debias(patient: Patient) -> Mapping[str, Any]:
    columns = protected(patient)
    if patient.recipe.training.debias.columns:
        raise RecipeError("the recipe trains against an adversary already (training.debias)", do="leave this remedy out")
    return {"training.debias.columns": columns}


register(
    Remedy(
        name="adversarial_debiasing", against="fairness", title=Message("learns answers that do not tell the protected columns"),
        changes=_debias, watches=WATCHES, audits=("fairness",), source="Zhang 2018",
    )
)  # fmt: skip
