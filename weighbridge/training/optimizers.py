"""Update rules and the learning rate over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from weighbridge.models.tuning import rate_scales

if TYPE_CHECKING:
    from weighbridge.recipe import ScheduleOptions, TrainingSection

DEFAULT_LR = {"adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3, "adagrad": 1e-2, "momentum": 1e-2, "sgd": 1e-1}
# Times the rule's default, for pretrained encoders: 3e-3 for a head alone (docs/notebook.md), 5e-5 for all weights (Devlin 2019), 5e-4
# for low-rank additions (Hu 2022).
TUNE_LR = {"frozen": 3.0, "last": 0.1, "all": 0.05, "lora": 0.5, "scratch": 0.2}
MODEL_LR = {"cnn": 3.0, "linear": 10.0}  # times the rule's default, for the adaptive rules; normalised convolutions bear more


def choose_lr(section: TrainingSection, model_type: str) -> float:
    """Return the recipe's learning rate, or the default of the rule and the model."""
    if section.optimizer.lr != "auto":
        return float(section.optimizer.lr)
    rate = DEFAULT_LR[section.optimizer.type]
    if section.optimizer.type not in ("adam", "adamw"):
        return rate
    return rate * (TUNE_LR[section.model.tune] if model_type == "pretrained" else MODEL_LR.get(model_type, 1.0))


def make_optimizer(section: TrainingSection, network: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return the optimizer; l2 acts on matrices and kernels, not on biases, norms and single vectors (He 2019).

    A group's `scale` is the share of the learning rate that its weights learn at: the loop multiplies with it.
    """
    scales = rate_scales(network, section.optimizer.layer_decay)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = []
    for scale in sorted({scales.get(id(parameter), 1.0) for parameter in trained}, reverse=True):
        part = [parameter for parameter in trained if scales.get(id(parameter), 1.0) == scale]
        for decayed in (True, False):
            chosen = [parameter for parameter in part if (parameter.ndim >= 2) == decayed]
            groups.append({"params": chosen, "weight_decay": section.l2 if decayed else 0.0, "scale": scale, "lr": lr * scale})
    groups = [group for group in groups if group["params"]]
    options = section.optimizer
    betas = (options.beta1, options.beta2)
    if options.type == "adam":
        return torch.optim.Adam(groups, lr=lr, betas=betas, fused=_fused(network))
    if options.type == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=_fused(network))
    if options.type == "adagrad":
        return torch.optim.Adagrad(groups, lr=lr)
    if options.type == "rmsprop":
        return torch.optim.RMSprop(groups, lr=lr, momentum=options.momentum)
    momentum = options.momentum if options.type == "momentum" else 0.0
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)


def _fused(network: nn.Module) -> bool:
    """Return whether the one-kernel update exists for where the weights are."""
    return all(parameter.device.type in ("cpu", "cuda", "mps") for parameter in network.parameters())


def lr_factor(options: ScheduleOptions, step: int, total: int, losses: Sequence[float]) -> float:
    """Return what the highest learning rate is multiplied with at `step` (0-based) of `total`.

    It depends on the step and the validation losses so far only, so a resumed run continues exactly.
    """
    warmup = round(options.warmup * total)
    if options.type == "one_cycle":  # Smith 2018: up for 30 %, then down to nothing
        rise = max(1, round(0.3 * total))
        if step < rise:
            return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / rise))
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))
    if step < warmup:
        return (step + 1) / warmup
    if options.type == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    if options.type == "plateau":
        return float(options.factor ** _plateaus(losses, options.patience))
    return 1.0


def _plateaus(losses: Sequence[float], patience: int) -> int:
    """Return how often `patience` validations passed without a new lowest loss."""
    best, since, count = math.inf, 0, 0
    for loss in losses:
        best, since = (loss, 0) if loss < best else (best, since + 1)
        if since > patience:
            count, since = count + 1, 0
    return count


def add_l1(network: nn.Module, weight: float) -> None:
    """Add the subgradient of `weight` times the sum of absolute weights (matrices and kernels) to the gradients."""
    for parameter in network.parameters():
        if parameter.grad is not None and parameter.ndim >= 2:
            parameter.grad.add_(parameter.detach().sign(), alpha=weight)


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimizer's state as named tensors: `number.name`."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value) for number, part in state.items() for name, value in part.items() if value is not None
    }


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """The optimizer continues from `tensors` as `state_tensors` gave them."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = _laid_out_like(parameters[int(number)], value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return the value with the parameter's strides: a fused update walks over both in memory order, whatever their shapes say."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device, requires_grad=False).copy_(value)
