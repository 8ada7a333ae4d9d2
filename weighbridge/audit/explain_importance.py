"""Permutation importance (Breiman 2001; Fisher 2019): by how much answers get worse when a column is shuffled among rows.

The column's values stay those of real rows, what they belong with is lost. n rows, R repeats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.audit.explain_checks import Mean, mean_over
from weighbridge.preprocessing import Arrays, Ragged
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weighbridge.preprocessing import Encoder

REPEATS = 10
ROWS = 2000  # test rows that are shuffled, at most
MOST_COLUMNS = 40  # of a wide table, the first by one shuffle of some validation rows
SCREEN_ROWS = 300


@dataclass(frozen=True, kw_only=True)
class Importance:
    """By how much the mean loss of a row rises without a column; the interval holds for all columns together."""

    column: str
    rise: Mean

    @property
    def told(self) -> bool:
        """Whether the rise is above 0."""
        return self.rise.interval[0] > 0


def importances(
    answer: Callable[[Arrays], np.ndarray], encoder: Encoder, arrays: Arrays, columns: Sequence[str], groups: np.ndarray | None, seed: int
) -> list[Importance]:
    """Return the importance of each column, largest first: two-sided 95 % intervals, all of them together (Bonferroni)."""
    level = 1 - 0.05 / max(1, len(columns))
    clean = losses(answer(arrays), arrays, encoder)
    found = []
    for column in columns:
        generator = rng(seed, "audit", "explanation", "importance", column)
        shuffled = [losses(answer(_shuffled(encoder, arrays, column, generator)), arrays, encoder) for _ in range(REPEATS)]
        found.append(Importance(column=column, rise=mean_over(np.stack(shuffled, axis=1) - clean[:, None], groups, level)))
    return sorted(found, key=lambda one: -one.rise.value)


def screened(answer: Callable[[Arrays], np.ndarray], encoder: Encoder, arrays: Arrays, seed: int) -> list[str]:
    """Return the columns to measure: all, or of a wide table those that matter most on these (validation) rows."""
    columns = [feature.column for feature in encoder.features if feature.names]
    if len(columns) <= MOST_COLUMNS:
        return columns
    few = arrays.subset(np.linspace(0, len(arrays) - 1, min(len(arrays), SCREEN_ROWS)).astype(int))
    clean = losses(answer(few), few, encoder).mean()
    rise = {
        column: losses(answer(_shuffled(encoder, few, column, rng(seed, "audit", "explanation", "screen", column))), few, encoder).mean()
        for column in columns
    }
    kept = sorted(columns, key=lambda column: clean - rise[column])[:MOST_COLUMNS]
    return [column for column in columns if column in kept]


def losses(output: np.ndarray, arrays: Arrays, encoder: Encoder) -> np.ndarray:
    """Return what each row is wrong by, float64 [n]: 0 or 1 for classes, the share of wrong labels, the absolute error of a number."""
    kind, truth = encoder.learnt.kind, np.asarray(arrays.target)
    if kind == "category":
        return np.asarray(output.argmax(1) != truth, dtype=np.float64)
    if kind == "set":
        return np.asarray(((output >= 0.5) != (truth > 0.5)).mean(axis=1), dtype=np.float64)
    return np.abs(np.asarray(output, dtype=np.float64).reshape(len(truth)) - np.asarray(encoder.learnt.decode(truth), dtype=np.float64))


def _shuffled(encoder: Encoder, arrays: Arrays, column: str, generator: np.random.Generator) -> Arrays:
    """Return the rows with one raw column's entries of other rows, in every block that holds some."""
    order, blocks = generator.permutation(len(arrays)), dict(arrays.blocks)
    for block in encoder.blocks:
        if column not in block.columns:
            continue
        values = blocks[block.name]
        if isinstance(values, Ragged):
            blocks[block.name] = values.subset(order)
        elif block.kind in ("image", "present"):
            blocks[block.name] = np.asarray(values)[order]
        else:
            entries = _entries(encoder, block.kind, column)
            mixed = np.array(values)
            mixed[:, entries] = mixed[order][:, entries]
            blocks[block.name] = mixed
    return replace(arrays, blocks=blocks)


def _entries(encoder: Encoder, kind: str, column: str) -> np.ndarray:
    """Return the places of a column's entries in the block of numbers or of categories."""
    widths = [(feature.column, len(feature.names) if kind == "number" else 1) for feature in encoder.features if feature.kind == kind]
    names = np.repeat([name for name, _ in widths], [width for _, width in widths])
    return np.flatnonzero(names == column)
