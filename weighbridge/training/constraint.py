"""Rates that are held alike between groups while the network learns: each rate's multiplier grows by exponentiated gradient.

The game of Agarwal 2018: a learner makes small its loss plus multipliers times how far the groups' rates lie beyond what is allowed; the
multipliers, which together are at most `bound`, follow the exponentiated gradient of that. There each round is a whole training and the
answer a mixture of classifiers drawn by chance; here a round is a step, and the answer one network (Cotter 2019): it moves by soft rates,
which have gradients, and the multipliers by those of its choices. To a multiplier comes its rate's distance times a constant (the
augmented Lagrangian of Hestenes 1969): it damps the game, and is nothing where the rates are alike. That distance is of the rows seen
lately: squared over one batch it would count chance, and drive small groups' answers to one constant. The papers' bounds, for mixtures, do
not stand for it.

Kept are the weights of the least loss plus `bound` times how far the rates of validation rows lie beyond what is allowed.

Shape suffixes: B batch, K rates (a group, for `odds` also a class), S sides (all rows; for `odds` those of each class).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.errors import DataError, RecipeError
from weighbridge.training.beside import groups_beside
from weighbridge.training.companion import Companion, Piece
from weighbridge.training.predict import forward_all

if TYPE_CHECKING:
    from weighbridge.training.plan import Plan
    from weighbridge.training.stage import Course

PUSH = 50.0  # what the steps of a training together multiply a rate's distance by, before it is an exponent
MEMORY = 0.9  # of the rates of choices from step to step: a batch holds few rows of a small group
DAMPING = 10.0  # of a rate's distance itself: without it rates and multipliers swing past each other for ever
LEAST = 30  # rows of a rate, in training and validation: what fewer show is chance
HIGHEST = 30.0  # of an exponent
HARD, SOFT, ROWS = 0, 1, 2


class Constraint(Companion):
    """Adds the gradient of the multiplied distances to that of the loss; see above."""

    name = "constraint"

    def __init__(self, course: Course, plan: Plan) -> None:
        """Raises RecipeError where the target is not of two classes, DataError for a column that is not there or has one group."""
        self.options, self.validation = course.section.constrain, course.validation
        if course.encoder.learnt.kind != "category" or course.spec.outputs != 2:
            raise RecipeError("training.constrain is for a target of two classes", do="leave it out")
        self.odds = self.options.alike == "odds"
        train, judging = groups_of(course)
        device = torch.device(plan.device)
        self.codes = torch.from_numpy(train).to(device)
        self.judging = judging
        self.groups = int(max(train.max(), judging.max(initial=0))) + 1
        rows = np.bincount(train.ravel(), minlength=self.groups)
        self.known = torch.from_numpy(np.repeat(rows >= LEAST, 2 if self.odds else 1)).to(device)
        self.push = PUSH / max(1, plan.updates)
        self.exponents = torch.zeros(2, len(self.known), device=device)
        # of each rate, then of each side: rows selected, their soft selection, rows
        self.seen = torch.zeros(3, len(self.known) + (2 if self.odds else 1), device=device)

    def beside(self, piece: Piece, out: Tensor, *, share: float) -> None:
        """Add the gradient of the rates' distances, each times its multiplier."""
        yes_B, sides_BS = out.float().softmax(1)[:, 1], self._sides(piece.target)
        members_BK = self._members(self.codes[torch.from_numpy(piece.rows).to(out.device)], sides_BS)
        pushing_K = self.multipliers() + DAMPING * self._distance(SOFT)
        distance_K = _rates(yes_B, members_BK) - _rates(yes_B, sides_BS).repeat(self.groups)
        there_K = (members_BK.sum(0) > 0) & self.known
        pushed = (pushing_K * torch.where(there_K, distance_K, torch.zeros_like(distance_K))).sum() * share
        pushed.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            both_BM = torch.cat([members_BK, sides_BS], dim=1)
            chosen_B = (out[:, 1] > out[:, 0]).float()
            self.seen += torch.stack([chosen_B @ both_BM, yes_B.detach() @ both_BM, both_BM.sum(0)])

    def gathered(self, step: int) -> None:
        """Let the multipliers follow the rates of the choices, of this step and, fading, of those before."""
        distance_K = self._distance(HARD)
        self.exponents += self.push * (torch.stack([distance_K, -distance_K]) - self.options.allowed)
        self.exponents.clamp_(-HIGHEST, HIGHEST)
        self.seen *= MEMORY

    def multipliers(self) -> Tensor:
        """Return float [K]: of each rate, that of "too high" less that of "too low"; their sizes together are under the bound."""
        raised = self.exponents.exp() * self.known
        high_low = self.options.bound * raised / (1 + raised.sum())
        return high_low[0] - high_low[1]

    def judged(self, network: nn.Module, plan: Plan) -> dict[str, float]:
        """Return how far apart from all rows the farthest rate of validation rows is, and what counts against it."""
        if self.validation.target is None:
            return {}
        answers = forward_all(network, self.validation, precision=plan.precision, device=plan.device)
        apart = farthest(answers[:, 1] > answers[:, 0], np.asarray(self.validation.target), self.judging, odds=self.odds)
        return {"apart": apart, "penalty": self.options.bound * max(0.0, apart - self.options.allowed)}

    def state(self) -> dict[str, Tensor]:
        """Return the exponents of the multipliers and the fading rates."""
        return {"exponents": self.exponents, "seen": self.seen}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self.exponents, self.seen = (state[name].to(self.codes.device).clone() for name in ("exponents", "seen"))

    def _distance(self, kind: int) -> Tensor:
        """Return [K] how far each rate of the rows seen lately lies from that of all, drawn towards 0 where those rows are few."""
        rates, count = self.seen[kind] / self.seen[ROWS].clamp(min=1e-6), len(self.known)
        sure_K = self.seen[ROWS][:count] / (self.seen[ROWS][:count] + LEAST)
        return torch.where(self.known, (rates[:count] - rates[count:].repeat(self.groups)) * sure_K, torch.zeros_like(sure_K))

    def _sides(self, target: Tensor) -> Tensor:
        """Return [B, S] how much each row is of a side; rows whose target is mixed are of both."""
        yes_B = target.float() if target.ndim == 1 else target[:, 1].float()
        return torch.stack([1 - yes_B, yes_B], dim=1) if self.odds else torch.ones_like(yes_B)[:, None]

    def _members(self, codes: Tensor, sides_BS: Tensor) -> Tensor:
        """Return [B, K] how much each row counts in each rate."""
        inside = torch.zeros(len(codes), self.groups, device=codes.device).scatter_(1, codes, 1.0)
        return (inside[:, :, None] * sides_BS[:, None, :]).reshape(len(codes), -1)


