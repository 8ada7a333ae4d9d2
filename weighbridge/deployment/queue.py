"""STATE/models/NAME/queue.json: the rows that a label is asked for, each with the probability with which it came in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weighbridge.feedback.registry import Registry, moment
from weighbridge.feedback.select import Asked, features_of, select, unsureness
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.evaluation.predictions import Floats
    from weighbridge.feedback.log import Log
    from weighbridge.feedback.windows import Window
    from weighbridge.recipe.feedback import SelectOptions

MOST_POOL, MOST_FEATURES = 20_000, 4000  # newest answers among which is chosen; of them, the most unsure whose inputs are looked at


def write_queue(registry: Registry, log: Log, options: SelectOptions, *, seed: int = 0) -> int:
    """queue.json holds the newest answers that are worth a label most; return how many. A queue whose rows are labelled is replaced."""
    current = registry.current()
    if current is None:
        return 0
    model = registry.about(current.champion)["model"]
    found = log.window(package=registry.name, model=model, newest=MOST_POOL)
    found = found.rows(~found.labelled)
    if not len(found):
        return 0
    score = unsureness(found.output, found.served[0].kind)
    asked = _select(found, score, _features(registry, log, found, current.champion), options, seed)
    rows = [
        {"id": str(found.id[place]), "probability": float(chance), "random": bool(random)}
        for place, chance, random in zip(asked.place, asked.probability, asked.random, strict=True)
    ]
    write_json(registry.folder / "queue.json", {"made": moment(), "pool": asked.pool, "rows": rows})
    return len(rows)


def _select(found: Window, score: Floats, features: Floats | None, options: SelectOptions, seed: int) -> Asked:
    return select(score, features, rows=options.rows, random=options.random, seed=seed + int(found.sequence[-1]))


def _features(registry: Registry, log: Log, found: Window, package: str) -> Floats | None:
    """Return the encoded inputs of the pool float [n, D]; None where they are too many, were not kept or can not be opened."""
    from weighbridge import runtime
    from weighbridge.errors import WeighbridgeError
    from weighbridge.runtime.columns import Reading

    if len(found) > MOST_FEATURES:
        return None
    try:
        kept = log.inputs(found.id.tolist())
        model = runtime.Model.load(registry.path(package))
        columns, count, _ = runtime.to_columns([kept[one] for one in found.id.tolist()], model.inputs, Reading(paths=False))
    except (WeighbridgeError, KeyError):
        return None
    features = features_of(list(model.encode(columns, np.arange(count)).values()))
    return features if features.size else None
