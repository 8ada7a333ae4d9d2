"""A network as a program of ExecuTorch (.pte): what phones and small boards run, its layers computed by XNNPACK.

One row a call: ExecuTorch plans its memory before it runs, and what a device asks is one row. A text may have any length up to the
longest that the encoder gives. Made with executorch 1.5; https://docs.pytorch.org/executorch/stable/
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weighbridge.errors import DependencyError, FormError
from weighbridge.evaluation.adjustment import NEAR_ONE, TINY
from weighbridge.export.onnx import Positional
from weighbridge.storage import write_bytes
from weighbridge.training.batches import each_once

if TYPE_CHECKING:
    from types import TracebackType

    from weighbridge.preprocessing import Arrays, Block

PIP = "pip install 'executorch>=1.5,<2'"
CALIBRATED_ROWS = 32  # read at once
INSTEAD = "take onnx_int8, or answer with the package itself"
# What torch.export and the passes of ExecuTorch raise for a network that they can not take: they have no common parent but Exception.
SAID = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError)


def export_executorch(network: nn.Module, blocks: Sequence[Block], path: Path) -> None:
    """`path` is a program that takes the blocks of one row, in their order, and gives the network's answer in float32; atomic.

    Raises FormError for a network that it can not be made of, DependencyError without executorch.
    """
    _write(_exported(network, blocks), path, [])


def export_executorch_int8(network: nn.Module, blocks: Sequence[Block], path: Path, rows: Arrays) -> None:
    """`path` is such a program whose convolutions and linear layers compute in int8: weights symmetric with a scale a channel.

    `rows`: encoded training rows, a few hundred; the ranges of activations are those that they give. Raises FormError, also where there
    is no such layer, and DependencyError.
    """
    if not len(rows):
        raise FormError("there are no rows to calibrate executorch_int8 with", do="give a few hundred training rows")
    with Exporting():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        graph = _exported(network, blocks).module()
        prepared = prepare_pt2e(graph, _quantizer(graph))
        names = [block.name for block in blocks]
        with torch.inference_mode():
            for batch, _ in each_once(rows, torch.device("cpu"), size=CALIBRATED_ROWS):
                for row in range(len(batch[names[0]])):
                    prepared(*(batch[name][row : row + 1] for name in names))
        converted = convert_pt2e(prepared)
        again = torch.export.export(converted, _example(blocks), dynamic_shapes=_free(blocks))
    _write(again, path, ["dequantize_per_channel", "dequantize_per_tensor"])


def _quantizer(graph: torch.fx.GraphModule) -> Any:
    """Return how layers are held in int8: ranges fixed beforehand, but for the last linear layer, whose answer stays in float32.

    It scales its input by the row that is asked: a logit of 8 bits would be a coarse one, and a number in 256 steps (diabetes: the largest
    difference from the network falls from 0.21 to 0.10 deviations of the target).
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    linear = [node for node in graph.graph.nodes if node.target is torch.ops.aten.linear.default]
    within = list((linear[-1].meta.get("nn_module_stack") or {}).values()) if linear else []
    if within:
        quantizer.set_module_name(within[-1][0], get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    return quantizer


def _exported(network: nn.Module, blocks: Sequence[Block]) -> torch.export.ExportedProgram:
    with Exporting():
        module = Positional(network, [block.name for block in blocks]).eval()
        return torch.export.export(module, _example(blocks), dynamic_shapes=(_free(blocks),))


def _example(blocks: Sequence[Block]) -> tuple[Tensor, ...]:
    """Return one row of ones: a code that every column has."""
    return tuple(torch.ones((1, *block.shape), dtype=getattr(torch, block.dtype)) for block in blocks)


def _free(blocks: Sequence[Block]) -> tuple[dict[int, Any], ...]:
    """Return which sizes are free: the length of each text, up to the longest."""
    return tuple(
        {1: torch.export.Dim(f"length_{place}", min=1, max=block.shape[0])} if block.kind == "text" else {}
        for place, block in enumerate(blocks)
    )


def _write(program: torch.export.ExportedProgram, path: Path, needed: Sequence[str]) -> None:
    """`path` is the program lowered to XNNPACK. Raises FormError where nothing of it runs there, or none of the `needed` operators is."""
    with Exporting():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        operators = " ".join(str(node.target) for node in program.graph.nodes)
        if needed and not any(name in operators for name in needed):
            raise FormError("the network has no layer that XNNPACK computes in int8", do=INSTEAD)
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
        if not any("executorch_call_delegate" in str(node.target) or _delegates(node) for node in lowered.exported_program().graph.nodes):
            raise FormError("no layer of the network runs in XNNPACK", do=INSTEAD)
        content = bytes(lowered.buffer)
    write_bytes(path, content)


def _delegates(node: torch.fx.Node) -> bool:
    return node.op == "call_function" and type(node.target).__name__ == "ExecutorchCallDelegate"


class Exporting:
    """Silences remarks of the exporter; what it can not do is a FormError, a missing library a DependencyError."""

    def __enter__(self) -> None:
        self._level = logging.root.manager.disable
        logging.disable(logging.ERROR)  # it lists libraries for other chips that are absent
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")  # deprecations inside the exporter, nothing that a user could act on

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._warnings.__exit__(kind, error, trace)
        logging.disable(self._level)
        if isinstance(error, ImportError):
            missing = f" ({error.name} is missing)" if error.name else ""
            raise DependencyError(f"a .pte is made and answered by ExecuTorch{missing}", do=PIP) from None
        if error is not None and (isinstance(error, SAID) or type(error).__module__.startswith(("torch", "executorch"))):
            lines = [line for line in str(error).splitlines() if line.strip()]
            why = " ".join(lines[0].split())[:200] if lines else type(error).__name__
            raise FormError(f"ExecuTorch does not take the network ({why})", do=INSTEAD) from None


class Colder(nn.Module):
    """A network whose log-odds are divided by a temperature, as weighbridge.evaluation.adjustment.Temperature has it (Guo 2017)."""

    def __init__(self, network: nn.Module, temperature: float, kind: str) -> None:
        super().__init__()
        self.network, self.temperature, self.kind = network, temperature, kind
        self.train(network.training)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return probabilities [B, C] or [B, L]."""
        probability: Tensor = self.network(batch)
        odds = probability.clamp_min(TINY).log()
        if self.kind == "set":
            return ((odds - (1 - probability).clamp_min(NEAR_ONE).log()) / self.temperature).sigmoid()
        return (odds / self.temperature).softmax(1)
