"""Parts that several networks share.

Shape suffixes: B batch, D feature, H height, W width, C channel, K category columns, N number columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from weighbridge.preprocessing import Block
from weighbridge.preprocessing.category import FIRST_KNOWN

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
}


def embedding_width(cardinality: int) -> int:
    """Return the width of a category's embedding: 1.6 n^0.56, at most 64 (fastai's rule)."""
    return int(min(64, round(1.6 * cardinality**0.56)))


def blank_unseen(rows_FD: Tensor) -> None:
    """The vectors of the codes for rare and for missing values are zero.

    Training rows may hold neither; their vectors are then never learned, and a value that is first seen in service would be answered
    by what the random start left there. Zero adds nothing, and no update rule moves it without a row that has the code.
    """
    nn.init.zeros_(rows_FD)


class Normalize(nn.Module):
    """uint8 [B, H, W, C] -> float [B, C, H, W], each channel centred and scaled; a channels-last view, no copy.

    Under autocast it computes in autocast's dtype, so that whole batches do not pass through memory in fp32 first.
    """

    scale_C: Tensor
    shift_C: Tensor

    def __init__(self, block: Block) -> None:
        super().__init__()
        mean_C, std_C = torch.tensor(block.mean), torch.tensor(block.std)
        self.register_buffer("scale_C", 1.0 / (255.0 * std_C))
        self.register_buffer("shift_C", -mean_C / std_C)

    def forward(self, image_BHWC: Tensor) -> Tensor:
        kind = image_BHWC.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        scaled_BHWC = image_BHWC.to(dtype, copy=True).mul_(self.scale_C).add_(self.shift_C)
        return scaled_BHWC.permute(0, 3, 1, 2)


class Embeddings(nn.Module):
    """Codes int [B, K] -> one vector a column side by side, float [B, sum of widths]."""

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        tables = [nn.Embedding(size, embedding_width(size)) for size in cardinalities]
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)
            blank_unseen(table.weight[:FIRST_KNOWN])
        self.tables = nn.ModuleList(tables)
        self.width = sum(embedding_width(size) for size in cardinalities)

    def forward(self, codes_BK: Tensor) -> Tensor:
        return torch.cat([table(codes_BK[:, place]) for place, table in enumerate(self.tables)], dim=1)


class Tabular(nn.Module):
    """Numbers as they are and categories embedded, side by side: float [B, width]. Width 0 where there are none."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.numbers = [block for block in blocks if block.kind == "number"]
        embeddings = {block.name: Embeddings(block.cardinalities) for block in blocks if block.kind == "category"}
        self.embeddings = nn.ModuleDict(embeddings)
        self.width = sum(block.shape[0] for block in self.numbers) + sum(part.width for part in embeddings.values())

    def forward(self, batch: dict[str, Tensor]) -> list[Tensor]:
        parts = [batch[block.name] for block in self.numbers]
        return parts + [embed(batch[name]) for name, embed in self.embeddings.items()]


class OrMissing(nn.Module):
    """float [B, D], bool [B, 1] -> float [B, D]: what was read of an input, and in rows without that input a learned vector in its place.

    The vector starts at zero and stays there where every training row has the input.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.missing_D = nn.Parameter(torch.zeros(width))

    def forward(self, read_BD: Tensor, held_B1: Tensor) -> Tensor:
        return torch.where(held_B1, read_BD, self.missing_D.to(read_BD.dtype))


def presence(blocks: Sequence[Block]) -> dict[str, str]:
    """Return for each block of images that a row may lack the name of the block that says so."""
    by_column = {block.columns[0]: block.name for block in blocks if block.kind == "present"}
    return {block.name: by_column[block.columns[0]] for block in blocks if block.kind == "image" and block.columns[0] in by_column}


def head(width: int, hidden: Sequence[int], outputs: int, *, activation: str, dropout: float) -> nn.Sequential:
    """Return hidden layers with the activation and dropout, then a linear layer to the outputs."""
    layers: list[nn.Module] = []
    for next_width in hidden:
        layers += [nn.Linear(width, next_width), ACTIVATIONS[activation](), nn.Dropout(dropout)]
        width = next_width
    return nn.Sequential(*layers, nn.Linear(width, outputs))
