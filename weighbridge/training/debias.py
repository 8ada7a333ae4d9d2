"""Answers that do not tell a column: an adversary reads them while the network learns to give it nothing (Zhang 2018).

The adversary is a small network from the answers (for `odds` the truth, too) to the groups. With g the gradient of the answers' own loss
and h that of the adversary's, both over all weights of the network, the step goes along g - proj_h(g) - weight * h: it never helps the
adversary, and works against it. The adversary learns from the same batch with an update rule of its own, whose state is part of what a
killed training goes on from.

Weights are kept by the loss plus `weight` times how much the answers on validation rows tell of the groups. That is measured without
the adversary, which lags behind: mutual information in nats between the groups and the answers, cut into cells of like rows, less its bias
(Miller 1955). The last weights of a game need not be its best, and the loss alone would keep those from before it began.

Shape suffixes: B batch, C class, L label, S what the adversary sees, G group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from weighbridge.errors import DataError
from weighbridge.storage.seeds import key_of
from weighbridge.training.beside import Groups, groups_beside
from weighbridge.training.companion import Companion, Piece
from weighbridge.training.optimizers import load_state_tensors, state_tensors
from weighbridge.training.predict import forward_all

if TYPE_CHECKING:
    from weighbridge.training.plan import Plan
    from weighbridge.training.stage import Course

HIDDEN = 16
RATE = 3e-3
CELLS = 8  # of answers, each with as many rows
PROBES = 20  # classes or labels whose answers are probed; beyond it the first ones


class Reader(nn.Module):
    """Raw answers, and the truth where odds are asked for, to scores of each column's groups: a list of float [B, G]."""

    def __init__(self, kind: str, outputs: int, groups: Sequence[int], *, odds: bool) -> None:
        super().__init__()
        self.kind, self.outputs, self.odds = kind, outputs, odds
        self.sharper = nn.Parameter(torch.zeros(()))  # sure answers differ too little to be read as they are (Zhang 2018, 4.1)
        self.body = nn.Sequential(nn.Linear(outputs * (2 if odds else 1), HIDDEN), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(HIDDEN, count) for count in groups)

    def forward(self, out: Tensor, target: Tensor) -> list[Tensor]:
        out = out * (1 + self.sharper.abs())
        seen_BS = out.softmax(1) if self.kind == "category" else out.sigmoid() if self.kind == "set" else out
        if self.odds:
            seen_BS = torch.cat([seen_BS, self._truth(target)], dim=1)
        hidden = self.body(seen_BS)
        return [head(hidden) for head in self.heads]

    def _truth(self, target: Tensor) -> Tensor:
        if self.kind == "category" and target.ndim == 1:
            return functional.one_hot(target, self.outputs).float()
        return target.float().reshape(len(target), -1)


