"""Remedies against probabilities that do not come true as often as they say: an adjustment inside the packaged graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.registry import Patient, Remedy, register
from weighbridge.storage import read_json

KEY = "optimization.adjust.probabilities"
WATCHES = ("audit.calibration.error*", "audit.calibration.worst_class*", "evaluation.log_loss", "evaluation.brier*")


def refuse_numbers(patient: Patient) -> None:
    """Raise RecipeError where there is no probability to adjust, or the recipe adjusts it already."""
    if patient.kind == "number":
        raise RecipeError(f"{KEY} is for classes and labels, and the target is a number", do="leave this remedy out")
    asked = patient.recipe.optimization.adjust.probabilities
    if asked != "none":
        raise RecipeError(f"the recipe adjusts its probabilities already ({KEY}: {asked})", do="leave this remedy out")


def _temperature(patient: Patient) -> Mapping[str, Any]:
    refuse_numbers(patient)
    return {KEY: "temperature"}


def _isotonic(patient: Patient) -> Mapping[str, Any]:
    from weighbridge.evaluation.recalibration import LEAST_ISOTONIC

    refuse_numbers(patient)
    rows = int(read_json(patient.folder / "preprocessing" / "validation" / "arrays.json")["rows"])
    if rows < LEAST_ISOTONIC:
        raise RecipeError(
            f"an isotonic map follows its rows where they are fewer than {LEAST_ISOTONIC:,}, and there are {rows:,} validation rows",
            do="take temperature",
        )
    return {KEY: "isotonic"}


def _register(name: str, title: Message, changes: Callable[[Patient], Mapping[str, Any]], source: str) -> None:
    register(
        Remedy(
            name=name,
            against="calibration",
            title=title,
            changes=changes,
            watches=WATCHES,
            less=True,
            audits=("calibration",),
            source=source,
        )
    )


_register("temperature", Message("one number divides the log-odds, inside the package"), _temperature, "Guo 2017")
_register("isotonic", Message("a rising map of each class's probability, inside the package"), _isotonic, "Zadrozny and Elkan 2002")
