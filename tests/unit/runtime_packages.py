"""Tiny packages whose answers are known: the output is the softmax (or a sum) of the encoded inputs, made with the onnx package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.preprocessing_tables import SECTION, MemoryTable, mixed, schema
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.feature import objects
from weighbridge.runtime import golden_json, write_manifest
from weighbridge.storage import sha256_file, write_json, write_text


def network(encoder: Encoder, *, nodes: Any = (), domains: tuple[str, ...] = ("",)) -> Any:
    """Return an ONNX model of the encoder's blocks: the sums of fixed projections of all of them."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    target = encoder.target
    assert target is not None
    width = 1 if target.kind == "number" else len(target.classes)
    random = np.random.default_rng(0)
    kinds = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "uint8": TensorProto.UINT8}
    inputs, steps, weights, parts = [], list(nodes), [], []
    for place, block in enumerate(encoder.blocks):
        size = int(np.prod(block.shape))
        inputs.append(helper.make_tensor_value_info(block.name, kinds[block.dtype], ["n", *block.shape]))
        matrix = random.normal(0, 0.01 if block.dtype == "uint8" else 1, (size, width)).astype(np.float32)
        weights += [numpy_helper.from_array(matrix, f"w{place}"), numpy_helper.from_array(np.array([0, size], np.int64), f"s{place}")]
        steps += [
            helper.make_node("Cast", [block.name], [f"f{place}"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", [f"f{place}", f"s{place}"], [f"r{place}"]),
            helper.make_node("MatMul", [f"r{place}", f"w{place}"], [f"p{place}"]),
        ]
        parts.append(f"p{place}")
    steps.append(helper.make_node("Sum", parts, ["sum"]))
    steps += _head(target.kind, weights)
    shape = ["n"] if target.kind == "number" else ["n", width]
    graph = helper.make_graph(steps, "tiny", inputs, [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)], weights)
    opsets = [helper.make_opsetid(domain, 18 if not domain else 1) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=onnx.IR_VERSION if onnx.IR_VERSION < 10 else 10)


def _head(kind: str, weights: list[Any]) -> list[Any]:
    from onnx import helper, numpy_helper

    if kind == "category":
        return [helper.make_node("Softmax", ["sum"], ["output"], axis=-1)]
    if kind == "set":
        return [helper.make_node("Sigmoid", ["sum"], ["output"])]
    weights.append(numpy_helper.from_array(np.array([-1], np.int64), "flat"))
    return [helper.make_node("Reshape", ["sum", "flat"], ["output"])]


def encoder_of(kind: str = "category", *, photos: bool = True, rows: int = 60) -> tuple[Encoder, MemoryTable]:
    """Return a fitted encoder of a mixed table whose target is of `kind`, and the table."""
    data, form = mixed(rows, photos=photos)
    target = {"category": "label", "number": "age", "set": "tags"}[kind]
    if kind != "category":
        known = np.nan_to_num(data.columns["age"], nan=40.0) if kind == "number" else data.columns["tags"]
        columns = {**data.columns, target: known}
        if kind == "set":
            columns["tags"] = objects([value or () for value in columns["tags"]])
        data = MemoryTable(columns, data.row_ids)
    types = {column.name: column.type for column in form.columns if column.name != "label" or kind == "category"}
    return Encoder.fit(data, schema(types, target), SECTION), data


def make_package(folder: Path, kind: str = "category", *, photos: bool = True, model: Any = None) -> tuple[Encoder, MemoryTable]:
    """`folder` is a whole package, its golden answers computed by onnxruntime on the first rows."""
    encoder, data = encoder_of(kind, photos=photos)
    write_package(folder, encoder, data.columns, model=model)
    return encoder, data


def write_package(folder: Path, encoder: Encoder, columns: dict[str, np.ndarray], *, model: Any = None, **more: Any) -> None:
    """`folder` is a whole package of an encoder; `more` are further keys of package.json."""
    import onnxruntime

    target = encoder.target
    assert target is not None
    kind = target.kind
    folder.mkdir(parents=True)
    content = (model or network(encoder)).SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    types = {feature.column: feature.type for feature in encoder.features}
    rows = {name: columns[name][:8] for name in types}
    outputs = np.zeros((8, 2))
    if model is None:
        outputs = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(["output"], encoder.encode(rows))[0]
    write_json(folder / "golden.json", golden_json(rows, types, outputs))
    about = {
        "format": 1, "name": "tiny", "kind": kind, "classes": list(target.classes), "encoder": encoder.to_json(),
        "inputs": [{"name": name, "type": kind} for name, kind in types.items()], "blocks": [block.to_json() for block in encoder.blocks],
        "output": "value" if kind == "number" else "probabilities", "versions": {}, "model_sha256": sha256_file(folder / "model.onnx"),
        **more,
    }  # fmt: skip
    write_json(folder / "package.json", about)
    write_text(folder / "card.md", "# tiny\n")
    write_manifest(folder)
