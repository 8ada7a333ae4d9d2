"""What of a pretrained encoder is trained, and how fast: nothing, the last blocks, all of it, or low-rank additions (LoRA, Hu 2022).

An encoder is embeddings, then a list of equal blocks, then what closes it (a norm): that list is the one with the most weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from weighbridge.errors import RecipeError
from weighbridge.models.pretrained import encoder_of, peft, read_weights
from weighbridge.preprocessing import open_source

if TYPE_CHECKING:
    from weighbridge.models.registry import NetworkSpec
    from weighbridge.recipe import ModelOptions

LORA_SCALE = 2  # alpha over rank: what is added is scaled by it


def begin(network: nn.Module, spec: NetworkSpec, options: ModelOptions) -> nn.Module:
    """Return the network as it is trained: the source's weights, those that stay marked so, additions added.

    Raises RecipeError when the encoder has fewer blocks than are to be trained, or the weights do not fit.
    """
    if spec.pretrained is None:
        return network
    encoder = encoder_of(network)
    if options.tune != "scratch":
        read_weights(encoder, open_source(spec.pretrained["source"]))
    if options.tune in ("frozen", "last", "lora"):
        encoder.requires_grad_(False)
    for name, parameter in encoder.named_parameters():
        if name.startswith("pooler."):  # its output is not read
            parameter.requires_grad_(False)
    if options.tune == "last":
        _free_last(encoder, options.blocks)
    if options.tune == "lora":
        _add_lora(encoder, options.lora_rank)
    return network


def merge(network: nn.Module) -> nn.Module:
    """Return the network with low-rank additions added into the weights that they change: the plain network of the spec."""
    encoder = encoder_of(network)
    with peft() as library:
        layers = [(name, part) for name, part in encoder.named_modules() if isinstance(part, library.tuners.lora.LoraLayer)]
    for name, part in layers:
        changed: Any = part
        changed.merge(safe_merge=True)
        parent, _, last = name.rpartition(".")
        setattr(encoder.get_submodule(parent), last, changed.get_base_layer())
    return network


def rate_scales(network: nn.Module, decay: float) -> dict[int, float]:
    """Return the share of the learning rate of each of the encoder's parameters (by id): decay to the power of blocks above it.

    The head and what closes the encoder learn at the full rate, the last block at `decay`, the embeddings slowest (Clark 2020).
    """
    if decay == 1.0:
        return {}
    encoder = encoder_of(network)
    count = len(_blocks(encoder)[1])
    return {id(parameter): decay ** (count + 1 - depth) for depth, _, parameter in _by_depth(encoder)}


def _free_last(encoder: nn.Module, wanted: int) -> None:
    count = len(_blocks(encoder)[1])
    if wanted > count:
        raise RecipeError(
            f"training.model.blocks: {wanted}, but the encoder has {count} blocks",
            do=f"lower it, at most {count}, or set training.model.tune: all",
        )
    for depth, name, parameter in _by_depth(encoder):
        if depth > count - wanted and not name.startswith("pooler."):
            parameter.requires_grad_(True)


def _add_lora(encoder: nn.Module, rank: int) -> None:
    place, blocks = _blocks(encoder)
    targets = [f"{place}.{name}" for name, part in blocks.named_modules() if isinstance(part, nn.Linear)]
    if not targets:
        raise RecipeError("training.model.tune: lora needs linear maps, and the encoder's blocks have none", do="choose last or all")
    with peft() as library:
        settings = library.LoraConfig(r=rank, lora_alpha=LORA_SCALE * rank, target_modules=targets, lora_dropout=0.0, bias="none")
        library.inject_adapter_in_model(settings, encoder)


def _blocks(encoder: nn.Module) -> tuple[str, nn.ModuleList]:
    """Return the list of blocks and its name. Raises RecipeError for an encoder without one."""
    lists = [(name, part) for name, part in encoder.named_modules() if isinstance(part, nn.ModuleList) and len(part)]
    if not lists:
        raise RecipeError("the pretrained encoder has no list of blocks", do="set training.model.tune to frozen or all, layer_decay to 1")
    return max(lists, key=lambda one: sum(parameter.numel() for parameter in one[1].parameters()))


def _by_depth(encoder: nn.Module) -> list[tuple[int, str, nn.Parameter]]:
    """Return (depth, name, parameter): 0 before the blocks, k in the k-th, one more than there are behind them."""
    place, blocks = _blocks(encoder)
    found, behind = [], False
    for name, parameter in encoder.named_parameters():
        inside = name.startswith(f"{place}.")
        behind = behind or inside
        depth = int(name.removeprefix(f"{place}.").split(".")[0]) + 1 if inside else (len(blocks) + 1) * behind
        found.append((depth, name, parameter))
    return found
