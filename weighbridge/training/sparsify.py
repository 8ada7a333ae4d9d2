"""Weights that were pruned stay zero while the others learn on (Han 2015).

Which weights are zero is all that there is to remember, and the weights say it themselves: a resumed training ends with the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Zeros:
    """Holds the weights that were zero at the first call at zero: matrices and kernels only, as magnitude pruning makes them."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._held: list[tuple[Tensor, Tensor]] | None = None

    def find(self) -> None:
        """What is zero now stays so; called before the first step of a sitting."""
        if self._held is None:
            matrices = [parameter for parameter in self.network.parameters() if parameter.ndim >= 2]
            self._held = [(parameter, parameter.detach() == 0) for parameter in matrices]

    def restore(self) -> None:
        """The step has moved them, and they are zero again."""
        assert self._held is not None
        with torch.no_grad():
            for parameter, zero in self._held:
                parameter.masked_fill_(zero, 0.0)
