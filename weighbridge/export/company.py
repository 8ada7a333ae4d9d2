"""How far an answer hangs on the rows that are asked with it: integers whose ranges come from each batch answer a row by its company."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays
    from weighbridge.runtime.session import Session

ROWS = 100


def apart_alone(session: Session, arrays: Arrays, *, scale: float) -> np.ndarray:
    """Return how far the answer of a row that is asked alone is from that among all of `arrays`, float64 [k], in units of `scale`.

    Of many rows, k = ROWS spread evenly are asked alone.
    """
    answers = session.answer(arrays)
    rows = np.unique(np.linspace(0, len(arrays) - 1, min(ROWS, len(arrays))).astype(np.int64))
    alone = [session.answer(arrays.subset(slice(row, row + 1)))[0] for row in rows.tolist()]
    return np.asarray([float(np.abs(one - answers[row]).max()) for one, row in zip(alone, rows.tolist(), strict=True)]) / scale
