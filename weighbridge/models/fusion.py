"""Where several kinds of input meet: each image and each text is read by a network of its own, and one head reads them all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from weighbridge.models.layers import OrMissing, Tabular, head, presence
from weighbridge.models.registry import NetworkSpec
from weighbridge.preprocessing import Block

Reader = Callable[[Block], tuple[nn.Module, int]]  # a block's network (its array -> float [B, width]) and that width


class Fusion(nn.Module):
    """Logits float [B, outputs] from what the readers of images and texts say, the numbers and the embedded categories.

    What a reader says of a row without its image or text never reaches the head: a learned vector does.
    """

    def __init__(self, spec: NetworkSpec, *, image: Reader, text: Reader) -> None:
        super().__init__()
        blocks = [block for block in spec.blocks if block.kind in ("image", "text")]
        self.names = [block.name for block in blocks]
        readers = [image(block) if block.kind == "image" else text(block) for block in blocks]
        self.readers = nn.ModuleList(reader for reader, _ in readers)
        self.presence = presence(spec.blocks)
        masked = {block.name: width for block, (_, width) in zip(blocks, readers, strict=True) if self._may_lack(block)}
        self.or_missing = nn.ModuleDict({str(self.names.index(name)): OrMissing(width) for name, width in masked.items()})
        self.tabular = Tabular(spec.blocks)
        width = self.tabular.width + sum(width for _, width in readers)
        beside = self.tabular.width > 0 or len(blocks) > 1
        self.dropout = nn.Dropout(spec.dropout)
        hidden = spec.sizes.hidden if beside or spec.hidden_given else ()
        self.head = head(width, hidden, spec.outputs, activation=spec.activation, dropout=spec.dropout)

    def reader(self, name: str) -> nn.Module:
        """Return the network that reads a block of images or of a text."""
        return self.readers[self.names.index(name)]

    def _may_lack(self, block: Block) -> bool:
        return block.kind == "text" or block.name in self.presence

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        parts = [reader(batch[name]) for name, reader in zip(self.names, self.readers, strict=True)]
        for place, or_missing in self.or_missing.items():
            name = self.names[int(place)]
            present = batch[self.presence[name]] if name in self.presence else batch[name]
            parts[int(place)] = or_missing(parts[int(place)], (present != 0).any(1, keepdim=True))
        logits: Tensor = self.head(self.dropout(torch.cat(parts + self.tabular(batch), dim=1)))
        return logits
