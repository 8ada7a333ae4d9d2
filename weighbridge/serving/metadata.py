"""A model in the words of the Open Inference Protocol: inputs as tensors, one a column, and outputs. The front reads it: no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLASSES = {"probabilities": "FP32", "labels": "BYTES"}
OUTPUTS: dict[str, dict[str, str]] = {"number": {"value": "FP64"}, "category": CLASSES, "set": CLASSES}
TEXTS = ("BYTES", [-1])
# What is announced; other data types that a column is read from stand in tensors.py.
ANNOUNCED = {
    "number": ("FP64", [-1]), "category": TEXTS, "text": TEXTS, "date": TEXTS, "set": TEXTS, "image": ("UINT8", [-1, -1, -1, -1]),
    "audio": TEXTS,
}  # fmt: skip


def metadata(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's metadata in the protocol's words, from what Fleet.describe says."""
    classes = len(described["classes"])
    shapes = {"value": [-1], "probabilities": [-1, classes], "labels": [-1]}
    return {
        "name": described["name"], "versions": list(described["versions"]), "platform": "onnxruntime_onnx",
        "inputs": [_announced(one["name"], one["type"]) for one in described["inputs"]],
        "outputs": [{"name": name, "datatype": kind, "shape": shapes[name]} for name, kind in OUTPUTS[described["kind"]].items()],
        "parameters": {"kind": described["kind"], "classes": list(described["classes"]), "model_sha256": described["model"]},
    }  # fmt: skip


def _announced(name: str, kind: str) -> dict[str, Any]:
    datatype, shape = ANNOUNCED[kind]
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"type": kind}}
