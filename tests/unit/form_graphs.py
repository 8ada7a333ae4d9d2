"""Small networks of every kind as the exporter writes them, with rows that they read; their weights are random."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from weighbridge.preprocessing import Arrays, Block
from weighbridge.preprocessing.ragged import ragged

NUMBER = Block(name="number", kind="number", shape=(6,), dtype="float32", columns=tuple("abcdef"), names=tuple("abcdef"))
CATEGORY = Block(name="category", kind="category", shape=(2,), dtype="int32", columns=("k", "l"), cardinalities=(90, 7))
GREY = Block(name="image.scan", kind="image", shape=(12, 12, 1), dtype="uint8", columns=("scan",), mean=(0.27,), std=(0.33,))
PHOTO = Block(
    name="image.photo", kind="image", shape=(12, 12, 3), dtype="uint8", columns=("photo",), mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3)
)
TEXT = Block(name="text.note", kind="text", shape=(40,), dtype="int32", columns=("note",), cardinalities=(3000,))
KINDS: dict[str, tuple[str, tuple[Block, ...], dict[str, Any]]] = {
    "cnn": ("cnn", (GREY,), {}),
    "photos": ("cnn", (PHOTO,), {"residual": True}),
    "mlp": ("mlp", (NUMBER, CATEGORY), {}),
    "columns": ("transformer", (NUMBER, CATEGORY), {}),
    "texts": ("transformer", (TEXT,), {}),
    "lstm": ("rnn", (TEXT,), {"cell": "lstm"}),
    "gru": ("rnn", (TEXT, NUMBER), {"cell": "gru"}),
}


def network(kind: str, *, target: str = "category", seed: int = 1, size: str = "s") -> Any:
    """Return a network with its last step, in evaluation mode; its weights depend on the seed."""
    import torch

    from weighbridge.models.registry import DIAL, NetworkSpec, build_network
    from weighbridge.training import Deployable

    type_, blocks, more = KINDS[kind]
    torch.manual_seed(seed)
    made = build_network(NetworkSpec(type=type_, blocks=blocks, outputs=1 if target == "number" else 4, sizes=DIAL[size], **more))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        for table in (part for part in made.modules() if isinstance(part, torch.nn.Embedding) and part.padding_idx == 0):
            table.weight[0].zero_()
    return Deployable(made, SimpleNamespace(kind=target, std=20.0, mean=100.0)).eval()  # type: ignore[arg-type]


def export(kind: str, path: Path, **more: Any) -> Path:
    """`path` is the graph of the network; returns it."""
    from weighbridge.export import export_onnx

    export_onnx(network(kind, **more), KINDS[kind][1], path)
    return path


def rows(kind: str, count: int = 64, seed: int = 0) -> Arrays:
    """Return encoded rows in memory."""
    random = np.random.default_rng(seed)
    return Arrays(
        blocks={block.name: _block(block, count, random) for block in KINDS[kind][1]},
        target=random.integers(0, 4, count),
        stored_ids=np.arange(count).astype("S8"),
    )


def _block(block: Block, count: int, random: np.random.Generator) -> Any:
    if block.kind == "image":
        return random.integers(0, 256, (count, *block.shape), dtype=np.uint8)
    if block.kind == "category":
        return np.stack([random.integers(0, most, count) for most in block.cardinalities], axis=1).astype(np.int32)
    if block.kind == "number":
        return random.normal(size=(count, *block.shape)).astype(np.float32)
    codes = random.integers(1, block.cardinalities[0], (count, block.shape[0])).astype(np.int32)
    codes[np.arange(block.shape[0]) >= random.integers(0, block.shape[0] + 1, count)[:, None]] = 0
    return ragged(codes)


def layers(path: Path, sizes: tuple[int, ...] = (48, 160, 160, 3), *, seed: int = 0, zeros: float = 0.0, double: bool = False) -> Path:
    """`path` is a graph of Gemm and Relu by hand, as the exporter writes an MLP, on the block `number`; a share of its weights is zero."""
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(seed)
    nodes, weights, name = [], [], "number"
    for place, (width, following) in enumerate(itertools.pairwise(sizes)):
        matrix = random.normal(0, width**-0.5, (following, width)).astype(np.float32)
        matrix[np.abs(matrix) < np.quantile(np.abs(matrix), zeros)] = 0
        weights.append(numpy_helper.from_array(matrix, f"w{place}"))
        weights.append(numpy_helper.from_array(random.normal(0, 0.1, following).astype(np.float32), f"b{place}"))
        nodes.append(helper.make_node("Gemm", [name, f"w{place}", f"b{place}"], [f"y{place}"], transB=1))
        name = f"y{place}"
        if place < len(sizes) - 2:
            nodes.append(helper.make_node("Relu", [name], [f"r{place}"]))
            name = f"r{place}"
    if double:
        nodes.append(helper.make_node("Cast", [name], ["output"], to=TensorProto.DOUBLE))
    else:
        nodes.append(helper.make_node("Softmax", [name], ["output"], axis=1))
    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    given = helper.make_tensor_value_info("number", TensorProto.FLOAT, ["rows", sizes[0]])
    answer = helper.make_tensor_value_info("output", kind, ["rows", sizes[-1]])
    graph = helper.make_graph(nodes, "layers", [given], [answer], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def numbers(width: int = 48, count: int = 64, seed: int = 0) -> Arrays:
    """Return rows for `layers`."""
    values = np.random.default_rng([seed, 7]).normal(size=(count, width)).astype(np.float32)  # not the stream of the weights
    return Arrays(blocks={"number": values}, target=None, stored_ids=np.arange(count).astype("S8"))
