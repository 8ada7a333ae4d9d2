"""What training makes small. Shape suffixes: B batch, C class, L label."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from weighbridge.errors import RecipeError

if TYPE_CHECKING:
    from weighbridge.preprocessing import TargetFeature
    from weighbridge.recipe import TrainingSection

Loss = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> mean over rows, a scalar in fp32

ALLOWED = {"category": ("cross_entropy", "focal"), "set": ("log_loss", "focal"), "number": ("mse", "huber")}


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
    """Return the loss as a function of raw outputs and encoded targets; mixed targets may be probabilities.

    Args:
        counts: int [C], training rows of each class (for class_weights: balanced).
    """
    name = choose_loss(section, target.kind)
    if target.kind == "number":
        delta = section.huber_delta
        elementwise: Loss = (lambda p, t: functional.huber_loss(p, t, delta=delta)) if name == "huber" else functional.mse_loss
        return lambda out_B1, target_B: elementwise(out_B1.float().squeeze(1), target_B)
    weight_C = class_weights(section, target.classes, counts, device)
    smoothing, gamma = section.label_smoothing, section.focal_gamma
    if target.kind == "set":
        return lambda out_BL, target_BL: _labels_loss(out_BL.float(), target_BL, weight_C, smoothing, gamma if name == "focal" else 0.0)
    if name == "focal":
        return lambda out_BC, target: _focal(out_BC.float(), target, weight_C, gamma)
    return lambda out_BC, target: functional.cross_entropy(out_BC.float(), target, weight=weight_C, label_smoothing=smoothing)


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
    """Focal loss (Lin 2017): rows that are already right count less."""
    log_p_BC = out_BC.log_softmax(1)
    target_BC = target if target.ndim == 2 else functional.one_hot(target, out_BC.shape[1]).to(out_BC.dtype)
    terms_BC = -target_BC * (1 - log_p_BC.exp()) ** gamma * log_p_BC
    return (terms_BC if weight_C is None else terms_BC * weight_C).sum(1).mean()


def _labels_loss(out_BL: Tensor, target_BL: Tensor, weight_L: Tensor | None, smoothing: float, gamma: float) -> Tensor:
    """Binary log loss of each label, focal where gamma > 0."""
    target_BL = target_BL * (1 - smoothing) + smoothing / 2
    terms_BL = functional.binary_cross_entropy_with_logits(out_BL, target_BL, reduction="none")
    if gamma:
        p_BL = out_BL.sigmoid()
        terms_BL = terms_BL * (p_BL * (1 - target_BL) + (1 - p_BL) * target_BL) ** gamma
    return (terms_BL if weight_L is None else terms_BL * weight_L).mean()
