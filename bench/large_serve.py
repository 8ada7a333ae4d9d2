"""Train on stored arrays while having the turn: one contestant of bench/large.py.

The loop is the one that `weigh run` runs. `--memory` copies all rows into memory first; without it they stay mapped.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from turns import Turns

from weighbridge import preprocessing, training
from weighbridge.errors import Stopped
from weighbridge.recipe import parse_recipe
from weighbridge.storage import fresh_folder, read_json
from weighbridge.storage.control import StopRequest

# images: a batch of 256 would make one activation of the default network 302 MB; the limit is on all, the network's work included
BATCH = {"number": 256, "image": 32}
MODEL = {"number": {"type": "mlp"}, "image": {"type": "cnn", "channels": [8, 16, 32], "convolutions": 1, "norm": False}}


def in_memory(arrays: preprocessing.Arrays) -> preprocessing.Arrays:
    """Return a copy of all rows in memory: the naive way, and what the limited run is held against."""
    target = None if arrays.target is None else np.array(arrays.target)
    return replace(arrays, blocks={name: np.array(values) for name, values in arrays.blocks.items()}, target=target)


def course(
    folder: Path, place: Path, *, memory: bool, order: str = "auto", threads: int = 1, epochs: int = 1000, model: object = None
) -> training.Course:
    """Return the training of the arrays in `folder`, kept at `place`, by a network that is small beside its data."""
    train = preprocessing.open_arrays(folder / "train")
    encoder = preprocessing.Encoder.from_json(read_json(folder / "encoder.json"))
    kind = encoder.blocks[0].kind
    section = parse_recipe(
        {
            "data": {"source": "none", "target": "y"},
            "training": {
                "model": model or MODEL[kind],
                "batch_size": BATCH[kind], "precision": "fp32", "memory_format": "contiguous", "compile": False, "schedule": "constant",
                "epochs": epochs, "checkpoint_s": 3600, "threads": threads, "order": order, "early_stopping": {"enabled": False},
            },
        }
    ).training  # fmt: skip
    return training.Course(
        section=section, seed=0, folder=fresh_folder(place),
        encoder=encoder,
        train=in_memory(train) if memory else train, validation=preprocessing.open_arrays(folder / "validation"),
    )  # fmt: skip


class Watch:
    """Hears of every step that is shown, and asks for a stop when there are no more turns."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.request = StopRequest()

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        if label == "training" and not self.request and not self.turns.tick(done):
            self.request.signal = signal.SIGINT


def main() -> None:
    """Serve turns until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("place", type=Path)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--order", default="auto", choices=["auto", "whole", "blocks"])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    what = course(options.folder, options.place, memory=options.memory, order=options.order, threads=options.threads)
    assert isinstance(what.section.batch_size, int)
    watch = Watch(Turns(options.seconds, what.section.batch_size))
    with contextlib.suppress(Stopped):
        training.prepare(what, command="", progress=watch, stop=watch.request)
    plan = read_json(options.place / "plan.json")
    print(plan["block"], plan["window"], file=sys.stderr)


if __name__ == "__main__":
    main()
