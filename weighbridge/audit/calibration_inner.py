"""What a network knows beyond its answer: the energy of its outputs, and how far a row's features lie from those of training rows.

Shapes: n rows, C outputs, F features before the last layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.evaluation.predictions import Floats
    from weighbridge.preprocessing import Arrays

NEIGHBOURS = 10


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Scores of rows, the higher the more usual: energy [n] (None where the outputs are no log-odds), nearness [n]."""

    energy: Floats | None
    nearness: Floats


def inner_scores(network: nn.Module, kind: str, known: Arrays) -> Callable[[Arrays], Inner] | None:
    """Return the function from rows to their scores, with `known` (training rows) for what is usual; None without a last linear layer.

    Energy: Liu 2020, for labels the sum over them (Wang 2021). Nearness: minus the distance to the tenth nearest known row (Sun 2022), in
    features of deviation 1.
    """
    from torch import nn

    if not any(isinstance(part, nn.Linear) for part in network.modules()):
        return None
    _, usual = _run(network, known)
    middle, spread = usual.mean(axis=0), usual.std(axis=0) + 1e-6
    usual = (usual - middle) / spread

    def scores(rows: Arrays) -> Inner:
        logits, features = _run(network, rows)
        return Inner(energy=energy(logits, kind), nearness=-distances((features - middle) / spread, usual))

    return scores


def energy(logits: Floats, kind: str) -> Floats | None:
    """Return minus the free energy of outputs [n, C], which is high for usual rows."""
    if kind == "number":
        return None
    if kind == "set":
        return np.asarray(np.logaddexp(0, logits).sum(axis=1))
    top = logits.max(axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(logits - top).sum(axis=1)))


def distances(rows: Floats, known: Floats) -> Floats:
    """Return the distance of each row [n, F] to its tenth nearest of the known ones (the farthest where there are fewer)."""
    place = min(NEIGHBOURS, len(known)) - 1
    found = []
    for part in np.array_split(rows, max(1, len(rows) // 250)):
        squares = (part**2).sum(axis=1)[:, None] - 2 * part @ known.T + (known**2).sum(axis=1)
        found.append(np.sqrt(np.maximum(np.partition(squares, place, axis=1)[:, place], 0)))
    return np.concatenate(found)


def _run(network: nn.Module, rows: Arrays) -> tuple[Floats, Floats]:
    """Return outputs [n, C] and what the linear layer that ran last has read [n, F], float64 in stored order."""
    import torch
    from torch import nn

    from weighbridge.training.batches import each_once

    read = {"last": torch.empty(0)}

    def keep(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        read["last"] = inputs[0]

    hooks = [part.register_forward_pre_hook(keep) for part in network.modules() if isinstance(part, nn.Linear)]
    outputs, features = [], []
    order: list[np.ndarray] = []
    try:
        with torch.inference_mode():
            for batch, places in each_once(rows, torch.device("cpu")):
                outputs.append(network(batch).double().numpy())
                features.append(read["last"].double().reshape(len(places), -1).numpy())
                order.append(places)
    finally:
        for hook in hooks:
            hook.remove()
    back = np.argsort(np.concatenate(order), kind="stable")
    return np.concatenate(outputs)[back], np.concatenate(features)[back]
