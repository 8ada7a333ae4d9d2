"""How long work says how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with a label, the units done and all units (None where the total is not known), and words to show beside.

    A label alone (nothing done, no total, no words) is a remark: it is shown at once and stays.
    """

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None: ...


def silent(label: str, done: int, total: int | None, note: str = "") -> None:
    """Say nothing."""
