"""The training loop of Weighbridge on the benchmark CNN, measured like its rivals.

python bench/ours.py --batch-size 128 --seconds 8 --precision bf16      prints {"rows_per_second": ...}
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from pathlib import Path

from weighbridge import lifecycle, preprocessing, training
from weighbridge.errors import Stopped
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage import fresh_folder, read_json
from weighbridge.storage.control import StopRequest

FOLDER = Path("bench/results/fashion")
WARM_UP = 30


def recipe(batch_size: int, precision: str) -> Recipe:
    """Return the recipe of the benchmark: the network of bench/hand_loop.py with padding "same", every choice of the trial made."""
    model = {"type": "cnn", "channels": [32, 64, 64], "convolutions": 1, "norm": False, "flatten": True, "hidden": [64], "dropout": 0}
    chosen = {"batch_size": batch_size, "precision": precision, "memory_format": "channels_last", "compile": False}
    rates = {"optimizer": {"type": "adamw", "lr": 1e-3}, "schedule": "constant", "epochs": 1000, "checkpoint_s": 3600}
    return parse_recipe(
        {"name": "bench", "data": {"source": ".data/fashion-mnist", "target": "label"}, "training": {"model": model, **chosen, **rates}}
    )


class Watch:
    """Hears of every step; asks for a stop `seconds` after the warm-up, and knows the rate until then."""

    def __init__(self, seconds: float, batch_size: int) -> None:
        self.seconds, self.batch_size = seconds, batch_size
        self.request = StopRequest()
        self.first: tuple[float, int] | None = None
        self.rate = 0.0

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        if label != "training" or done < WARM_UP or self.request:
            return
        now = time.perf_counter()
        if self.first is None:
            self.first = (now, done)
        elif now - self.first[0] >= self.seconds:
            self.rate = (done - self.first[1]) * self.batch_size / (now - self.first[0])
            self.request.signal = signal.SIGINT


def train_rows_per_second(batch_size: int, seconds: float, precision: str) -> float:
    """Return rows trained a second by the loop that `weigh run` runs, over at least `seconds` s after 30 steps.

    All of it is on: gather, normalisation, the check for what is not finite, gradient clipping, progress, the clock of
    checkpoints, and the validation after an epoch when one ends within the time. AdamW with lr 1e-3 and weight decay 1e-4.
    """
    wanted = recipe(batch_size, precision)
    lifecycle.run(wanted, FOLDER, until="preprocessing")
    arrays = FOLDER / "preprocessing"
    course = training.Course(
        section=wanted.training,
        seed=0,
        folder=fresh_folder(Path("bench/results/training")),
        encoder=preprocessing.Encoder.from_json(read_json(arrays / "encoder.json")),
        train=preprocessing.open_arrays(arrays / "train"),
        validation=preprocessing.open_arrays(arrays / "validation"),
    )
    watch = Watch(seconds, batch_size)
    try:
        training.prepare(course, command="", progress=watch, stop=watch.request)
    except Stopped:
        return watch.rate
    raise RuntimeError("the training ended before the time was over")


def main() -> None:
    """Print one JSON line with the rate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--padding", choices=["same", "valid"], default="same")
    options = parser.parse_args()
    if options.padding != "same":
        parser.error("Weighbridge pads its convolutions: the benchmark is the one with --padding same")
    rate = train_rows_per_second(options.batch_size, options.seconds, options.precision)
    print(json.dumps({"rows_per_second": rate}))


if __name__ == "__main__":
    main()
