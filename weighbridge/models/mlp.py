"""A multi-layer perceptron over numbers, embedded categories, flattened pixels and the mean of a text's tokens."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from weighbridge.models.layers import Normalize, OrMissing, Tabular, head
from weighbridge.models.registry import NetworkSpec, model
from weighbridge.models.text import TokenMean


class MLP(nn.Module):
    """Logits float [B, outputs] from hidden layers over all inputs side by side; an input says which rows have an image."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        images = [block for block in spec.blocks if block.kind == "image"]
        self.image_names = [block.name for block in images]
        self.tabular = Tabular(spec.blocks)
        self.present_names = [block.name for block in spec.blocks if block.kind == "present"]
        self.normalize = nn.ModuleList(Normalize(block) for block in images)
        texts = [block for block in spec.blocks if block.kind == "text"]
        self.text_names = [block.name for block in texts]
        self.texts = nn.ModuleList(TokenMean(block, 2 * spec.sizes.width, spec.dropout) for block in texts)
        self.or_missing = nn.ModuleList(OrMissing(2 * spec.sizes.width) for _ in texts)
        width = (
            self.tabular.width + len(self.present_names) + sum(prod(block.shape) for block in images) + 2 * spec.sizes.width * len(texts)
        )
        self.head = head(width, spec.sizes.hidden, spec.outputs, activation=spec.activation, dropout=spec.dropout)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        parts = self.tabular(batch) + [batch[name] for name in self.present_names]
        for name, normalize in zip(self.image_names, self.normalize, strict=True):
            parts.append(normalize(batch[name]).flatten(1))
        for name, reader, or_missing in zip(self.text_names, self.texts, self.or_missing, strict=True):
            parts.append(or_missing(reader(batch[name]), (batch[name] != 0).any(1, keepdim=True)))
        logits: Tensor = self.head(torch.cat(parts, dim=1))
        return logits


@model("mlp")
def mlp(spec: NetworkSpec) -> nn.Module:
    """Return the multi-layer perceptron."""
    return MLP(spec)
