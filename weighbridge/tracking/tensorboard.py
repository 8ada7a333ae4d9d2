"""TensorBoard: event files under RUN/tracking/tensorboard; look with `tensorboard --logdir runs`."""

from __future__ import annotations

from typing import Any

from weighbridge.storage import fresh_folder
from weighbridge.tracking.record import PLACE, Epochs, Outcome, Record, findings_markdown, measured, points

SHOWN = ("training.optimizer.", "training.epochs", "training.batch_size", "training.model.", "training.l1", "training.l2", "seed")


class Tensorboard:
    """The run's event files, written anew at each sitting from the whole history: a resumed run shows each epoch once."""

    def __init__(self, record: Record) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = fresh_folder(record.folder / PLACE / "tensorboard")
        # purge_step: a TensorBoard that is looking at this moment drops the points of the files that are gone
        self._writer: Any = SummaryWriter(str(folder), purge_step=0, flush_secs=10)
        self._told = 0

    def curve(self, epochs: Epochs) -> None:
        for epoch in epochs[self._told :]:
            for name, value in points(epoch).items():
                self._writer.add_scalar(name, value, int(epoch["step"]))
        self._told = len(epochs)
        self._writer.flush()

    def deliver(self, record: Record) -> None:
        from torch.utils.tensorboard.summary import hparams

        numbers = {f"findings/{key}": value for key, value in measured(record.findings).items()}
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, 0)
        self._writer.add_text("findings", findings_markdown(record.findings), 0)
        self._writer.add_text("parameters", _listed(record.parameters), 0)
        card = record.folder / "card.md"
        if card.exists():
            self._writer.add_text("report", _body(card.read_text(encoding="utf-8")), 0)
        chosen = {key: value for key, value in record.parameters.items() if key.startswith(SHOWN)}
        headlines = {f"findings/{finding.key}": 0.0 for finding in record.findings if finding.headline}
        for summary in hparams(chosen, {name: value for name, value in numbers.items() if name in headlines}):
            self._writer.file_writer.add_summary(summary)
        self._writer.flush()

    def close(self, outcome: Outcome) -> None:
        self._writer.close()


def _listed(parameters: dict[str, str]) -> str:
    """Return the parameters as an indented block: Markdown shows it as it is."""
    return "".join(f"    {name}: {' '.join(value.split())}\n" for name, value in parameters.items())


def _body(card: str) -> str:
    """Return a model card without its front matter, which TensorBoard would show as text."""
    return card.split("\n---\n", 1)[-1] if card.startswith("---\n") else card
