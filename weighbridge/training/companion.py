"""What goes along with a step of training and does more than forward, backward and update: the one seam for remedies.

A companion sees the rows of a step before the network does (`before`: other inputs, other targets, a weight for each row), may make
their gradients in a way of its own (`learn`), sees what the network answered (`beside`), holds the gradients of the whole step in hand
before they move a weight (`gathered`), and is asked once an epoch how things stand (`judged`). What it must remember is tensors, which
lie in the state that a killed training goes on from. A step without companions does not touch this file.

Shape suffixes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

if TYPE_CHECKING:
    from weighbridge.training.plan import Plan

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Rows on their way through a step, augmented already.

    Attributes:
        batch, target: what the network reads, and what it should answer.
        rows: int64 [B], their numbers among the training rows.
        step, place: of the update, counted from 0, and of these rows in it.
        weight_B: float32 [B], how much each row counts in the loss; None: all alike.
    """

    batch: Batch
    target: Tensor
    rows: np.ndarray
    step: int
    place: int
    weight_B: Tensor | None = None


class Companion:
    """Goes along with every step; each method leaves all as it is unless a companion says otherwise.

    `name` is its own among the companions of a training: its tensors lie under it.
    """

    name = ""

    def before(self, piece: Piece) -> Piece:
        """Return what the network reads instead, and how much each row counts."""
        return piece

    def learn(self, piece: Piece) -> float | None:
        """Make the gradients of these rows and return their mean loss; None: in the ordinary way."""
        return None

    def beside(self, piece: Piece, out: Tensor, *, share: float) -> None:
        """See the network's raw outputs, float [B, C], whose graph still stands. `share`: of these rows in the step."""

    def gathered(self, step: int) -> None:
        """Change the gradients of the step, which stand in the network's parameters."""

    def judged(self, network: nn.Module, plan: Plan) -> dict[str, float]:
        """An epoch has ended with this network; return figures for its entry in history.json.

        `penalty` is what is added to the loss (the metric of early_stopping) by which weights are kept.
        """
        return {}

    def state(self) -> dict[str, Tensor]:
        """Return what it needs to go on from here with the same bits."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
