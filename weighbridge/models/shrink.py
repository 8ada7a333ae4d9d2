"""Structured pruning: a network of a smaller spec whose weights are a selection of the larger one's (Li 2017; Muralidharan 2024).

The result is built by `build_network` like any other: really smaller, really faster, and training goes on from it in the ordinary loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from weighbridge.errors import RecipeError
from weighbridge.models.fusion import Fusion
from weighbridge.models.mlp import MLP
from weighbridge.models.registry import NetworkSpec
from weighbridge.models.shrink_fusion import fusion_units, mlp_units
from weighbridge.models.shrink_transformer import transformer_units, with_norms_scaled
from weighbridge.models.shrink_units import IMPORTANCES, Importance, Units, chosen, left, magnitude, stays, taylor
from weighbridge.models.text import Recurrent
from weighbridge.models.transformer import HEAD_WIDTH, Transformer
from weighbridge.storage.seeds import key_of

__all__ = ["IMPORTANCES", "Importance", "drop_layers", "hold_gradients", "magnitude", "renew_statistics", "shrink", "taylor"]

DO = "leave structured pruning out of optimization.compression.forms, or choose another form"
OURS = ("mlp", "cnn", "rnn", "transformer")  # a plugin may be made of the same parts, and have others beside them
PIECE_ROWS = 8  # rows of one draw of signs: over 512 rows, draws of 64 kept less accuracy, draws of 1 no more at four times the time


def shrink(network: nn.Module, spec: NetworkSpec, *, keep: float, importance: Importance = taylor) -> tuple[NetworkSpec, dict[str, Tensor]]:
    """Return the smaller network's spec and state; `network`, built from `spec`, stays as it is.

    Of each layer the share `keep` of its hidden units, channels, dimensions or heads stays, at least one, those that matter most; widths
    of a transformer stay multiples of its heads' width. Units that nothing writes and nothing reads can go without any change of the
    answers. Equal networks give equal bits; of equally important units the first stay.

    Args:
        keep: above 0 and below 1.
        importance: `taylor`, which reads the gradients that the network has (hold_gradients), or another one of shrink_units.
    Raises:
        RecipeError: the network has no units that could be left out (linear, pretrained, of a plugin), or all of them would stay.
        ValueError: `taylor`, and the network has no gradients.
    """
    if not 0 < keep < 1:
        raise RecipeError(f"structured pruning: {keep:g} is no share of units that stay", do="give a share above 0 and below 1")
    smaller = _smaller(spec, keep)
    units = _units(network, smaller)
    if not any(one.keep < one.count for one in units):
        raise RecipeError(
            f"structured pruning: {keep:g} of its units leaves the {spec.type} at the sizes that it has", do=f"lower it; or {DO}"
        )
    values = network.state_dict()
    gradients = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    selections = [(one, chosen(one, importance, values, gradients)) for one in units]
    found = left(values, selections)
    return smaller, with_norms_scaled(found, values, *selections[0]) if isinstance(network, Transformer) else found


def drop_layers(network: nn.Module, spec: NetworkSpec, keep_layers: Sequence[int]) -> tuple[NetworkSpec, dict[str, Tensor]]:
    """Return spec and state of the network with these layers only (from 0, rising): blocks of a transformer, layers of a recurrent network.

    The first layer of a recurrent network stays: it alone reads tokens. Raises RecipeError for other networks and other layers.
    """
    prefixes, depth = _layer_lists(network)
    kept, first = list(keep_layers), isinstance(network, Fusion)
    if kept != sorted(set(kept)) or not 0 < len(kept) < depth or not set(kept) <= set(range(depth)) or (first and kept[0] != 0):
        rule = f"fewer than {depth} of 0 to {depth - 1}, rising{', with 0' if first else ''}"
        raise RecipeError(f"structured pruning: layers {kept} can not be what is left of {depth}", do=f"give {rule}" if depth > 1 else DO)
    names = {f"{prefix}{old}.": f"{prefix}{new}." for prefix in prefixes for new, old in enumerate(kept)}
    gone = tuple(f"{prefix}{old}." for prefix in prefixes for old in set(range(depth)) - set(kept))
    found = {_renamed(name, names): value.detach().clone() for name, value in network.state_dict().items() if not name.startswith(gone)}
    given = None if spec.depth_given is None else len(kept)
    return replace(spec, sizes=replace(spec.sizes, depth=len(kept)), depth_given=given), found


def hold_gradients(network: nn.Module, batches: Iterable[dict[str, Tensor]], *, seed: int) -> None:
    """`.grad` of each weight is the root mean square, over the rows, of the gradient of the answers: how much they hang on that weight.

    The rows are training rows, some hundred (512 were measured); labels are not read. Of the loss the gradient would say little: on rows
    that a network has learned by heart it is next to nothing whatever the weights do. The answers (logits, scaled values) are summed
    with signs by lot, and the squares over lots are those of each answer by itself (Hutchinson 1990). In evaluation mode; the network is
    left in the mode that it was in. Raises ValueError when there are no rows.
    """
    lots = torch.Generator().manual_seed(key_of(seed, "signs of answers") % 2**63)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    squares, pieces, was_training = [torch.zeros_like(weight) for weight in weights], 0, network.training
    network.eval()
    with torch.backends.cudnn.flags(enabled=False):  # its recurrent layers have no backward pass in evaluation mode
        for batch in batches:
            for start in range(0, len(next(iter(batch.values()))), PIECE_ROWS):
                out: Tensor = network({name: values[start : start + PIECE_ROWS] for name, values in batch.items()})
                signs = torch.randint(0, 2, out.shape, generator=lots).to(out) * 2 - 1
                for square, found in zip(squares, torch.autograd.grad((out * signs).sum(), weights, allow_unused=True), strict=True):
                    if found is not None:
                        square.addcmul_(found, found)
                pieces += 1
    network.train(was_training)
    if not pieces:
        raise ValueError("there are no rows")
    for weight, square in zip(weights, squares, strict=True):
        weight.grad = square.div_(pieces).sqrt_()


def renew_statistics(network: nn.Module, batches: Iterable[dict[str, Tensor]]) -> None:
    """The running mean and variance of each batch normalisation are those of these rows; nothing happens where there is none.

    Those of the larger network belong to sums over channels that are gone, and most of what a convolutional network loses when it shrinks
    is lost by them (Li 2020, EagleEye). Training renews them by itself. The network is left in the mode that it was in.
    Raises ValueError when there are no rows.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    was_training, momenta, seen = network.training, [norm.momentum for norm in norms], 0
    network.eval()
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # the mean over all batches
    with torch.no_grad():
        for batch in batches if norms else ():
            network(batch)
            seen += 1
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was_training)
    if norms and not seen:
        raise ValueError("there are no rows")


