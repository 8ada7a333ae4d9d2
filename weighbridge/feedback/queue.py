"""STATE/queues/NAME.json: the rows that a label is asked for now, each with the chance by which it came in; it stays until it is done.

A queue that changed with every look could not be worked through, and the chance that a row was asked for would be lost. A new one is made
when most of the old one is labelled, or when another model answers; every queue stays in STATE/queues/NAME.jsonl, so that estimates from
its labels can be weighted (`select.weighted_mean`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.errors import RunError
from weighbridge.feedback.log import Log
from weighbridge.feedback.select import select, unsureness
from weighbridge.feedback.windows import Window
from weighbridge.storage.files import read_json, write_json
from weighbridge.storage.lines import append_line

QUEUES = "queues"
POOL_ROWS = 5000  # the newest answers without a label, from which rows are chosen
DONE_SHARE = 0.8  # of a queue that has labels: then a new one is made
ROWS, RANDOM, SHOWN = 100, 0.2, 20
MOST_CLASSES = 3


def asked_rows(log: Log, name: str, *, rows: int = ROWS, random: float = RANDOM, seed: int = 0) -> list[dict[str, Any]]:
    """Return the rows of the queue that have no label yet: id, time_us, probability, random. Raises StorageError, RunError."""
    kept = _kept(log.folder, name)
    newest = log.window(package=name, newest=1)
    if kept is not None and len(newest) and kept["model"] == newest.served[0].model:
        open_ = _open(log, kept["rows"])
        if len(open_) > (1 - DONE_SHARE) * len(kept["rows"]):
            return open_
    return _made(log, name, rows, random, seed)


def shown_rows(log: Log, asked: Iterable[dict[str, Any]], most: int = SHOWN) -> list[dict[str, Any]]:
    """Return the first rows of a queue as a person is to see them: id, time_us, random, what the model said, and the inputs where kept."""
    chosen = list(asked)[:most]
    found = log.window(ids=[one["id"] for one in chosen])
    inputs = log.inputs([one["id"] for one in chosen])
    places = {id_: place for place, id_ in enumerate(found.id.tolist())}
    return [
        {"id": one["id"], "time_us": one["time_us"], "random": one["random"], "inputs": inputs.get(one["id"]),
         **_said(found.rows(np.array([places[one["id"]]])))}
        for one in chosen if one["id"] in places
    ]  # fmt: skip


def _kept(state: Path, name: str) -> dict[str, Any] | None:
    path = state / QUEUES / f"{name}.json"
    try:
        found: dict[str, Any] | None = read_json(path) if path.exists() else None
    except RunError:  # it is made again
        return None
    return found


def _open(log: Log, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that are still answers of the log and have no label."""
    found = log.window(ids=[one["id"] for one in rows])
    bare = set(found.id[~found.labelled].tolist())
    return [one for one in rows if one["id"] in bare]


def _made(log: Log, name: str, rows: int, random: float, seed: int) -> list[dict[str, Any]]:
    pool = log.window(package=name, newest=POOL_ROWS)
    if not len(pool):
        return []
    pool = pool.rows((pool.model == pool.model[-1]) & ~pool.labelled)
    if not len(pool):
        return []
    output = pool.output
    features = output if output.ndim == 2 else output[:, None]
    found = select(unsureness(output, pool.served[pool.model[0]].kind), features, rows=rows, random=random, seed=seed + int(pool.sequence[-1]))
    queue = [
        {"id": str(pool.id[place]), "time_us": int(pool.time_us[place]), "probability": float(chance), "random": bool(drawn)}
        for place, chance, drawn in zip(found.place.tolist(), found.probability, found.random, strict=True)
    ]  # fmt: skip
    made = {"name": name, "model": pool.served[pool.model[0]].model, "pool": found.pool, "rows": queue}
    write_json(log.folder / QUEUES / f"{name}.json", made)
    append_line(log.folder / QUEUES / f"{name}.jsonl", made)
    return queue


def _said(row: Window) -> dict[str, Any]:
    served, output = row.served[int(row.model[0])], row.output[0]
    if served.kind == "number":
        return {"prediction": float(output), "probabilities": {}}
    order = np.argsort(-output)[:MOST_CLASSES]
    likely = {served.classes[code]: float(output[code]) for code in order.tolist()}
    prediction: Any = next(iter(likely))
    if served.kind == "set":
        prediction = [name for name, share in zip(served.classes, output.tolist(), strict=True) if share > 0.5]
    return {"prediction": prediction, "probabilities": likely}
