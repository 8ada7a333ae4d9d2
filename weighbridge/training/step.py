"""One update: the arithmetic that every step of training repeats, and that the trial measures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.errors import TrainingError
from weighbridge.storage.seeds import key_of
from weighbridge.training.augment import Augmenter
from weighbridge.training.companion import Companion, Piece
from weighbridge.training.dropout import QuickDropout
from weighbridge.training.lesson import Teaching
from weighbridge.training.losses import Loss
from weighbridge.training.optimizers import add_l1
from weighbridge.training.sparsify import Zeros

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a step does beside forward and backward."""

    loss: Loss
    augmenter: Augmenter
    precision: str
    seed: int
    teaching: Teaching | None = None
    keep_zeros: bool = False
    l1: float = 0.0
    clip: float | None = None
    ema: float = 0.0
    quick_dropout: bool = False
    companions: Sequence[Companion] = ()


class Updater:
    """`update` makes one step of the optimizer from one or more batches; the same step number gives the same step."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, rules: Rules, *, average: nn.Module | None = None) -> None:
        self.network, self.optimizer, self.rules, self.average = network, optimizer, rules, average
        self.forward: Callable[[Batch], Tensor] = network
        self.parameters = list(network.parameters())
        self.device = self.parameters[0].device
        self._generator = torch.Generator(device=self.device) if rules.augmenter.active else None
        self._quick = QuickDropout() if rules.quick_dropout else None
        self._zeros = Zeros(network) if rules.keep_zeros else None

    def update(self, step: int, pieces: Sequence[tuple[Batch, Tensor, np.ndarray]]) -> float:
        """Move the weights by one step and return the mean loss.

        Raises:
            TrainingError: the loss or its gradient is not finite; no weight was changed. Names the step and the rows.
        """
        self._seed(key_of(self.rules.seed, "step", step) % 2**63)
        self.optimizer.zero_grad(set_to_none=True)
        total = sum(self._backward(step, place, *piece, share=1 / len(pieces)) for place, piece in enumerate(pieces))
        for companion in self.rules.companions:
            companion.gathered(step)
        if self.rules.l1:
            add_l1(self.network, self.rules.l1)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.rules.clip or float("inf"))
        if not np.isfinite(total) or not torch.isfinite(norm):
            raise self._not_finite(step, total, float(norm), pieces)
        if self._zeros is not None:
            self._zeros.find()
        self.optimizer.step()
        if self._zeros is not None:
            self._zeros.restore()
        if self.average is not None:
            self._move_average()
        return total

    def _seed(self, seed: int) -> None:
        """Set the generator that dropout draws from; torch.manual_seed would visit every kind of device, 0.1 ms a step."""
        torch.default_generator.manual_seed(seed)
        if self._quick is not None:
            self._quick.seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def _backward(self, step: int, place: int, batch: Batch, target: Tensor, rows: np.ndarray, *, share: float) -> float:
        if self._generator is not None and len(rows):
            self._generator.manual_seed(key_of(self.rules.seed, "augment", step, place) % 2**63)
            batch, target = self.rules.augmenter(batch, target, self._generator)
        piece = Piece(batch=batch, target=target, rows=rows, step=step, place=place)
        for companion in self.rules.companions:
            piece = companion.before(piece)
        for companion in self.rules.companions:
            if (learnt := companion.learn(piece)) is not None:
                return learnt * share
        return self._learn(piece, share=share)

    def _learn(self, piece: Piece, *, share: float) -> float:
        """Add the gradients of these rows' share in the loss; return that share."""
        with (
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.rules.precision == "bf16"),
            self._quick or contextlib.nullcontext(),
        ):
            out = self.forward(piece.batch)
            said = None if self.rules.teaching is None else self.rules.teaching.ask(piece.batch)
        for companion in self.rules.companions:
            companion.beside(piece, out, share=share)
        loss = self._loss(piece, out, said) * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _loss(self, piece: Piece, out: Tensor, said: Tensor | None) -> Tensor:
        if said is None or self.rules.teaching is None:
            return self.rules.loss(out, piece.target, piece.weight_B)
        return self.rules.teaching(out, piece.target, said, piece.weight_B)

    def _move_average(self) -> None:
        assert self.average is not None
        with torch.no_grad():
            for kept, moved in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if kept.is_floating_point():
                    kept.lerp_(moved, 1 - self.rules.ema)
                else:
                    kept.copy_(moved)

    def _not_finite(self, step: int, loss: float, norm: float, pieces: Sequence[tuple[Batch, Tensor, np.ndarray]]) -> TrainingError:
        rows = [int(row) for _, _, numbers in pieces for row in numbers]
        planted = [row for batch, target, numbers in pieces for row in _bad_rows(batch, target, numbers)]
        named = f"row {planted[0]} of the training split holds a value that is not finite" if planted else f"rows {rows[:5]} ..."
        return TrainingError(
            f"step {step}: the loss is {loss:.4g} and the norm of its gradient {norm:.4g} ({named}); "
            "stopped before the update, the last good step is kept",
            do="lower training.optimizer.lr, set training.clip, or mend the rows",
        )


def _bad_rows(batch: Batch, target: Tensor, numbers: np.ndarray) -> list[int]:
    """Return the rows whose inputs or target are not finite."""
    bad = torch.zeros(len(target), dtype=torch.bool, device=target.device)
    for values in [*batch.values(), target]:
        if values.is_floating_point():
            bad |= ~torch.isfinite(values.reshape(len(values), -1)).all(1)
    return [int(row) for row in numbers[bad.cpu().numpy()]]
