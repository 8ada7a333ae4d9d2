"""How networks read texts: as the mean of their tokens, or by a recurrent network (LSTM, Hochreiter 1997; GRU, Cho 2014).

Shape suffixes: B batch, L tokens of the longest row, D width. Codes are int32 [B, L], 0 behind the end of a row; a row without a
token (the text is missing) gives zeros, so a missing text adds nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from weighbridge.models.layers import blank_unseen
from weighbridge.preprocessing import Block
from weighbridge.preprocessing.text import HIDDEN


class TokenTable(nn.Module):
    """int32 [B, L] -> float [B, L, D]: a learned vector a token; zeros where there is none. Dropout hides whole tokens' parts.

    `own`: width of the table where it is not D (word vectors of a file): a linear map, without a bias so that nothing stays zero, follows.
    """

    def __init__(self, block: Block, width: int, dropout: float = 0.0, own: int | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(block.cardinalities[0], own or width, padding_idx=0)
        self.project = nn.Linear(own, width, bias=False) if own else nn.Identity()
        nn.init.normal_(self.table.weight, std=(own or width) ** -0.5)
        blank_unseen(self.table.weight[: HIDDEN + 1])
        self.dropout = nn.Dropout(dropout)

    def forward(self, codes_BL: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.project(self.table(codes_BL)))
        return out


class TokenMean(nn.Module):
    """int32 [B, L] -> float [B, D]: the mean of the vectors of a text's tokens (a bag of tokens, Joulin 2017)."""

    def __init__(self, block: Block, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens = TokenTable(block, width, dropout)
        self.width = width

    def forward(self, codes_BL: Tensor) -> Tensor:
        return masked_mean(self.tokens(codes_BL), codes_BL)


class Recurrent(nn.Module):
    """int32 [B, L] -> float [B, width]: recurrent layers over the tokens, then mean and maximum over places side by side.

    Two directions are two networks: one reads the row as it stands, one reads it reversed within its own length, so that what
    is behind a row's end never reaches it and a row gives the same numbers in any batch.
    """

    def __init__(self, block: Block, *, cell: str, width: int, depth: int, both: bool, dropout: float, vectors: int | None = None) -> None:
        super().__init__()
        self.tokens = TokenTable(block, width, dropout, vectors)
        self.dropout = nn.Dropout(dropout)
        directions = 2 if both else 1
        kind: Any = nn.LSTM if cell == "lstm" else nn.GRU
        widths = [width, *[width * directions] * (depth - 1)]
        self.forwards = nn.ModuleList(kind(size, width, batch_first=True) for size in widths)
        self.backwards = nn.ModuleList(kind(size, width, batch_first=True) for size in widths if both)
        self.width = 2 * width * directions

    def forward(self, codes_BL: Tensor) -> Tensor:
        x_BLD = self.tokens(codes_BL)
        mirror_BL = _mirror(codes_BL) if len(self.backwards) else None
        for place, layer in enumerate(self.forwards):
            x_BLD = self.dropout(x_BLD) if place else x_BLD
            y_BLD: Tensor = layer(x_BLD)[0]
            if mirror_BL is not None:
                back_BLD: Tensor = self.backwards[place](_at(x_BLD, mirror_BL))[0]
                y_BLD = torch.cat([y_BLD, _at(back_BLD, mirror_BL)], dim=-1)
            x_BLD = y_BLD
        return torch.cat([masked_mean(x_BLD, codes_BL), masked_max(x_BLD, codes_BL)], dim=-1)


def masked_mean(x_BLD: Tensor, codes_BL: Tensor) -> Tensor:
    """Return the mean over the places that hold a token, float [B, D]; zeros for a row without one."""
    held_BL1 = (codes_BL != 0).unsqueeze(-1).to(x_BLD.dtype)
    return (x_BLD * held_BL1).sum(1) / held_BL1.sum(1).clamp(min=1)


def masked_max(x_BLD: Tensor, codes_BL: Tensor) -> Tensor:
    """Return the maximum over the places that hold a token, float [B, D]; zeros for a row without one."""
    held_BL1 = (codes_BL != 0).unsqueeze(-1)
    highest_BD = x_BLD.masked_fill(~held_BL1, -1e4).amax(1)
    return highest_BD * held_BL1.any(1).to(x_BLD.dtype)


def _at(x_BLD: Tensor, flat_BL: Tensor) -> Tensor:
    """Return the vectors at these places of all rows laid side by side (a plain lookup: it exports with free lengths)."""
    return x_BLD.flatten(0, 1)[flat_BL]


def _mirror(codes_BL: Tensor) -> Tensor:
    """Return int64 [B, L], places in [0, B L): what stands at l when each row is reversed within its length; what is behind it stays."""
    rows, length = codes_BL.shape
    held_B1 = (codes_BL != 0).sum(1, keepdim=True)
    place_1L = torch.arange(length, device=codes_BL.device).unsqueeze(0)
    start_B1 = (torch.arange(rows, device=codes_BL.device) * length).unsqueeze(1)
    return torch.where(place_1L < held_B1, held_B1 - 1 - place_1L, place_1L) + start_B1
