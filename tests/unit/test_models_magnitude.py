"""Law: of a layer's weights the smallest become zero, of all exactly as many as asked for; nothing else does, and no layer is cut off."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from weighbridge.errors import RecipeError
from weighbridge.models import NetworkSpec, Sizes, build_network
from weighbridge.models.magnitude import apply, masks, share_at
from weighbridge.preprocessing import Block

NUMBER = Block(name="number", kind="number", shape=(3,), dtype="float32", columns=("a", "b", "c"))
CATEGORY = Block(name="category", kind="category", shape=(2,), dtype="int32", columns=("d", "e"), cardinalities=(7, 12))
IMAGE = Block(name="image.photo", kind="image", shape=(8, 8, 3), dtype="uint8", columns=("photo",), mean=(0.5,) * 3, std=(0.2,) * 3)
TEXT = Block(name="text.review", kind="text", shape=(40,), dtype="int32", columns=("review",), cardinalities=(50,))
SIZES = Sizes(hidden=(8, 6), channels=(4, 6), width=16, depth=1)
KINDS = ("linear", "mlp", "cnn", "rnn", "transformer")


def network(kind: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    made = build_network(NetworkSpec(type=kind, blocks=(NUMBER, CATEGORY, IMAGE, TEXT), outputs=3, sizes=SIZES))
    if kind == "linear":  # it begins with zeros
        for weight in made.parameters():
            nn.init.normal_(weight)
    return made


def counted(made: nn.Module) -> dict[str, Tensor]:
    """Return the weights that may become zero, found by what their layers are; of tables the rows that hold something."""
    found = {}
    for place, layer in made.named_modules():
        for name, weight in layer.named_parameters(prefix=place, recurse=False):
            if isinstance(layer, nn.Embedding):
                found[name] = weight[weight.abs().sum(1) > 0]
            elif isinstance(layer, nn.Linear | nn.Conv2d | nn.LSTM) and "bias" not in name:
                found[name] = weight
    return {name: weight.detach() for name, weight in found.items()}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 0.95])
@pytest.mark.parametrize("kind", KINDS)
def test_of_each_layer_the_smallest_weights_become_zero_and_no_other_value_moves(kind: str, share: float) -> None:
    made = network(kind)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    weights = counted(made)
    total = sum(weight.numel() for weight in weights.values())
    apply(made, masks(made, share))
    after = made.state_dict()
    gone = {name: (before[name] != 0) & (after[name] == 0) for name in before}
    assert sum(int(part.sum()) for part in gone.values()) == int(share * total + 0.5)
    assert {name for name, part in gone.items() if part.any()} <= set(weights)
    assert all(torch.equal(after[name][~gone[name]], before[name][~gone[name]]) for name in before)
    for name, part in gone.items():
        if part.any():
            assert before[name][part].abs().max() <= after[name][after[name] != 0].abs().min()


def test_between_layers_goes_what_is_the_smallest_share_of_its_layer() -> None:
    made = network("mlp")
    weights = {name: weight.double() for name, weight in counted(made).items() if "head" in name}
    made.texts = nn.ModuleList()
    made.tabular.embeddings = nn.ModuleDict()
    found = masks(made, 0.7)
    assert set(found) == set(weights)
    shares, stays = [], []
    for name, weight in weights.items():
        flat = weight.flatten().square()
        shares.append(flat / torch.stack([flat[flat >= one].sum() for one in flat]))
        stays.append(found[name].flatten())
    threshold = torch.cat(shares)[~torch.cat(stays)].max()
    assert torch.equal(torch.cat(shares) > threshold, torch.cat(stays))


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_keeps_its_largest_weight(kind: str) -> None:
    made = network(kind)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith("head.0.weight") or name in ("out.weight", "numbers.0.weight"):
                weight.mul_(1e-6)  # by size alone it would go whole
    largest = {name: float(weight.abs().max()) for name, weight in counted(made).items()}
    apply(made, masks(made, 0.999))
    state = made.state_dict()
    assert {name: float(state[name].abs().max()) for name in largest} == largest


def test_a_layer_of_small_weights_is_not_taken_for_one_that_matters_less() -> None:
    made = network("mlp")
    before = masks(made, 0.8)
    with torch.no_grad():
        made.get_parameter("head.0.weight").mul_(2.0**-20)
    after = masks(made, 0.8)
    assert all(torch.equal(before[name], after[name]) for name in before)
    sizes = torch.cat([weight.abs().flatten() for weight in counted(made).values()])
    highest = sizes.kthvalue(int(0.8 * len(sizes))).values
    assert float(made.get_parameter("head.0.weight").detach().abs().max()) < float(highest), "one threshold for all sizes would cut it off"


def test_rows_of_zeros_neither_count_nor_are_named() -> None:
    made = network("rnn")
    table = "readers.1.tokens.table.weight"
    assert not made.get_parameter(table)[:3].any()
    found = masks(made, 0.9)
    assert found[table][:3].all()
    assert not found[table][3:].all()


@given(st.lists(st.floats(0, 0.98), min_size=2, max_size=4).map(sorted), st.integers(0, 5))
def test_what_is_out_stays_out_as_the_share_grows_whatever_the_weights_do(shares: list[float], seed: int) -> None:
    made = network("transformer", seed)
    total = sum(weight.numel() for weight in counted(made).values())
    before = None
    for share in shares:
        found = masks(made, share, before)
        assert sum(int((~mask).sum()) for mask in found.values()) == int(share * total + 0.5)
        if before is not None:
            assert all(not (found[name] & ~before[name]).any() for name in before)
        with torch.no_grad():
            for weight in made.parameters():  # training moves all of them
                weight.add_(torch.randn_like(weight) * 0.02 * (weight != 0))
        apply(made, found)
        before = found


def test_equal_weights_go_in_the_order_of_the_network() -> None:
    made = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4))
    for weight in made.parameters():
        nn.init.ones_(weight)
    found = masks(made, 0.5)
    for name in ("0.weight", "1.weight"):
        assert found[name].flatten().tolist() == [False] * 4 + [True] * 4
    assert masks(made, 0.56)["0.weight"].flatten().tolist() == [False] * 5 + [True] * 3, "of equal shares the first layer's goes"
    again = masks(made, 0.5)
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_a_share_that_is_none_and_a_network_without_weights_are_refused() -> None:
    for share in (1.0, -0.1, float("nan")):
        with pytest.raises(RecipeError, match="no share"):
            masks(network("mlp"), share)
    with pytest.raises(RecipeError, match="no matrix"):
        masks(nn.BatchNorm2d(3), 0.5)


def test_zeros_stay_where_fine_tuning_holds_them() -> None:
    from weighbridge.training.sparsify import Zeros

    made = network("mlp")
    apply(made, masks(made, 0.8))
    zero = {name: weight.detach() == 0 for name, weight in made.named_parameters() if weight.ndim == 2}
    held = Zeros(made)
    held.find()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(1.0)
    held.restore()
    assert all(torch.equal(made.get_parameter(name) == 0, mask) for name, mask in zero.items())


@given(st.integers(1, 10_000), st.floats(0.01, 0.99))
def test_the_share_grows_from_none_to_the_last_and_ever_slower(steps: int, final: float) -> None:
    shares = [share_at(step, steps, final) for step in range(0, steps + 1, max(1, steps // 50))]
    gains = [after - before for before, after in pairwise(shares)]
    assert shares[0] == 0.0
    assert share_at(steps, steps, final) == share_at(10 * steps, steps, final) == final
    assert all(gain > 0 for gain in gains)
    assert all(after < before for before, after in pairwise(gains))
    assert share_at(steps // 2, steps, final) == pytest.approx(final * (1 - (1 - (steps // 2) / steps) ** 3))
