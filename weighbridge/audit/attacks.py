"""Attacks on a network by its gradients, in a ball of L-infinity around each row: FGSM, PGD and the two losses of APGD.

FGSM: one step by the sign of the gradient (Goodfellow 2015). PGD: 20 steps from a random point (Madry 2018). APGD: no step size to choose;
it goes by momentum, halves its step where it no longer gains and then goes on from the best point; on the cross-entropy, and on the
difference of logits ratio, which does not vanish where a network is sure (Croce and Hein 2020). Every attack keeps, of each row, the point
of its whole way that did the most harm: more steps can not do less.

Shape suffixes: B rows, D coordinates, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from weighbridge.audit.attack_space import Space

PGD_STEPS = 20
PGD_STEP = 2.5  # of epsilon, over all steps (Madry's rule)
APGD_STEPS = 40
ALPHA, RHO = 0.75, 0.75  # momentum; share of steps that must gain (Croce and Hein 2020, algorithm 1)
FIRST_CHECK, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # of all steps, between two looks at the step size
Loss = Callable[[Tensor, Tensor], Tensor]  # outputs [B, C], truth -> [B], more is worse for the model


def margin(out_BC: Tensor, target_B: Tensor) -> Tensor:
    """Return how far the best wrong class lies above the true one; above 0 the row is broken."""
    true_B = out_BC.gather(1, target_B[:, None])[:, 0]
    return out_BC.scatter(1, target_B[:, None], -torch.inf).amax(1) - true_B


def cross_entropy(out_BC: Tensor, target_B: Tensor) -> Tensor:
    return functional.cross_entropy(out_BC, target_B, reduction="none")


def logit_ratio(out_BC: Tensor, target_B: Tensor) -> Tensor:
    """Return the difference of logits ratio; the plain margin where there are two classes, of which it has no ratio."""
    if out_BC.shape[1] < 3:
        return margin(out_BC, target_B)
    top_B3 = out_BC.topk(3, dim=1).values
    return margin(out_BC, target_B) / (top_B3[:, 0] - top_B3[:, 2] + 1e-12)


def squared_error(out_B1: Tensor, target_B: Tensor) -> Tensor:
    return (out_B1[:, 0] - target_B) ** 2


def label_loss(out_BC: Tensor, target_BC: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(out_BC, target_BC, reduction="none").mean(1)


HARM: dict[str, Loss] = {"category": margin, "number": squared_error, "set": label_loss}
LOSSES: dict[str, tuple[Loss, ...]] = {"category": (cross_entropy, logit_ratio), "number": (squared_error,), "set": (label_loss,)}


@dataclass(frozen=True, kw_only=True)
class Prey:
    """A network with the rows that are attacked. `harm` of a point says whose point is kept; above 0 a row of classes is broken."""

    network: nn.Module
    space: Space
    target: Tensor
    kind: str

    @classmethod
    def of(cls, network: nn.Module, space: Space, kind: str) -> Prey:
        """Return the network ready for attack: its weights need no gradients."""
        for weight in network.parameters():
            weight.requires_grad_(False)
        truth = torch.from_numpy(np.array(space.arrays.target))
        return cls(network=network, space=space, target=truth if kind == "category" else truth.float(), kind=kind)

    def look(self, point_BD: Tensor, rows: np.ndarray, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss [B], its gradient [B, D] and harm [B] of rows at these points."""
        with torch.enable_grad():
            moved_BD = point_BD.detach().requires_grad_(True)
            out_BC = self.network(self.space.batch(moved_BD, rows)).float()
            loss_B = loss(out_BC, self.target[rows])
            (slope_BD,) = torch.autograd.grad(loss_B.sum(), moved_BD)
        return loss_B.detach(), slope_BD, HARM[self.kind](out_BC.detach(), self.target[rows])


class Kept:
    """Of each row the point that did the most harm so far."""

    def __init__(self, point_BD: Tensor, harm_B: Tensor) -> None:
        self.point_BD, self.harm_B = point_BD.clone(), harm_B.clone()

    def see(self, point_BD: Tensor, harm_B: Tensor) -> None:
        better_B = harm_B > self.harm_B
        self.point_BD[better_B], self.harm_B[better_B] = point_BD[better_B], harm_B[better_B]


