"""Law: the units that stay are those that the answers hang on; what of that is read from rows needs no labels, and no loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.unit.shrunk_networks import Lots, answers, large, rows
from weighbridge.models import NetworkSpec, Sizes, build_network
from weighbridge.models.shrink import Importance, hold_gradients, magnitude, renew_statistics, shrink, taylor
from weighbridge.preprocessing import Block


def test_of_a_unit_that_never_fires_the_gradient_knows_and_the_magnitude_does_not() -> None:
    network, spec = large("mlp")
    state = network.state_dict()
    with torch.no_grad():
        state["head.0.weight"][4] *= 100
        state["head.3.weight"][:, 4] *= 100
        state["head.0.bias"][4] = -1e6
    lots = Lots()
    shrink(network, spec, keep=0.5, importance=lots)
    hold_gradients(network, [rows(spec.blocks, 40)], seed=0)
    gradients = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    units = lots.kept[0][0]
    assert taylor(units, state, gradients).argmin() == 4
    assert magnitude(units, state, gradients).argmax() == 4


def test_the_gradients_that_are_held_are_the_mean_squares_of_each_answer_of_each_row() -> None:
    network, spec = large("mlp")
    batch = rows(spec.blocks, 40)
    squares: dict[str, Tensor] = {}
    for place in range(40):
        one = {name: values[place : place + 1] for name, values in batch.items()}
        for answer in range(3):
            network.zero_grad()
            network(one)[0, answer].backward()
            for name, weight in network.named_parameters():
                assert weight.grad is not None
                squares[name] = squares.get(name, torch.zeros_like(weight)) + weight.grad.square()
    hold_gradients(network.train(), [batch] * 200, seed=0)
    assert network.training
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        expected = squares[name] / 5  # pieces of 8 rows
        error = (weight.grad.square() - expected).norm() / expected.norm()
        assert error < 0.15, f"{name}: {float(error):.3f} over 1,000 draws of signs"


def test_of_rows_known_by_heart_the_loss_has_no_gradient_but_the_answers_have() -> None:
    network, spec = large("mlp")
    with torch.no_grad():
        network.state_dict()["head.6.weight"].mul_(1e3)
    batch = rows(spec.blocks, 40)
    functional.cross_entropy(network(batch), answers(network, batch).argmax(1)).backward()
    sure = {name: float(weight.grad.norm()) for name, weight in network.named_parameters() if weight.grad is not None}
    hold_gradients(network, [batch], seed=0)
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        assert float(weight.grad.norm()) > 10 * sure[name]


def test_equal_lots_hold_equal_gradients_and_equal_units_go_from_the_end() -> None:
    network, spec = large("transformer mixture")
    held = []
    for seed in (0, 0, 1):
        hold_gradients(network, [rows(spec.blocks)], seed=seed)
        held.append({name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None})
    assert all(torch.equal(held[0][name], held[1][name]) for name in held[0])
    assert not all(torch.equal(held[0][name], held[2][name]) for name in held[0])
    smaller, tensors = shrink(*large("mlp"), keep=0.5, importance=lambda units, values, gradients: torch.ones(units.count))
    before = large("mlp")[0].state_dict()
    assert torch.equal(tensors["head.0.weight"], before["head.0.weight"][: smaller.sizes.hidden[0]])


def test_without_gradients_the_importance_that_reads_them_says_so() -> None:
    with pytest.raises(ValueError, match="the network has none"):
        shrink(*large("mlp"), keep=0.5)  # the default
    with pytest.raises(ValueError, match="no rows"):
        hold_gradients(large("mlp")[0], [], seed=0)


def digits(side: int) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor], Tensor]:
    """Return images of `side` pixels and targets to train on, and others to judge by."""
    from sklearn.datasets import load_digits

    images, target = load_digits(return_X_y=True)
    step = 8 // side
    pixels = (15 * images).reshape(-1, side, step, side, step, 1).mean((2, 4)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(pixels))
    shuffled, truth = torch.from_numpy(pixels[order]), torch.from_numpy(target[order])
    return {"image.photo": shuffled[:1300]}, truth[:1300], {"image.photo": shuffled[1300:]}, truth[1300:]


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """A network that shall learn digits, and the share of its units that is kept."""

    type: str
    sizes: Sizes
    side: int
    steps: int
    keep: float

    def train(self) -> tuple[nn.Module, NetworkSpec]:
        torch.manual_seed(0)
        shape = (self.side, self.side, 1)
        block = Block(name="image.photo", kind="image", shape=shape, dtype="uint8", columns=("photo",), mean=(0.3,), std=(0.35,))
        spec = NetworkSpec(type=self.type, blocks=(block,), outputs=10, sizes=self.sizes)
        network, (images, target, _, _) = build_network(spec), digits(self.side)
        optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
        falling = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=self.steps)
        for step in range(self.steps):
            part = torch.arange(step * 64, step * 64 + 64) % len(target)
            optimizer.zero_grad()
            functional.cross_entropy(network({"image.photo": images["image.photo"][part]}), target[part]).backward()
            optimizer.step()
            falling.step()
        optimizer.zero_grad()
        return network.eval(), spec


LEARNT = {
    "mlp": Learnt(type="mlp", sizes=Sizes(hidden=(32, 32), channels=(), width=8, depth=1), side=8, steps=250, keep=0.75),
    "cnn": Learnt(type="cnn", sizes=Sizes(hidden=(), channels=(16, 32, 64), width=8, depth=1), side=8, steps=250, keep=0.75),
    "transformer": Learnt(type="transformer", sizes=Sizes(hidden=(), channels=(), width=64, depth=1), side=4, steps=600, keep=0.75),
}


@pytest.mark.parametrize("kind", ["mlp", "cnn", pytest.param("transformer", marks=pytest.mark.slow)])
def test_the_chosen_units_keep_more_of_what_was_learned_than_units_by_lot(kind: str) -> None:
    network, spec = LEARNT[kind].train()
    images, _, judged, target = digits(LEARNT[kind].side)
    hold_gradients(network, [{"image.photo": images["image.photo"][:512]}], seed=0)

    def right(one: nn.Module) -> float:
        return float((answers(one, judged).argmax(1) == target).float().mean())

    def left_right(importance: Importance) -> float:
        smaller, tensors = shrink(network, spec, keep=LEARNT[kind].keep, importance=importance)
        small = build_network(smaller).eval()
        small.load_state_dict(tensors)
        return right(small)

    by_lot = float(np.mean([left_right(Lots(seed)) for seed in range(10)]))
    assert right(network) > 0.85
    assert left_right(taylor) > by_lot + 0.08
    assert left_right(magnitude) > by_lot + 0.03


def test_statistics_of_the_larger_network_are_wrong_for_the_smaller_and_are_renewed_from_rows() -> None:
    network, spec = LEARNT["cnn"].train()
    images, _, judged, target = digits(8)
    smaller, tensors = shrink(network, spec, keep=0.6, importance=magnitude)
    small = build_network(smaller)
    small.load_state_dict(tensors)
    before = float((answers(small.eval(), judged).argmax(1) == target).float().mean())
    weights = {name: weight.clone() for name, weight in small.named_parameters()}
    renew_statistics(small, [{"image.photo": images["image.photo"][place : place + 100]} for place in range(0, 1300, 100)])
    after = float((answers(small, judged).argmax(1) == target).float().mean())
    assert after > before + 0.3
    assert not small.training
    assert all(torch.equal(weight, weights[name]) for name, weight in small.named_parameters())
    norms = [part for part in small.modules() if isinstance(part, nn.BatchNorm2d)]
    assert [norm.momentum for norm in norms] == [0.1] * 6
    first: Any = small.get_submodule("readers.0")
    with torch.inference_mode():
        given = first.stages[0].body[0](first.normalize(images["image.photo"]))
    torch.testing.assert_close(norms[0].running_mean, given.mean((0, 2, 3)), atol=1e-4, rtol=1e-4)
    renew_statistics(LEARNT["mlp"].train()[0], [])
    with pytest.raises(ValueError, match="no rows"):
        renew_statistics(small, [])
