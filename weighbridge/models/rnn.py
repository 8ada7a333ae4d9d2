"""Recurrent network over texts, with a fusion head where tables or images stand beside them."""

from __future__ import annotations

from torch import nn

from weighbridge.errors import RecipeError
from weighbridge.models.cnn import Backbone
from weighbridge.models.fusion import Fusion
from weighbridge.models.layers import Normalize
from weighbridge.models.registry import NetworkSpec, model
from weighbridge.models.text import Recurrent


@model("rnn")
def rnn(spec: NetworkSpec) -> nn.Module:
    """Return the recurrent network. Raises RecipeError when there is no text to read."""
    if not any(block.kind == "text" for block in spec.blocks):
        raise RecipeError("training.model: rnn needs a text column, and the data has none", do="choose mlp, cnn or transformer")
    width, depth = 2 * spec.sizes.width, min(spec.sizes.depth, 2) if spec.depth_given is None else spec.depth_given
    return Fusion(
        spec,
        image=lambda block: Backbone(spec, block.shape, Normalize(block)),
        text=lambda block: Recurrent(block, cell=spec.cell, width=width, depth=depth, both=spec.bidirectional, dropout=spec.dropout),
    )
