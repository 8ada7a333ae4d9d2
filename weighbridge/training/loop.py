"""The loop. Its state is a step number and the tensors: killed anywhere and started again, it ends with the same bits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Curve, Progress, unwatched
from weighbridge.storage.tensors import save_tensors
from weighbridge.training.batches import Batches
from weighbridge.training.checkpoint import BEST, Progressed, Trained, save_state
from weighbridge.training.optimizers import lr_factor
from weighbridge.training.predict import forward_all, plain_loss, plain_metric
from weighbridge.training.step import Updater

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, TargetFeature
    from weighbridge.recipe import TrainingSection
    from weighbridge.training.plan import Plan

HIGHER_IS_BETTER = ("accuracy",)
SHOW_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the loop needs beside what moves: where to save, whom to tell, when to leave."""

    folder: Path
    plan_hash: str
    progress: Progress
    stop: StopRequest
    curve: Curve = unwatched


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Validation rows and what is measured on them."""

    arrays: Arrays
    target: TargetFeature

    def __call__(self, network: torch.nn.Module, plan: Plan) -> tuple[float, str, float]:
        """Return the plain loss, and the name and value of the metric, on all validation rows in evaluation mode."""
        assert self.arrays.target is not None
        outputs = forward_all(network, self.arrays, precision=plan.precision, device=plan.device)
        name, value = plain_metric(outputs, self.arrays.target, self.target)
        return plain_loss(outputs, self.arrays.target, self.target.kind), name, value


class Loop:
    """Runs updates until the plan's end or until the validation rows stop improving."""

    def __init__(
        self, section: TrainingSection, plan: Plan, updater: Updater, trained: Trained, batches: Batches, judge: Judge, around: Surroundings
    ) -> None:
        self.section, self.plan, self.updater, self.trained = section, plan, updater, trained
        self.batches, self.judge, self.around = batches, judge, around
        self._best: dict[str, Tensor] = {}  # not yet written
        self._best_step = 0

    def run(self, progressed: Progressed) -> Progressed:
        """Train from `progressed` to the end; best.safetensors then holds the kept weights. Raises TrainingError, Stopped."""
        self._last_save, self._last_show = time.monotonic(), 0.0
        self._started = time.monotonic() - progressed.elapsed_s
        while progressed.step < self.plan.updates and not self._finished(progressed):
            epoch, done = divmod(progressed.step, self.plan.updates_per_epoch)
            for pieces in self._updates(epoch, done):
                self._update(progressed, pieces)
                if progressed.step >= self.plan.updates:
                    break
                if progressed.step % self.plan.updates_per_epoch:
                    self._save_if_due(progressed)
            self._end_epoch(progressed)
        self._save(progressed)
        return progressed

    def _updates(self, epoch: int, done: int) -> Iterator[list[tuple[dict[str, Tensor], Tensor, np.ndarray]]]:
        """Yield groups of batches, one group an update."""
        group = []
        for count, piece in enumerate(self.batches.epoch(epoch, done * self.section.accumulate)):
            group.append(piece)
            if len(group) == self.section.accumulate:
                yield group
                group = []
            if done + (count + 1) // self.section.accumulate >= self.plan.updates_per_epoch:
                return

    def _update(self, progressed: Progressed, pieces: list[tuple[dict[str, Tensor], Tensor, np.ndarray]]) -> None:
        losses = [epoch["validation_loss"] for epoch in progressed.epochs]
        factor = lr_factor(self.section.schedule, progressed.step, self.plan.updates, losses)
        for group in self.updater.optimizer.param_groups:
            group["lr"] = self.plan.lr * factor * group["scale"]
        progressed.loss_sum += self.updater.update(progressed.step, pieces)
        progressed.loss_count += 1
        progressed.step += 1
        self._show(progressed)

    def _end_epoch(self, progressed: Progressed) -> None:
        self.trained.kept.eval()
        loss, name, value = self.judge(self.trained.kept, self.plan)
        self.trained.network.train()
        progressed.epochs.append(
            {
                "epoch": progressed.step / self.plan.updates_per_epoch,
                "step": progressed.step,
                "train_loss": progressed.loss_sum / max(1, progressed.loss_count),
                "validation_loss": loss,
                f"validation_{name}": value,
                "lr": self.updater.optimizer.param_groups[0]["lr"],
                **self._companions_say(),
            }
        )
        progressed.loss_sum, progressed.loss_count = 0.0, 0
        if best_epoch(progressed.epochs, self.section) == len(progressed.epochs) - 1:
            self._best = {name: value.detach().clone() for name, value in self.trained.kept.state_dict().items()}
            self._best_step = progressed.step
        self._show(progressed, always=True)
        self.around.curve(progressed.epochs)
        self._save_if_due(progressed)

    def _companions_say(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for companion in self.trained.companions:
            said = companion.judged(self.trained.kept, self.plan)
            both = {"penalty": said["penalty"] + figures.get("penalty", 0.0)} if "penalty" in said else {}
            figures |= said | both
        return figures

    def _finished(self, progressed: Progressed) -> bool:
        stopping = self.section.early_stopping
        return (
            stopping.enabled
            and len(progressed.epochs) - 1 - best_epoch(progressed.epochs, self.section) >= stopping.patience
            and bool(progressed.epochs)
        )

    def _save_if_due(self, progressed: Progressed) -> None:
        if self.around.stop or time.monotonic() - self._last_save >= self.section.checkpoint_s:
            self._save(progressed)

    def _save(self, progressed: Progressed) -> None:
        """Write the best weights, then the state: a kill between them leaves an older state, which comes to the same best again."""
        progressed.elapsed_s = time.monotonic() - self._started
        if self._best:
            save_tensors(self.around.folder / BEST, self._best, meta={"step": self._best_step})
            self._best = {}
        save_state(self.around.folder / "checkpoints", self.trained, progressed, plan=self.around.plan_hash)
        self._last_save = time.monotonic()
        self.around.stop.check(f"training is saved at step {progressed.step} of {self.plan.updates}")

    def _show(self, progressed: Progressed, *, always: bool = False) -> None:
        now = time.monotonic()
        if not always and now - self._last_show < SHOW_S:
            return
        self._last_show = now
        loss = progressed.loss_sum / progressed.loss_count if progressed.loss_count else progressed.epochs[-1]["train_loss"]
        epoch = progressed.step / self.plan.updates_per_epoch
        words = f"epoch {epoch:.1f}  loss {loss:.4f}"
        if progressed.epochs:
            name, value = next(
                (key, value) for key, value in progressed.epochs[-1].items() if key.startswith("validation_") and key != "validation_loss"
            )
            words += f"  {name.replace('_', ' ')} {value:.4f}"
        speed = progressed.step * self.plan.batch_size * self.section.accumulate / max(now - self._started, 1e-9)
        self.around.progress("training", progressed.step, self.plan.updates, f"{words}  {speed:,.0f} rows/s")


def best_step(epochs: list[dict[str, float]], section: TrainingSection) -> int:
    """Return the step whose weights are kept, -1 before the end of the first epoch."""
    return int(epochs[best_epoch(epochs, section)]["step"]) if epochs else -1


def best_epoch(epochs: list[dict[str, float]], section: TrainingSection) -> int:
    """Return the place of the epoch whose weights are kept: the best on validation rows, or the last without early stopping.

    What a remedy counts against weights (`penalty`) is added to what must be small.
    """
    if not epochs or not section.early_stopping.enabled:
        return len(epochs) - 1
    metric = section.early_stopping.metric
    name = "validation_loss" if metric in ("auto", "loss") else f"validation_{metric}"
    sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
    best = 0
    for place, epoch in enumerate(epochs):
        now, before = (sign * one[name] + one.get("penalty", 0.0) for one in (epoch, epochs[best]))
        if now < before - section.early_stopping.least:
            best = place
    return best
