"""Learning that tells little of any one row: each row's gradient is cut to a length and noise is added to their sum (Abadi 2016, DP-SGD).

The gradient of a row is that of the network alone with it: the whole network is differentiated row by row (torch.func), so that no layer
can let rows see each other, and one that would is refused. The library's own way, hooks on the layers that it knows, is as fast (0.79 s as
against 0.80 s for 64 rows of the small CNN of 28 x 28 pixels, one thread), does not know parameters that stand outside of such layers, and
gives other gradients for convolutions whose input lies channels last, as ours does (Opacus 1.6, 86 % off; docs/mitigation-privacy.md).
How much noise, and what it promises, is accountant.py's; which rows a step has, poisson.py's.

Noise and rows follow from the seed and a secret, so that a killed training ends with the same bits. Who knows both can take the noise
away. Noise is drawn as float32 by torch's generator, whose gaps an attacker with very fine instruments could use (Mironov 2012).

Shape suffixes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.errors import RecipeError, TrainingError
from weighbridge.storage.seeds import key_of
from weighbridge.training.accountant import delta_of, epsilon_of, noise_for
from weighbridge.training.batches import Batches
from weighbridge.training.companion import Batch, Companion, Piece
from weighbridge.training.poisson import PoissonBatches

if TYPE_CHECKING:
    from weighbridge.training.losses import Loss
    from weighbridge.training.plan import Plan
    from weighbridge.training.stage import Course

ROWS_AT_ONCE, BYTES_AT_ONCE = 64, 256 << 20  # of gradients of single rows in memory
SLACK = 1e-3  # of the sum of cut gradients above rows times the norm: rounding


class Private(Companion):
    """Each step's gradient becomes the sum of cut ones of single rows, with noise, over the rows that a step has on average."""

    name = "private"

    def __init__(self, course: Course, plan: Plan, network: nn.Module, loss: Loss) -> None:
        """Raises RecipeError where the network or the recipe can not be learnt row by row, DependencyError without Opacus."""
        options = course.section.privacy
        assert options.epsilon is not None
        refuse(course, network)
        self.network, self.loss, self.clip, self.seed = network, loss, options.clip, private_seed(course)
        self.parameters = {name: one for name, one in network.named_parameters() if one.requires_grad}
        self.rows, self.expected = len(course.train), min(plan.batch_size, len(course.train))
        self.rate, self.delta = self.expected / self.rows, delta_of(options.delta, self.rows)
        self.noise = noise_for(options.epsilon, self.delta, self.rate, plan.updates)
        self.steps = torch.zeros((), dtype=torch.int64)
        self._drawn = 0
        self._try(Batches(arrays=course.train, batch_size=1, seed=0, device=torch.device(plan.device)))

    def learn(self, piece: Piece) -> float:
        """Make the sum of the cut gradients of these rows and return their mean loss; 0 where there are none."""
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        size = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // (4 * sum(one.numel() for one in self.parameters.values()))))
        total, self._drawn = 0.0, len(piece.rows)
        for place in range(0, self._drawn, size):
            part = slice(place, place + size)
            gradients, loss_B = row_gradients(self.network, self.loss, {k: v[part] for k, v in piece.batch.items()}, piece.target[part])
            add_cut(self.parameters, gradients, self.clip)
            total += float(loss_B.sum())
        return total / max(1, self._drawn)

    def gathered(self, step: int) -> None:
        """Add the noise and divide by the rows that a step has on average; how many it has is not to be told.

        Raises TrainingError where the sum is longer than cut gradients can be.
        """
        slopes = [one.grad for one in self.parameters.values() if one.grad is not None]
        length = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(slope) for slope in slopes])))
        if length > self.clip * self._drawn * (1 + SLACK):
            raise TrainingError(
                f"step {step}: the sum of {self._drawn} gradients of norm {self.clip:g} at most has norm {length:.4g}; the promise is off",
                do="report it; the last good step is kept",
            )
        generator = torch.Generator(device=slopes[0].device).manual_seed(key_of(self.seed, "noise", step) % 2**63)
        for slope in slopes:
            drawn = torch.randn(slope.shape, generator=generator, device=slope.device)
            slope.add_(drawn, alpha=self.noise * self.clip).div_(self.expected)
        self.steps += 1

    def spent(self) -> float:
        """Return the epsilon of the steps so far."""
        return epsilon_of(self.noise, self.delta, self.rate, int(self.steps))

    def state(self) -> dict[str, Tensor]:
        """Return the steps that were made; rows and noise follow from their numbers."""
        return {"steps": self.steps}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self.steps = state["steps"].cpu().clone()

    def _try(self, batches: Batches) -> None:
        """Raise RecipeError for a network that gives no gradients row by row."""
        batch, target = batches.gather(np.arange(min(2, self.rows)))
        try:
            row_gradients(self.network, self.loss, batch, target)
        except RuntimeError as error:
            why = str(error).splitlines()[0][:150]
            raise RecipeError(
                f"training.privacy: this network gives no gradient of a single row ({why})", do="choose mlp, cnn or transformer"
            ) from None


