"""Outputs of a network on encoded rows, in evaluation mode. Shape suffixes: B batch, C class, L label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from weighbridge.training.batches import each_once

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, TargetFeature


class Deployable(nn.Module):
    """A network with its last step: probabilities for classes and labels, the target's own units for numbers."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, target: TargetFeature) -> None:
        super().__init__()
        self.network, self.kind = network, target.kind
        self.register_buffer("scale", torch.tensor(float(target.std), dtype=torch.float64))
        self.register_buffer("shift", torch.tensor(float(target.mean), dtype=torch.float64))
        self.train(network.training)  # as the network is: who asks for answers puts it back so

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return float32 probabilities [B, C] or [B, L], or float64 values [B]: a large mean needs the digits."""
        out: Tensor = self.network(batch).float()
        if self.kind == "category":
            return out.softmax(1)
        if self.kind == "set":
            return out.sigmoid()
        return out.squeeze(1).double() * self.scale + self.shift


def forward_all(network: nn.Module, arrays: Arrays, *, precision: str = "fp32", device: str = "cpu") -> np.ndarray:
    """Return the network's outputs on all rows in stored order, float32 (float64 where the network gives that)."""
    was_training, place = network.training, torch.device(device)
    network.eval()
    found: np.ndarray | None = None
    with torch.inference_mode(), torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16"):
        for batch, rows in each_once(arrays, place):
            out = network(batch)
            part = (out if out.dtype == torch.float64 else out.float()).cpu().numpy()
            found = np.empty((len(arrays), *part.shape[1:]), part.dtype) if found is None else found
            found[rows] = part
    network.train(was_training)
    if found is None:
        raise ValueError("there are no rows")
    return found


def plain_loss(outputs: np.ndarray, target: np.ndarray, kind: str) -> float:
    """Return the mean loss without weights or smoothing: cross-entropy, log loss of labels, or squared error (scaled units)."""
    out, truth = torch.from_numpy(outputs), torch.from_numpy(np.array(target))
    if kind == "category":
        return float(functional.cross_entropy(out, truth))
    if kind == "set":
        return float(functional.binary_cross_entropy_with_logits(out, truth))
    return float(functional.mse_loss(out.squeeze(1), truth))


def plain_metric(outputs: np.ndarray, target: np.ndarray, feature: TargetFeature) -> tuple[str, float]:
    """Return the name and value of the metric shown while training: accuracy, or RMSE in the target's own units."""
    if feature.kind == "number":
        return "rmse", float(np.sqrt(np.mean((outputs[:, 0] - target) ** 2)) * feature.std)
    if feature.kind == "set":
        return "accuracy", float(((outputs > 0) == (np.asarray(target) > 0.5)).mean())
    return "accuracy", float((outputs.argmax(1) == target).mean())
