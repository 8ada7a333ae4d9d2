"""Controls of the attack on words: of a model that adds its tokens' weights up, it is known how many swaps a row stands.

With weights w and two classes a swap of token c for v moves the sum by w_v - w_c; the k swaps that move it most are the k largest of these,
each place once. So a row is broken by k swaps exactly where their sum passes its margin.
"""

from __future__ import annotations

import functools

import numpy as np

from weighbridge.controls import control
from weighbridge.storage.seeds import rng

ROWS, LENGTH, VOCABULARY = 20, 10, 40
SWAPS = (1, 2, 4)
FIRST = 3  # code of the first word


@functools.lru_cache(maxsize=128)  # two controls look at each
def swapped(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return bool [3, n]: whether each row falls to 1, 2 and 4 swaps by the sum, and whether the attack broke it."""
    import torch
    from torch import Tensor, nn

    from weighbridge.audit.attack_tokens import Reader, Swapper
    from weighbridge.preprocessing import Arrays
    from weighbridge.preprocessing.ragged import ragged

    random = rng(seed, "control", "words")
    weights = np.concatenate([np.zeros(FIRST), random.normal(size=VOCABULARY)])
    codes = random.integers(FIRST, FIRST + VOCABULARY, (ROWS, LENGTH)).astype(np.int32)
    total = weights[codes].sum(axis=1)
    sign = np.where(total > 0, 1.0, -1.0)
    best = np.max(-sign[:, None] * weights[FIRST:], axis=1)
    gains = np.sort(best[:, None] + sign[:, None] * weights[codes], axis=1)[:, ::-1]
    falls = np.stack([np.abs(total) < gains[:, :swaps].sum(axis=1) for swaps in SWAPS])

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(len(weights), 1, _weight=torch.from_numpy(weights[:, None]).float())

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            sum_B = self.table(batch["text.t"])[:, :, 0].sum(1)
            return torch.stack([-sum_B, sum_B], dim=1)

    def answer(rows: Arrays) -> np.ndarray:
        with torch.no_grad():
            made = Sum()({"text.t": torch.from_numpy(np.asarray(rows.blocks["text.t"][:]))}).double().softmax(1)
        return np.asarray(made.numpy())

    network = Sum()
    arrays = Arrays(blocks={"text.t": ragged(codes)}, target=(total > 0).astype(np.int64), stored_ids=np.arange(ROWS).astype("S8"))
    reader = Reader(block="text.t", table=network.table, shift=0, may_V=torch.arange(len(weights)) >= FIRST)
    swapper = Swapper(network=network, arrays=arrays, readers=[reader], kind="category", answer=answer, scale=lambda said: said)
    return falls, np.stack([level.harm > 0 for level in swapper.hunt(SWAPS)])


@control("audit.robustness.words", "planted", "every row that 1, 2 or 4 swaps can break is broken by as many", trials=100, low=0.99)
def breakable_rows_are_broken(seed: int) -> bool:
    """Twenty rows of ten words of forty."""
    falls, broken = swapped(seed)
    return bool(broken[falls].all())


@control("audit.robustness.words", "clean", "no row that stands so many swaps is broken by them", trials=100, low=0.99)
def standing_rows_are_whole(seed: int) -> bool:
    """A place is swapped once, and no more places than are said."""
    falls, broken = swapped(seed)
    return not broken[~falls].any()
