"""The embedding of a contract: its main axes from training rows, counts from validation rows, as the packaged graph itself gives it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.deployment.sketches import BATCH_ROWS, COSTLY
from weighbridge.runtime.contract import Embedding
from weighbridge.runtime.inner import Inner, sketch
from weighbridge.runtime.traits import is_known

if TYPE_CHECKING:
    from weighbridge.data.table import Table
    from weighbridge.preprocessing import Encoder

MOST_ROWS = 2000  # of each side, evenly spaced


def embedding_of(graph: Path, encoder: Encoder, train: Table, validation: Table) -> Embedding | None:
    """Return how the embedding is watched; None without image, clip or text, where the graph has none, or of too few rows.

    It is watched under the name of its column where the network reads nothing else, else under that of the answers. Raises DataError.
    """
    from weighbridge.export.hidden import last_hidden
    from weighbridge.export.rewrite import read_graph

    if not any(feature.type in COSTLY for feature in encoder.features):
        return None
    tensor = last_hidden(read_graph(graph))
    if tensor is None:
        return None
    inner = Inner.open(graph.read_bytes(), tensor, threads=1)
    single = encoder.features[0].column if len(encoder.features) == 1 else ""
    return sketch(tensor, single, _vectors(inner, encoder, train), _vectors(inner, encoder, validation))


def _vectors(inner: Inner, encoder: Encoder, table: Table) -> np.ndarray:
    """Return float64 [n, D] of evenly spaced rows; of one column, those that have a value."""
    step, start, parts = max(1, -(-len(table) // MOST_ROWS)), 0, []
    for batch in table.batches(BATCH_ROWS):
        taken = np.arange(start, start + len(batch)) % step == 0
        start += len(batch)
        if len(encoder.features) == 1:
            taken &= is_known(batch.columns[encoder.features[0].column])
        if taken.any():
            columns = {feature.column: batch.columns[feature.column][taken] for feature in encoder.features}
            parts.append(inner.vectors(encoder, columns, int(taken.sum())))
    return np.concatenate(parts) if parts else np.empty((0, 1))
