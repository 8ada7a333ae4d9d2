"""Recurrent network over texts, with a fusion head where tables or images stand beside them."""

from __future__ import annotations

from torch import nn

from weighbridge.errors import RecipeError
from weighbridge.models.cnn import backbone
from weighbridge.models.fusion import Fusion
from weighbridge.models.registry import NetworkSpec, model
from weighbridge.models.text import Recurrent
from weighbridge.preprocessing import Block


@model("rnn")
def rnn(spec: NetworkSpec) -> nn.Module:
    """Return the recurrent network. Raises RecipeError when there is no text to read."""
    if not any(block.kind == "text" for block in spec.blocks):
        raise RecipeError("training.model: rnn needs a text column, and the data has none", do="choose mlp, cnn or transformer")
    return Fusion(
        spec,
        image=lambda block: backbone(spec, block),
        text=lambda block: recurrent(spec, block),
    )


def recurrent(spec: NetworkSpec, block: Block) -> tuple[Recurrent, int]:
    """Return the recurrent reader of a text block and its width."""
    depth = min(spec.sizes.depth, 2) if spec.depth_given is None else spec.depth_given
    made = Recurrent(
        block, cell=spec.cell, width=2 * spec.sizes.width, depth=depth, both=spec.bidirectional, dropout=spec.dropout, vectors=spec.vectors
    )
    return made, made.width
