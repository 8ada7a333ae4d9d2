"""Units of perceptrons, of convolutional, recurrent and averaging readers, and of the heads that read them.

Shape suffixes: U units, P places of one unit along a dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from weighbridge.models.cnn import Backbone, Stage
from weighbridge.models.fusion import Fusion
from weighbridge.models.mlp import MLP
from weighbridge.models.registry import NetworkSpec
from weighbridge.models.shrink_units import Member, Units, member, one_each, read, repeated, written
from weighbridge.models.text import Recurrent, TokenMean, TokenTable

After = Callable[[Tensor], list[Member]]  # places [U, P] in what a part says -> where they are read


def mlp_units(network: MLP, smaller: NetworkSpec) -> list[Units]:
    """Return the dimensions of each text's tokens and the hidden units; numbers, categories and pixels stay as they are."""
    widths = [text.width for text in network.texts if isinstance(text, TokenMean)]
    columns = _linear(network.head, 0).in_features - sum(widths)
    found: list[Units] = []
    for place, width in enumerate(widths):
        found.append(_token_mean(f"texts.{place}", width, 2 * smaller.sizes.width, _head_after(f"or_missing.{place}", columns)))
        columns += width
    return found + _head(network.head, smaller.sizes.hidden)


def fusion_units(network: Fusion, smaller: NetworkSpec) -> list[Units]:
    """Return the units of every reader and of the head; numbers and categories beside them stay as they are."""
    found: list[Units] = []
    columns, sizes = 0, smaller.sizes
    for place, reader in enumerate(network.readers):
        after = _head_after(f"or_missing.{place}" if str(place) in network.or_missing else None, columns)
        name = f"readers.{place}"
        if isinstance(reader, Backbone):
            found += _backbone(name, reader, sizes.channels, after)
        elif isinstance(reader, Recurrent):
            found += _recurrent(name, reader, smaller, after)
        else:
            assert isinstance(reader, TokenMean)
            found.append(_token_mean(name, reader.width, 2 * sizes.width, after))
        columns += reader.width
    return found + _head(network.head, sizes.hidden)


def _head(head: nn.Sequential, hidden: Sequence[int]) -> list[Units]:
    """Return the hidden units of each layer but the last."""
    layers = [place for place, layer in enumerate(head) if isinstance(layer, nn.Linear)]
    found = []
    for (place, following), keep in zip(pairwise(layers), hidden, strict=False):
        places = one_each(_linear(head, place).out_features)
        found.append(Units(name=f"head.{place}", keep=keep, members=(*written(f"head.{place}", places), read(f"head.{following}", places))))
    return found


def _head_after(missing: str | None, columns: int) -> After:
    """Return where what a reader says is read: its columns of the head, and the vector that stands there for a row without it."""

    def after(places_UP: Tensor) -> list[Member]:
        beside = [member(f"{missing}.missing_D", 0, places_UP, "along")] if missing else []
        return [read("head.0", places_UP + columns), *beside]

    return after


def _token_mean(name: str, width: int, keep: int, after: After) -> Units:
    """Return the dimensions of the tokens of a text that is read as their mean."""
    places = one_each(width)
    return Units(name=name, keep=keep, members=(member(f"{name}.tokens.table.weight", 1, places, "in"), *after(places)))


def _backbone(name: str, reader: Backbone, channels: Sequence[int], after: After) -> list[Units]:
    """Return the channels of each convolution; what a skip adds to the last one of a stage are that one's channels."""
    found: list[Units] = []
    stages = [stage for stage in reader.stages if isinstance(stage, Stage)]
    for place, (stage, keep) in enumerate(zip(stages, channels, strict=True)):
        own = f"{name}.stages.{place}"
        layers = [number for number, layer in enumerate(stage.body) if isinstance(layer, nn.Conv2d)]
        for number, following in zip(layers, [*layers[1:], None], strict=True):
            members = _convolution(stage, own, number)
            places = members[0].places_UP
            if following is not None:
                members.append(read(f"{own}.body.{following}", places))
            else:
                members += written(f"{own}.skip", places, ("weight",)) if stage.skip is not None else []
                above = _read_by_stage(f"{name}.stages.{place + 1}", stage, places)
                members += above if place + 1 < len(stages) else after(torch.arange(reader.width).view(len(places), -1))
            found.append(Units(name=f"{own}.body.{number}", keep=keep, members=tuple(members)))
    return found


