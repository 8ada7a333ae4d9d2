"""Whether the answers give away a protected column of the rows that were learnt: attribute inference (Fredrikson 2015).

An attacker knows a row's other inputs and its label, and guesses the column; then he is given the model's answer to the row, too. What the
answer adds is what the model gives away: what the inputs tell anyway is no fault of the model (Jayaraman and Evans 2022). Guesses are those
of gradient boosting, out of fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weighbridge.audit.fairness_gaps import LEAST
from weighbridge.audit.fairness_groups import grouped
from weighbridge.audit.fairness_proxies import FOLDS, boosted, flat_inputs, sample
from weighbridge.audit.subject import Unmeasured
from weighbridge.evaluation.comparison import Comparison, compare
from weighbridge.evaluation.predictions import Floats, Ints, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.findings import Message
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject


def told_by_answers(subject: Subject, column: str) -> tuple[Comparison, float, float]:
    """Return what the answers add to the share of rows whose column is guessed right, and both shares. Raises Unmeasured."""
    arrays, train = subject.arrays["train"], subject.splits.train
    rows = sample(len(arrays), subject.seed)
    groups = grouped(column, train, train, train.places(arrays.row_ids[rows]))
    if isinstance(groups, Message):
        raise Unmeasured(groups)
    table, slots, categorical = flat_inputs(subject.encoder, arrays, rows, subject.seed, (column,))
    if not slots:
        raise Unmeasured(Message("there is no other input to guess it from"))
    known = subject.said["train"]
    said = known.output[np.searchsorted(known.row_id, arrays.row_ids[rows])].reshape(len(rows), -1)
    label = np.asarray(arrays.target)[rows].reshape(len(rows), -1).astype(np.float64)
    found = guesses(np.column_stack([table, label]), said, groups.codes, [*categorical, *[False] * label.shape[1]], subject.how)
    if found is None:
        raise Unmeasured(Message("fewer than two groups have {least} training rows", least=LEAST))
    return found


def guesses(table: Floats, said: Floats, codes: Ints, categorical: list[bool], how: Resampling) -> tuple[Comparison, float, float] | None:
    """Return what answers [n, C] add to a table [n, D] in guessing groups [n]; None where fewer than two groups have enough rows."""
    large = np.flatnonzero(np.bincount(codes) >= LEAST)
    if len(large) < 2:
        return None
    rows = np.isin(codes, large)
    truth = np.searchsorted(large, codes[rows])
    fold = rng(how.seed, "audit", "attribute", "folds").permutation(len(truth)) % FOLDS
    without = boosted(table[rows], truth, fold, categorical, how.seed)
    within = boosted(np.column_stack([table, said])[rows], truth, fold, [*categorical, *[False] * said.shape[1]], how.seed)
    told, plain = (_predictions(output, truth, len(large), name) for output, name in ((within, "with answers"), (without, "without")))
    return compare(told, plain, how), _right(told), _right(plain)


def _right(guessed: Predictions) -> float:
    return float((guessed.chosen == guessed.target).mean())


def _predictions(output: Floats, truth: Ints, groups: int, name: str) -> Predictions:
    ids = np.char.zfill(np.arange(len(truth)).astype(str), 9)
    return Predictions(kind="category", row_id=ids, target=truth, output=output, classes=tuple(map(str, range(groups))), model=name)
