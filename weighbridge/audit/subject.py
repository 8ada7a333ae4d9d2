"""What is audited: the form that the run packages, as a function of encoded rows, with the rows, the network behind it, and what it said.

Black-box audits read `answer` and `said`; white-box ones also ask for `network()`. All is read through here, so that an audit needs to know
neither stages nor folders. Shapes: n rows, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.findings import Finding, Message
from weighbridge.storage import read_json

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.data import Splits, Table
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.resampling import Resampling
    from weighbridge.optimization import Chosen, Kept
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.recipe import Recipe
    from weighbridge.storage.control import StopRequest
    from weighbridge.storage.progress import Progress

SPLITS = ("train", "validation", "test")


class Unmeasured(Exception):  # noqa: N818 - that something can not be measured is no error
    """An audit can not be made here, and why: it becomes a finding of its own."""

    def __init__(self, reason: Message) -> None:
        self.reason = reason
        super().__init__(str(reason))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model of a run before its audits.

    Attributes:
        folder: the run's; `place` is where audits leave evidence.
        chosen, kept: what the run goes on with, and which model of it this is: the packaged form, or the most capable one.
        splits, test: the raw rows; the test rows were read once, for all audits, with an entry in the ledger.
        arrays: encoded rows by split as the model reads them; of the training rows at most 20,000.
        said: what the model said about them, in the order of row ids, by split.
        champion: the most capable model, where another form is packaged: what is measured of both stands side by side.
        command: measures all audits again; a finding's own command adds `--only`.
    """

    recipe: Recipe
    folder: Path
    chosen: Chosen
    kept: Kept
    splits: Splits
    test: Table
    arrays: dict[str, Arrays]
    encoder: Encoder
    said: dict[str, Predictions]
    answer: Callable[[Arrays], np.ndarray]
    how: Resampling
    command: str
    progress: Progress
    stop: StopRequest
    champion: Subject | None = None

    @cached_property
    def held(self) -> dict[str, TemporaryDirectory[str]]:
        """Folders that audits made for one another, by name; removed when the subject is closed."""
        return {}

    def close(self) -> None:
        """Remove the folders that are held."""
        for folder in self.held.values():
            folder.cleanup()
        self.held.clear()

    @property
    def place(self) -> Path:
        return self.folder / "audit"

    @property
    def seed(self) -> int:
        return self.recipe.seed

    @property
    def kind(self) -> str:
        """`category`, `number` or `set`."""
        return str(self.encoder.learnt.kind)

    @cached_property
    def heard(self) -> Progress:
        """The listener, which leaves when a stop was asked for: for work that keeps nothing of its own."""
        from weighbridge.storage.control import heeding

        return heeding(self.progress, self.stop)

    def blocks(self, kind: str) -> list[str]:
        """Return the names of the encoded blocks of a kind: number, category, image, audio, present, text."""
        return [block.name for block in self.encoder.blocks if block.of == kind]

    def predictions(self, output: np.ndarray, arrays: Arrays, *, split: str = "test", model: str = "model") -> Predictions:
        """Return answers beside the truth of their rows, grouped as the recipe's rows are where all rows of the split are there."""
        from weighbridge.evaluation import predictions_of

        known = self.said[split]
        groups = None
        if known.group is not None:
            groups = known.group[np.searchsorted(known.row_id, arrays.row_ids)]
        return predictions_of(output, arrays, self.encoder, model=model, split=split, groups=groups)

    def network(self) -> nn.Module:
        """Return the network behind the form in fp32 and evaluation mode, raw outputs [n, C]: forms of a graph have the gradients of the
        network that they were made of, and the finding must say so. Raises Unmeasured where there is none.
        """
        from weighbridge import training

        if not self.kept.network:
            raise Unmeasured(Message("no gradients: {name} is no single network", name=self.kept.name))
        return training.load_network(self.folder / self.kept.network)

    @property
    def is_network(self) -> bool:
        """Whether there is a network behind the form."""
        return bool(self.kept.network)

    @property
    def training_s(self) -> float:
        """Seconds that training the recipe's network took."""
        return float(read_json(self.folder / "training" / "history.json")["seconds"])

    def seconds_of(self, rows: int, split: str = "test") -> float:
        """Return about how many seconds the model takes to answer so many encoded rows; measured once on a few."""
        return rows * self._seconds_a_row(split)

    def _seconds_a_row(self, split: str) -> float:
        import time

        if split not in (known := self.__dict__.setdefault("_speed", {})):
            few = self.arrays[split].subset(slice(0, 256))
            self.answer(few)
            began = time.perf_counter()
            self.answer(few)
            known[split] = (time.perf_counter() - began) / max(1, len(few))
        return float(known[split])

    def unmeasured(self, key: str, title: Message, reason: Message) -> Finding:
        """Return the finding that says why there is no number."""
        return Finding(key=f"audit.{key}", title=title, verdict="unmeasured", reason=reason, command=f"{self.command} --only {key}")