class Debias(Companion):
    """Each step is turned so that the answers tell less of the groups; see above."""

    name = "debias"

    def __init__(self, course: Course, plan: Plan, network: nn.Module) -> None:
        """Raises DataError for a column that is not there or has one group only."""
        options, kind = course.section.debias, course.encoder.learnt.kind
        self.weight, self.odds, self.kind = options.weight, options.criterion == "odds", kind
        train, self.judging = groups_of_splits(course)
        self.validation = course.validation
        device = torch.device(plan.device)
        self.codes = [torch.from_numpy(groups.codes).to(device) for groups in train]
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key_of(course.seed, "debias") % 2**63)
            self.reader = Reader(kind, course.spec.outputs, [len(groups.names) for groups in train], odds=self.odds).to(device)
        self.optimizer = torch.optim.Adam(self.reader.parameters(), lr=RATE)
        self._gathered: list[Tensor | None] = []

    def beside(self, piece: Piece, out: Tensor, *, share: float) -> None:
        """Take the gradients of the adversary's loss on these rows, in the network's weights and in its own."""
        rows = torch.from_numpy(piece.rows).to(out.device)
        scores = self.reader(out.float(), piece.target)
        terms = [functional.cross_entropy(one, codes[rows], reduction="none") for one, codes in zip(scores, self.codes, strict=True)]
        total_B = torch.stack(terms).sum(0)
        total = (total_B if piece.weight_B is None else total_B * piece.weight_B).mean() * share
        found = torch.autograd.grad(total, [*self.parameters, *self.reader.parameters()], retain_graph=True, allow_unused=True)
        self._gathered = [_sum(one, other) for one, other in zip(self._gathered or [None] * len(found), found, strict=True)]

    def gathered(self, step: int) -> None:
        """Turn the network's gradients away from the adversary's, then let the adversary learn."""
        ours, theirs = self._gathered[: len(self.parameters)], self._gathered[len(self.parameters) :]
        pairs = [(own.grad, other) for own, other in zip(self.parameters, ours, strict=True) if own.grad is not None and other is not None]
        if pairs:
            along = torch.stack([(own * other).sum() for own, other in pairs]).sum()
            length = torch.stack([other.square().sum() for _, other in pairs]).sum()
            share = along / length.clamp(min=torch.finfo(length.dtype).tiny) + self.weight
            for own, other in pairs:
                own.sub_(share * other)
        for parameter, slope in zip(self.reader.parameters(), theirs, strict=True):
            parameter.grad = slope
        self.optimizer.step()
        self._gathered = []

    def judged(self, network: nn.Module, plan: Plan) -> dict[str, float]:
        """Return how many nats the answers on validation rows tell of the groups, the most of any column, and what that counts."""
        if self.validation.target is None:
            return {}
        answers = forward_all(network, self.validation, precision=plan.precision, device=plan.device)
        truth = np.asarray(self.validation.target) if self.odds else None
        told = max(told_nats(answers, groups.codes, self.kind, truth) for groups in self.judging)
        return {"told_nats": told, "penalty": self.weight * told}

    def state(self) -> dict[str, Tensor]:
        """Return the adversary's weights and its update rule's state."""
        own = {f"reader/{name}": value for name, value in self.reader.state_dict().items()}
        return own | {f"rule/{name}": value for name, value in state_tensors(self.optimizer).items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        parts: dict[str, dict[str, Tensor]] = {"reader": {}, "rule": {}}
        for name, value in state.items():
            part, key = name.split("/", 1)
            parts[part][key] = value
        self.reader.load_state_dict(parts["reader"])
        load_state_tensors(self.optimizer, parts["rule"])


def groups_of_splits(course: Course) -> tuple[list[Groups], list[Groups]]:
    """Return the groups of the training rows and of the validation rows, by column, under the same codes.

    Raises DataError for a column that is not there, or that has one group only.
    """
    train, validation = list[Groups](), list[Groups]()
    rows = len(course.train)
    for name in course.section.debias.columns:
        both = groups_beside(course.data, name, np.concatenate([course.train.row_ids, course.validation.row_ids]))
        if len(np.unique(both.codes[:rows])) < 2:
            raise DataError(f"training.debias: column '{name}' has one value in all training rows", do="name a column that differs")
        train.append(Groups(codes=both.codes[:rows], names=both.names))
        validation.append(Groups(codes=both.codes[rows:], names=both.names))
    return train, validation


def told_nats(answers: np.ndarray, groups: np.ndarray, kind: str, truth: np.ndarray | None = None) -> float:
    """Return how many nats raw answers [n, C] tell of group codes [n]: the most of any class or label, from 0 on.

    With `truth` (codes [n], labels [n, L], scaled numbers [n]): beyond what the truth tells, as a mean over its classes or quarters.
    """
    from scipy.special import expit, softmax

    values = softmax(answers, axis=1)[:, -1:] if kind == "category" and answers.shape[1] == 2 else answers
    values = softmax(values, axis=1) if kind == "category" and answers.shape[1] > 2 else expit(values) if kind == "set" else values
    told = [0.0]
    for place in range(min(values.shape[1], PROBES)):
        sides = np.zeros(len(groups), np.int64) if truth is None else _sides(truth, place, kind)
        told.append(sum(_shared(values[sides == side, place], groups[sides == side]) * (sides == side).mean() for side in np.unique(sides)))
    return max(told)


def _sides(truth: np.ndarray, place: int, kind: str) -> np.ndarray:
    if kind == "category":
        return np.asarray(truth)
    if kind == "set":
        return np.asarray(truth[:, place] > 0.5).astype(np.int64)
    return np.searchsorted(np.quantile(truth, (0.25, 0.5, 0.75)), truth)


def _shared(values: np.ndarray, groups: np.ndarray) -> float:
    """Return the mutual information of values in CELLS cells of like rows with the groups, in nats, less its bias (Miller 1955)."""
    if len(values) < 2:
        return 0.0
    cells = np.searchsorted(np.unique(np.quantile(values, np.linspace(0, 1, CELLS + 1)[1:-1])), values)
    joint = np.zeros((int(cells.max()) + 1, int(groups.max()) + 1))
    np.add.at(joint, (cells, groups), 1.0)
    joint = joint[joint.sum(1) > 0][:, joint.sum(0) > 0] / len(values)
    expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    bias = (joint.shape[0] - 1) * (joint.shape[1] - 1) / (2 * len(values))
    return float((joint[there] * np.log(joint[there] / expected[there])).sum() - bias)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other