def row_gradients(network: nn.Module, loss: Loss, batch: Batch, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return by parameter the gradients of each row's loss, float [B, ...], and the losses, float [B]; drawn by torch's own generator."""
    from torch.func import functional_call, grad_and_value, vmap
    from torch.nn.attention import SDPBackend, sdpa_kernel

    trained = {name: one.detach() for name, one in network.named_parameters() if one.requires_grad}

    def term(parameters: dict[str, Tensor], row: Batch, truth: Tensor) -> Tensor:
        out = functional_call(network, parameters, ({name: value.unsqueeze(0) for name, value in row.items()},))
        return loss.rows(out, truth.unsqueeze(0))[0]

    rows = vmap(grad_and_value(term), in_dims=(None, 0, 0), randomness="different")
    with sdpa_kernel(SDPBackend.MATH):  # the faster kernels of attention have no form for rows apart
        found: tuple[dict[str, Tensor], Tensor] = rows(trained, batch, target)
    return found


def add_cut(parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor], clip: float) -> None:
    """Add to each parameter's gradient the sum of the rows', each cut to norm `clip` over all parameters."""
    norm_B = torch.stack([one.flatten(1).norm(dim=1) for one in gradients.values()]).norm(dim=0)
    share_B = (clip / norm_B.clamp(min=torch.finfo(norm_B.dtype).tiny)).clamp(max=1.0)
    for name, slope in gradients.items():
        grad = parameters[name].grad
        assert grad is not None
        grad.add_(torch.tensordot(share_B, slope, dims=1))


def private_seed(course: Course) -> int:
    """Return what rows and noise are drawn from: the seed, and the recipe's secret where it names one. Raises DataError without it."""
    where = course.section.privacy.secret
    if where is None:
        return key_of(course.seed, "private")
    from weighbridge.data.anonymize import read_key

    return key_of(course.seed, "private", read_key(where, "training.privacy.secret").hex())


def poisson_of(course: Course, plan: Plan) -> PoissonBatches:
    """Return the batches of a private training."""
    return PoissonBatches(
        arrays=course.train, batch_size=min(plan.batch_size, len(course.train)), seed=private_seed(course), device=torch.device(plan.device)
    )


def refuse(course: Course, network: nn.Module) -> None:
    """Raise RecipeError for what reads training rows without noise, and for layers in which rows see each other."""
    if course.start is not None or course.lesson is not None:
        raise RecipeError("training.privacy does not cover what another network learnt of the rows", do="train from first weights")
    if course.weights is not None:
        raise RecipeError(
            "training.privacy and data.weight contradict each other: weights are brought to a mean of 1 over all rows", do="leave one out"
        )
    for kinds, what, do in REFUSED:
        if any(isinstance(part, kinds) for part in network.modules()):
            raise RecipeError(f"training.privacy: {what}", do=do)


REFUSED = (
    (
        nn.modules.batchnorm._BatchNorm,
        "batch normalisation lets the rows of a step see each other",
        "set training.model.norm: false, or choose an encoder without it",
    ),
    (nn.RNNBase, "a recurrent network gives no gradient of a single row", "choose mlp or transformer"),
)
