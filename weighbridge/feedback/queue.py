"""STATE/models/NAME/queue.json: the rows that a label is asked for now, each with the chance by which it came in.

A queue stays until it is done: one that changed with every look could not be worked through, and the chance that a row was asked for would
be lost. A new one is made when most of the old one is labelled; every queue that was shown stays in queues.jsonl beside it, so that
estimates from its labels can be weighted (`select.weighted_mean`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import RunError
from weighbridge.feedback.log import Log
from weighbridge.feedback.registry import Registry, moment
from weighbridge.feedback.select import select, unsureness
from weighbridge.feedback.windows import Window
from weighbridge.storage.files import read_json, write_json
from weighbridge.storage.lines import append_line, read_lines

if TYPE_CHECKING:
    from weighbridge.evaluation.predictions import Floats

QUEUE, QUEUES = "queue.json", "queues.jsonl"
POOL_ROWS = 5000  # the newest answers without a label, from which rows are chosen
DONE_SHARE = 0.8  # of a queue that has labels: then a new one is made
ROWS, RANDOM, SHOWN = 100, 0.2, 12
MOST_CLASSES = 3


def outputs_of(pool: Window) -> Floats:
    """Return what the model said of each row of a pool, float64 [n, K]."""
    return pool.output if pool.output.ndim == 2 else pool.output[:, None]


def asked_rows(
    log: Log, name: str, *, rows: int = ROWS, random: float = RANDOM, seed: int = 0, features: Callable[[Window], Floats] = outputs_of
) -> list[dict[str, Any]]:
    """Return the rows of the queue that have no label yet: id, probability, random. Raises StorageError, RunError.

    `features` gives float [n, D] of a pool's rows, by which the rows of a new queue are kept apart.
    """
    folder = Registry.open(log.folder, name).folder
    kept = _kept(folder)
    if kept is not None:
        open_ = _open(log, kept["rows"])
        if len(open_) > (1 - DONE_SHARE) * len(kept["rows"]):
            _remember(folder, kept)
            return open_
    made = _made(log, name, rows, random, seed, features)
    if made is None:
        return []
    write_json(folder / QUEUE, made)
    _remember(folder, made)
    rows_made: list[dict[str, Any]] = made["rows"]
    return rows_made


def shown_rows(log: Log, asked: Iterable[dict[str, Any]], most: int = SHOWN) -> list[dict[str, Any]]:
    """Return the first rows of a queue as a person is to see them: id, time_us, random, what the model said, and the inputs where kept."""
    chosen = list(asked)[:most]
    found = log.window(ids=[one["id"] for one in chosen])
    inputs = log.inputs([one["id"] for one in chosen])
    places = {id_: place for place, id_ in enumerate(found.id.tolist())}
    return [
        {"id": one["id"], "random": one["random"], "inputs": inputs.get(one["id"]),
         **_said(found.rows(np.array([places[one["id"]]])))}
        for one in chosen if one["id"] in places
    ]  # fmt: skip


def _kept(folder: Path) -> dict[str, Any] | None:
    path = folder / QUEUE
    try:
        found: dict[str, Any] | None = read_json(path) if path.exists() else None
    except RunError:  # it is made again
        return None
    return found


def _remember(folder: Path, queue: dict[str, Any]) -> None:
    lines = read_lines(folder / QUEUES)
    if not lines or lines[-1] != queue:
        append_line(folder / QUEUES, queue)


def _open(log: Log, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that are still answers of the log and have no label."""
    found = log.window(ids=[one["id"] for one in rows])
    bare = set(found.id[~found.labelled].tolist())
    return [one for one in rows if one["id"] in bare]


def _made(log: Log, name: str, rows: int, random: float, seed: int, features: Callable[[Window], Floats]) -> dict[str, Any] | None:
    """Return a queue of the newest unlabelled answers of the model that answers now; None where there are none of a known model."""
    pool = log.window(package=name, newest=POOL_ROWS)
    if not len(pool) or not pool.served[int(pool.model[-1])].kind:
        return None
    pool = pool.rows((pool.model == pool.model[-1]) & ~pool.labelled)
    if not len(pool):
        return None
    score = unsureness(pool.output, pool.served[int(pool.model[0])].kind)
    found = select(score, features(pool), rows=rows, random=random, seed=seed + int(pool.sequence[-1]))
    queue = [
        {"id": str(pool.id[place]), "probability": float(chance), "random": bool(drawn)}
        for place, chance, drawn in zip(found.place.tolist(), found.probability, found.random, strict=True)
    ]
    return {"made": moment(), "pool": found.pool, "rows": queue}


def _said(row: Window) -> dict[str, Any]:
    served, output, time_us = row.served[int(row.model[0])], row.output[0], int(row.time_us[0])
    if served.kind == "number":
        return {"time_us": time_us, "prediction": float(output), "probabilities": {}}
    order = np.argsort(-output)[:MOST_CLASSES]
    likely = {served.classes[code]: float(output[code]) for code in order.tolist()}
    prediction: Any = next(iter(likely))
    if served.kind == "set":
        prediction = [name for name, share in zip(served.classes, output.tolist(), strict=True) if share > 0.5]
    return {"time_us": time_us, "prediction": prediction, "probabilities": likely}
