"""What training makes small. Shape suffixes: B batch, C class, L label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from weighbridge.errors import RecipeError

if TYPE_CHECKING:
    from weighbridge.preprocessing import TargetFeature
    from weighbridge.recipe import TrainingSection

Part = Callable[[Tensor, Tensor], Tensor]  # (raw outputs, targets) -> fp32

ALLOWED = {"category": ("cross_entropy", "focal"), "set": ("log_loss", "focal"), "number": ("mse", "huber")}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What training makes small, of raw outputs and encoded targets; mixed targets may be probabilities.

    `mean` gives a scalar, weighted by class as the recipe asks (cross-entropy over the sum of these weights); `rows` gives the terms
    [B], each times the weight of its class, so that a row's term does not hang on the rows beside it.
    """

    mean: Part
    rows: Part

    def __call__(self, out: Tensor, target: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, a scalar in fp32; with weights the mean of the weighted terms."""
        return self.mean(out, target) if weight_B is None else (self.rows(out, target) * weight_B).mean()


def choose_loss(section: TrainingSection, kind: str) -> str:
    """Return the loss's name for this kind of target. Raises RecipeError when the recipe's does not fit it."""
    if section.loss == "auto":
        return ALLOWED[kind][0]
    name = "cross_entropy" if section.loss == "log_loss" and kind == "category" else section.loss  # two names of one loss
    if name not in ALLOWED[kind]:
        raise RecipeError(
            f"training.loss: {section.loss} does not fit a target of type {kind}", do=f"choose auto or one of {', '.join(ALLOWED[kind])}"
        )
    return name


def make_loss(section: TrainingSection, target: TargetFeature, counts: np.ndarray | None, device: torch.device) -> Loss:
    """Return the loss that the recipe asks for.

    Args:
        counts: int [C], training rows of each class (for class_weights: balanced).
    """
    name = choose_loss(section, target.kind)
    if target.kind == "number":
        return _number_loss(name, section.huber_delta)
    weight_C = class_weights(section, target.classes, counts, device)
    smoothing, gamma = section.label_smoothing, section.focal_gamma
    if target.kind == "set":
        focus = gamma if name == "focal" else 0.0
        return _mean_of_rows(lambda out_BL, target_BL: _labels_loss(out_BL.float(), target_BL, weight_C, smoothing, focus))
    if name == "focal":
        return _mean_of_rows(lambda out_BC, target: _focal(out_BC.float(), target, weight_C, gamma))
    entropy = partial(functional.cross_entropy, weight=weight_C, label_smoothing=smoothing)
    return Loss(
        mean=lambda out_BC, target: entropy(out_BC.float(), target),
        rows=lambda out_BC, target: entropy(out_BC.float(), target, reduction="none"),
    )


def _number_loss(name: str, delta: float) -> Loss:
    elementwise = partial(functional.huber_loss, delta=delta) if name == "huber" else functional.mse_loss
    return Loss(
        mean=lambda out_B1, target_B: elementwise(out_B1.float().squeeze(1), target_B),
        rows=lambda out_B1, target_B: elementwise(out_B1.float().squeeze(1), target_B, reduction="none"),
    )


def _mean_of_rows(rows: Part) -> Loss:
    return Loss(mean=lambda out, target: rows(out, target).mean(), rows=rows)


def class_weights(section: TrainingSection, classes: tuple[str, ...], counts: np.ndarray | None, device: torch.device) -> Tensor | None:
    """Return float [C] with mean 1 over rows for `balanced` (King 2001), the recipe's own numbers, or None.

    A class that no training row has weighs 1: balance says nothing of it, and label smoothing must not pull towards it.
    """
    if section.class_weights == "none":
        return None
    if section.class_weights == "balanced":
        if counts is None:
            return None
        trained = counts > 0
        weights = np.where(trained, counts.sum() / (trained.sum() * np.maximum(counts, 1)), 1.0)
        return torch.tensor(weights, dtype=torch.float32, device=device)
    unknown = set(section.class_weights) - set(classes)
    if unknown:
        raise RecipeError(f"training.class_weights names {sorted(unknown)}, which are no classes", do=f"classes: {', '.join(classes[:20])}")
    return torch.tensor([section.class_weights.get(name, 1.0) for name in classes], dtype=torch.float32, device=device)


def _focal(out_BC: Tensor, target: Tensor, weight_C: Tensor | None, gamma: float) -> Tensor:
    """Focal loss of each row (Lin 2017): rows that are already right count less."""
    log_p_BC = out_BC.log_softmax(1)
    target_BC = target if target.ndim == 2 else functional.one_hot(target, out_BC.shape[1]).to(out_BC.dtype)
    terms_BC = -target_BC * (1 - log_p_BC.exp()) ** gamma * log_p_BC
    return (terms_BC if weight_C is None else terms_BC * weight_C).sum(1)


def _labels_loss(out_BL: Tensor, target_BL: Tensor, weight_L: Tensor | None, smoothing: float, gamma: float) -> Tensor:
    """Binary log loss of each row, the mean over its labels, focal where gamma > 0."""
    target_BL = target_BL * (1 - smoothing) + smoothing / 2
    terms_BL = functional.binary_cross_entropy_with_logits(out_BL, target_BL, reduction="none")
    if gamma:
        p_BL = out_BL.sigmoid()
        terms_BL = terms_BL * (p_BL * (1 - target_BL) + (1 - p_BL) * target_BL) ** gamma
    return (terms_BL if weight_L is None else terms_BL * weight_L).mean(1)
