"""Transformer whose tokens are those of a text (Vaswani 2017), a row's columns (FT-Transformer, Gorishniy 2021) and an image's patches
(ViT, Dosovitskiy 2021), in any mixture.

Shape suffixes: B batch, L tokens, D width, K category columns, N numbers, C channel, H height, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from weighbridge.models.layers import Normalize, blank_unseen, presence
from weighbridge.models.registry import NetworkSpec, model
from weighbridge.models.text import TokenTable
from weighbridge.preprocessing import Block
from weighbridge.preprocessing.category import FIRST_KNOWN

HEAD_WIDTH = 16


class NumberTokens(nn.Module):
    """float [B, N] -> [B, N, D]: each number scales a vector of its own and is shifted by another."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight_ND = nn.Parameter(torch.empty(count, width).uniform_(-1, 1) / width**0.5)
        self.bias_ND = nn.Parameter(torch.empty(count, width).uniform_(-1, 1) / width**0.5)

    def forward(self, x_BN: Tensor) -> Tensor:
        return x_BN.unsqueeze(-1) * self.weight_ND + self.bias_ND


class CategoryTokens(nn.Module):
    """int [B, K] -> [B, K, D]: one table for all columns, each column with its own part of it, and a bias a column.

    The bias is learned from every row: it is the token of a value that no training row has, whose own vector is zero. (A token of
    zeros would also be scaled up without bound by the normalisation that follows, and its gradient with it.)
    """

    start_K: Tensor

    def __init__(self, cardinalities: tuple[int, ...], width: int) -> None:
        super().__init__()
        ends = torch.tensor(cardinalities).cumsum(0)
        self.register_buffer("start_K", torch.cat([torch.zeros(1, dtype=torch.int64), ends[:-1]]))
        self.table = nn.Embedding(int(ends[-1]), width)
        nn.init.uniform_(self.table.weight, -(width**-0.5), width**-0.5)
        self.bias_KD = nn.Parameter(torch.empty(len(cardinalities), width).uniform_(-1, 1) / width**0.5)
        for start in self.start_K.tolist():
            blank_unseen(self.table.weight[start : start + FIRST_KNOWN])

    def forward(self, codes_BK: Tensor) -> Tensor:
        tokens: Tensor = self.table(codes_BK.long() + self.start_K) + self.bias_KD
        return tokens


