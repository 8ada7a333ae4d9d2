"""States to go on from: one safetensors file each, the newest two kept, a damaged one passed over.

The best weights so far stand in a file of their own, written before the state that counts on them: they may be ahead of a state,
never behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weighbridge.errors import RunError
from weighbridge.storage import remove
from weighbridge.storage.tensors import load_tensors, save_tensors
from weighbridge.training.companion import Companion
from weighbridge.training.optimizers import load_state_tensors, state_tensors

KEPT = 2
FORMAT = 1
BEST = "best.safetensors"


BestStep = Callable[[list[dict[str, float]]], int]


@dataclass(kw_only=True)
class Progressed:
    """How far training is: everything beside tensors that the next step depends on.

    Attributes:
        step: updates made.
        elapsed_s: seconds of training so far, over all sittings; for information only.
        loss_sum, loss_count: of the epoch under way.
        epochs: one entry a finished epoch, as history.json shows it.
    """

    step: int = 0
    elapsed_s: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The tensors that move while training."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None = None
    companions: Sequence[Companion] = ()

    @property
    def kept(self) -> nn.Module:
        """The weights that are judged: the moving average where there is one."""
        return self.network if self.average is None else self.average


def save_state(folder: Path, trained: Trained, progressed: Progressed, *, plan: str) -> Path:
    """A file of `folder` holds the whole state, synced; older ones beyond the newest two are removed afterwards.

    Args:
        plan: hash of all that must be equal for a resumed run to end equal.
    """
    tensors = {f"network/{name}": value for name, value in trained.network.state_dict().items()}
    tensors |= {f"optimizer/{name}": value for name, value in state_tensors(trained.optimizer).items()}
    if trained.average is not None:
        tensors |= {f"average/{name}": value for name, value in trained.average.state_dict().items()}
    for companion in trained.companions:
        tensors |= {f"{companion.name}/{name}": value for name, value in companion.state().items()}
    path = folder / _name(progressed.step)
    save_tensors(path, tensors, meta={"format": FORMAT, "plan": plan, **vars(progressed)})
    for old in sorted(folder.glob("step-*.safetensors"))[:-KEPT]:
        remove(old)
    return path


def load_state(folder: Path, trained: Trained, *, plan: str, device: str, best_step: BestStep) -> tuple[Progressed, list[str]]:
    """`trained` continues from the newest whole state; returns how far it is, and a line for each damaged file passed over.

    Args:
        best_step: epochs so far -> the step whose weights are kept. The file of best weights beside `folder` must hold that step or a
            later one; a state without it is passed over, since its best weights can not be had again but by training.
    Raises RunError when a state is of another plan or of a newer version.
    """
    warnings = []
    ahead = _step_of_best(folder.parent / BEST)
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            tensors, meta = load_tensors(path, device=device)
        except RunError as error:
            warnings.append(f"{error.what}; going on from the state before it, or from the first step")
            continue
        if path.name != _name(meta.get("step", -1)):
            warnings.append(f"{path} does not hold the state that its name says; going on from the state before it, or from the first step")
            continue
        _check(path, meta, plan)
        progressed = Progressed(**{name: meta[name] for name in vars(Progressed())})
        if best_step(progressed.epochs) > ahead:
            warnings.append(
                f"{path} counts on {BEST}, which is damaged or missing; going on from the state before it, or from the first step"
            )
            continue
        _restore(tensors, trained)
        return progressed, warnings
    return Progressed(), warnings


def _name(step: int) -> str:
    return f"step-{step:010d}.safetensors"


def _step_of_best(path: Path) -> int:
    """Return the step of the stored best weights, -1 where they are missing or damaged."""
    try:
        return int(load_tensors(path)[1]["step"])
    except RunError:
        return -1


def _check(path: Path, meta: dict[str, Any], plan: str) -> None:
    if meta.get("format", 0) > FORMAT:
        raise RunError(f"{path} has format {meta['format']}, this Weighbridge reads up to {FORMAT}", do="install a newer weighbridge")
    if meta.get("plan") != plan:
        raise RunError(
            f"{path} was made by another recipe, data or code", do="remove the training folder of this run, or give the run another name"
        )


def _restore(tensors: dict[str, Any], trained: Trained) -> None:
    trained.network.load_state_dict(dict(_under("network/", tensors)))
    load_state_tensors(trained.optimizer, dict(_under("optimizer/", tensors)))
    if trained.average is not None:
        trained.average.load_state_dict(dict(_under("average/", tensors)))
    for companion in trained.companions:
        companion.load(dict(_under(f"{companion.name}/", tensors)))


def _under(prefix: str, tensors: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name.removeprefix(prefix), value) for name, value in tensors.items() if name.startswith(prefix))
