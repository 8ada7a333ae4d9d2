"""What a kind of damage is: a change of given strength to rows, drawn from a seed. Damage is of the world, an attack is of an adversary.

Images are damaged as the model sees them, uint8 [n, H, W, C] at its own size (as CIFAR-10-C is at 32 x 32, Hendrycks and Dietterich 2019):
what comes out is again a picture that could have been sent. Everything else is damaged as raw values, before the run's own encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.findings import Message

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of damage.

    Attributes:
        of: what is damaged, `image`, `audio`, `text` or `table`; with the name the last words of its finding's key.
        title: what happens, in a few words.
        levels: its strengths, mildest first, as `apply` reads them.
        unit: what the strengths are, for the page of evidence.
        apply: (values, level, generator) -> values of the same form; the values are left as they are. Images: uint8 [n, H, W, C];
            clips: float [n], one by one; texts: object [n] of str or None; tables: the columns by name that the damage may touch.
    """

    of: str
    name: str
    title: Message
    levels: tuple[float, ...]
    unit: Message
    apply: Callable[[Any, float, np.random.Generator], Any]

    @property
    def key(self) -> str:
        return f"{self.of}.{self.name}"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One kind at one strength; `level` counts from 1."""

    kind: Kind
    level: int

    @property
    def strength(self) -> float:
        return self.kind.levels[self.level - 1]


def conditions(kinds: Sequence[Kind]) -> list[Condition]:
    """Return every kind at every strength, the kinds in their order."""
    return [Condition(kind=kind, level=level) for kind in kinds for level in range(1, len(kind.levels) + 1)]


def copied(columns: Mapping[str, np.ndarray]) -> Columns:
    """Return columns whose values may be changed."""
    return {name: values.copy() for name, values in columns.items()}
