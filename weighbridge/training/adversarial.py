"""Learning from inputs that are moved against the network (Madry 2018): each batch is attacked before it is learnt from.

The attack is projected gradient descent in the largest change of any input (L-infinity): a random start within the bound, then steps
of 2.5 bound / steps along the sign of the loss's gradient, cut back to the bound and to the levels that a pixel can have. The network
stands in evaluation mode meanwhile, as it will when it is attacked: no dropout, and no statistics of a batch learn from the attack's own
passes (Zhang 2019, TRADES). Weights are kept by their loss on attacked validation rows: on plain ones a training that overfits its own
attack looks well (Rice 2020). Moved are pixels, in levels of 0 to 255, and scaled numbers; marks of missing values, dates, categories and
words are not.

Shape suffixes: B batch, D feature.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.errors import RecipeError
from weighbridge.storage.seeds import key_of, rng
from weighbridge.training.batches import Batches
from weighbridge.training.companion import Batch, Companion, Piece

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.preprocessing.feature import Feature
    from weighbridge.recipe import AdversarialOptions
    from weighbridge.training.losses import Loss
    from weighbridge.training.plan import Plan
    from weighbridge.training.stage import Course

STRIDE = 2.5  # times bound / steps: the whole bound can be crossed and corrected (Madry 2018)
JUDGED, JUDGED_AT_ONCE = 512, 128  # validation rows that are attacked after each epoch


class Attack:
    """Moves the inputs of a batch against a network, within a bound for each block; the same generator gives the same rows."""

    def __init__(self, bounds: dict[str, Tensor], *, pixels: frozenset[str], steps: int, precision: str) -> None:
        """`bounds`: by block how far each input may be moved, float [D] or one value; `pixels`: the blocks that hold levels of 0 to 255."""
        self.bounds, self.pixels, self.steps, self.precision = bounds, pixels, steps, precision

    def __call__(self, network: nn.Module, loss: Loss, batch: Batch, target: Tensor, generator: torch.Generator) -> Batch:
        """Return the batch with its blocks moved, float; the network and its gradients are as they were."""
        was_training = network.training
        network.eval()
        start = {name: batch[name].float() for name in self.bounds}
        moved = {name: self._kept(name, value + self._noise(name, value, generator), value) for name, value in start.items()}
        for _ in range(self.steps):
            slopes = self._slopes(network, loss, {**batch, **moved}, target)
            moved = {
                name: self._kept(name, moved[name] + STRIDE / self.steps * self.bounds[name] * slopes[name].sign(), value)
                for name, value in start.items()
            }
        network.train(was_training)
        return {**batch, **moved}

    def _noise(self, name: str, value: Tensor, generator: torch.Generator) -> Tensor:
        return self.bounds[name] * (2 * torch.rand(value.shape, generator=generator, device=value.device) - 1)

    def _kept(self, name: str, moved: Tensor, value: Tensor) -> Tensor:
        bound = self.bounds[name]
        moved = torch.minimum(torch.maximum(moved, value - bound), value + bound)
        return moved.clamp(0.0, 255.0) if name in self.pixels else moved

    def _slopes(self, network: nn.Module, loss: Loss, batch: Batch, target: Tensor) -> dict[str, Tensor]:
        known = {name: batch[name].detach().requires_grad_(True) for name in self.bounds}
        device = next(iter(known.values())).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            out = network({**batch, **known})
        total = loss.rows(out, target).sum()
        found = torch.autograd.grad(total, list(known.values()), allow_unused=True)
        return {
            name: torch.zeros_like(value) if slope is None else slope for (name, value), slope in zip(known.items(), found, strict=True)
        }


class Adversary(Companion):
    """Each batch is learnt from as the attack left it; validation rows are attacked after each epoch to judge by."""

    name = "adversarial"

    def __init__(self, attack: Attack, network: nn.Module, loss: Loss, *, kind: str, seed: int, validation: Arrays) -> None:
        self.attack, self.network, self.loss, self.kind, self.seed = attack, network, loss, kind, seed
        self.validation = validation
        self._generator: torch.Generator | None = None

    def before(self, piece: Piece) -> Piece:
        """Return the rows moved against the network as it is now."""
        generator = self._drawn(piece.target.device, "adversarial", piece.step, piece.place)
        return replace(piece, batch=self.attack(self.network, self.loss, piece.batch, piece.target, generator))

    def judged(self, network: nn.Module, plan: Plan) -> dict[str, float]:
        """Return loss and, of classes, accuracy under the attack, and how much the attack adds to the loss of the same rows."""
        rows = rng(self.seed, "adversarial validation").permutation(len(self.validation))[:JUDGED]
        device = torch.device(plan.device)
        batches = Batches(arrays=self.validation, batch_size=JUDGED_AT_ONCE, seed=self.seed, device=device)
        sums = np.zeros(3)
        for place in range(0, len(rows), JUDGED_AT_ONCE):
            batch, target = batches.gather(rows[place : place + JUDGED_AT_ONCE])
            moved = self.attack(network, self.loss, batch, target, self._drawn(device, "adversarial validation", place))
            with torch.inference_mode():
                plain, out = network(batch).float(), network(moved).float()
                right = (out.argmax(1) == target).sum() if self.kind == "category" else torch.zeros(())
                sums += [float(self.loss.rows(out, target).sum()), float(self.loss.rows(plain, target).sum()), float(right)]
        attacked, unmoved, right = sums / len(rows)
        said = {"attacked_loss": float(attacked), "attacked_rows": float(len(rows)), "penalty": float(attacked - unmoved)}
        return said | ({"attacked_accuracy": float(right)} if self.kind == "category" else {})

    def _drawn(self, device: torch.device, *names: str | int) -> torch.Generator:
        if self._generator is None:
            self._generator = torch.Generator(device=device)
        return self._generator.manual_seed(key_of(self.seed, *names) % 2**63)


def adversary_of(course: Course, plan: Plan, network: nn.Module, loss: Loss) -> Adversary:
    """Return the companion that attacks as the recipe says. Raises RecipeError where the data has no such input."""
    options = course.section.adversarial
    bounds = bounds_of(options, course.encoder, torch.device(plan.device))
    pixels = frozenset(block.name for block in course.encoder.blocks if block.kind == "image")
    attack = Attack(bounds, pixels=pixels, steps=options.steps, precision=plan.precision)
    return Adversary(attack, network, loss, kind=course.encoder.learnt.kind, seed=course.seed, validation=course.validation)


def bounds_of(options: AdversarialOptions, encoder: Encoder, device: torch.device) -> dict[str, Tensor]:
    """Return by block how far each of its inputs may be moved, float32: one value of images, [D] of numbers, 0 for what is no number.

    Raises RecipeError for a kind of input that the recipe attacks and the data has not.
    """
    bounds: dict[str, Tensor] = {}
    images = [block.name for block in encoder.blocks if block.of == "image"]
    numbers = {feature.column: deviation(feature) for feature in encoder.features if feature.type == "number"}
    if options.images:
        if not images:
            raise RecipeError("training.adversarial.images attacks pictures, and the data has none", do="set it to 0")
        bounds |= dict.fromkeys(images, torch.tensor(options.images, device=device))
    if options.numbers:
        if not numbers:
            raise RecipeError("training.adversarial.numbers attacks numbers, and the data has none", do="set it to 0")
        for block in encoder.blocks:
            if block.kind == "number":
                units = torch.tensor([numbers.get(name, 0.0) for name in block.names], dtype=torch.float32, device=device)
                bounds[block.name] = options.numbers * units
    return bounds


def deviation(feature: Feature) -> float:
    """Return what one standard deviation of a number column is as the network reads it: 1 where it is scaled."""
    return float(feature.spread) if getattr(feature, "scale", "") == "none" else 1.0  # type: ignore[attr-defined]