def fgsm(prey: Prey, rows: np.ndarray, epsilon: float, loss: Loss) -> Kept:
    """Return each row after one step of epsilon by the sign of the gradient, or where it was if that did more harm."""
    start_BD = prey.space.start_ND[rows]
    _, slope_BD, harm_B = prey.look(start_BD, rows, loss)
    kept = Kept(start_BD, harm_B)
    moved_BD = prey.space.within(start_BD + epsilon * slope_BD.sign(), rows, epsilon)
    kept.see(moved_BD, prey.look(moved_BD, rows, loss)[2])
    return kept


def pgd(prey: Prey, rows: np.ndarray, epsilon: float, loss: Loss, generator: torch.Generator, steps: int = PGD_STEPS) -> Kept:
    """Return each row's worst point on the way of projected steps from a random point."""
    point_BD = _anywhere(prey.space, rows, epsilon, generator)
    kept: Kept | None = None
    for step in range(steps + 1):
        _, slope_BD, harm_B = prey.look(point_BD, rows, loss)
        kept = kept or Kept(point_BD, harm_B)
        kept.see(point_BD, harm_B)
        if step < steps:
            point_BD = prey.space.within(point_BD + PGD_STEP * epsilon / steps * slope_BD.sign(), rows, epsilon)
    assert kept is not None
    return kept


def apgd(prey: Prey, rows: np.ndarray, epsilon: float, loss: Loss, generator: torch.Generator, steps: int = APGD_STEPS) -> Kept:
    """Return each row's worst point on the way of APGD; `loss` never falls at the points that it goes on from after a halving."""
    space, point_BD = prey.space, _anywhere(prey.space, rows, epsilon, generator)
    loss_B, slope_BD, harm_B = prey.look(point_BD, rows, loss)
    kept, best = Kept(point_BD, harm_B), _Best(point_BD, slope_BD, loss_B)
    before_BD, step_B1 = point_BD, torch.full((len(rows), 1), 2 * epsilon)
    gained: list[Tensor] = []
    length, seen, halved_B = max(1, int(FIRST_CHECK * steps)), loss_B.clone(), torch.ones(len(rows), dtype=torch.bool)
    for step in range(steps):
        momentum_BD, before_BD = point_BD - before_BD, point_BD
        share = ALPHA if step else 1.0
        goal_BD = space.within(point_BD + step_B1 * slope_BD.sign(), rows, epsilon)
        point_BD = space.within(point_BD + share * (goal_BD - point_BD) + (1 - share) * momentum_BD, rows, epsilon)
        last_B = loss_B
        loss_B, slope_BD, harm_B = prey.look(point_BD, rows, loss)
        kept.see(point_BD, harm_B)
        best.see(point_BD, slope_BD, loss_B)
        gained.append(loss_B > last_B)
        if len(gained) == length:
            idle_B = ~halved_B & (best.loss_B <= seen)
            halved_B = (torch.stack(gained).sum(0) <= RHO * length) | idle_B
            seen = best.loss_B.clone()
            step_B1 = torch.where(halved_B[:, None], step_B1 / 2, step_B1)
            point_BD = torch.where(halved_B[:, None], best.point_BD, point_BD)
            slope_BD = torch.where(halved_B[:, None], best.slope_BD, slope_BD)
            gained, length = [], max(length - max(1, int(SHORTER * steps)), max(1, int(SHORTEST * steps)))
    return kept


class _Best:
    """Of each row the point of the highest loss so far, and the gradient there."""

    def __init__(self, point_BD: Tensor, slope_BD: Tensor, loss_B: Tensor) -> None:
        self.point_BD, self.slope_BD, self.loss_B = point_BD.clone(), slope_BD.clone(), loss_B.clone()

    def see(self, point_BD: Tensor, slope_BD: Tensor, loss_B: Tensor) -> None:
        better_B = loss_B > self.loss_B
        self.point_BD[better_B], self.slope_BD[better_B], self.loss_B[better_B] = point_BD[better_B], slope_BD[better_B], loss_B[better_B]


def _anywhere(space: Space, rows: np.ndarray, epsilon: float, generator: torch.Generator) -> Tensor:
    """Return a random point of each row's ball."""
    start_BD = space.start_ND[rows]
    return space.within(start_BD + epsilon * (2 * torch.rand(start_BD.shape, generator=generator) - 1), rows, epsilon)