def _convolution(stage: Stage, name: str, number: int) -> list[Member]:
    """Return what writes the channels of a convolution: the norm that follows it where there is one, else its kernels."""
    layer = stage.body[number]
    assert isinstance(layer, nn.Conv2d)
    places, norm = one_each(layer.out_channels), f"{name}.body.{number + 1}"
    if layer.bias is not None:
        return written(f"{name}.body.{number}", places)
    return [
        *written(f"{name}.body.{number}", places, ("weight",), role="along"),
        *written(norm, places),
        *written(norm, places, ("running_mean", "running_var"), role="along"),
    ]


def _read_by_stage(name: str, stage: Stage, places: Tensor) -> list[Member]:
    """Return what of the next stage reads a stage's channels; all stages of a network have the same form."""
    return [read(f"{name}.body.0", places), *([read(f"{name}.skip", places)] if stage.skip is not None else [])]


def _recurrent(name: str, reader: Recurrent, smaller: NetworkSpec, after: After) -> list[Units]:
    """Return the dimensions of the tokens and the hidden values of each layer and direction; the gates of a value go with it."""
    keep, depth = 2 * smaller.sizes.width, len(reader.forwards)
    sides = ("forwards", "backwards") if len(reader.backwards) else ("forwards",)
    layers = [[f"{name}.{side}.{place}" for side in sides] for place in range(depth)]
    found = _table(f"{name}.tokens", reader.tokens, keep, smaller.vectors, lambda places: _read_by_cells(layers[0], places))
    for place, directions in enumerate(layers):
        for side, layer in enumerate(directions):
            cell = reader.get_submodule(f"{sides[side]}.{place}")
            assert isinstance(cell, nn.RNNBase)
            width = cell.hidden_size
            said = one_each(width, side * width)
            mean_and_maximum = repeated(said, (0, len(sides) * width))
            above = _read_by_cells(layers[place + 1], said) if place + 1 < depth else after(mean_and_maximum)
            found.append(Units(name=layer, keep=keep, members=(*_cell(layer, cell), *above)))
    return found


def _cell(name: str, cell: nn.RNNBase) -> list[Member]:
    width, gates = cell.hidden_size, {"LSTM": 4, "GRU": 3}[cell.mode]
    own = repeated(one_each(width), range(0, gates * width, width))
    rows = [f"{tensor}_l0" for tensor in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    return [*written(name, own, rows), member(f"{name}.weight_hh_l0", 1, one_each(width), "out")]


def _read_by_cells(layers: Sequence[str], places: Tensor) -> list[Member]:
    return [member(f"{layer}.weight_ih_l0", 1, places, "out") for layer in layers]


def _table(name: str, tokens: TokenTable, keep: int, vectors: int | None, after: After) -> list[Units]:
    """Return the dimensions of the tokens; where word vectors are mapped to them, those of the vectors too."""
    own = one_each(tokens.table.embedding_dim)
    table = member(f"{name}.table.weight", 1, own, "in")
    if not isinstance(tokens.project, nn.Linear) or vectors is None:
        return [Units(name=name, keep=keep, members=(table, *after(own)))]
    given = one_each(tokens.project.out_features)
    return [
        Units(name=f"{name}.table", keep=vectors, members=(table, read(f"{name}.project", own))),
        Units(name=name, keep=keep, members=(*written(f"{name}.project", given, ("weight",)), *after(given))),
    ]


def _linear(head: nn.Sequential, place: int) -> nn.Linear:
    layer = head[place]
    assert isinstance(layer, nn.Linear)
    return layer
