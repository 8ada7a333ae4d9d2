"""Convolutional network, plain or residual (He 2016), with a fusion head where tables stand beside the images.

Shape suffixes: B batch, C channel, H height, W width, D feature.
"""

from __future__ import annotations

from torch import Tensor, nn

from weighbridge.errors import RecipeError
from weighbridge.models.fusion import Fusion
from weighbridge.models.layers import ACTIVATIONS, Normalize
from weighbridge.models.registry import NetworkSpec, model
from weighbridge.models.text import TokenMean
from weighbridge.preprocessing import Block


class Stage(nn.Module):
    """[B, C_in, H, W] -> [B, C_out, H / 2, W / 2] (or H, W without pooling): convolutions of one width, a skip around them when residual.

    Pooling stands before the last activation: for a rising activation that is the same function with a quarter of its work.
    """

    def __init__(self, spec: NetworkSpec, channels_in: int, channels_out: int, *, pool: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels_in
        for place in range(spec.convolutions):
            layers += [ACTIVATIONS[spec.activation]()] if place else []
            layers.append(nn.Conv2d(width, channels_out, 3, padding=1, bias=not spec.norm))
            layers += [nn.BatchNorm2d(channels_out)] if spec.norm else []
            width = channels_out
        self.body = nn.Sequential(*layers)
        self.skip = nn.Conv2d(channels_in, channels_out, 1, bias=False) if spec.residual else None
        after = [nn.MaxPool2d(2)] if pool else []
        self.after = nn.Sequential(*after, ACTIVATIONS[spec.activation]())

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.body(x_BCHW)
        out: Tensor = self.after(y_BCHW if self.skip is None else y_BCHW + self.skip(x_BCHW))
        return out


class Backbone(nn.Module):
    """uint8 [B, H, W, C] -> float [B, width]: stages with pooling between them, then the mean over places (or all of them)."""

    def __init__(self, spec: NetworkSpec, shape: tuple[int, ...], normalize: Normalize) -> None:
        super().__init__()
        height, width, channels = shape
        stages: list[nn.Module] = []
        for place, channels_out in enumerate(spec.sizes.channels):
            pool = place < len(spec.sizes.channels) - 1 and min(height, width) >= 2
            stages.append(Stage(spec, channels, channels_out, pool=pool))
            channels = channels_out
            height, width = (height // 2, width // 2) if pool else (height, width)
        self.normalize = normalize
        self.stages = nn.Sequential(*stages)
        self.flatten = spec.flatten
        self.width = channels * height * width if spec.flatten else channels

    def forward(self, image_BHWC: Tensor) -> Tensor:
        x_BCHW = self.stages(self.normalize(image_BHWC))
        out: Tensor = x_BCHW.flatten(1) if self.flatten else x_BCHW.mean((2, 3))
        return out


def backbone(spec: NetworkSpec, block: Block) -> tuple[Backbone, int]:
    """Return the convolutional reader of an image block and its width."""
    made = Backbone(spec, block.shape, Normalize(block))
    return made, made.width


@model("cnn")
def cnn(spec: NetworkSpec) -> nn.Module:
    """Return the convolutional network; texts beside images are the mean of their tokens. Raises RecipeError without an image."""
    if not any(block.kind == "image" for block in spec.blocks):
        raise RecipeError("training.model: cnn needs an image column, and the data has none", do="choose mlp, rnn or transformer")
    return Fusion(
        spec,
        image=lambda block: backbone(spec, block),
        text=lambda block: (TokenMean(block, 2 * spec.sizes.width, spec.dropout), 2 * spec.sizes.width),
    )
