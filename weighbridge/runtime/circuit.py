"""What the two sides of an encrypted row agree on: parameters, where numbers stand among the slots, the maps; and its files.

Slots are a table of `across` x `along` (both powers of two, together N/2). The client writes feature j into all of row j. The server
multiplies with the weights, slot (j, i) holding that from feature j to unit i, and folds the rows together: every row then holds all units.
The second map goes the other way: slot (j, i) holds the weight from unit i to output j, and each row is folded into its first slot; a mask
wipes the rest, which would tell more of the weights than an answer does. So a layer costs log2(across) or log2(along) rotations (after
Halevi and Shoup, CRYPTO 2014), however many units it has.

Shapes: n features, H units, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from weighbridge.errors import PackageError
from weighbridge.runtime.ckks import Scheme
from weighbridge.runtime.json_file import parse_json

FORMAT = 1
CLIENT, SERVER, WEIGHTS = "client.json", "server.json", "weights.safetensors"
MOST_JSON, MOST_WEIGHTS = 64 << 20, 1 << 30
AGAIN = "make the folder again with weigh deploy homomorphic"


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """What both sides must agree on: parameters, the table of slots, units between the two maps (0: one map), outputs.

    `output_scale`: the server answers in parts of it, so that no answer leaves the room that the base prime has.
    Raises ValueError when the parts do not fit together.
    """

    scheme: Scheme
    features: int
    hidden: int
    outputs: int
    along: int
    output_scale: float

    def __post_init__(self) -> None:
        units = self.hidden or self.outputs
        fits = 1 <= units <= self.along and 1 <= self.features <= self.across and 1 <= self.outputs <= max(self.across, self.along)
        whole = self.along & (self.along - 1) == 0 and 1 <= self.along <= self.scheme.slots
        if not whole or not fits or (self.hidden and self.outputs > self.across) or not 0 < self.output_scale < 1e9:
            raise ValueError(f"{self.features} features, {self.hidden} units, {self.outputs} outputs do not fit {self.scheme.slots} slots")
        if self.scheme.multiplications < self.depth:
            raise ValueError(f"{self.scheme.multiplications} multiplications are too few: {self.depth} follow one another")

    @property
    def across(self) -> int:
        return self.scheme.slots // max(1, self.along)

    @property
    def depth(self) -> int:
        """Multiplications that follow one another: weights; and with units between: square, weights, mask."""
        return 4 if self.hidden else 1

    @property
    def steps(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The rotations to the left that fold the rows together, and those that fold each row."""
        return _doubling(self.along, self.scheme.slots), _doubling(1, self.along) if self.hidden else ()

    @property
    def answer_slots(self) -> np.ndarray:
        return np.arange(self.outputs) * (self.along if self.hidden else 1)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "scheme": self.scheme.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the circuit of `to_json`. Raises ValueError, KeyError or TypeError."""
        numbers = {name: int(value[name]) for name in ("features", "hidden", "outputs", "along")}
        return cls(scheme=Scheme.from_json(value["scheme"]), output_scale=float(value["output_scale"]), **numbers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """The maps, float64: first [H or K, n] and its bias; with units: square [H], slope [H] of the polynomial; second [K, H] and its bias.

    The polynomial's constant is in the second bias.
    """

    first: np.ndarray
    first_bias: np.ndarray
    square: np.ndarray | None = None
    slope: np.ndarray | None = None
    second: np.ndarray | None = None
    second_bias: np.ndarray | None = None

    def plain(self, features: np.ndarray) -> np.ndarray:
        """Return what the circuit computes, in the clear: [rows, K] of [rows, n]."""
        out: np.ndarray = features @ self.first.T + self.first_bias
        if self.second is None or self.square is None or self.slope is None or self.second_bias is None:
            return out
        result: np.ndarray = (self.square * out**2 + self.slope * out) @ self.second.T + self.second_bias
        return result

    def tensors(self) -> dict[str, np.ndarray]:
        return {name: value for name, value in vars(self).items() if value is not None}


def padded(values: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([np.asarray(values, dtype=np.float64), np.zeros(size - len(values))])


def by_column(circuit: Circuit, matrix: np.ndarray) -> np.ndarray:
    """Return the slots of weights [units, n]: (j, i) from feature j to unit i."""
    slots = np.zeros((circuit.across, circuit.along))
    slots[: matrix.shape[1], : matrix.shape[0]] = matrix.T
    return slots.ravel()


def by_row(circuit: Circuit, matrix: np.ndarray) -> np.ndarray:
    """Return the slots of weights [K, H]: (j, i) from unit i to output j."""
    slots = np.zeros((circuit.across, circuit.along))
    slots[: matrix.shape[0], : matrix.shape[1]] = matrix
    return slots.ravel()


def _doubling(first: int, stop: int) -> tuple[int, ...]:
    return tuple(first << place for place in range((stop // first).bit_length() - 1))


def read_weights(circuit: Circuit, content: bytes, path: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    units = circuit.hidden or circuit.outputs
    shapes: dict[str, Sequence[int]] = {"first": (units, circuit.features), "first_bias": (units,)}
    if circuit.hidden:
        shapes |= {"square": (units,), "slope": (units,), "second": (circuit.outputs, units), "second_bias": (circuit.outputs,)}
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise PackageError(f"{path} is damaged ({error})", do=AGAIN) from None
    if {name: tuple(value.shape) for name, value in tensors.items()} != shapes or not all(np.isfinite(v).all() for v in tensors.values()):
        raise PackageError(f"{path} does not hold the weights of its circuit", do=AGAIN)
    return Weights(**tensors)


def read_about(path: Path) -> dict[str, Any]:
    return parse_about(read_bytes(path, MOST_JSON), str(path))


def parse_about(content: bytes, name: str) -> dict[str, Any]:
    about = parse_json(content, Path(name).name)
    if about.get("format") != FORMAT:
        raise PackageError(f"{name} has format {about.get('format')!r}, this Weighbridge reads {FORMAT}", do=AGAIN)
    return about


def read_bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise PackageError(f"{path} can not be read ({error.strerror})", do=AGAIN) from None
    if len(content) > most:
        raise PackageError(f"{path} has more than {most:,} bytes", do=AGAIN)
    return content
