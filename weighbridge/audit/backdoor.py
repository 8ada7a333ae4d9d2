"""Whether some small change turns every picture into one class: the smallest such change is sought for each class by gradients,
and a class that needs far less than the others is suspected of a planted trigger (Neural Cleanse, Wang et al. 2019).

Shape suffixes: B rows, K classes, H height, W width, C channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.storage.seeds import seed31

if TYPE_CHECKING:
    from torch import Tensor

STEPS, RATE = 100, 0.2
TURNED = 0.95  # of the rows that a trigger must turn
WEIGHT, FASTER, PATIENCE = 0.02, 1.3, 3  # of the size in the loss, how fast it moves, after so many steps of success
AT_ONCE = 4 << 20  # numbers of pictures in one pass
FEWEST_CLASSES = 5
LEAST_SPREAD = 0.15  # of log sizes: below it, classes that differ by a fifth would be apart
NORMAL = 1.4826  # a median deviation in standard deviations of the normal distribution

Forward = Callable[["Tensor", np.ndarray], "Tensor"]  # pictures float [N, H, W, C] of 0 to 255, numbers of their rows -> scores [N, K]


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """The smallest change found that turns rows into a class.

    Attributes:
        mask_HW: float [H, W], how much of each pixel it replaces; pattern_HWC: by what, 0 to 255.
        pixels: the sum of the mask; infinite where no change turned enough rows.
        turned: share of the rows that it turned while it was sought.
    """

    label: int
    mask_HW: np.ndarray
    pattern_HWC: np.ndarray
    pixels: float
    turned: float


def triggers(
    forward: Forward, x_BHWC: np.ndarray, labels_B: np.ndarray, classes: int, *, seed: int, tell: Callable[[int], None] = lambda done: None
) -> list[Trigger]:
    """Return a trigger for each class that turns rows of all others; `labels_B` is what the model says of the rows now."""
    found: list[Trigger] = []
    for part in _parts(classes, x_BHWC.size):
        found += _sought(forward, x_BHWC, labels_B, part, seed)
        tell(len(found))
    return found


def _parts(classes: int, numbers: int) -> Iterator[np.ndarray]:
    size = max(1, AT_ONCE // max(1, numbers))
    yield from (np.arange(start, min(start + size, classes)) for start in range(0, classes, size))


def _sought(forward: Forward, x_BHWC: np.ndarray, labels_B: np.ndarray, classes: np.ndarray, seed: int) -> list[Trigger]:
    """Return the triggers of some classes, sought at the same time: each has its own weight of the size, moved by its own success."""
    import torch
    from torch.nn import functional

    rows, (height, width, channels), count = len(x_BHWC), x_BHWC.shape[1:], len(classes)
    generator = torch.Generator().manual_seed(seed31(seed, "triggers", int(classes[0])))
    x_1BHWC = torch.from_numpy(x_BHWC.astype(np.float32))[None]
    goal = torch.from_numpy(np.repeat(classes, rows))
    counts_KB = torch.from_numpy((labels_B[None] != classes[:, None]).astype(np.float32))
    numbers = np.tile(np.arange(rows), count)
    mask = torch.zeros(count, height, width, 1).normal_(0, 0.1, generator=generator).requires_grad_()
    pattern = torch.zeros(count, height, width, channels).normal_(0, 0.5, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([mask, pattern], lr=RATE, betas=(0.5, 0.9))
    weight_K, streak_K = torch.full((count,), WEIGHT), torch.zeros(count)
    best = [
        Trigger(
            label=int(label), mask_HW=np.zeros((height, width)), pattern_HWC=np.zeros((height, width, channels)), pixels=np.inf, turned=0.0
        )
        for label in classes
    ]
    for _ in range(STEPS):
        mask_KHW1, pattern_KHWC = mask.sigmoid(), 255 * pattern.sigmoid()
        seen = x_1BHWC + mask_KHW1[:, None] * (pattern_KHWC[:, None] - x_1BHWC)
        scores = forward(seen.flatten(0, 1), numbers)
        losses_KB = functional.cross_entropy(scores, goal, reduction="none").view(count, rows) * counts_KB
        sizes_K = mask_KHW1.sum((1, 2, 3))
        loss = (losses_KB.sum(1) / counts_KB.sum(1).clamp(min=1) + weight_K * sizes_K).sum()
        turned_K = ((scores.argmax(1) == goal).view(count, rows) * counts_KB).sum(1) / counts_KB.sum(1).clamp(min=1)
        _keep(best, turned_K.numpy(), sizes_K.detach().numpy(), mask_KHW1.detach().numpy(), pattern_KHWC.detach().numpy())
        done_K = turned_K >= TURNED
        streak_K = torch.where(done_K, streak_K.clamp(min=0) + 1, streak_K.clamp(max=0) - 1)
        weight_K = torch.where(
            streak_K >= PATIENCE, weight_K * FASTER, torch.where(streak_K <= -PATIENCE, weight_K / FASTER**1.5, weight_K)
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return best


def _keep(best: list[Trigger], turned_K: np.ndarray, sizes_K: np.ndarray, mask_KHW1: np.ndarray, pattern_KHWC: np.ndarray) -> None:
    """Replace what is larger than what was found now."""
    for place, known in enumerate(best):
        if turned_K[place] >= TURNED and sizes_K[place] < known.pixels:
            best[place] = Trigger(
                label=known.label, mask_HW=mask_KHW1[place, ..., 0].copy(), pattern_HWC=pattern_KHWC[place].copy(),
                pixels=float(sizes_K[place]), turned=float(turned_K[place]),
            )  # fmt: skip


def anomalies(pixels_K: np.ndarray) -> np.ndarray:
    """Return for each class how far below the others its trigger's size is: median deviations of the logarithm, float [K].

    A class without a trigger is as large as the largest. [Wang takes the sizes themselves; their spread grows with the size.]
    """
    known = np.isfinite(pixels_K)
    if not known.any():
        return np.zeros(len(pixels_K))
    logs = np.log(np.where(known, pixels_K, pixels_K[known].max(initial=1e-6)).clip(1e-6))
    middle = np.median(logs)
    spread = max(LEAST_SPREAD, NORMAL * float(np.median(np.abs(logs - middle))))
    return np.asarray((middle - logs) / spread)
