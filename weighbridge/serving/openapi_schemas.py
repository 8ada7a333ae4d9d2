"""JSON Schemas (2020-12) of what the server reads and gives; those of rows follow a model's signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weighbridge.serving.metadata import ANNOUNCED, OUTPUTS

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
BASE64: Schema = {"type": "string", "contentEncoding": "base64"}
PIXEL_ROWS: Schema = {
    "type": "array", "minItems": 1,
    "items": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 255}, {"type": "array"}]}},
}  # fmt: skip
SIDES: Schema = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 3}
CLIP: Schema = {
    "anyOf": [
        {"type": "string", "pattern": "^data:", "description": "A data: URI of a clip's file."},
        {"type": "object", "required": ["bytes"], "properties": {"bytes": BASE64}, "description": "A clip's file: WAV, FLAC, Ogg or MP3."},
        {
            "type": "object", "required": ["array", "sampling_rate"],
            "properties": {"array": {"type": "array", "items": {"type": "number"}}, "sampling_rate": {"type": "integer", "minimum": 1}},
            "description": "Samples in -1..1, of one channel.",
        },
        {"type": "null"},
    ]
}  # fmt: skip
VALUES: dict[str, Schema] = {
    "number": {"type": ["number", "null"]},
    "category": {"type": ["string", "integer", "boolean", "null"]},
    "text": {"type": ["string", "null"]},
    "date": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}, {"type": "null"}]},
    "set": {"anyOf": [{"type": "array", "items": TEXT}, TEXT, {"type": "null"}]},
    "image": {
        "anyOf": [
            {"type": "string", "pattern": "^data:", "description": "A data: URI of an image file."},
            {"type": "object", "required": ["bytes"], "properties": {"bytes": BASE64}, "description": "An image file."},
            {
                "type": "object", "required": ["uint8", "shape"],
                "properties": {"uint8": BASE64, "shape": SIDES},
                "description": "Pixels, rows first: [H, W] or [H, W, C].",
            },
            PIXEL_ROWS,
            {"type": "null"},
        ]
    },
    "audio": CLIP,
}  # fmt: skip


def row_schema(inputs: Sequence[Mapping[str, Any]]) -> Schema:
    """Return the schema of a row of a model: each of its columns; others are let pass and not read."""
    properties = {one["name"]: VALUES[one["type"]] for one in inputs}
    return {"type": "object", "required": list(properties), "properties": properties}


def form_schema(inputs: Sequence[Mapping[str, Any]]) -> Schema:
    """Return the schema of a form: one field a column; of an image or a clip a file."""
    properties = {one["name"]: {**TEXT, "format": "binary"} if one["type"] in ("image", "audio") else dict(TEXT) for one in inputs}
    return {"type": "object", "required": list(properties), "properties": properties}


def prediction_schema(kind: str, classes: Sequence[str]) -> Schema:
    """Return the schema of a row's answer."""
    if kind == "number":
        return {"type": "object", "required": ["prediction"], "properties": {"prediction": {"type": "number"}}}
    named: Schema = {"type": "string", "enum": list(classes)}
    shares = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1.0001}}
    prediction = named if kind == "category" else {"type": "array", "items": named}
    return _object({"prediction": prediction, "probabilities": shares})


def tensor_schema(described: Mapping[str, Any]) -> Schema:
    """Return the schema of an inference request for a model."""
    one = {
        "type": "object", "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string", "enum": [column["name"] for column in described["inputs"]]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 4},
            "datatype": {"type": "string", "enum": sorted({ANNOUNCED[column["type"]][0] for column in described["inputs"]})},
            "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer", "minimum": 0}}},
            "data": {"type": "array"},
        },
    }  # fmt: skip
    wanted = {
        "type": "object", "required": ["name"],
        "properties": {
            "name": {"type": "string", "enum": list(OUTPUTS[described["kind"]])},
            "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
        },
    }  # fmt: skip
    return {
        "type": "object", "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 200}, "inputs": {"type": "array", "items": one, "minItems": len(described["inputs"])},
            "outputs": {"type": "array", "items": wanted},
            "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
        },
    }  # fmt: skip


def _object(required: Mapping[str, Schema], more: bool = True) -> Schema:
    return {"type": "object", "required": list(required), "properties": dict(required), "additionalProperties": more}


ERROR: Schema = {"code": TEXT, "message": TEXT, "request_id": TEXT}
TENSOR_OUT: Schema = {"name": TEXT, "datatype": TEXT, "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}}}
FACTS: Schema = {
    "name": TEXT, "versions": {"type": "array", "items": TEXT}, "version": TEXT, "kind": TEXT, "classes": {"type": "array", "items": TEXT},
    "inputs": {"type": "array", "items": _object({"name": TEXT, "type": TEXT})}, "model": TEXT,
}  # fmt: skip
LABEL: Schema = _object({"id": TEXT, "label": {}})
SCHEMAS: dict[str, Schema] = {
    "Error": _object({"error": _object(ERROR, more=False)}, more=False),
    "ProtocolError": _object({"error": TEXT, "code": TEXT, "request_id": TEXT}, more=False),
    "Server": _object({"name": TEXT, "version": TEXT, "extensions": {"type": "array", "items": TEXT}}),
    "Live": _object({"live": {"type": "boolean"}}),
    "Ready": _object({"ready": {"type": "boolean"}}),
    "ModelReady": _object({"name": TEXT, "ready": {"type": "boolean"}}),
    "ModelMetadata": _object({
        "name": TEXT, "versions": {"type": "array", "items": TEXT}, "platform": TEXT,
        "inputs": {"type": "array", "items": _object(TENSOR_OUT | {"shape": {"type": "array", "items": {"type": "integer"}}})},
        "outputs": {"type": "array", "items": _object(TENSOR_OUT | {"shape": {"type": "array", "items": {"type": "integer"}}})},
    }),
    "InferenceResponse": _object({
        "model_name": TEXT, "model_version": TEXT, "id": TEXT, "outputs": {"type": "array", "items": _object(TENSOR_OUT)},
    }),
    "Labels": _object({"labels": {"type": "array", "minItems": 1, "maxItems": 10_000, "items": LABEL}}, more=False),
    "LabelsOutcome": {"type": "object"},
    "Status": _object({"draining": {"type": "boolean"}, "models": {"type": "object"}}),
    "Package": _object({"package": {**TEXT, "minLength": 1, "maxLength": 1000}}, more=False),
    "Challenge": _object(
        {"package": {**TEXT, "minLength": 1, "maxLength": 1000}, "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}},
        more=False,
    ),
    "Described": _object(FACTS),
    "EncryptedClient": _object({"format": {"type": "integer"}, "circuit": {"type": "object"}, "package": {"type": "object"}}),
    "EncryptedKeys": _object({"keys": {**TEXT, "pattern": "^[0-9a-f]{64}$"}}),
    "Document": _object({"openapi": TEXT, "info": {"type": "object"}, "paths": {"type": "object"}}),
}  # fmt: skip
