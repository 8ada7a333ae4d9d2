"""What changes a model's probabilities after the choice: a temperature, pieces of an isotonic map, offsets by group.

Each step begins with log-odds, which a softmax's float32 outputs give to seven digits however sure they are, and ends with probabilities.
What a step does to an array here, weighbridge.export.adjust writes into the graph. No step knows how it was fitted.
Shapes: n rows, C classes or labels, M maps (1 for two classes, C for more, one a label), K knots of a map, G codes of a category column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats

TINY = float(np.finfo(np.float32).tiny)  # where the logarithm of a float32 probability ends
NEAR_ONE = float(np.finfo(np.float32).eps) / 2  # what is left beside the largest float32 probability under 1
MOST_EXACT = 64  # classes up to which the others' probabilities are added up, so that log-odds near 1 keep their digits

Kind = Literal["category", "set"]


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """The log-odds are divided by one number above 0 (Guo 2017): above 1 the model becomes less sure. Its choices stay."""

    name = "temperature"
    value: float

    def applied(self, output: Floats, kind: Kind, codes: Array | None = None) -> Floats:
        """Return the probabilities [n, C] under this temperature."""
        if kind == "set":
            return sigmoid(label_log_odds(output) / self.value)
        return softmax(log(output) / self.value)

    def to_json(self) -> dict[str, Any]:
        return {"step": self.name, "value": self.value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(value=float(value["value"]))


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """Probabilities are mapped by rising pieces over their log-odds (Zadrozny and Elkan 2002), several classes each alone and then normed.

    Attributes:
        x: [M, K] log-odds of the knots, rising; between them the map is straight, beyond them it stays.
        y: [M, K] the shares that were seen there, not falling.
        own: how much of the model's own probability stays in the mean with the map's: so no class is impossible, and no two rows tie that
            the model told apart.
    """

    name = "isotonic"
    x: Floats
    y: Floats
    own: float

    def applied(self, output: Floats, kind: Kind, codes: Array | None = None) -> Floats:
        """Return the mapped probabilities [n, C]."""
        stated = output[:, 1:] if kind == "category" and output.shape[1] == 2 else output
        mapped = np.stack([np.interp(z, x, y) for z, x, y in zip(self.scores(output, kind).T, self.x, self.y, strict=True)], axis=1)
        mixed = (1 - self.own) * mapped + self.own * stated
        if kind == "set":
            return np.asarray(mixed)
        if mixed.shape[1] == 1:
            return np.concatenate([1 - mixed, mixed], axis=1)
        return np.asarray(mixed / mixed.sum(axis=1, keepdims=True))

    @staticmethod
    def scores(output: Floats, kind: Kind) -> Floats:
        """Return the log-odds [n, M] that the maps read: of the second class of two, of each class against the rest, of each label."""
        if kind == "set":
            return label_log_odds(output)
        if output.shape[1] == 2:
            return log(output[:, 1:]) - log(output[:, :1])
        rest = output @ (1 - np.eye(output.shape[1])) if output.shape[1] <= MOST_EXACT else np.maximum(1 - output, NEAR_ONE)
        return log(output) - log(rest)

    def to_json(self) -> dict[str, Any]:
        return {"step": self.name, "x": self.x.tolist(), "y": self.y.tolist(), "own": self.own}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(x=np.asarray(value["x"], np.float64), y=np.asarray(value["y"], np.float64), own=float(value["own"]))


@dataclass(frozen=True, kw_only=True)
class Offsets:
    """To the log-odds of the second class of two a number is added that depends on the code of a category column.

    The most probable class is then that of a threshold of its own for each group (Hardt 2016): the offset is the threshold's log-odds
    with its sign turned.

    Attributes:
        place: of the column in the block `category`.
        values: [G] the offset of each code; codes 0 and 1 are those of rare and of missing values.
    """

    name = "thresholds"
    column: str
    place: int
    values: Floats

    def applied(self, output: Floats, kind: Kind, codes: Array | None = None) -> Floats:
        """Return the probabilities [n, 2]; codes: int [n, columns], the block `category`. Raises ValueError without it."""
        if codes is None:
            raise ValueError(f"offsets by {self.column} need the rows' codes")
        moved = log(output) + np.stack([np.zeros(len(output)), self.values[np.asarray(codes)[:, self.place]]], axis=1)
        return softmax(moved)

    def to_json(self) -> dict[str, Any]:
        return {"step": self.name, "column": self.column, "place": self.place, "values": self.values.tolist()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(column=str(value["column"]), place=int(value["place"]), values=np.asarray(value["values"], np.float64))


Step = Temperature | Isotonic | Offsets
_STEPS: dict[str, Callable[[Mapping[str, Any]], Step]] = {
    Temperature.name: Temperature.from_json,
    Isotonic.name: Isotonic.from_json,
    Offsets.name: Offsets.from_json,
}


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """Steps that a model's probabilities pass one after the other; `kind` is the target's."""

    kind: Kind
    steps: tuple[Step, ...]

    def applied(self, output: Floats, codes: Array | None = None) -> Floats:
        """Return the adjusted probabilities, float64 [n, C]; codes: the rows' block `category`, for offsets by group."""
        found = np.asarray(output, np.float64)
        for step in self.steps:
            found = step.applied(found, self.kind, codes)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """What each step is called in the name of a form."""
        return tuple(step.name for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "steps": [step.to_json() for step in self.steps]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the adjustment. Raises KeyError, TypeError or ValueError for what is none."""
        return cls(kind=value["kind"], steps=tuple(_STEPS[step["step"]](step) for step in value["steps"]))


def log(probability: Floats) -> Floats:
    """Return the logarithm, that of the smallest normal float32 where a probability is under it."""
    return np.asarray(np.log(np.maximum(probability, TINY)))


def label_log_odds(output: Floats) -> Floats:
    """Return the log-odds of labels, each of which stands alone."""
    return log(output) - np.log(np.maximum(1 - output, NEAR_ONE))


def softmax(logits: Floats) -> Floats:
    """Return probabilities [n, C] of log-odds, each row summing to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def sigmoid(logits: Floats) -> Floats:
    """Return the probability of each log-odds."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
