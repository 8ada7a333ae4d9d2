"""JSON Schemas (2020-12) of what the page asks for: explanations, a model's form, its words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weighbridge.serving.openapi_schemas import FACTS, TEXT, Schema, prediction_schema

NUMBER: Schema = {"type": "number"}
ARRAY: Schema = {"type": "array"}
OBJECT: Schema = {"type": "object"}


def _object(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


FAITHFULNESS = _object({
    "status": {"enum": ["holds", "open", "fails"]}, "named": NUMBER, "random": NUMBER, "lead": NUMBER, "slower": {"type": "integer"},
    "orders": {"type": "integer"}, "chance": NUMBER,
})  # fmt: skip
TOLD: dict[str, Schema] = {
    "explained": {"type": ["string", "null"]}, "answer": NUMBER, "nothing": NUMBER,
    "faithfulness": {"anyOf": [FAITHFULNESS, {"type": "null"}]},
    "columns": _list(_object({"column": TEXT, "strength": NUMBER, "without": NUMBER})),
    "images": _list(_object({"column": TEXT, "down": ARRAY, "across": ARRAY, "strength": ARRAY})),
    "texts": _list(_object({"column": TEXT, "pieces": ARRAY})),
}  # fmt: skip
SAID = ("name", "kind", "classes", "inputs", "model")
PAGE_SCHEMAS: dict[str, Schema] = {
    "Form": _object({name: FACTS[name] for name in SAID} | {"models": _list(TEXT), "target": TEXT}),
    "Words": {"type": "object"},
    "Course": _object({"name": TEXT, "models": _list(TEXT), "answers": NUMBER, "labels": OBJECT, "findings": _list(OBJECT)}),
    "Windows": _object({"name": TEXT, "rows": {"type": "integer"}, "windows": _list(OBJECT)}),
    "Decisions": _object({"decisions": _list(OBJECT), "turns": _list(OBJECT)}),
    "Decision": _object({"number": {"type": "integer"}, "action": TEXT, "reason": TEXT}),
    "Queue": _object({"asked": {"type": "integer"}, "rows": _list(OBJECT)}),
    "YesOrNo": {**_object({"answer": {"enum": ["approved", "refused"]}}), "additionalProperties": False},
}


def explanation_schema(kind: str, classes: Sequence[str]) -> dict[str, Any]:
    """Return the schema of a row's answer with what spoke for it."""
    answer = prediction_schema(kind, classes)
    return {"type": "object", "required": [*answer["required"], *TOLD], "properties": {**answer["properties"], **TOLD}}
