"""Rows that a label is asked for, kept apart by their inputs: the queue of feedback with the eyes of the model that answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weighbridge.feedback.queue import asked_rows, outputs_of
from weighbridge.feedback.registry import Registry
from weighbridge.feedback.select import features_of

if TYPE_CHECKING:
    from weighbridge.evaluation.predictions import Floats
    from weighbridge.feedback.log import Log
    from weighbridge.feedback.windows import Window
    from weighbridge.recipe.feedback import SelectOptions

MOST_ENCODED = 4000  # rows of a pool whose inputs are looked at; of a larger one, what the model said of them


def write_queue(registry: Registry, log: Log, options: SelectOptions) -> int:
    """There is a queue of answers that are worth a label most; return how many of them have none yet. See `asked_rows`."""

    def features(pool: Window) -> Floats:
        current = registry.current()
        found = None if current is None else _encoded(registry, log, pool, current.champion)
        return outputs_of(pool) if found is None else found

    return len(asked_rows(log, registry.name, rows=options.rows, random=options.random, features=features))


def _encoded(registry: Registry, log: Log, pool: Window, package: str) -> Floats | None:
    """Return the encoded inputs of the pool float [n, D]; None where they are too many, were not kept or can not be opened."""
    from weighbridge import runtime
    from weighbridge.errors import WeighbridgeError
    from weighbridge.runtime.columns import Reading

    if len(pool) > MOST_ENCODED:
        return None
    try:
        kept = log.inputs(pool.id.tolist())
        model = runtime.Model.load(registry.path(package))
        columns, count, _ = runtime.to_columns([kept[one] for one in pool.id.tolist()], model.inputs, Reading(paths=False))
    except (WeighbridgeError, KeyError):
        return None
    features = features_of(list(model.encode(columns, np.arange(count)).values()))
    return features if features.size else None
