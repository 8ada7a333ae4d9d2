"""Magnitude pruning: the smallest weights become zero (Han 2015), more of them the longer training goes on (Zhu and Gupta 2017).

The network keeps its form. Zeros make its file smaller, and it faster only where something runs them as zeros.

How small a weight is, is a share of its own layer (LAMP, Lee 2021): its square over the squares of all of the layer that are not smaller.
One threshold for the sizes as they are takes the layers away whose weights are small by their width or their start: at 0.8 zeros it left
0.17 of 0.705 right on examples/emoji.yaml and 0.49 of 0.716 on examples/movies.yaml, where this leaves 0.66 and 0.64 (before fine-tuning).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from weighbridge.errors import RecipeError

Masks = dict[str, Tensor]  # name of a weight -> bool in its shape: True stays, False is zero


def masks(network: nn.Module, share: float, before: Mapping[str, Tensor] | None = None) -> Masks:
    """Return which weights stay when `share` of them, the smallest of the whole network, become zero; the network stays as it is.

    Counted are the matrices of linear and recurrent layers, the kernels of convolutions and the tables of embeddings, but not a table's
    rows of zeros (padding, codes that no training row has); biases, norms and vectors always stay. Within a layer the smallest go, of
    equal ones the first; between layers the smallest share of what the layer holds. Each layer keeps its largest weight, so that nothing
    is cut off: of few weights fewer than `share` may go.

    Args:
        share: from 0 up to but not 1.
        before: masks of a smaller share for the same network: what they left out stays out.
    Raises:
        RecipeError: the share is none, or the network has no such weights.
    """
    if not 0 <= share < 1:
        raise RecipeError(f"magnitude pruning: {share:g} is no share of weights that become zero", do="give a share from 0 to below 1")
    sizes = {name: _shares(_sizes(weight, layer, (before or {}).get(name))) for name, weight, layer in _weights(network)}
    if not sizes:
        raise RecipeError("magnitude pruning: the network has no matrix, kernel or table", do="choose another form")
    flat = torch.cat([size.flatten() for size in sizes.values()])
    counted = int((flat < torch.inf).sum())
    for size, start in zip(sizes.values(), _starts(sizes), strict=True):
        flat[start + int(size.masked_fill(size == torch.inf, -1.0).argmax())] = torch.inf  # the largest of a layer stays
    stay = _without_smallest(flat, min(int(share * counted + 0.5), int((flat < torch.inf).sum())))
    return {
        name: stay[start : start + size.numel()].view(size.shape) for (name, size), start in zip(sizes.items(), _starts(sizes), strict=True)
    }


def apply(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """The weights that the masks leave out are zero, all others as they were."""
    weights = dict(network.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].masked_fill_(~mask.to(weights[name].device), 0.0)


def share_at(step: int, steps: int, final: float) -> float:
    """Return the share of zeros after `step` of `steps`: 0 at the start, `final` from the end on, fast at first, when there is much to
    spare, and ever slower: final (1 - (1 - t)^3) (Zhu and Gupta 2017).
    """
    left = 1.0 - min(max(step, 0) / max(steps, 1), 1.0)
    return final * (1.0 - left**3)


def _weights(network: nn.Module) -> Iterator[tuple[str, Tensor, nn.Module]]:
    """Give name, weight and layer of all that may become zero, in the order of the network."""
    for place, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding | nn.RNNBase):
            for name, weight in layer.named_parameters(prefix=place, recurse=False):
                if weight.ndim >= 2:
                    yield name, weight.detach().cpu(), layer


def _sizes(weight: Tensor, layer: nn.Module, before: Tensor | None) -> Tensor:
    """Return how large each weight is: below 0 what is out already, infinite what may not go."""
    size = weight.float().abs()
    if isinstance(layer, nn.Embedding):
        blank = size.sum(1) == 0 if before is None else (size.sum(1) == 0) & before.cpu().all(1)
        size = size.masked_fill(blank.unsqueeze(1), torch.inf)
    return size if before is None else size.masked_fill(~before.cpu(), -1.0)


def _shares(size: Tensor) -> Tensor:
    """Return float64: the square of each weight over the sum of the squares of those that are not smaller; out and infinite stay so."""
    square = size.flatten().double().square()
    counted = ((size >= 0) & (size < torch.inf)).flatten()
    order = counted.nonzero().squeeze(1)
    order = order[square[order].argsort(stable=True)]
    above = square[order].flip(0).cumsum(0).flip(0)
    shares = size.flatten().double()
    shares[order] = square[order] / above.clamp_min(torch.finfo(torch.float64).tiny)
    return shares.view(size.shape)


def _starts(sizes: Mapping[str, Tensor]) -> list[int]:
    """Return where each weight begins when all are laid one behind the other."""
    ends = torch.tensor([size.numel() for size in sizes.values()]).cumsum(0).tolist()
    return [0, *ends[:-1]]


def _without_smallest(flat: Tensor, count: int) -> Tensor:
    """Return bool: all but the `count` smallest; of equal ones the first go."""
    stay = torch.ones_like(flat, dtype=torch.bool)
    if count:
        highest = flat.kthvalue(count).values
        stay[flat < highest] = False
        equal = (flat == highest).nonzero().squeeze(1)
        stay[equal[: count - int((~stay).sum())]] = False
    return stay
