"""How long work says how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Progress(Protocol):
    """Called with a label, the units done and all units (None where the total is not known), and words to show beside.

    A label alone (nothing done, no total, no words) is a remark: it is shown at once and stays.
    """

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None: ...


def silent(label: str, done: int, total: int | None, note: str = "") -> None:
    """Say nothing."""


class Curve(Protocol):
    """Called at the end of each epoch with all finished epochs so far, as history.json shows them: it can not change them."""

    def __call__(self, epochs: Sequence[Mapping[str, float]]) -> None: ...


def unwatched(epochs: Sequence[Mapping[str, float]]) -> None:
    """Show nobody."""
