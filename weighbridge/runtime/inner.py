"""What a network holds of a row before its last layer, its embedding, and the few numbers of it that are watched. No torch, no onnx.

    embedding 1 .. 8   where it lies along the main axes that the training rows have (principal components, Hotelling 1933)
    embedding rest     how far from the plane of those axes it lies: what none of them shows (Jackson and Mudholkar 1979), as a logarithm

Shapes: n rows, D values, K axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.errors import PackageError
from weighbridge.runtime.contract import Embedding
from weighbridge.runtime.histograms import histogram
from weighbridge.runtime.package import GRAPH, open_package
from weighbridge.runtime.session import AGAIN, Session
from weighbridge.runtime.tokens import by_length

if TYPE_CHECKING:
    from weighbridge.preprocessing import Encoder

NAME, REST = "embedding", "rest"
PIECE = 256  # rows at a time
LEAST_REST = 1e-6
ROWS_FOR_AN_AXIS, MOST_AXES = 50, 8
LONGEST = 2048  # values; the axes of longer ones take too long
DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A graph that gives out one of its inner values."""

    tensor: str
    session: Session

    @classmethod
    def open(cls, graph: bytes, tensor: str, *, threads: int | None = None) -> Inner:
        """Return the graph with the value named `tensor` among its outputs. Raises PackageError: it has no such value."""
        return cls(tensor=tensor, session=Session.open(graph + _as_output(tensor), threads=threads))

    @classmethod
    def of(cls, package: Path, tensor: str) -> Inner:
        """Return that of a package, every byte of which is verified first. Raises PackageError."""
        content = open_package(package)[1]
        if GRAPH not in content:
            raise PackageError(f"{package} holds no ONNX graph, so there is no embedding in it", do=AGAIN)
        return cls.open(content[GRAPH], tensor, threads=1)

    def vectors(self, encoder: Encoder, columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Return float64 [n, D] for canonical columns of n rows. Raises InputError, DataError, PackageError."""
        parts = []
        for start in range(0, count, PIECE):
            stop = min(start + PIECE, count)
            arrays = encoder.encode({name: column[start:stop] for name, column in columns.items()}, np.arange(start, stop))
            pieces = [(part, self._of(block)) for part, block in by_length(arrays, encoder)]
            found = np.empty((stop - start, pieces[0][1].shape[1]))
            for part, values in pieces:
                found[part] = values
            parts.append(found)
        return np.concatenate(parts) if parts else np.empty((0, 0))

    def _of(self, blocks: Mapping[str, np.ndarray]) -> np.ndarray:
        found = self.session.tensors(blocks, [self.tensor])[self.tensor]
        rows = len(next(iter(blocks.values())))
        if found.dtype.kind != "f" or found.shape[:1] != (rows,):
            raise PackageError(f"the graph gives {found.dtype} {list(found.shape)} as the embedding of {rows} rows", do=AGAIN)
        return found.reshape(rows, -1).astype(np.float64)


def without_steps(encoder: Encoder) -> Encoder:
    """Return the encoder for columns that its steps have been applied to."""
    return replace(encoder, steps={})


def watched(embedding: Embedding, vectors_ND: np.ndarray) -> dict[str, np.ndarray]:
    """Return float64 [n] by trait. Raises PackageError for vectors of another length."""
    axes_KD, mean_D = np.array(embedding.axes), np.array(embedding.mean)
    if vectors_ND.shape[1:] != mean_D.shape:
        raise PackageError(f"the embedding has {vectors_ND.shape[1:]} values and contract.json speaks of {len(mean_D)}", do=AGAIN)
    apart_ND = vectors_ND - mean_D
    along_NK = apart_ND @ axes_KD.T
    rest_N = np.sqrt(np.maximum((apart_ND**2).sum(axis=1) - (along_NK**2).sum(axis=1), 0.0))
    found = {trait_of(place): values for place, values in enumerate(along_NK.T, start=1)}
    return found | {trait_of(REST): np.log(rest_N + LEAST_REST)}


def sketch(tensor: str, column: str, laid_ND: np.ndarray, counted_MD: np.ndarray) -> Embedding | None:
    """Return mean and main axes of the laid rows, and how the counted rows lie along them and off them; None of too few or too long ones.

    There is one axis for each 50 laid rows, 8 at most.
    """
    axes = min(MOST_AXES, laid_ND.shape[1], len(laid_ND) // ROWS_FOR_AN_AXIS)
    if not axes or not len(counted_MD) or laid_ND.shape[1] > LONGEST:
        return None
    mean = laid_ND.mean(axis=0).round(DIGITS)
    spread = np.linalg.svd(laid_ND - mean, full_matrices=False)[2][:axes]
    found = Embedding(tensor=tensor, column=column, mean=tuple(mean.tolist()), axes=tuple(map(tuple, spread.round(DIGITS).tolist())))
    laid, counted = watched(found, laid_ND), watched(found, counted_MD)
    return replace(found, traits={name: histogram(values, counted[name]) for name, values in laid.items()})


def trait_of(place: int | str) -> str:
    return f"{NAME} {place}"


def _as_output(name: str) -> bytes:
    """Return the bytes that, after those of a model, add an output to its graph: messages that follow each other are merged (protobuf).

    ModelProto.graph is field 7, GraphProto.output field 12, ValueInfoProto.name field 1.
    """
    return _field(7, _field(12, _field(1, name.encode())))


def _field(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
