"""Attention rollout (Abnar 2020): how much of each token reaches what a transformer of ours reads, weights recomputed from its layers.

Shape suffixes: B batch, L tokens, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.models.transformer import Layer, PatchTokens, Transformer
from weighbridge.preprocessing import Ragged

if TYPE_CHECKING:
    from weighbridge.runtime.explained import Explained
    from weighbridge.runtime.occlusion import Attributions

AT_ONCE = 32  # rows: the weights of a layer are L x L a row


def has_attention(network: nn.Module) -> bool:
    """Whether the weights of a network's attention can be read."""
    return isinstance(network, Transformer)


def rollout(network: nn.Module, rows: Explained) -> Attributions:
    """Return the share of each part in what is read, never negative: it knows no sign and no class.

    Read are the answer's token, and where there are texts the mean of all tokens too; the two count half each.
    """
    assert isinstance(network, Transformer)
    network.eval()
    found: Attributions = []
    for start in range(0, len(rows), AT_ONCE):
        piece = rows.subset(np.arange(start, min(start + AT_ONCE, len(rows))))
        batch = {
            name: torch.from_numpy(np.array(values[:] if isinstance(values, Ragged) else values))
            for name, values in piece.arrays.blocks.items()
        }
        shares_BL, counts = _rolled(network, batch)
        found += [_shared(network, piece, place, shares_BL[place], counts) for place in range(len(piece))]
    return found


def _rolled(network: Transformer, batch: Mapping[str, Tensor]) -> tuple[np.ndarray, list[int]]:
    """Return the share of each token but the answer's, float64 [B, L - 1], and how many tokens each block has."""
    seen: list[tuple[Any, ...]] = []
    counts: list[int] = []
    handles = [layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs)) for layer in network.layers]
    handles += [part.register_forward_hook(lambda _, __, output: counts.append(output.shape[1])) for part in network.tokens]
    try:
        with torch.no_grad():
            network(dict(batch))
            rolled_BLL: Tensor | None = None
            for layer, inputs in zip(network.layers, seen, strict=True):
                weights_BLL = _weights(layer, *inputs)
                rolled_BLL = weights_BLL if rolled_BLL is None else weights_BLL @ rolled_BLL
    finally:
        for handle in handles:
            handle.remove()
    assert rolled_BLL is not None
    read_BL = rolled_BLL[:, 0]
    held = seen[0][1]
    if network.text_names and held is not None:
        held_BL1 = held[:, 0, 0, :, None].to(rolled_BLL.dtype)
        read_BL = (read_BL + (rolled_BLL * held_BL1).sum(1) / held_BL1.sum(1)) / 2
    return read_BL[:, 1:].double().numpy(), counts


def _weights(layer: nn.Module, x_BLD: Tensor, held_B11L: Tensor | None = None) -> Tensor:
    """Return a layer's attention, the mean of its heads, half of it the token itself (the residual path): float [B, L, L]."""
    assert isinstance(layer, Layer)
    batch, length, width = x_BLD.shape
    split = layer.query_key_value(layer.attention_norm(x_BLD)).view(batch, length, 3, layer.heads, width // layer.heads)
    query, key, _ = split.permute(2, 0, 3, 1, 4).unbind(0)
    scores_BHLL = query @ key.transpose(-1, -2) / (width // layer.heads) ** 0.5
    if held_B11L is not None:
        scores_BHLL = scores_BHLL.masked_fill(~held_B11L, -torch.inf)
    weights_BLL: Tensor = 0.5 * scores_BHLL.softmax(-1).mean(1) + 0.5 * torch.eye(length)
    return weights_BLL


def _shared(network: Transformer, rows: Explained, place: int, shares_L: np.ndarray, counts: list[int]) -> np.ndarray:
    """Return the shares of one row's tokens, summed within its parts."""
    layout = rows.layouts[place]
    found, start = np.zeros(len(layout)), 0
    for name, part, count in zip(network.names, network.tokens, counts, strict=True):
        shares, owner = shares_L[start : start + count], layout.owner[name]
        start += count
        if isinstance(part, PatchTokens):
            size = int(part.embed.kernel_size[0])
            down, across = owner.shape[0] // size, owner.shape[1] // size
            pixels = np.zeros(owner.shape)
            pixels[: down * size, : across * size] = np.kron(shares.reshape(down, across), np.full((size, size), 1 / size**2))
            np.add.at(found, owner, pixels)
        else:
            np.add.at(found, owner, shares[: len(owner)])
    return found
