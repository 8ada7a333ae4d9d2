"""Units of a transformer: the dimensions of its tokens, the heads of each attention, the units of each perceptron (Muralidharan 2024).

A dimension is the same in every layer, since all of them add to the same tokens. Where texts are, a unit is a pair of dimensions, the sine
and the cosine of one frequency: the smaller table of places has fewer frequencies, each as it was.

Shape suffixes: U units, P places of one unit along a dimension, N numbers, K category columns, L places, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weighbridge.models.registry import NetworkSpec
from weighbridge.models.shrink_units import Member, Tensors, Units, member, one_each, read, repeated, values_of, written
from weighbridge.models.transformer import HEAD_WIDTH, CategoryTokens, NumberTokens, PatchTokens, TextTokens, Transformer


def transformer_units(network: Transformer, smaller: NetworkSpec) -> list[Units]:
    """Return the dimensions of the tokens, then heads and perceptron units layer by layer."""
    width, layers = len(network.answer_D), [f"layers.{place}" for place in range(len(network.layers))]
    perceptron = smaller.perceptron or 2 * smaller.sizes.width
    found = [_dimensions(network, width, layers, smaller.sizes.width)]
    for name, layer in zip(layers, network.layers, strict=True):
        units = layer.get_submodule("perceptron.0")
        assert isinstance(units, nn.Linear)
        found += [_heads(name, width, smaller.sizes.width // HEAD_WIDTH), _perceptron(name, units.out_features, perceptron)]
    return found


def with_norms_scaled(left: dict[str, Tensor], values: Tensors, dimensions: Units, kept_U: Tensor) -> dict[str, Tensor]:
    """Return what is left with the scale of each norm such that a dimension that stays has the size that it had.

    A norm divides by the deviation over all dimensions. Of D that held a share s of the squares in the d that stay, that deviation
    becomes sqrt(D s / d) times as large: 1 where all dimensions are alike, sqrt(D / d) where those left out held nothing. The share is
    read from the weights that write the dimensions, as the mean over them.
    """
    if bool(kept_U.all()):
        return left
    squares = [values_of(values[one.tensor], one).square().sum(1) for one in dimensions.members if one.role == "in"]
    shares = [float(one_U[kept_U.to(one_U.device)].sum() / one_U.sum()) for one_U in squares if float(one_U.sum()) > 0]
    scale = (dimensions.count / dimensions.keep * sum(shares) / len(shares)) ** 0.5 if shares else 1.0
    return {name: value * scale if name.endswith("norm.weight") else value for name, value in left.items()}


def _dimensions(network: Transformer, width: int, layers: list[str], keep: int) -> Units:
    texts = bool(network.text_names)
    places = repeated(one_each(width // 2), (0, width // 2)) if texts else one_each(width)
    members = [member("answer_D", 0, places, "in")]
    for place, tokens in enumerate(network.tokens):
        members += _written_by_tokens(f"tokens.{place}", tokens, places)
    for name in layers:
        for part in ("project", "perceptron.3"):
            members += written(f"{name}.{part}", places)
        members += [read(f"{name}.query_key_value", places), read(f"{name}.perceptron.0", places)]
    for norm in [*(f"{name}.{part}_norm" for name in layers for part in ("attention", "perceptron")), "norm"]:
        members += written(norm, places, role="along")
    members.append(read("out", repeated(places, (0, width)) if texts else places))
    return Units(name="tokens", keep=keep // places.shape[1], members=tuple(members))


def _written_by_tokens(name: str, tokens: nn.Module, places: Tensor) -> list[Member]:
    if isinstance(tokens, TextTokens):
        return [member(f"{name}.tokens.table.weight", 1, places, "in"), member(f"{name}.rate_D", 0, one_each(len(places)), "along")]
    if isinstance(tokens, NumberTokens):
        return [member(f"{name}.{tensor}", 1, places, "in") for tensor in ("weight_ND", "bias_ND")]
    if isinstance(tokens, CategoryTokens):
        return [member(f"{name}.{tensor}", 1, places, "in") for tensor in ("table.weight", "bias_KD")]
    assert isinstance(tokens, PatchTokens)
    return [*written(f"{name}.embed", places), member(f"{name}.place_LD", 1, places, "in")]


def _heads(name: str, width: int, keep: int) -> Units:
    own = torch.arange(width).view(-1, HEAD_WIDTH)
    queries_keys_values = repeated(own, (0, width, 2 * width))
    members = (*written(f"{name}.query_key_value", queries_keys_values), read(f"{name}.project", own))
    return Units(name=f"{name}.heads", keep=keep, members=members)


def _perceptron(name: str, count: int, keep: int) -> Units:
    places = one_each(count)
    return Units(
        name=f"{name}.perceptron", keep=keep, members=(*written(f"{name}.perceptron.0", places), read(f"{name}.perceptron.3", places))
    )
