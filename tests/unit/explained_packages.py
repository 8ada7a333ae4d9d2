"""Packages that read one part of a row and nothing else: what an explanation must name. The graphs are real, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.runtime_packages import write_package
from weighbridge.audit import controls_explanation as planted
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.feature import objects
from weighbridge.runtime import Model, golden_json, write_manifest
from weighbridge.storage import write_json

SIDE, WORDS = planted.SIDE, planted.WORDS


def numbers_model(folder: Path, column: int, *, strength: float = 3.0, **more: Any) -> Model:
    """Return a model of ten numbers that reads one of them; of none with strength 0."""
    weights = np.zeros((10, 2), np.float32)
    weights[column, 1] = strength
    rows = {f"x{place}": np.linspace(-1, 1, 8) for place in range(10)}
    return _written(folder, planted.numbers(10), rows, _summed("number", "FLOAT", (10,), weights), more)


def picture_model(folder: Path, down: int, across: int) -> Model:
    """Return a model of grey pictures of 16 x 16 pixels that reads one square of 2 x 2."""
    weights = np.zeros((SIDE, SIDE, 2), np.float32)
    weights[2 * down : 2 * down + 2, 2 * across : 2 * across + 2, 1] = 0.01
    rows = {"picture": objects([np.zeros((SIDE, SIDE), np.uint8)] * 8)}
    return _written(folder, planted.pictures(), rows, _summed("image.picture", "UINT8", (SIDE, SIDE, 1), weights.reshape(-1, 2)), {})


def text_model(folder: Path, word: str) -> Model:
    """Return a model of texts that looks for one word."""
    encoder = planted.texts()
    code = int(encoder.encode({"text": objects([word])})["text.text"][0, 0])
    return _written(folder, encoder, {"text": objects([word] * 8)}, _counting(code), {})


def _written(folder: Path, encoder: Encoder, rows: dict[str, np.ndarray], model: Any, more: dict[str, Any]) -> Model:
    write_package(folder, encoder, rows, model=model, **more)
    types = {feature.column: feature.type for feature in encoder.features}
    write_json(folder / "golden.json", golden_json(rows, types, Model.load(folder, threads=1).outputs(rows, 8)))
    (folder / "manifest.json").unlink()
    write_manifest(folder)
    return Model.load(folder, threads=1)


def _summed(block: str, kind: str, shape: tuple[int, ...], weights: np.ndarray) -> Any:
    """Return the softmax of the block's entries times weights."""
    from onnx import TensorProto, helper, numpy_helper

    steps = [
        helper.make_node("Cast", [block], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["cast", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["sum"]),
    ]
    kept = [numpy_helper.from_array(np.array([0, weights.shape[0]], np.int64), "flat"), numpy_helper.from_array(weights, "weights")]
    return _graph(block, getattr(TensorProto, kind), ["n", *shape], steps, kept)


def _counting(code: int) -> Any:
    """Return the softmax of twice the number of tokens of this code."""
    from onnx import TensorProto, helper, numpy_helper

    steps = [
        helper.make_node("Equal", ["text.text", "code"], ["same"]),
        helper.make_node("Cast", ["same"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["ones", "axes"], ["count"], keepdims=1),
        helper.make_node("MatMul", ["count", "weights"], ["sum"]),
    ]
    kept = [
        numpy_helper.from_array(np.array(code, np.int32), "code"), numpy_helper.from_array(np.array([1], np.int64), "axes"),
        numpy_helper.from_array(np.array([[-2.0, 2.0]], np.float32), "weights"),
    ]  # fmt: skip
    return _graph("text.text", TensorProto.INT32, ["n", "l"], steps, kept)


def _graph(block: str, kind: int, shape: list[Any], steps: list[Any], kept: list[Any]) -> Any:
    import onnx
    from onnx import TensorProto, helper

    steps.append(helper.make_node("Softmax", ["sum"], ["output"], axis=-1))
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(steps, "planted", [helper.make_tensor_value_info(block, kind, shape)], [output], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=min(onnx.IR_VERSION, 10))
