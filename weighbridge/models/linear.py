"""One linear map from all inputs to the outputs: the model that a deeper one must beat."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from weighbridge.models.layers import Normalize, OrMissing
from weighbridge.models.registry import NetworkSpec, model
from weighbridge.models.text import TokenMean


class Linear(nn.Module):
    """Logits float [B, outputs]: weights on numbers and pixels, one weight a category value, the mean weight of a text's tokens, a bias.

    Whether a row has an image or a text has a weight, too.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        dense = [block for block in spec.blocks if block.kind in ("number", "present")]
        self.number_names = [block.name for block in dense]
        self.numbers = nn.ModuleList(nn.Linear(block.shape[0], spec.outputs, bias=False) for block in dense)
        self.categories: nn.ModuleDict = nn.ModuleDict()
        self.pixels, self.normalize = nn.ModuleList(), nn.ModuleList()
        self.image_names = [block.name for block in spec.blocks if block.kind == "image"]
        for block in spec.blocks:
            if block.kind == "category":
                self.categories[block.name] = nn.ModuleList(nn.Embedding(size, spec.outputs) for size in block.cardinalities)
            elif block.kind == "image":
                self.normalize.append(Normalize(block))
                self.pixels.append(nn.Linear(prod(block.shape), spec.outputs, bias=False))
        self.text_names = [block.name for block in spec.blocks if block.kind == "text"]
        self.texts = nn.ModuleList(TokenMean(block, spec.outputs) for block in spec.blocks if block.kind == "text")
        self.or_missing = nn.ModuleList(OrMissing(spec.outputs) for _ in self.text_names)
        self.bias = nn.Parameter(torch.zeros(spec.outputs))
        for weight in self.parameters():
            nn.init.zeros_(weight)  # convex: zero is as good a start as any, and the same for every seed

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        parts = [layer(batch[name]) for name, layer in zip(self.number_names, self.numbers, strict=True)]
        for name, tables in self.categories.items():
            parts += [table(batch[name][:, place]) for place, table in enumerate(tables.children())]
        for name, normalize, layer in zip(self.image_names, self.normalize, self.pixels, strict=True):
            parts.append(layer(normalize(batch[name]).flatten(1)))
        for name, reader, or_missing in zip(self.text_names, self.texts, self.or_missing, strict=True):
            parts.append(or_missing(reader(batch[name]), (batch[name] != 0).any(1, keepdim=True)))
        return torch.stack(parts).sum(0) + self.bias


@model("linear")
def linear(spec: NetworkSpec) -> nn.Module:
    """Return the linear model."""
    return Linear(spec)
