"""Capital that starts anew at every row: a bet against "nothing has changed" that does not tire of waiting.

A part of the capital stays in a purse. Before each row some of it is put on the table, where it is multiplied by the row's bet; each bet
has the mean 1 (or less) while nothing has changed. So purse and table together have the mean 1 at most at every row, and whoever sounds
an alarm when they hold 1 / alpha has a false alarm, ever, with a probability of at most alpha (Ville 1939). What is put on the table
after t quiet rows is about 1 / (t log(t)^2) of all: a change after t rows is found about log(t) + 2 log(log(t)) nats later than one that
was known to come, however long nothing happened. A single bet from the first row on would have lost its capital by then; the e-detector
of Shin, Ramdas and Rinaldo (2023) restarts as well, with equal stakes, and keeps only the mean time between false alarms.
"""

from __future__ import annotations

import numpy as np

FIRST = 0.5  # of the capital is on the table from the first row: the likeliest change is the one between laboratory and road
EVEN = 1000.0  # rows over which stakes are nearly even


def purse(rows: np.ndarray) -> np.ndarray:
    """Return float64 of the shape of `rows`: the share that is still in the purse after so many rows; 1 before the first."""
    after = (1 - FIRST) * np.log(EVEN) / np.log(EVEN + np.maximum(rows, 1))
    return np.where(rows < 1, 1.0, after)


def log_stakes(rows: np.ndarray) -> np.ndarray:
    """Return float64 of the shape of `rows` (1 for the first): the logarithm of what is put on the table before this row."""
    return np.asarray(np.log(purse(rows - 1) - purse(rows)))
