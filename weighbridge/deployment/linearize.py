"""A trained network as one or two linear maps on features, with a polynomial where its activation was: what ciphertexts can be put through.

Shapes: n features, H units, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import FormError
from weighbridge.findings import Message
from weighbridge.runtime.circuit import Circuit, Weights
from weighbridge.runtime.ckks import Scheme
from weighbridge.runtime.features import features_of, width_of

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.models import NetworkSpec
    from weighbridge.preprocessing import Block

# The base prime's bits less the scale's are the room of an answer: 2^19 and 2^6 times what `output_scale` makes of the largest one, 1/4.
ONE_MAP = Scheme(degree=8192, bits=(60, 40, 60), scale_bits=40)
TWO_MAPS = (
    Scheme(degree=8192, bits=(41, 34, 34, 34, 34, 41), scale_bits=34),
    Scheme(degree=16384, bits=(60, 40, 40, 40, 40, 60), scale_bits=40),
)
PROBES = 512  # rows of a batch that asks the network for its weights
TOLERANCE = 1e-4  # of the largest output: the maps found must be the network's, up to float32
BATCH_ROWS = 4096


class UnfitError(Exception):
    """The network is none that ciphertexts can be put through here; `reason` says why."""

    def __init__(self, reason: Message) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearized:
    """A circuit with its weights; `low`, `high` float64 [H] are the ranges of training rows on which the polynomials were fitted."""

    circuit: Circuit
    weights: Weights
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def beyond(self, features: np.ndarray) -> float:
        """Return the share of unit values, over rows [rows, n], that lie beyond the range of the fit."""
        if self.low is None or self.high is None:
            return 0.0
        units = features @ self.weights.first.T + self.weights.first_bias
        return float(((units < self.low) | (units > self.high)).mean())


def check_fit(spec: NetworkSpec) -> None:
    """Raise UnfitError unless the network is linear, or has one layer of hidden units, and its features fit a ciphertext."""
    if spec.type not in ("linear", "mlp"):
        raise UnfitError(Message("a network of type {type} is not computed on ciphertexts here: linear and mlp are", type=spec.type))
    texts = [block.columns[0] for block in spec.blocks if block.kind == "text"]
    if texts:
        raise UnfitError(Message("the text '{column}' is looked up token by token, which a ciphertext does not allow", column=texts[0]))
    hidden = spec.sizes.hidden if spec.type == "mlp" else ()
    if len(hidden) > 1:
        said = "{layers} hidden layers need more multiplications in a row than the parameters allow: one is computed"
        raise UnfitError(Message(said, layers=len(hidden)))
    choose_circuit(spec)


def choose_circuit(spec: NetworkSpec, output_scale: float = 1.0) -> Circuit:
    """Return the smallest parameters that hold the network. Raises UnfitError when none do."""
    features = sum(width_of(block) for block in spec.blocks)
    hidden = spec.sizes.hidden[0] if spec.type == "mlp" and spec.sizes.hidden else 0
    along = 1 << ((hidden or spec.outputs) - 1).bit_length()
    for scheme in TWO_MAPS if hidden else (ONE_MAP,):
        try:
            return Circuit(
                scheme=scheme, features=features, hidden=hidden, outputs=spec.outputs, along=along, output_scale=output_scale
            )  # fmt: skip
        except ValueError:
            continue
    said = "{features} features and {units} units are more than the slots of one ciphertext"
    raise UnfitError(Message(said, features=features, units=hidden or spec.outputs))


def linearize(network: nn.Module, spec: NetworkSpec, training: dict[str, np.ndarray]) -> Linearized:
    """Return the network's maps; the polynomials are fitted on encoded training rows, by block.

    Each unit has its own polynomial of degree 2: the least squares of its activation over the values that training rows give it. Squares
    stand for activations since CryptoNets (Dowlin and others, ICML 2016); fitting them where the data is keeps what was trained.
    Raises UnfitError, FormError when the maps found are not the network's.
    """
    check_fit(spec)
    features = features_of(spec.blocks, training)
    if spec.type == "linear" or not spec.sizes.hidden:
        matrix, bias = _affine(_outputs(network), spec.blocks)
        weights = Weights(first=matrix, first_bias=bias)
        _prove(weights.plain(features), _outputs(network)(training))
        return Linearized(circuit=choose_circuit(spec, _part_of(weights.plain(features))), weights=weights)
    first, activation, second = _head(network)
    matrix, bias = _affine(first, spec.blocks)
    units = features @ matrix.T + bias
    _prove(units, first(training))
    square, slope, constant = _polynomials(units, activation(units))
    weights = Weights(
        first=matrix, first_bias=bias, square=square, slope=slope, second=second[0], second_bias=second[1] + second[0] @ constant
    )  # fmt: skip
    circuit = choose_circuit(spec, _part_of(weights.plain(features)))
    return Linearized(circuit=circuit, weights=weights, low=units.min(axis=0), high=units.max(axis=0))


Outputs = Callable[[dict[str, np.ndarray]], np.ndarray]


def _outputs(network: nn.Module) -> Outputs:
    """Return the function from encoded rows to the network's raw outputs, float64 [rows, K]."""
    import torch

    def of(arrays: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            parts = [network(batch).double().numpy() for batch in _batches(arrays)]
        return np.concatenate(parts)

    return of


def _head(network: nn.Module) -> tuple[Outputs, Callable[[np.ndarray], np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return an MLP's values before the activation as a function of encoded rows, its activation, and its last map."""
    import torch

    head: Any = network.head
    before, activation, last = head[0], head[1], head[-1]

    def of(arrays: dict[str, np.ndarray]) -> np.ndarray:
        caught: list[np.ndarray] = []
        hook = before.register_forward_hook(lambda _module, _given, out: caught.append(out.double().numpy()))
        try:
            with torch.inference_mode():
                for batch in _batches(arrays):
                    network(batch)
        finally:
            hook.remove()
        return np.concatenate(caught)

    def act(values: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(activation(torch.from_numpy(values)).numpy())

    return of, act, (last.weight.detach().double().numpy(), last.bias.detach().double().numpy())


def _batches(arrays: dict[str, np.ndarray]) -> Any:
    import torch

    rows = len(next(iter(arrays.values())))
    for start in range(0, rows, BATCH_ROWS):
        yield {name: torch.from_numpy(np.array(array[start : start + BATCH_ROWS])) for name, array in arrays.items()}


def _affine(outputs: Outputs, blocks: Sequence[Block]) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix [units, n] and bias of outputs that are affine in the features, found by asking for one feature at a time.

    So no order of columns, channels or tables is written down twice. A row has some code of each category: the first ones are in the bias.
    """
    origin = {block.name: np.zeros((1, *block.shape), dtype=block.dtype) for block in blocks}
    bias = outputs(origin)[0]
    columns = [
        part - bias
        for block in blocks
        for start in range(0, width_of(block), PROBES)
        for part in [outputs(_probes(origin, block, np.arange(start, min(start + PROBES, width_of(block)))))]
    ]
    return np.concatenate(columns).T, bias


def _probes(origin: dict[str, np.ndarray], block: Block, wanted: np.ndarray) -> dict[str, np.ndarray]:
    """Return encoded rows, one for each wanted feature of the block, in which that feature alone is 1."""
    arrays = {name: np.repeat(array, len(wanted), axis=0) for name, array in origin.items()}
    place = np.arange(len(wanted))
    if block.kind == "category":
        starts = np.concatenate([[0], np.cumsum(block.cardinalities)])
        column = np.searchsorted(starts, wanted, side="right") - 1
        arrays[block.name][place, column] = wanted - starts[column]
    else:
        flat = arrays[block.name].reshape(len(wanted), -1)
        flat[place, wanted] = 255 if block.kind == "image" else 1
        arrays[block.name] = flat.reshape(arrays[block.name].shape)
    return arrays


def _prove(found: np.ndarray, expected: np.ndarray) -> None:
    apart, largest = float(np.abs(found - expected).max()), max(1.0, float(np.abs(expected).max()))
    if not apart <= TOLERANCE * largest:
        raise FormError(f"the linear map that was found is {apart:.3g} from the network's outputs", do="report this as a bug")


def _polynomials(units: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return square, slope and constant [H] of the least squares of values on units, [rows, H] each."""
    found = np.zeros((3, units.shape[1]))
    for unit in range(units.shape[1]):
        x, y = units[:, unit], values[:, unit]
        if np.ptp(x) < 1e-9:  # a unit that says the same of every row
            found[2, unit] = y.mean()
            continue
        fitted = np.polynomial.Polynomial.fit(x, y, deg=2).convert().coef  # trailing zeros are left out of it
        found[:, unit] = np.pad(fitted, (0, 3 - len(fitted)))[::-1]
    return found[0], found[1], found[2]


def _part_of(outputs: np.ndarray) -> float:
    """Return what an answer is given in parts of, so that the largest of a training row is 1/4."""
    return max(1e-6, 4.0 * float(np.abs(outputs).max()))
