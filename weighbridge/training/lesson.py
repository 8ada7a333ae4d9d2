"""A student learns from a teacher's answers beside the truth (Hinton 2015), and from what it holds before its last layer (Romero 2015).

The teacher answers the very batch that the student sees, augmentation included, so that both speak of the same rows (Beyer 2022).

Shape suffixes: B batch, C class, L label, D feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from weighbridge.training.losses import Loss

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Who teaches and how much it counts: `weight` of the teacher's answers against the truth's, `features` of what it holds inside."""

    teacher: nn.Module
    kind: str
    sha256: str
    weight: float = 0.7
    temperature: float = 3.0
    features: float = 0.0

    @property
    def identity(self) -> dict[str, Any]:
        """What the student's weights depend on."""
        return {"teacher": self.sha256, "weight": self.weight, "temperature": self.temperature, "features": self.features}


class Taught(nn.Module):
    """A student with the linear map from its last hidden values to the teacher's; answers as the student does."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.project = nn.Linear(last_linear(student).in_features, last_linear(teacher).in_features)

    def forward(self, batch: Batch) -> Tensor:
        out: Tensor = self.student(batch)
        return out


class Teaching:
    """The loss of a batch under a lesson: ask the teacher about the batch after the student answered it, then call with both answers."""

    def __init__(self, lesson: Lesson, network: nn.Module, loss: Loss) -> None:
        self.lesson, self.network, self.loss = lesson, network, loss
        self.teacher = lesson.teacher.eval().requires_grad_(False)
        self._held: dict[str, Tensor] = {}
        if isinstance(network, Taught):
            _watch(last_linear(network.student), self._held, "student")
            _watch(last_linear(self.teacher), self._held, "teacher")

    def ask(self, batch: Batch) -> Tensor:
        """Return the teacher's raw outputs, float32 [B, C]."""
        with torch.no_grad():
            said: Tensor = self.teacher(batch).float()
        return said

    def __call__(self, out: Tensor, target: Tensor, said: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the mean loss of the batch, a scalar in fp32; `weight_B` counts for the truth only."""
        weight = self.lesson.weight
        truth = self.loss(out, target) if weight_B is None else self.loss(out, target, weight_B)
        total = (1 - weight) * truth + weight * self._answers(out.float(), said)
        if not isinstance(self.network, Taught):
            return total
        known, wanted = self._held.pop("student").float(), self._held.pop("teacher").float()
        return total + self.lesson.features * functional.mse_loss(self.network.project(known), wanted)

    def _answers(self, out: Tensor, said: Tensor) -> Tensor:
        heat = self.lesson.temperature
        if self.lesson.kind == "category":
            ours, theirs = (out / heat).log_softmax(1), (said / heat).log_softmax(1)
            return heat**2 * functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        if self.lesson.kind == "set":
            return functional.binary_cross_entropy_with_logits(out, said.sigmoid())
        return functional.mse_loss(out, said)


def last_linear(network: nn.Module) -> nn.Linear:
    """Return the linear layer that a network ends with: the last of its modules. Raises ValueError where there is none."""
    found = [part for part in network.modules() if isinstance(part, nn.Linear)]
    if not found:
        raise ValueError("the network has no linear layer")
    return found[-1]


def without_lesson(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the student's own tensors of those of a taught network; those of any other network as they are."""
    if not isinstance(network, Taught):
        return tensors
    return {name.removeprefix("student."): value for name, value in tensors.items() if name.startswith("student.")}


def _watch(layer: nn.Linear, held: dict[str, Tensor], name: str) -> None:
    """What the layer reads is held under the name after each pass."""

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        held[name] = inputs[0]

    layer.register_forward_pre_hook(keep)
