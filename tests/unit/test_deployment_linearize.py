"""Law: the maps that go on ciphertexts are the network's own, found from the network itself; what does not fit says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from weighbridge.deployment.linearize import UnfitError, check_fit, choose_circuit, linearize
from weighbridge.errors import FormError
from weighbridge.models import NetworkSpec, build_network
from weighbridge.models.registry import Sizes
from weighbridge.preprocessing import Block
from weighbridge.runtime.features import features_of

BLOCKS = (
    Block(name="number", kind="number", shape=(3,), dtype="float32", columns=("a", "b", "c"), names=("a", "b", "c")),
    Block(name="category", kind="category", shape=(2,), dtype="int32", columns=("d", "e"), cardinalities=(4, 5)),
    Block(name="present.f", kind="present", shape=(1,), dtype="float32", columns=("f",)),
    Block(name="image.f", kind="image", shape=(2, 3, 3), dtype="uint8", columns=("f",), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1)),
)
TEXT = Block(name="text.g", kind="text", shape=(8,), dtype="int32", columns=("g",), cardinalities=(50,))
NUMBERS = (Block(name="number", kind="number", shape=(2,), dtype="float32", columns=("a", "b"), names=("a", "b")),)


def spec_of(
    type_: str, blocks: tuple[Block, ...] = BLOCKS, *, hidden: tuple[int, ...] = (16,), outputs: int = 3, **more: object
) -> NetworkSpec:
    sizes = Sizes(hidden=hidden, channels=(8,), width=8, depth=1)
    return NetworkSpec(type=type_, blocks=blocks, outputs=3, sizes=sizes, **more)  # type: ignore[arg-type]


def rows(blocks: tuple[Block, ...], count: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for block in blocks:
        if block.kind == "number":
            found[block.name] = random.normal(size=(count, *block.shape)).astype(np.float32)
        elif block.kind == "category":
            found[block.name] = np.stack([random.integers(size, size=count) for size in block.cardinalities], axis=1).astype(np.int32)
        elif block.kind == "image":
            found[block.name] = random.integers(256, size=(count, *block.shape)).astype(np.uint8)
        else:
            found[block.name] = random.integers(2, size=(count, *block.shape)).astype(np.float32)
    return found


def network_of(spec: NetworkSpec) -> torch.nn.Module:
    torch.manual_seed(0)
    network = build_network(spec).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    return network


def outputs(network: torch.nn.Module, arrays: dict[str, np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(network({name: torch.from_numpy(array) for name, array in arrays.items()}).double().numpy())


def test_a_linear_network_is_one_map_of_numbers_categories_and_pixels() -> None:
    spec = spec_of("linear")
    network, fresh = network_of(spec), rows(BLOCKS, seed=1)
    found = linearize(network, spec, rows(BLOCKS))
    assert found.circuit.hidden == 0
    assert found.circuit.features == 3 + 9 + 1 + 18
    assert np.abs(found.weights.plain(features_of(BLOCKS, fresh)) - outputs(network, fresh)).max() < 1e-4
    assert found.beyond(features_of(BLOCKS, fresh)) == 0.0


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "tanh", "sigmoid"])
def test_a_layer_of_units_is_two_maps_with_the_best_parabola_of_each_unit_between(activation: str) -> None:
    spec = spec_of("mlp", NUMBERS, activation=activation)
    network, training = network_of(spec), rows(NUMBERS)
    found = linearize(network, spec, training)
    plain, true = found.weights.plain(features_of(NUMBERS, training)), outputs(network, training)
    assert np.corrcoef(plain.ravel(), true.ravel())[0, 1] > 0.98
    units = features_of(NUMBERS, training) @ found.weights.first.T + found.weights.first_bias
    assert found.low is not None
    assert np.allclose(found.low, units.min(0))
    assert found.beyond(features_of(NUMBERS, rows(NUMBERS, seed=1)) * 10) > 0.2


def test_a_parabola_is_found_exactly_and_a_unit_that_never_changes_is_its_constant() -> None:
    from weighbridge.deployment.linearize import _polynomials

    x = np.random.default_rng(0).normal(size=(500, 3))
    x[:, 2] = 1.5
    square, slope, constant = _polynomials(x, 2 * x**2 - 3 * x + 0.5)
    assert np.allclose(square[:2], 2)
    assert np.allclose(slope[:2], -3)
    assert np.allclose(constant[:2], 0.5)
    assert (square[2], slope[2], constant[2]) == (0, 0, 2 * 1.5**2 - 3 * 1.5 + 0.5)
    exact = _polynomials(x[:, :1], 4 * x[:, :1] + 1)  # the highest coefficient is zero
    assert np.allclose(np.ravel(exact), [0, 4, 1])


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (spec_of("cnn"), "a network of type cnn"),
        (spec_of("transformer"), "a network of type transformer"),
        (spec_of("linear", (*NUMBERS, TEXT)), "the text 'g'"),
        (spec_of("mlp", hidden=(16, 16)), "2 hidden layers"),
        (spec_of("mlp", hidden=(8192,)), "more than the slots"),
        (spec_of("linear", (replace(NUMBERS[0], shape=(5000,)),)), "5,000 features"),
    ],
)
def test_what_does_not_fit_says_why(spec: NetworkSpec, why: str) -> None:
    with pytest.raises(UnfitError) as found:
        check_fit(spec)
    assert why in str(found.value.reason)


def test_the_smallest_ring_that_holds_the_units_is_taken() -> None:
    assert choose_circuit(spec_of("mlp", NUMBERS)).scheme.degree == 8192
    wide = replace(NUMBERS[0], shape=(100,))
    assert choose_circuit(spec_of("mlp", (wide,), hidden=(64,))).scheme.degree == 16384
    assert choose_circuit(spec_of("linear", (wide,))).scheme.degree == 8192


class Crooked(torch.nn.Module):
    """Says that it is linear and is not."""

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.sin(batch["number"].sum(1, keepdim=True)).repeat(1, 3)


def test_a_network_that_is_not_what_its_spec_says_is_found_out() -> None:
    with pytest.raises(FormError, match="from the network's outputs"):
        linearize(Crooked(), spec_of("linear", NUMBERS), rows(NUMBERS))
