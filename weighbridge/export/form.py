"""How every form begins and ends, and the form that is nothing but the graph itself in fewer bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto

from weighbridge.errors import FormError
from weighbridge.export.pixels import transpose_first
from weighbridge.export.rewrite import GO_ON, read_graph, write_graph
from weighbridge.export.sparse import dense, without_zeros


def begin(source: Path) -> tuple[ModelProto, bool]:
    """Return a graph whose weights are all whole, and whether they were stored without zeros. Raises FormError, PackageError."""
    model = read_graph(source)
    was_sparse = dense(model.graph)
    transpose_first(model.graph)
    return model, was_sparse


def finish(model: ModelProto, target: Path, *, was_sparse: bool) -> None:
    """`target` is the graph, its weights stored without zeros where they were so. Raises FormError."""
    if was_sparse:
        without_zeros(model.graph)
    write_graph(model, target)


def lean(source: Path, target: Path) -> None:
    """`target` is the graph of `source` without notes, intermediate shapes and long names, its answers the same within 1e-6.

    Without the shapes onnxruntime fuses a transformer in another way, which is the faster one (movies, 32 rows: 0.93 of the time).
    Raises FormError, PackageError.
    """
    model, was_sparse = begin(source)
    finish(model, target, was_sparse=was_sparse)


def check_answers(answers: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of a form's answers from the graph's own on the same rows.

    Raises FormError unless they are of the same shape and finite.
    """
    if answers.shape != expected.shape:
        raise FormError(f"the form answers {list(answers.shape)} where the graph answers {list(expected.shape)}", do=GO_ON)
    if not np.isfinite(answers).all():
        raise FormError(f"the form's answer is not finite in row {int(np.argwhere(~np.isfinite(answers))[0][0])}", do=GO_ON)
    return float(np.abs(answers - expected).max(initial=0.0))
