"""Tables of tokens begin with word vectors that others learned (Mikolov 2013; Pennington 2014)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from weighbridge.models.text import TokenTable
from weighbridge.preprocessing.text import HIDDEN, TextFeature
from weighbridge.preprocessing.vectors import read_vectors

if TYPE_CHECKING:
    from weighbridge.preprocessing import Encoder


def begin_with_vectors(network: nn.Module, encoder: Encoder, path: Path) -> None:
    """The tables of the network's readers of texts hold the file's vectors.

    A token that the file does not have keeps its drawn vector, with the deviation of those found. Raises RecipeError.
    """
    features = [feature for feature in encoder.features if isinstance(feature, TextFeature)]
    tables = [part for part in network.modules() if isinstance(part, TokenTable)]
    for feature, part in zip(features, tables, strict=True):
        codes, vectors, _ = vectors_of(feature, path)
        if len(codes):
            _fill(part.table.weight, codes, vectors)


def vectors_of(feature: TextFeature, path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Return (codes int64 [k], vectors float32 [k, D], words of the vocabulary) that the file has for a column; read once a file."""
    return _vectors_of(feature, path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=4)
def _vectors_of(feature: TextFeature, path: Path, stamp: int) -> tuple[np.ndarray, np.ndarray, int]:
    words = {word: code for code, word in enumerate(feature.words()) if code > HIDDEN and word}
    codes, vectors = read_vectors(path, words)
    return codes, vectors, len(words)


def _fill(weight: torch.Tensor, codes: np.ndarray, vectors: np.ndarray) -> None:
    with torch.no_grad():
        spread = float(vectors.std()) / max(float(weight[HIDDEN + 1 :].std()), 1e-12)
        weight.mul_(spread)
        weight[torch.from_numpy(codes)] = torch.from_numpy(vectors)