def farthest(selected: np.ndarray, target: np.ndarray, codes: np.ndarray, *, odds: bool) -> float:
    """Return the largest distance of a group's rate from that of all rows; codes int [n, columns], rates of under LEAST rows left out."""
    found = [0.0]
    for side in (target == 0, target == 1) if odds else (np.ones(len(target), dtype=bool),):
        rows = [(codes == group).any(axis=1) & side for group in np.unique(codes)]
        found += [abs(float(selected[one].mean() - selected[side].mean())) for one in rows if one.sum() >= LEAST]
    return max(found)


def groups_of(course: Course) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 [n, columns] the groups of training and of validation rows; no two columns share a code.

    Raises DataError for a column that is not there, or that has one group only.
    """
    ids, rows, parts, first = np.concatenate([course.train.row_ids, course.validation.row_ids]), len(course.train), [], 0
    for name in course.section.constrain.columns:
        groups = groups_beside(course.data, name, ids)
        if len(np.unique(groups.codes[:rows])) < 2:
            raise DataError(f"training.constrain: column '{name}' has one value in all training rows", do="name a column that differs")
        parts.append(groups.codes + first)
        first += len(groups.names)
    codes = np.stack(parts, axis=1)
    return codes[:rows], codes[rows:]


def _rates(values_B: Tensor, members_BM: Tensor) -> Tensor:
    """Return [M] the mean value of each column's rows; 0 where it has none."""
    return (members_BM * values_B[:, None]).sum(0) / members_BM.sum(0).clamp(min=1e-6)
