"""Which keys' labels would harm a challenger, told by quick models in its place: linear ones on the rows as the challenger reads them.

A key is left out in turn (feedback/influence.py); to train the challenger itself a dozen times would cost a dozen trainings. What a linear
model can not tell, the gate still has to: a challenger that learnt from lies is compared on rows of all keys, and without each of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.deployment.joining import NewRows
from weighbridge.feedback.influence import Influence, influence

if TYPE_CHECKING:
    from weighbridge.evaluation.predictions import Array, Predictions
    from weighbridge.preprocessing import Arrays, Encoder

MOST_OLD = 5000  # old training rows beside the new ones


def harmful_keys(run: Path, new: NewRows, *, seed: int) -> list[Influence]:
    """Return what each key's labels do to a model of the rows that `run` has encoded; new rows are known by their row ids."""
    from weighbridge import evaluation, preprocessing
    from weighbridge.models.baselines import fit_baseline
    from weighbridge.storage import read_json

    encoder = preprocessing.Encoder.from_json(read_json(run / "preprocessing" / "encoder.json"))
    train, validation = (preprocessing.open_arrays(run / "preprocessing" / side) for side in ("train", "validation"))
    ids, given = train.row_ids.astype(str), dict(zip(new.row_id.tolist(), new.who.tolist(), strict=True))
    places = np.flatnonzero([one in given for one in ids])
    who = np.array([given[one] for one in ids[places]], dtype=object)
    old = np.setdiff1d(np.arange(len(ids)), places)[:MOST_OLD]
    trusted = _trusted(validation, given)

    def fitted(which: Array) -> tuple[Predictions, Predictions]:
        rows = np.sort(np.concatenate([old, places[which]]))
        answer = fit_baseline("linear", encoder, train.subset(rows), trusted, seed=seed).predict
        return _said(answer(train.subset(places)), train.subset(places), encoder), _said(answer(trusted), trusted, encoder)

    return influence(ids[places].tolist(), who, fitted, evaluation.resampling_of(1000, seed)) if len(places) else []


def _trusted(validation: Arrays, given: dict[str, str]) -> Arrays:
    """Return the validation rows that no key labelled: those of the run before."""
    return validation.subset(np.flatnonzero([one not in given for one in validation.row_ids.astype(str)]))


def _said(output: Array, arrays: Arrays, encoder: Encoder) -> Predictions:
    from weighbridge.evaluation.answers import predictions_of

    return predictions_of(output, arrays, encoder, split="validation")
