"""What stands for a column that an explanation switches off: a few typical values of each column by itself, carried by the package.

No row can be read from them. Numbers and dates are quantiles, rounded; categories and sets are values that many training rows share; texts
and images have no values here, their parts are replaced by what the encoder knows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weighbridge.data.table import Table

VALUES = 6  # as many rows as the audit of explanations takes for its background
ROWS = 20_000
FEWEST = 5  # rows that share a value before it is named
FEWEST_QUANTILES = 120  # values, so that 20 lie between two quantiles: of fewer the median stands alone
DIGITS = 3


def reference_of(train: Table, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return VALUES values of each column of numbers, dates, categories and sets, as JSON that `to_columns` reads back.

    The k-th of a number or date is its quantile (k + 1/2) / VALUES; categories and sets have theirs in proportion to how frequent they are.
    """
    found: dict[str, list[Any]] = {}
    for name in names:
        kind = train.schema[name].type
        if kind in OF:
            found[name] = OF[kind](train.spread(name, ROWS))
    return found


def _numbers(values: np.ndarray) -> list[float | None]:
    values = values[np.isfinite(values)]
    return [float(f"{value:.{DIGITS}g}") for value in _quantiles(values)] if len(values) >= FEWEST else [None] * VALUES


def _dates(values: np.ndarray) -> list[str | None]:
    values = values[~np.isnat(values)]
    if len(values) < FEWEST:
        return [None] * VALUES
    found = np.round(_quantiles(values.astype("datetime64[D]").astype(np.int64))).astype(np.int64)
    return [str(day) for day in found.astype("datetime64[D]")]


def _quantiles(values: np.ndarray) -> np.ndarray:
    ranks = (np.arange(VALUES) + 0.5) / VALUES if len(values) >= FEWEST_QUANTILES else np.full(VALUES, 0.5)
    return np.asarray(np.quantile(values, ranks))


def _frequent(values: np.ndarray) -> list[Any]:
    """Return values at even places of all rows ordered by how frequent their value is, of those that enough rows share; None for none."""
    counts = [(value, count) for value, count in Counter(values.tolist()).most_common() if count >= FEWEST]
    if not counts:
        return [None] * VALUES
    ends = np.cumsum([count for _, count in counts])
    places = np.searchsorted(ends, (np.arange(VALUES) + 0.5) / VALUES * ends[-1], side="right")
    return [list(value) if isinstance(value, tuple) else value for value, _ in (counts[place] for place in places)]


OF: dict[str, Callable[[np.ndarray], list[Any]]] = {"number": _numbers, "date": _dates, "category": _frequent, "set": _frequent}
