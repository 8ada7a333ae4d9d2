"""ONNX through torch.export: inputs named like the encoded blocks, a free number of rows, one output."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.errors import FormError, PackageError, RefusedArtefact
from weighbridge.export.form import lean
from weighbridge.storage import atomic_path
from weighbridge.training import forward_all
from weighbridge.training.batches import each_once

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Block
    from weighbridge.training import Deployable

OPSET = 20
PARITY_ROWS = 256  # answered at once


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far a graph is from the network: the largest difference of an output on `rows` real rows, in `scale` units."""

    rows: int
    largest: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.largest <= self.tolerance


class Positional(nn.Module):
    """The network with its blocks as positional inputs: graphs know names, not dictionaries."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module, self.names = module, list(names)

    def forward(self, *values: Tensor) -> Tensor:
        out: Tensor = self.module(dict(zip(self.names, values, strict=True)))
        return out


def export_onnx(network: Deployable, blocks: Sequence[Block], path: Path) -> None:
    """`path` is an ONNX graph (opset 20, weights inside, standard operators only) that takes blocks and gives `output`; atomic.

    The number of rows is free, and so is the length of each text.
    """
    names = [block.name for block in blocks]
    example = tuple(torch.from_numpy(np.ones((2, *_example_shape(block)), dtype=block.dtype)) for block in blocks)
    rows = torch.export.Dim("rows", min=1)
    free = tuple(
        {0: rows} if block.kind != "text" else {0: rows, 1: torch.export.Dim(f"length_{k}", min=1)} for k, block in enumerate(blocks)
    )
    module = Positional(network, names).eval()
    for operator in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
        operator._dispatch_cache.clear()  # torch 2.13 would give each further graph of a process the example's length of texts
    with warnings.catch_warnings(), _refused_where_it_fails():
        warnings.simplefilter("ignore")  # deprecations inside the exporter, nothing that a user could act on
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists optional packages that are absent
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=names,
            output_names=["output"],
            dynamic_shapes=(free,),
        )
    assert program is not None
    with atomic_path(path) as temporary:
        program.save(temporary)
    with _refused_where_it_fails():
        lean(path, path)  # the exporter's notes are up to two thirds of a small graph, and name folders of this machine


@contextlib.contextmanager
def _refused_where_it_fails() -> Iterator[None]:
    """Turn what the exporter says of a network that it can not write into a RefusedArtefact."""
    try:
        yield
    except (torch.onnx.OnnxExporterError, FormError, PackageError) as error:
        said = next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
        raise RefusedArtefact(
            f"the network can not be exported to ONNX ({' '.join(said.split())[:200]})", do="use operations that torch.onnx knows"
        ) from None


def _example_shape(block: Block) -> tuple[int, ...]:
    return (5,) if block.kind == "text" else block.shape


def check_parity(path: Path, network: Deployable, arrays: Arrays, *, scale: float, tolerance: float, threads: int = 0) -> Parity:
    """Return the largest absolute difference between graph and network over all rows, divided by `scale` (1 for probabilities)."""
    import onnxruntime

    expected = forward_all(network, arrays)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = [value.name for value in session.get_inputs()]
    got = np.empty(expected.shape, dtype=np.float64)
    for batch, rows in each_once(arrays, torch.device("cpu"), size=PARITY_ROWS):  # all at once, texts would be as long as the longest
        got[rows] = session.run(["output"], {name: batch[name].numpy() for name in wanted})[0].reshape(expected[rows].shape)
    return parity_of(got, expected, scale=scale, tolerance=tolerance)


def parity_of(got: np.ndarray, expected: np.ndarray, *, scale: float, tolerance: float) -> Parity:
    """Return the largest absolute difference between answers and the expected ones, both [n, ...], divided by `scale`."""
    largest = float(np.abs(got - expected).max() / scale) if got.shape == expected.shape else float("inf")
    return Parity(rows=len(expected), largest=largest if np.isfinite(largest) else float("1e308"), tolerance=tolerance)
