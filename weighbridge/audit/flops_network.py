"""Floating-point operations of a network by torch's own counter (torch.utils.flop_counter), which sees what is really called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn


def network_flops(network: nn.Module, blocks: Mapping[str, np.ndarray]) -> int:
    """Return the operations of one forward pass over the blocks of some rows; the network stays as it was.

    LSTMs are run step by step and attention in its plain form meanwhile: what the CPU has for them in one call, the counter does not know.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    batch = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in blocks.items()}
    was, quick, counter = network.training, torch.backends.mkldnn.enabled, FlopCounterMode(display=False)
    network.eval()
    try:
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            network(batch)
    finally:
        torch.backends.mkldnn.enabled = quick
        network.train(was)
    return int(counter.get_total_flops())
