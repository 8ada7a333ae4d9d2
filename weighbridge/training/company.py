"""Which companions a training goes with: those that its recipe asks for, in the order in which they see a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weighbridge.training.adversarial import adversary_of
from weighbridge.training.companion import Companion
from weighbridge.training.constraint import Constraint
from weighbridge.training.debias import Debias
from weighbridge.training.private import Private
from weighbridge.training.weights import RowWeights

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.training.losses import Loss
    from weighbridge.training.plan import Plan
    from weighbridge.training.stage import Course


def company(course: Course, plan: Plan, network: nn.Module, loss: Loss) -> tuple[Companion, ...]:
    """Return the companions of a training; () where the recipe asks for no remedy.

    Raises RecipeError for a remedy that does not fit the rows, DataError for a column that is not there.
    """
    found: list[Companion] = []
    if course.weights is not None:
        found.append(RowWeights(course.weights, torch.device(plan.device), course))
    if course.section.adversarial.enabled:
        found.append(adversary_of(course, plan, network, loss))
    if course.section.debias.columns:
        found.append(Debias(course, plan, network))
    if course.section.constrain.columns:
        found.append(Constraint(course, plan))
    if course.section.privacy.enabled:
        found.append(Private(course, plan, network, loss))
    return tuple(found)
