"""A model in service, for tests of the loop: a small real run, its registry, and answers of its package as a worker logs them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge import lifecycle, runtime
from weighbridge.deployment import release
from weighbridge.feedback.journal import Journal
from weighbridge.feedback.log import Log
from weighbridge.feedback.registry import Registry
from weighbridge.recipe import Recipe, parse_recipe

FIXED = {"batch_size": 64, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}
NAME = "moons"


def rows(n: int, seed: int, *, turned: float = 0.0, start: int = 0) -> list[dict[str, Any]]:
    """Points of two classes on either side of a line; the world moves: points come from elsewhere (c), and there the line is turned."""
    random = np.random.default_rng([seed, start])
    points = (random.normal(size=(n, 3)) + np.array([0, 0, 4 if turned else 0])).round(4)
    side = points[:, 0] * np.cos(turned) + points[:, 1] * np.sin(turned) + 0.05 * random.normal(size=n)
    return [{"a": a, "b": b, "c": c, "y": "up" if s > 0 else "down"} for (a, b, c), s in zip(points.tolist(), side, strict=True)]


def recipe(folder: Path, **feedback: Any) -> Recipe:
    """A small MLP on 2,000 such points, with a policy that does everything by itself unless told otherwise."""
    source = folder / "moons.csv"
    if not source.exists():
        source.write_text("a,b,c,y\n" + "".join(f"{r['a']},{r['b']},{r['c']},{r['y']}\n" for r in rows(2000, 0)), encoding="utf-8")
    policy = {
        "policy": {"promote": "auto"},
        "retrain": {"every_h": 0, "least_labels": 50},
        "canary": {"share": 0.5, "least_labels": 30},
        "gate": {"margin": 0.03},
    }
    return parse_recipe(
        {
            "name": NAME, "data": {"source": str(source), "target": "y"},
            "training": {
                **FIXED, "model": {"type": "mlp", "hidden": [32], "dropout": 0}, "epochs": 20, "optimizer": {"type": "adamw", "lr": 0.01},
            },
            "optimization": False, "audit": False,
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
            "feedback": {**policy, **feedback},
        }
    )  # fmt: skip


def served(folder: Path, **feedback: Any) -> tuple[Registry, Log]:
    """A released run and an empty log in `folder/state`."""
    lifecycle.run(recipe(folder, **feedback), folder / NAME)
    registry = Registry.open(folder / "state", NAME)
    release(registry, folder / NAME, "first")
    return registry, Log.open(folder / "state")


def answer(registry: Registry, log: Log, asked: list[dict[str, Any]], *, package: str | None = None, first: int = 0) -> list[str]:
    """The champion (or another package of the registry) answers these rows in the log, one a second; return the answers' ids."""
    current = registry.current()
    assert current is not None
    model = runtime.load(registry.path(package or current.champion))
    output = model.predict([{name: value for name, value in row.items() if name != "y"} for row in asked]).probabilities
    assert output is not None
    begun = datetime.datetime.now(datetime.UTC)
    journal = Journal(log.journals, log.vault)
    journal.describe(model=model.hash, package=NAME, kind="category", classes=model.classes)
    ids = [f"q{first + place}/0" for place in range(len(asked))]
    journal.append(
        {
            "id": id_, "time": (begun + datetime.timedelta(milliseconds=place)).isoformat(), "package": NAME, "model": model.hash,
            "key": "k", "latency_s": 0.001, "output": said.tolist(), "inputs": {name: value for name, value in row.items() if name != "y"},
        }
        for place, (id_, said, row) in enumerate(zip(ids, output, asked, strict=True))
    )  # fmt: skip
    journal.close()
    log.ingest()
    return ids


def label(log: Log, ids: list[str], asked: list[dict[str, Any]], who: str = "expert") -> None:
    """What proved to be true comes in by one key."""
    told = log.accept([{"id": id_, "label": row["y"]} for id_, row in zip(ids, asked, strict=True)], who)
    assert told.accepted == len(ids)
