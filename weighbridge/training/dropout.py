"""Dropout at a quarter of its cost on the CPU, for every network as it stands: torch's calls are answered by a faster mask.

torch draws one number of 64 bits and a logarithm's worth of arithmetic for each element: 8 to 12 ns, as against 0.2 ns for a
multiplication, so that an encoder of long texts, which drops attention weights too, spends a third of its time on it (bench/README.md).
Here four elements share one draw of 64 bits (SFC64, of numpy), compared as 16-bit integers: the share kept is a multiple of 2^-16.

Shape suffixes: B batch, H heads, L places, D width of a head.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEVELS = 1 << 16
HIDDEN_SCORE = -1e30  # of a place that may not be attended to: finite, so that a row of such places gives no NaN


class QuickDropout(TorchFunctionMode):
    """Within it `dropout` and `scaled_dot_product_attention` with dropout draw their masks from a generator of its own.

    `seed` before each step: equal seeds give equal masks. What it does not know (in place, causal, grouped heads) torch does itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._source = np.random.SFC64(0)

    def seed(self, seed: int) -> None:
        """Masks from here on depend on `seed` only."""
        self._source = np.random.SFC64(seed)

    def __torch_function__(self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        found = None
        if func is functional.dropout:
            found = self._dropped(*args, **(kwargs or {}))
        elif func is functional.scaled_dot_product_attention:
            found = self._attended(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if found is None else found

    def _dropped(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
        if not training or p <= 0 or p >= 1 or inplace or input.device.type != "cpu":
            return None
        return self.thin(input, p)

    def _attended(
        self, query_BHLD: Tensor, key_BHLD: Tensor, value_BHLD: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor | None:  # fmt: skip
        if dropout_p <= 0 or dropout_p >= 1 or is_causal or enable_gqa or query_BHLD.device.type != "cpu":
            return None
        scale = 1 / math.sqrt(query_BHLD.shape[-1]) if scale is None else scale
        weights_BHLL = attention_weights(query_BHLD * scale, key_BHLD, attn_mask)
        return self.thin(weights_BHLL, dropout_p).to(value_BHLD.dtype) @ value_BHLD

    def thin(self, x: Tensor, p: float) -> Tensor:
        """Return `x` with a share `p` of its elements 0, the others divided by the share that stays."""
        stay = min(max(1, round((1 - p) * LEVELS)), LEVELS - 1)
        drawn = self._source.random_raw(-(-x.numel() // 4)).view(np.int16)[: x.numel()]
        kept = torch.from_numpy(drawn < stay - LEVELS // 2).view(x.shape)
        out: Tensor = _Thinned.apply(x, kept, LEVELS / stay)  # type: ignore[no-untyped-call]
        return out


def attention_weights(query_BHLD: Tensor, key_BHLD: Tensor, mask: Tensor | None) -> Tensor:
    """Return the softmax of the scores over the places that `mask` (bool: may be attended to; float: is added) leaves."""
    scores_BHLL = query_BHLD @ key_BHLD.transpose(-2, -1)
    if mask is not None:
        added = torch.zeros(mask.shape, dtype=scores_BHLL.dtype).masked_fill_(~mask, HIDDEN_SCORE) if mask.dtype == torch.bool else mask
        scores_BHLL += added
    return scores_BHLL.softmax(-1)


class _Thinned(torch.autograd.Function):
    """x * kept * scale, and the gradient by the same mask."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return _masked(x, kept, scale)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None, None]:
        [kept] = ctx.saved_tensors
        return _masked(gradient[0], kept, ctx.scale), None, None


def _masked(x: Tensor, kept: Tensor, scale: float) -> Tensor:
    """Return x * kept * scale; by numpy where it can, whose product with booleans is three times as fast as torch's."""
    if x.dtype == torch.float32 and x.is_contiguous():
        return torch.from_numpy(np.multiply(x.detach().numpy(), kept.numpy())).mul_(scale)
    return (x * kept).mul_(scale)