class PatchTokens(nn.Module):
    """uint8 [B, H, W, C] -> [B, L, D]: patches about a seventh of the side, with learned places."""

    def __init__(self, block: Block, width: int) -> None:
        super().__init__()
        height, wide, channels = block.shape
        patch = max(1, round(min(height, wide) / 7))
        self.normalize = Normalize(block)
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.place_LD = nn.Parameter(torch.randn((height // patch) * (wide // patch), width) * 0.02)

    def forward(self, image_BHWC: Tensor) -> Tensor:
        patches_BDL: Tensor = self.embed(self.normalize(image_BHWC)).flatten(2)
        return patches_BDL.transpose(1, 2) + self.place_LD


class TextTokens(nn.Module):
    """int32 [B, L] -> [B, L, D]: a learned vector a token and its place as sines and cosines (Vaswani 2017), for texts of any length."""

    rate_D: Tensor

    def __init__(self, block: Block, width: int, dropout: float) -> None:
        super().__init__()
        self.tokens = TokenTable(block, width)
        self.scale = nn.Parameter(torch.full((1,), width**-0.5))
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("rate_D", torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width)))

    def forward(self, codes_BL: Tensor) -> Tensor:
        place_L1 = torch.arange(codes_BL.shape[1], device=codes_BL.device, dtype=torch.float32).unsqueeze(1)
        angle_LD = place_L1 * self.rate_D
        place_LD = torch.cat([angle_LD.sin(), angle_LD.cos()], dim=1)
        out: Tensor = self.dropout(self.tokens(codes_BL) + self.scale * place_LD)
        return out


class Layer(nn.Module):
    """[B, L, D] -> [B, L, D]: attention, then a perceptron, each normalised first (Xiong 2020).

    `held` bool [B, 1, 1, L], where given: places that may be attended to.
    """

    def __init__(self, width: int, perceptron: int, dropout: float) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.dropout = dropout
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, perceptron), nn.GELU(), nn.Dropout(dropout), nn.Linear(perceptron, width))

    def forward(self, x_BLD: Tensor, held_B11L: Tensor | None = None) -> Tensor:
        x_BLD = x_BLD + self._attend(self.attention_norm(x_BLD), held_B11L)
        out: Tensor = x_BLD + self.perceptron(self.perceptron_norm(x_BLD))
        return out

    def _attend(self, x_BLD: Tensor, held_B11L: Tensor | None) -> Tensor:
        batch, length, width = x_BLD.shape
        split = self.query_key_value(x_BLD).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=held_B11L, dropout_p=dropout)
        out: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class Transformer(nn.Module):
    """Logits float [B, outputs], read from a learned token that attends to all others, and where there are texts also from the mean of
    all that is held: with some thousand rows the mean is learned from sooner than the one token (docs/text.md has the figures).
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        width = spec.sizes.width - spec.sizes.width % HEAD_WIDTH or HEAD_WIDTH
        read = [block for block in spec.blocks if block.kind != "present"]
        self.tokens = nn.ModuleList(_tokens(block, width, spec.dropout) for block in read)
        self.names = [block.name for block in read]
        self.presence = presence(spec.blocks)
        self.text_names = [block.name for block in spec.blocks if block.kind == "text"]
        self.answer_D = nn.Parameter(torch.randn(width) * 0.02)
        perceptron = 2 * width if spec.perceptron is None else spec.perceptron
        self.layers = nn.ModuleList(Layer(width, perceptron, spec.dropout) for _ in range(spec.sizes.depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(2 * width if self.text_names else width, spec.outputs)
        self.dropout = nn.Dropout(spec.dropout if self.text_names else 0.0)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        parts = [embed(batch[name]) for name, embed in zip(self.names, self.tokens, strict=True)]
        answer_B1D = self.answer_D.expand(parts[0].shape[0], 1, -1)
        x_BLD = torch.cat([answer_B1D, *parts], dim=1)
        held_B11L = self._held(batch, parts) if self.text_names or self.presence else None
        for layer in self.layers:
            x_BLD = layer(x_BLD, held_B11L)
        x_BLD = self.norm(x_BLD) if self.text_names else self.norm(x_BLD[:, :1])
        read_BD = x_BLD[:, 0]
        if self.text_names and held_B11L is not None:
            held_BL1 = held_B11L[:, 0, 0, :, None].to(x_BLD.dtype)
            read_BD = torch.cat([read_BD, (x_BLD * held_BL1).sum(1) / held_BL1.sum(1)], dim=1)
        logits: Tensor = self.out(self.dropout(functional.relu(read_BD)))
        return logits

    def _held(self, batch: dict[str, Tensor], parts: list[Tensor]) -> Tensor:
        """Return bool [B, 1, 1, L]: the answer and columns always, patches where there is an image, a text's places as far as it goes."""
        rows = parts[0].shape[0]
        held = [torch.ones(rows, 1, dtype=torch.bool, device=parts[0].device)]
        for name, part in zip(self.names, parts, strict=True):
            if name in self.text_names:
                held.append(batch[name] != 0)
            elif name in self.presence:
                held.append((batch[self.presence[name]] != 0).expand(-1, part.shape[1]))
            else:
                held.append(torch.ones(rows, part.shape[1], dtype=torch.bool, device=part.device))
        return torch.cat(held, dim=1)[:, None, None, :]


def _tokens(block: Block, width: int, dropout: float) -> nn.Module:
    if block.kind == "text":
        return TextTokens(block, width, dropout)
    if block.kind == "number":
        return NumberTokens(block.shape[0], width)
    if block.kind == "category":
        return CategoryTokens(block.cardinalities, width)
    return PatchTokens(block, width)


@model("transformer")
def transformer(spec: NetworkSpec) -> nn.Module:
    """Return the transformer over tokens, columns and patches."""
    return Transformer(spec)
