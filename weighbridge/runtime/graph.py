"""An ONNX file holds its own weights and standard operators only, found by walking its protobuf, without the onnx package.

onnxruntime opens whatever file a tensor's `external_data` names, and a custom operator is code; both are refused here before
a session sees the bytes. The field numbers are those of onnx.proto3 (IR version 3 to 13).
"""

from __future__ import annotations

from collections.abc import Iterator

from weighbridge.errors import PackageError

STANDARD = ("", "ai.onnx", "ai.onnx.ml")
DEEPEST = 32
EXTERNAL = 1

# message -> field -> message of the field; only what can lead to a tensor or a node.
CHILDREN = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
NODE_OPERATOR, NODE_DOMAIN, TENSOR_EXTERNAL, TENSOR_LOCATION = 4, 7, 13, 14


def check_graph(model: bytes) -> None:
    """Return for a model without external data and without custom operators; else raise PackageError that says which."""
    try:
        _walk(memoryview(model), "model", 0)
    except (IndexError, ValueError) as error:
        raise PackageError(f"model.onnx is damaged ({error})", do="build or download the package again") from None


def _walk(message: memoryview, kind: str, depth: int) -> None:
    if depth > DEEPEST:
        raise PackageError(f"model.onnx nests more than {DEEPEST} graphs", do="export the model without nested graphs")
    children = CHILDREN[kind]
    operator, domain = "", ""
    for field, value in _fields(message):
        if field in children and isinstance(value, memoryview):
            _walk(value, children[field], depth + 1)
        elif kind == "tensor" and (field == TENSOR_EXTERNAL or (field == TENSOR_LOCATION and value == EXTERNAL)):
            raise PackageError("model.onnx keeps weights in another file (external data)", do="export the model into one file")
        elif kind == "node" and field in (NODE_OPERATOR, NODE_DOMAIN) and isinstance(value, memoryview):
            text = bytes(value).decode("utf-8", "replace")
            operator, domain = (text, domain) if field == NODE_OPERATOR else (operator, text)
    if domain not in STANDARD:
        what = f"model.onnx uses the operator {operator[:40]!r} of the domain {domain[:40]!r}"
        raise PackageError(what, do="only standard ONNX operators are run")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield field number and value; weights are skipped by their length, not read."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif wire == 2:
            size, at = _varint(message, at)
            if at + size > end:
                raise ValueError("a field ends after the file")
            yield tag >> 3, message[at : at + size]
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} is not known")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number has more than 10 bytes")
