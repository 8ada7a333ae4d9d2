"""A remedy against damage: rows are changed more strongly each time they are seen, as damage would change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.registry import Patient, Remedy, register
from weighbridge.storage import read_json

WATCHES = ("audit.robustness.damage", "audit.robustness.worst")
TIMES = 2.0  # as strong as the recipe has it already
CROP_PART, MOST_CROP_PART = 8, 4  # of the side, one part: at least, at most
LEAST = {"erase": 0.25, "time_shift": 0.1, "noise": 0.3, "token_dropout": 0.15}  # chance of a hidden rectangle; deviations; share of tokens
MOST = {"erase": 0.5, "time_shift": 0.2, "noise": 0.6, "token_dropout": 0.3}
OF = {"erase": "image", "time_shift": "audio", "noise": "number", "token_dropout": "text"}


def _augment(patient: Patient) -> Mapping[str, Any]:
    """Return twice the recipe's own changes of rows, within bounds; what it does not do yet begins at the lower bound."""
    from weighbridge.preprocessing import Encoder

    section = patient.recipe.training.augment
    blocks = Encoder.from_json(read_json(patient.folder / "preprocessing" / "encoder.json")).blocks
    kinds, sides = {block.of for block in blocks}, [min(block.shape[:2]) for block in blocks if block.of == "image"]
    wanted: dict[str, float] = {}
    for key, kind in OF.items():
        known = float(getattr(section, key))
        if kind in kinds and known < MOST[key]:
            wanted[key] = min(MOST[key], max(LEAST[key], TIMES * known))
    if sides and section.crop < max(1, min(sides) // MOST_CROP_PART):
        wanted["crop"] = min(max(1, min(sides) // MOST_CROP_PART), max(1, min(sides) // CROP_PART, int(TIMES * section.crop)))
    if not kinds & {"image", "audio", "number", "text"}:
        raise RecipeError(
            "no column is of images, clips, numbers or texts that could be changed while training", do="leave this remedy out"
        )
    if not wanted:
        raise RecipeError("the recipe changes its rows as strongly already (training.augment)", do="leave this remedy out")
    return {f"training.augment.{key}": value for key, value in wanted.items()}


register(
    Remedy(
        name="augment", against="robustness", title=Message("rows are changed as damage would change them each time they are seen"),
        changes=_augment, watches=WATCHES, audits=("robustness",), source="Shorten and Khoshgoftaar 2019; Zhong 2020",
    )
)  # fmt: skip
