"""Which networks there are, and what each is told.

A builder is a function from a NetworkSpec to a torch module whose `forward(batch)` takes a dictionary of block name ->
tensor (see preprocessing) and returns logits or standardised values, float [B, outputs]. A package may add its own under
the entry-point group `weighbridge.models`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from weighbridge.errors import RecipeError, did_you_mean
from weighbridge.preprocessing import Block
from weighbridge.storage import sha256_file, sha256_json, sha256_tree

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.recipe import ModelOptions

PLUGINS = "weighbridge.models"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the one dial `size:` means for each network."""

    hidden: tuple[int, ...]
    channels: tuple[int, ...]
    width: int
    depth: int


DIAL = {
    "xs": Sizes(hidden=(64,), channels=(8, 16), width=16, depth=1),
    "s": Sizes(hidden=(128, 128), channels=(16, 32, 64), width=32, depth=2),
    "m": Sizes(hidden=(256, 256), channels=(32, 64, 128), width=64, depth=3),
    "l": Sizes(hidden=(512, 512, 512), channels=(64, 128, 256), width=128, depth=4),
    "xl": Sizes(hidden=(1024, 1024, 1024), channels=(96, 192, 384), width=192, depth=6),
}


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """All that is needed to build the same network again: stored as JSON beside its weights."""

    type: str
    blocks: tuple[Block, ...]
    outputs: int
    sizes: Sizes
    activation: str = "relu"
    dropout: float = 0.0
    residual: bool = False
    convolutions: int = 2
    norm: bool = True
    flatten: bool = False
    hidden_given: bool = False
    depth_given: int | None = None
    cell: str = "lstm"
    bidirectional: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    pretrained: dict[str, Any] | None = None
    vectors: int | None = None
    perceptron: int | None = None  # units of a transformer's perceptrons; None: twice the width

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "blocks": [block.to_json() for block in self.blocks]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        sizes = value["sizes"]
        return cls(**{**value, "blocks": tuple(Block.from_json(block) for block in value["blocks"]),
                      "sizes": Sizes(**{**sizes, "hidden": tuple(sizes["hidden"]), "channels": tuple(sizes["channels"])})})  # fmt: skip


Network = Callable[[NetworkSpec], "nn.Module"]
MODELS: dict[str, Network] = {}


def model(name: str) -> Callable[[Network], Network]:
    """Register a builder under `name`."""

    def register(builder: Network) -> Network:
        MODELS[name] = builder
        return builder

    return register


def choose_type(options: ModelOptions, blocks: tuple[Block, ...]) -> str:
    """Return the network's name: the recipe's, or for `auto` cnn where images are, transformer where texts are, else mlp."""
    if options.type != "auto":
        return options.type
    kinds = {block.kind for block in blocks}
    return "cnn" if "image" in kinds else "transformer" if "text" in kinds else "mlp"


def derived_sizes(options: ModelOptions) -> Sizes:
    """Return the dial's values with those that the recipe names itself."""
    dial = DIAL[options.size]
    return Sizes(
        hidden=dial.hidden if options.hidden is None else tuple(options.hidden),
        channels=dial.channels if options.channels is None else tuple(options.channels),
        width=options.width or dial.width,
        depth=options.depth or dial.depth,
    )


def build_network(spec: NetworkSpec) -> nn.Module:
    """Return a new network with weights drawn from torch's global generator. Raises RecipeError for an unknown name."""
    _load_builtin()
    builder = MODELS.get(spec.type) or _plugin(spec.type)
    return builder(spec)


def known_models() -> list[str]:
    """Return the names that `training.model` may take."""
    from importlib.metadata import entry_points

    _load_builtin()
    return sorted({*MODELS, *(point.name for point in entry_points(group=PLUGINS))})


def plugin_version(name: str) -> str | None:
    """Return a hash of the version and the source of the package that brings the network `name`, None where no plugin does.

    Nothing of it is imported or run. A plugin is its top-level package or module: all Python files of it count.
    """
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    for point in entry_points(group=PLUGINS, name=name):
        found = find_spec(point.module.split(".")[0])
        files = [Path(found.origin)] if found and found.origin and Path(found.origin).is_file() else []
        folders = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
        code = [sha256_tree(folder, "**/*.py") for folder in folders] or [sha256_file(file) for file in files]
        return sha256_json({"point": point.value, "version": point.dist.version if point.dist else None, "code": code})
    return None


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_all(network: nn.Module) -> int:
    """Return the number of values, those included that training leaves as they are."""
    return sum(parameter.numel() for parameter in network.parameters())


def _load_builtin() -> None:
    from weighbridge.models import cnn, linear, mlp, pretrained, rnn, transformer  # noqa: F401 - they register themselves


def _plugin(name: str) -> Network:
    from importlib.metadata import entry_points

    for point in entry_points(group=PLUGINS):
        if point.name == name:
            builder: Network = point.load()
            return builder
    raise RecipeError(
        f"training.model: there is no network '{name}'{did_you_mean(name, ['auto', *known_models()])}",
        do=f"known: auto, {', '.join(known_models())}; others come from packages with the entry point {PLUGINS}",
    )
