"""A bounded uniform sample of a stream that does not depend on how the stream is cut into batches."""

from __future__ import annotations

from typing import Any

import numpy as np

SAMPLE_ROWS = 200_000


class NumberSample:
    """At most `most` numbers of a stream, uniform without replacement: those with the smallest random keys (bottom-k).

    Exact (holds everything) while the stream is not longer than `most`.
    """

    def __init__(self, generator: np.random.Generator, most: int = SAMPLE_ROWS) -> None:
        self._generator = generator
        self._most = most
        self._keys: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._held = 0

    def add(self, values: np.ndarray) -> None:
        self._keys.append(self._generator.random(len(values)))
        self._values.append(values)
        self._held += len(values)
        if self._held >= 2 * self._most:
            self._shrink()

    def values(self) -> np.ndarray:
        """Return the sample as float64, sorted."""
        self._shrink()
        return np.sort(self._values[0]) if self._values else np.empty(0)

    def _shrink(self) -> None:
        if not self._values:
            return
        keys, values = np.concatenate(self._keys), np.concatenate(self._values)
        if len(keys) > self._most:
            kept = np.argpartition(keys, self._most)[: self._most]
            keys, values = keys[kept], values[kept]
        self._keys, self._values, self._held = [keys], [values], len(values)


class ItemSample:
    """At most `most` items of a stream (any objects), by the same rule."""

    def __init__(self, generator: np.random.Generator, most: int) -> None:
        self._generator = generator
        self._most = most
        self._items: list[tuple[float, Any]] = []

    def add(self, items: Any) -> None:
        keys = self._generator.random(len(items))
        full = len(self._items) == self._most
        chosen = np.flatnonzero(keys < self._items[-1][0]) if full else np.arange(len(items))
        if len(chosen) > self._most:
            chosen = chosen[np.argsort(keys[chosen], kind="stable")[: self._most]]
        self._items.extend((float(keys[index]), items[index]) for index in chosen)
        self._items.sort(key=lambda pair: pair[0])
        del self._items[self._most :]

    def items(self) -> list[Any]:
        """Return the sample in the order of its keys."""
        return [item for _, item in self._items]
