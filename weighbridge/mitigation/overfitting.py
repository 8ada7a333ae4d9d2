"""Remedies against learning by heart: weights are kept small, activations hidden, rows changed a little, and training ends in time.

Each looks at the gap between training rows and unseen rows; what it does to the headline is its price.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.registry import Patient, Remedy, register
from weighbridge.storage import read_json

WATCHES = ("evaluation.gap",)
DECAY_TIMES, LEAST_DECAY, MOST_DECAY = 10.0, 0.01, 0.3
DROPOUT_TIMES, LEAST_DROPOUT, MOST_DROPOUT = 2.0, 0.3, 0.5
CROP_PART, ERASE, NOISE, TOKENS = 8, 0.25, 0.1, 0.1  # an eighth of the side; a quarter of the images; deviations; share of tokens
TIME_SHIFT, MASKS = 0.1, 1  # a tenth of the length; one run of bands and one of moments
LEAST_SIDE = 8


def _weight_decay(patient: Patient) -> Mapping[str, Any]:
    """Ten times the recipe's decay, at least 0.01."""
    known = patient.recipe.training.l2
    if known >= MOST_DECAY:
        raise RecipeError(f"training.l2 is {known:g} already: more would leave nothing to learn", do="leave this remedy out")
    return {"training.l2": min(MOST_DECAY, max(LEAST_DECAY, DECAY_TIMES * known))}


def _dropout(patient: Patient) -> Mapping[str, Any]:
    """Twice the recipe's share, between 0.3 and a half."""
    section = patient.recipe.training.model
    if section.type == "linear":
        raise RecipeError("a linear model has no activations to hide", do="see weight_decay")
    if section.dropout >= MOST_DROPOUT:
        raise RecipeError(f"training.model.dropout is {section.dropout:g} already", do="leave this remedy out")
    return {"training.model.dropout": min(MOST_DROPOUT, max(LEAST_DROPOUT, DROPOUT_TIMES * section.dropout))}


def _augmentation(patient: Patient) -> Mapping[str, Any]:
    """What fits the columns and the recipe does not do yet: images and clips shifted and partly hidden, numbers blurred, tokens hidden."""
    section, blocks = patient.recipe.training.augment, _kinds(patient)
    wanted: dict[str, Any] = {}
    if "image" in blocks:
        side = blocks["image"]
        wanted |= {"crop": max(1, side // CROP_PART), "erase": ERASE} if side >= LEAST_SIDE else {}
    if "audio" in blocks:
        wanted |= {"time_shift": TIME_SHIFT, "spectrogram_masks": MASKS}
    if "number" in blocks:
        wanted["noise"] = NOISE
    if "text" in blocks:
        wanted["token_dropout"] = TOKENS
    if not wanted:
        raise RecipeError(
            "no column is of images, clips, numbers or texts that could be changed a little", do="see weight_decay or dropout"
        )
    new = {f"training.augment.{key}": value for key, value in wanted.items() if not getattr(section, key)}
    if not new:
        raise RecipeError("the recipe changes its rows already (training.augment)", do="leave this remedy out")
    return new


def _early_stopping(patient: Patient) -> Mapping[str, Any]:
    if patient.recipe.training.early_stopping.enabled:
        raise RecipeError("the recipe stops early already (training.early_stopping)", do="leave this remedy out")
    return {"training.early_stopping.enabled": True}


def _kinds(patient: Patient) -> dict[str, int]:
    """Return the kinds of the run's columns; of images with their smaller side."""
    from weighbridge.preprocessing import Encoder

    encoder = Encoder.from_json(read_json(patient.folder / "preprocessing" / "encoder.json"))
    return {block.of: min(block.shape[:2]) if block.of == "image" else 0 for block in encoder.blocks}


register(
    Remedy(
        name="weight_decay", against="overfitting", title=Message("weights are kept small"), changes=_weight_decay, watches=WATCHES,
        source="Krogh and Hertz 1992; Loshchilov 2019",
    )
)  # fmt: skip
register(
    Remedy(
        name="dropout", against="overfitting", title=Message("more activations are hidden while training"), changes=_dropout,
        watches=WATCHES, source="Srivastava 2014",
    )
)  # fmt: skip
register(
    Remedy(
        name="augmentation", against="overfitting", title=Message("rows are changed a little each time they are seen"),
        changes=_augmentation, watches=WATCHES, source="Shorten and Khoshgoftaar 2019; Zhong 2020",
    )
)  # fmt: skip
register(
    Remedy(
        name="early_stopping", against="overfitting", title=Message("training ends when validation rows no longer improve"),
        changes=_early_stopping, watches=WATCHES, source="Prechelt 1998",
    )
)  # fmt: skip
