"""How much of what a network reads of texts is padding, counted over the very batches of an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weighbridge.findings import Finding, Message
from weighbridge.preprocessing import Ragged

if TYPE_CHECKING:
    from weighbridge.training.batches import Batches

MOST_PADDING = 0.1


def count_padding(batches: Batches, epoch: int = 0) -> tuple[int, int]:
    """Return (tokens, places) over the texts of an epoch's batches; a batch has as many places a row as its longest text has tokens."""
    texts = [values.lengths for values in batches.arrays.blocks.values() if isinstance(values, Ragged)]
    tokens = places = 0
    for order in batches.windows(epoch):
        for start in range(0, len(order), batches.batch_size):
            rows = order[start : start + batches.batch_size]
            for lengths in texts:
                tokens += int(lengths[rows].sum())
                places += len(rows) * max(1, int(np.max(lengths[rows])))
    return tokens, places


def padding_findings(batches: Batches, command: str) -> list[Finding]:
    """Return the share of places that hold padding; nothing where there are no texts (or their features were computed before)."""
    tokens, places = count_padding(batches)
    if not places:
        return []
    share = 1 - tokens / places
    return [
        Finding(
            key="training.padding", title=Message("Share of what is read of texts that is padding"), value=round(share, 6), unit="share",
            n=places, n_of="tokens", verdict="limitation" if share > MOST_PADDING else "neutral",
            reason=Message("texts of like length come in one batch of {size}", size=batches.batch_size),
            method=Message("counted over all batches of the first epoch"), command=f"{command} --only padding",
        )
    ]  # fmt: skip
