"""A champion that was promoted lately beside the model before it: which of both is right more often on the same labelled answers?

A promise may be broken because the new model is worse, or because the world has gone on to move. Only in the first case does it help to go
back, and the promise alone can not tell: so what answered before is asked about the very rows that were labelled since the promotion, where
their inputs are kept, and the paired differences go into a confidence sequence that holds at every look.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.feedback.canary import SOURCE, outcomes
from weighbridge.feedback.decide import FORMER
from weighbridge.feedback.sequences import Mean
from weighbridge.feedback.windows import predictions_of
from weighbridge.findings import Finding, Message, Verdict
from weighbridge.runtime import Model

if TYPE_CHECKING:
    from weighbridge.evaluation.predictions import Floats, Predictions
    from weighbridge.feedback.log import Log
    from weighbridge.feedback.windows import Window

MOST = 1000  # labelled answers since the promotion, the first ones to get a label


def former_finding(log: Log, answers: Window, former: Path, *, level: float, command: str = "") -> Finding:
    """Return `feedback.former`: the share right of the champion minus that of the package `former` on the same rows.

    Args: answers, labelled ones of the champion alone, in the order in which their labels came. A limitation where the champion is
    measurably worse, an advantage where it is measurably better; unmeasured where no inputs are kept.
    """
    title, rows = Message("Champion against the model before it"), answers.rows(np.arange(min(len(answers), MOST)))
    inputs = log.inputs(rows.id.tolist())
    rows = rows.rows(np.array([isinstance(inputs.get(one), dict) for one in rows.id.tolist()], dtype=bool))
    if not len(rows):
        reason = Message("no labelled answer since the promotion has its inputs kept")
        return Finding(key=FORMER, title=title, verdict="unmeasured", reason=reason, command=command)
    champion = predictions_of(rows)
    other = _asked(_loaded(former), [inputs[one] for one in champion.row_id.tolist()], champion)
    scale = _scale(champion, other)
    came = np.searchsorted(champion.row_id, rows.id.astype(str))  # predictions are sorted by id, a sequence is as labels came
    held = Mean(alpha=level).add((1 + (outcomes(champion, scale) - _right(other, scale))[came]) / 2)
    low, high = (2 * end - 1 for end in held.interval)
    value = 2 * float(held.value or 0.0) - 1
    verdict: Verdict = "limitation" if high < 0 else "advantage" if low > 0 else "neutral"
    return Finding(
        key=FORMER, title=title, value=value, interval=(min(low, value), max(high, value)), unit="share", n=held.n, verdict=verdict,
        command=command,
        method=Message("paired on labelled answers since the promotion; confidence sequence by betting"), source=SOURCE,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _loaded(package: Path) -> Model:
    return Model.load(package, threads=1)


def _asked(model: Model, rows: list[dict[str, object]], like: Predictions) -> Predictions:
    """Return what a model says of the same rows, its classes in the order of `like`; a class that `like` does not know is wrong."""
    answer = model.answer(rows, replace(model.reading, paths=False))
    if answer.probabilities is None:
        return replace(like, output=np.asarray(answer.values))
    output = np.zeros_like(like.output)
    for place, name in enumerate(like.classes):
        if name in model.classes:
            output[:, place] = answer.probabilities[:, model.classes.index(name)]
    if like.kind == "category":  # what it says is another class: then no known one is said
        strange = ~np.isin(np.array(model.classes, dtype=object)[answer.probabilities.argmax(axis=1)], list(like.classes))
        output[strange] = 0.0
    return replace(like, output=output)


def _scale(champion: Predictions, other: Predictions) -> float:
    """Return the error of a number that counts as wholly wrong, of both models alike."""
    if champion.kind != "number":
        return 1.0
    return float(np.quantile(np.abs(np.concatenate([champion.output - champion.target, other.output - other.target])), 0.99))


def _right(rows: Predictions, scale: float) -> Floats:
    right = outcomes(rows, scale)
    if rows.kind == "category":
        right[rows.output.max(axis=1) == 0] = 0.0
    return right
