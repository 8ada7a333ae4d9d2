"""Networks of every form and rows for them, for the tests of structured pruning: in double precision, with nothing at zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.models import NetworkSpec, Sizes, build_network
from weighbridge.models.layers import Normalize
from weighbridge.models.shrink_units import Tensors, Units
from weighbridge.models.transformer import TextTokens
from weighbridge.preprocessing import Block

NUMBER = Block(name="number", kind="number", shape=(3,), dtype="float32", columns=("a", "b", "c"))
CATEGORY = Block(name="category", kind="category", shape=(2,), dtype="int32", columns=("d", "e"), cardinalities=(7, 12))
PRESENT = Block(name="present.photo", kind="present", shape=(1,), dtype="float32", columns=("photo",))
IMAGE = Block(name="image.photo", kind="image", shape=(8, 8, 3), dtype="uint8", columns=("photo",), mean=(0.5,) * 3, std=(0.2,) * 3)
SECOND = Block(name="image.scan", kind="image", shape=(5, 7, 1), dtype="uint8", columns=("scan",), mean=(0.4,), std=(0.3,))
TEXT = Block(name="text.review", kind="text", shape=(40,), dtype="int32", columns=("review",), cardinalities=(50,))
OTHER = Block(name="text.title", kind="text", shape=(40,), dtype="int32", columns=("title",), cardinalities=(50,))
MIXTURE = (NUMBER, CATEGORY, PRESENT, IMAGE, SECOND, TEXT, OTHER)
SMALL = Sizes(hidden=(13, 10), channels=(6, 9), width=8, depth=2)
WIDE = Sizes(hidden=(8,), channels=(4,), width=48, depth=2)

FORMS: dict[str, tuple[str, tuple[Block, ...], Sizes, dict[str, Any]]] = {
    "mlp": ("mlp", (NUMBER, CATEGORY), SMALL, {}),
    "mlp mixture": ("mlp", MIXTURE, SMALL, {"activation": "sigmoid"}),
    "cnn": ("cnn", (IMAGE,), SMALL, {}),
    "cnn one convolution": ("cnn", (IMAGE,), SMALL, {"convolutions": 1, "activation": "leaky_relu"}),
    "cnn without norm": ("cnn", (IMAGE,), SMALL, {"norm": False, "convolutions": 3}),
    "cnn residual": ("cnn", (IMAGE,), Sizes(hidden=(13,), channels=(6, 9, 5), width=8, depth=2), {"residual": True}),
    "cnn flat": ("cnn", (IMAGE,), SMALL, {"flatten": True, "hidden_given": True, "residual": True, "norm": False}),
    "cnn mixture": ("cnn", MIXTURE, SMALL, {"residual": True}),
    "cnn flat mixture": ("cnn", MIXTURE, SMALL, {"flatten": True, "activation": "tanh"}),
    "lstm": ("rnn", (TEXT,), SMALL, {"depth_given": 1}),
    "lstm deep": ("rnn", (TEXT,), SMALL, {}),
    "lstm one way": ("rnn", (TEXT, OTHER), SMALL, {"bidirectional": False, "depth_given": 2}),
    "gru": ("rnn", (TEXT,), SMALL, {"cell": "gru", "depth_given": 2}),
    "gru one way": ("rnn", (TEXT,), SMALL, {"cell": "gru", "bidirectional": False, "depth_given": 1, "hidden_given": True}),
    "lstm vectors": ("rnn", (TEXT,), SMALL, {"vectors": 7, "depth_given": 1}),
    "gru mixture": ("rnn", MIXTURE, SMALL, {"cell": "gru", "vectors": 6}),
    "transformer": ("transformer", (NUMBER, CATEGORY), WIDE, {}),
    "transformer patches": ("transformer", (IMAGE,), WIDE, {}),
    "transformer text": ("transformer", (TEXT,), WIDE, {}),
    "transformer mixture": ("transformer", MIXTURE, WIDE, {"perceptron": 30}),
}  # fmt: skip
OF_EACH_KIND = ("mlp mixture", "cnn mixture", "gru mixture", "lstm vectors", "transformer mixture")


def spec_of(form: str) -> NetworkSpec:
    kind, blocks, sizes, more = FORMS[form]
    return NetworkSpec(type=kind, blocks=blocks, outputs=3, sizes=sizes, **more)


def large(form: str, seed: int = 0) -> tuple[nn.Module, NetworkSpec]:
    """Return a network whose every weight and statistic matters, in double precision: what differs, differs by more than rounding."""
    torch.manual_seed(seed)
    spec = spec_of(form)
    network = precise(build_network(spec))
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
            elif value.is_floating_point() and not name.endswith(("scale_C", "shift_C", "rate_D")):
                value.add_(0.3 * torch.randn_like(value))
    return network, spec


def precise(network: nn.Module) -> nn.Module:
    for part in network.modules():
        if isinstance(part, Normalize):
            part.register_forward_hook(lambda module, inputs, out: out.double())
    return network.double().eval()


def rebuilt(spec: NetworkSpec, tensors: dict[str, Tensor]) -> nn.Module:
    network = precise(build_network(spec))
    network.load_state_dict(tensors)
    return network


def rows(blocks: tuple[Block, ...], count: int = 7, seed: int = 0) -> dict[str, Tensor]:
    """Return rows some of which lack an image or a text."""
    random = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for block in blocks:
        if block.kind == "number":
            made[block.name] = random.normal(size=(count, *block.shape))
        elif block.kind == "category":
            made[block.name] = random.integers(0, block.cardinalities, (count, len(block.cardinalities))).astype(np.int32)
        elif block.kind == "present":
            made[block.name] = (np.arange(count)[:, None] > 1).astype(float)
        elif block.kind == "image":
            made[block.name] = random.integers(0, 256, (count, *block.shape), dtype=np.uint8)
        else:
            codes = random.integers(1, 50, (count, 12)).astype(np.int32)
            for place, length in enumerate([0, 12, *random.integers(1, 13, count - 2)]):
                codes[place, length:] = 0
            made[block.name] = codes
    return {name: torch.from_numpy(values) for name, values in made.items()}


def answers(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        out: Tensor = network(batch)
    return out


class Lots:
    """An importance by lot that remembers which units there are and which of them stay."""

    def __init__(self, seed: int = 0) -> None:
        self.random, self.kept = torch.Generator().manual_seed(seed), list[tuple[Units, Tensor]]()

    def __call__(self, units: Units, values: Tensors, gradients: Tensors) -> Tensor:
        scores = torch.rand(units.count, generator=self.random)
        stay = torch.zeros(units.count, dtype=torch.bool)
        stay[scores.argsort(descending=True, stable=True)[: units.keep]] = True
        self.kept.append((units, stay))
        return scores


def kill(network: nn.Module, kept: list[tuple[Units, Tensor]]) -> None:
    """Nothing writes and nothing reads the units that are not kept.

    The norms of a transformer see all dimensions of a token: dead are those that are zero where the others' mean is zero too, which sines
    and cosines are not; and tokens are planted large, for a norm adds 1e-5 to their variance.
    """
    state = network.state_dict()
    with torch.no_grad():
        for units, stay in kept:
            for member in units.members:
                tensor = state[member.tensor].movedim(member.dim, 0)
                if member.role != "along":
                    tensor[member.places_UP[~stay].flatten()] = 0
                if units.name == "tokens" and member.role == "in":
                    others = member.places_UP[stay].flatten()
                    tensor[others] = 20 * (tensor[others] - tensor[others].mean(0))
        for part in network.modules():
            if isinstance(part, TextTokens):
                part.scale.zero_()