def _smaller(spec: NetworkSpec, keep: float) -> NetworkSpec:
    """Return the spec with all sizes at the share `keep`, those that its network does not read included."""
    sizes = spec.sizes
    if spec.type == "transformer":
        width = sizes.width - sizes.width % HEAD_WIDTH or HEAD_WIDTH
        perceptron = 2 * width if spec.perceptron is None else spec.perceptron
        return replace(spec, sizes=replace(sizes, width=stays(width, keep, HEAD_WIDTH)), perceptron=stays(perceptron, keep))
    hidden, channels = (tuple(stays(size, keep) for size in part) for part in (sizes.hidden, sizes.channels))
    vectors = None if spec.vectors is None else stays(spec.vectors, keep)
    return replace(spec, sizes=replace(sizes, hidden=hidden, channels=channels, width=stays(sizes.width, keep)), vectors=vectors)


def _units(network: nn.Module, smaller: NetworkSpec) -> list[Units]:
    if smaller.type in OURS and isinstance(network, Transformer):
        return transformer_units(network, smaller)
    if smaller.type in OURS and isinstance(network, MLP):
        return mlp_units(network, smaller)
    if smaller.type in OURS and isinstance(network, Fusion):
        return fusion_units(network, smaller)
    raise RecipeError(f"structured pruning: {_why_not(smaller)}", do=DO)


def _why_not(spec: NetworkSpec) -> str:
    if spec.type == "linear":
        return "a linear model has no units between its inputs and its outputs"
    if spec.pretrained is not None:
        return f"the encoder {spec.pretrained['source']} is built from its source's config, which has one width"
    return f"what the units of '{spec.type}' are is known to the package that brings it"


def _layer_lists(network: nn.Module) -> tuple[list[str], int]:
    """Return the prefixes of the lists of layers and how long they are. Raises RecipeError for a network without."""
    if isinstance(network, Transformer):
        return ["layers."], len(network.layers)
    readers = (
        [(place, part) for place, part in enumerate(network.readers) if isinstance(part, Recurrent)] if isinstance(network, Fusion) else []
    )
    if not readers:
        raise RecipeError("structured pruning: only transformers and recurrent networks have layers that can be left out whole", do=DO)
    return [f"readers.{place}.{side}." for place, _ in readers for side in ("forwards", "backwards")], len(readers[0][1].forwards)


def _renamed(name: str, names: dict[str, str]) -> str:
    return next((new + name.removeprefix(old) for old, new in names.items() if name.startswith(old)), name)
