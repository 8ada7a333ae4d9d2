"""States to go on from: one safetensors file each, the newest two kept, a damaged one passed over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weighbridge.errors import RunError
from weighbridge.storage.files import DISK, Disk
from weighbridge.storage.tensors import load_tensors, save_tensors
from weighbridge.training.optimizers import load_state_tensors, state_tensors

KEPT = 2
FORMAT = 1


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

    @property
    def kept(self) -> nn.Module:
        """The weights that are judged: the moving average where there is one."""
        return self.network if self.average is None else self.average


def save_state(folder: Path, trained: Trained, progressed: Progressed, *, plan: str, disk: Disk = DISK) -> Path:
    """A file of `folder` holds the whole state, synced; older ones beyond the newest two are removed afterwards.

    Args:
        plan: hash of all that must be equal for a resumed run to end equal.
    """
    tensors = {f"network/{name}": value for name, value in trained.network.state_dict().items()}
    tensors |= {f"optimizer/{name}": value for name, value in state_tensors(trained.optimizer).items()}
    if trained.average is not None:
        tensors |= {f"average/{name}": value for name, value in trained.average.state_dict().items()}
    path = folder / f"step-{progressed.step:010d}.safetensors"
    save_tensors(path, tensors, meta={"format": FORMAT, "plan": plan, **vars(progressed)}, disk=disk)
    for old in sorted(folder.glob("step-*.safetensors"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_state(folder: Path, trained: Trained, *, plan: str, device: str) -> tuple[Progressed, list[str]]:
    """`trained` continues from the newest whole state; returns how far it is, and a line for each damaged file passed over.

    Raises RunError when a state is of another plan or of a newer version.
    """
    warnings = []
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            tensors, meta = load_tensors(path, device=device)
        except RunError as error:
            warnings.append(f"{error.what}; going on from the state before it")
            continue
        _check(path, meta, plan)
        _restore(tensors, trained)
        return Progressed(**{name: meta[name] for name in vars(Progressed())}), warnings
    return Progressed(), warnings


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


def _under(prefix: str, tensors: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name.removeprefix(prefix), value) for name, value in tensors.items() if name.startswith(prefix))
