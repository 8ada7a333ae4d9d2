"""Integer weights on the torch side, for comparison: such a network needs torch to run and can not be packaged.

Measured with torchao 0.18 and one thread it does not pay on networks of the examples' size: Adult's MLP answers one row in 1,044 us
(float32 in 102 us), compiled in 146 us (137 us); as a graph in onnxruntime, in 18 us.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import DependencyError, FormError
from weighbridge.models.unsaid import unsaid
from weighbridge.optimization.cost import Quantity, quantity
from weighbridge.optimization.timing import ROUNDS, ROWS, SHARES, Clock, calls_of, plan, warm_up, without_collector

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.preprocessing import Arrays


@dataclass(frozen=True, kw_only=True)
class InTorch:
    """What a network says and takes in torch: `answers` [n, ...] in the rows' order, seconds of a call with one row and with 32."""

    answers: np.ndarray
    latency: Quantity
    latency_32: Quantity


def int8_in_torch(network: nn.Module) -> nn.Module:
    """Return a copy of the network whose linear layers hold int8 weights and scale their inputs to int8 at each call (torchao).

    Convolutions, recurrent cells and tables stay as they are. Raises FormError for a network without linear layers, DependencyError.
    """
    from torch import nn

    if not any(isinstance(module, nn.Linear) for module in network.modules()):
        raise FormError("the network has no linear layer that torchao could hold in int8", do="take int8_static, of its graph")
    quantize, config = _torchao()
    copied = copy.deepcopy(network).eval()
    with unsaid():
        quantize(copied, config())
    return copied


def measure_in_torch(networks: Mapping[str, nn.Module], arrays: Arrays, *, seconds: float = 1.0) -> dict[str, InTorch]:
    """Return what each network answers on encoded rows and how long it takes with one thread, timed in turns; ratios are to the first.

    About `seconds` a network. A network may be a compiled one.
    """
    import torch

    from weighbridge.training import forward_all

    answers = {name: forward_all(network, arrays) for name, network in networks.items()}
    sessions = {name: _Network(network) for name, network in networks.items()}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with without_collector():
            medians = {kind: _rounds(sessions, arrays, kind, seconds) for kind in ("latency", "latency_32")}
    finally:
        torch.set_num_threads(before)
    first = next(iter(networks))
    return {name: InTorch(answers=answers[name], **{kind: quantity(medians[kind], name, first) for kind in medians}) for name in networks}


class _Network:
    """A network that takes arrays."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval()

    def run(self, blocks: Mapping[str, np.ndarray]) -> Any:
        import torch

        with torch.inference_mode():
            return self._network({name: torch.from_numpy(values) for name, values in blocks.items()})


def _rounds(sessions: Mapping[str, _Network], arrays: Arrays, kind: str, seconds: float) -> list[dict[str, float]]:
    calls = calls_of(arrays, ROWS[kind])
    warm_up(sessions, {kind: calls})
    planned, clock = plan(sessions, calls, SHARES[kind] * seconds, kind, threads=1), Clock(threads=1)
    rounds = []
    for number in range(ROUNDS):
        turns: dict[str, list[np.ndarray]] = {name: [] for name in sessions}
        for turn in range(planned.turns):
            start = (number * planned.turns + turn) * planned.calls
            for name, session in sessions.items():
                turns[name].append(clock.turn(session, calls, start, planned))
        rounds.append({name: float(np.median(np.concatenate(parts))) for name, parts in turns.items()})
    return rounds


def _torchao() -> tuple[Any, Any]:
    """Return torchao's function and the configuration, its remarks on import unsaid: they are about GPU kernels that it can not load."""
    try:
        with unsaid():
            from torchao.quantization import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
                Int8DynamicActivationInt8WeightConfig,
                quantize_,
            )
    except ImportError:
        raise DependencyError("int8_torch is made by torchao", do="pip install 'weighbridge[torchao]'") from None
    return quantize_, Int8DynamicActivationInt8WeightConfig
