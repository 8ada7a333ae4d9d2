"""The training loop of Weighbridge on texts, measured in tokens a second like its rivals. Run by bench/text.py, which gives it turns."""

from __future__ import annotations

import argparse
import contextlib
import signal

import numpy as np
import torch
from text_tasks import RESULTS, prepared, recipe
from turns import Turns

from weighbridge import preprocessing, training
from weighbridge.errors import Stopped
from weighbridge.preprocessing import Ragged
from weighbridge.storage import fresh_folder, read_json
from weighbridge.storage.control import StopRequest
from weighbridge.training.batches import Batches


class Watch:
    """Hears of every step that is shown, counts the tokens up to it, and asks for a stop when there are no more turns."""

    def __init__(self, turns: Turns, batches: Batches) -> None:
        self.turns, self.batches = turns, batches
        self.request = StopRequest()
        self._tokens = np.zeros(1, dtype=np.int64)  # up to each step
        self._epochs = 0

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        if label == "training" and not self.request and not self.turns.tick(self._until(done)):
            self.request.signal = signal.SIGINT

    def _until(self, step: int) -> int:
        """Return the tokens of all steps before `step`: the order of rows is known from the seed, nothing is counted by hand."""
        while len(self._tokens) <= step:
            rows = np.concatenate(list(self.batches.windows(self._epochs)))
            [texts] = [values for values in self.batches.arrays.blocks.values() if isinstance(values, Ragged)]
            added = texts.lengths[rows].reshape(-1, self.batches.batch_size).sum(axis=1).cumsum()
            self._tokens = np.concatenate([self._tokens, self._tokens[-1] + added])
            self._epochs += 1
        return int(self._tokens[step])


def serve(options: argparse.Namespace) -> None:
    """Train with the loop that `weigh run` runs while it has the turn; all of it is on (see bench/ours.py)."""
    arrays = prepared(options.model, options.texts) / "preprocessing"
    course = training.Course(
        section=recipe(options.model, options.texts, options.batch_size, options.threads).training,
        seed=0,
        folder=fresh_folder(RESULTS / f"training-{options.model}-{options.texts}"),
        encoder=preprocessing.Encoder.from_json(read_json(arrays / "encoder.json")),
        train=preprocessing.open_arrays(arrays / "train"),
        validation=preprocessing.open_arrays(arrays / "validation"),
    )
    batches = Batches(arrays=course.train, batch_size=options.batch_size, seed=0, device=torch.device("cpu"))
    watch = Watch(Turns(options.seconds, 1), batches)
    with contextlib.suppress(Stopped):
        training.prepare(course, command="", progress=watch, stop=watch.request)


def parser() -> argparse.ArgumentParser:
    """Return the options that every contestant takes."""
    found = argparse.ArgumentParser()
    found.add_argument("--model", default="own")
    found.add_argument("--texts", default="movies")
    found.add_argument("--batch-size", type=int, default=32)
    found.add_argument("--seconds", type=float, default=3.0)
    found.add_argument("--threads", type=int, default=2)
    return found


if __name__ == "__main__":
    serve(parser().parse_args())
