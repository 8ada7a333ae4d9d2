"""The training loop of Weighbridge on the benchmark CNN, measured like its rivals.

Run by bench/training.py, which gives it turns on standard input.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
from pathlib import Path

from turns import Turns

from weighbridge import lifecycle, preprocessing, training
from weighbridge.errors import Stopped
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage import fresh_folder, read_json
from weighbridge.storage.control import StopRequest

FOLDER = Path("bench/results/fashion")


def recipe(batch_size: int, precision: str, device: str = "cpu") -> Recipe:
    """Return the recipe of the benchmark: the network of bench/hand_loop.py with padding "same", every choice of the trial made."""
    model = {"type": "cnn", "channels": [32, 64, 64], "convolutions": 1, "norm": False, "flatten": True, "hidden": [64], "dropout": 0}
    chosen = {"batch_size": batch_size, "precision": precision, "memory_format": "channels_last", "compile": False, "device": device}
    rates = {"optimizer": {"type": "adamw", "lr": 1e-3}, "schedule": "constant", "epochs": 1000, "checkpoint_s": 3600}
    return parse_recipe(
        {
            "name": "bench",
            "data": {"source": ".data/fashion-mnist", "target": "label", "split": {"validation": 0.001}},
            "training": {"model": model, **chosen, **rates},
        }
    )


class Watch:
    """Hears of every step that is shown, and asks for a stop when there are no more turns."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.request = StopRequest()

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        if label == "training" and not self.request and not self.turns.tick(done):
            self.request.signal = signal.SIGINT


def serve(batch_size: int, seconds: float, precision: str, device: str) -> None:
    """Train with the loop that `weigh run` runs while it has the turn.

    All of it is on: gather, normalisation, the check for what is not finite, gradient clipping, progress, the clock of
    checkpoints, and after an epoch the validation, on 60 rows: its rivals have none. AdamW with lr 1e-3 and weight decay 1e-4.
    """
    wanted = recipe(batch_size, precision, device)
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
    watch = Watch(Turns(seconds, batch_size))
    with contextlib.suppress(Stopped):
        training.prepare(course, command="", progress=watch, stop=watch.request)


def main() -> None:
    """Serve turns until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--padding", choices=["same", "valid"], default="same")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.padding != "same":
        parser.error("Weighbridge pads its convolutions: the benchmark is the one with --padding same")
    serve(options.batch_size, options.seconds, options.precision, options.device)


if __name__ == "__main__":
    main()
