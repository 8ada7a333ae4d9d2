"""A multi-layer perceptron over numbers, embedded categories, flattened pixels and the mean of a text's tokens."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from weighbridge.models.layers import Normalize, Tabular, head
from weighbridge.models.registry import NetworkSpec, model
from weighbridge.models.text import TokenMean


class MLP(nn.Module):
    """Logits float [B, outputs] from hidden layers over all inputs side by side."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        images = [block for block in spec.blocks if block.kind == "image"]
        self.image_names = [block.name for block in images]
        self.tabular = Tabular(spec.blocks)
        self.normalize = nn.ModuleList(Normalize(block) for block in images)
        texts = [block for block in spec.blocks if block.kind == "text"]
        self.text_names = [block.name for block in texts]
        self.texts = nn.ModuleList(TokenMean(block, 2 * spec.sizes.width, spec.dropout) for block in texts)
        width = self.tabular.width + sum(prod(block.shape) for block in images) + 2 * spec.sizes.width * len(texts)
        self.head = head(width, spec.sizes.hidden, spec.outputs, activation=spec.activation, dropout=spec.dropout)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        parts = self.tabular(batch)
        for name, normalize in zip(self.image_names, self.normalize, strict=True):
            parts.append(normalize(batch[name]).flatten(1))
        parts += [reader(batch[name]) for name, reader in zip(self.text_names, self.texts, strict=True)]
        logits: Tensor = self.head(torch.cat(parts, dim=1))
        return logits


@model("mlp")
def mlp(spec: NetworkSpec) -> nn.Module:
    """Return the multi-layer perceptron."""
    return MLP(spec)
