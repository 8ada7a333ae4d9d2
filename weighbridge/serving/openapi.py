"""The OpenAPI 3.1 document of a running server: its routes from the route table, the schemas of rows from the signatures of its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weighbridge import __version__
from weighbridge.serving.about import DOCS, PAGE, files_of
from weighbridge.serving.access import PUBLIC
from weighbridge.serving.limits import Limits
from weighbridge.serving.openapi_page import PAGE_SCHEMAS, explanation_schema
from weighbridge.serving.openapi_schemas import SCHEMAS, form_schema, prediction_schema, row_schema, tensor_schema
from weighbridge.serving.routes import Route

ERRORS = {
    400: "The request does not fit.", 401: "No key, or one that opens nothing.", 403: "The key has not the role.",
    404: "There is none of this name.", 408: "The body came too slowly.", 409: "This can not be done now.", 413: "Beyond a limit.",
    415: "This type of body is not read.", 421: "The server has another name.", 422: "A row does not fit; it is named.",
    429: "Too many requests; see Retry-After.", 503: "Not now; see Retry-After.",
}  # fmt: skip
ADMIN_ERRORS = {501: "A library is not installed.", 507: "The disk refuses."}
TEXT = {"type": "string"}


def document(routes: Iterable[Route], models: Sequence[Mapping[str, Any]], limits: Limits) -> dict[str, Any]:
    """Return the document for these routes and models (what Fleet.describe says of each)."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in sorted(route.methods):
            paths.setdefault(route.path, {})[method.lower()] = _operation(route, method, models)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Weighbridge", "version": __version__, "description": "Models that were weighed, by their packages."},
        "paths": paths,
        "components": {"schemas": _schemas(models, limits), "securitySchemes": _security()},
    }  # fmt: skip


def _operation(route: Route, method: str, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}{route.path.translate(str.maketrans('/{}.', '____'))}", "summary": route.summary,
        "parameters": [*_path_parameters(route, models), *_query_parameters(route, models)],
        "responses": {"200": _answer(route, method), **_errors(route, method)},
        "security": [] if route.roles is PUBLIC else [{"bearer": []}, {"header": []}],
        "x-roles": sorted(route.roles),
    }  # fmt: skip
    if route.takes:
        content = {kind: {"schema": _body_schema(route, kind)} for kind in route.takes}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _path_parameters(route: Route, models: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = [segment[1:-1] for segment in route.path.split("/") if segment.startswith("{")]
    known = {"model": [one["name"] for one in models], "version": sorted({version for one in models for version in one["versions"]})}
    known["file"] = sorted(files_of(PAGE if route.path.startswith("/page/") else DOCS))
    number = {**TEXT, "pattern": "^[0-9]{1,9}$"}
    schemas = {name: {**TEXT, "enum": known[name]} if name in known else number for name in names}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name, schema in schemas.items()]


def _query_parameters(route: Route, models: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    schemas = {"top": {"type": "integer", "minimum": 1, "maximum": 999_999_999}, "model": {**TEXT, "enum": [one["name"] for one in models]}}
    schemas |= {"language": {**TEXT, "enum": ["en", "zh"]}, "rows": {"type": "integer", "minimum": 1, "maximum": 100_000}}
    schemas |= {"keys": {**TEXT, "pattern": "^[0-9a-f]{64}$"}}
    needed = {"keys"} | ({"model"} if len(models) != 1 and route.path in ("/predict", "/explain") else set())
    return [
        {"name": name, "in": "query", "required": name in needed, "description": text, "schema": schemas[name]}
        for name, text in route.query.items()
    ]


def _body_schema(route: Route, kind: str) -> dict[str, Any]:
    if kind == "application/json":
        return {"$ref": f"#/components/schemas/{route.body}"}
    if kind == "multipart/form-data":
        return {"$ref": f"#/components/schemas/{route.body}Form"}
    return dict(TEXT) if kind.startswith("text/") else {**TEXT, "format": "binary"}


def _answer(route: Route, method: str) -> dict[str, Any]:
    headers = {"x-request-id": {"schema": TEXT, "description": "Names this request in every log."}}
    if route.takes and route.answer in ("Predictions", "InferenceResponse", "Explanations"):
        headers["x-model"] = {"schema": TEXT, "description": "The hash of the model that answered."}
    found: dict[str, Any] = {"description": "The answer.", "headers": headers}
    if method != "HEAD":
        found["content"] = {kind: {"schema": _answer_schema(route, kind)} for kind in route.gives}
    return found


def _answer_schema(route: Route, kind: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{route.answer}"} if kind == "application/json" and route.answer else dict(TEXT)


def _errors(route: Route, method: str) -> dict[str, Any]:
    schema = "#/components/schemas/ProtocolError" if route.protocol else "#/components/schemas/Error"
    described = ERRORS | (ADMIN_ERRORS if route.path.startswith("/admin/") else {})
    if method == "HEAD":
        return {str(status): {"description": text} for status, text in described.items()}
    content = {"application/json": {"schema": {"$ref": schema}}}
    errors: dict[str, Any] = {str(status): {"description": text, "content": content} for status, text in described.items()}
    if route.answer in ("Ready", "ModelReady"):  # their 503 says what their 200 says
        both = {"anyOf": [{"$ref": f"#/components/schemas/{route.answer}"}, {"$ref": schema}]}
        errors["503"] = {"description": "It does not answer now.", "content": {"application/json": {"schema": both}}}
    return errors


def _security() -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of OpenID Connect where that is set up."},
        "header": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key."},
    }


def _schemas(models: Sequence[Mapping[str, Any]], limits: Limits) -> dict[str, Any]:
    rows = [row_schema(one["inputs"]) for one in models]
    lists: dict[str, Any] = {"type": "array", "minItems": 1, "maxItems": limits.rows, "items": _any(rows)}
    columns = [
        {
            "type": "object", "required": list(row["properties"]),
            "properties": {name: {"type": "array", "items": value} for name, value in row["properties"].items()},
        }
        for row in rows
    ]  # fmt: skip
    return {
        **SCHEMAS, **PAGE_SCHEMAS,
        "Rows": {
            "anyOf": [
                {"type": "object", "required": ["rows"], "properties": {"rows": lists}, "additionalProperties": False},
                {"type": "object", "required": ["columns"], "properties": {"columns": _any(columns)}, "additionalProperties": False},
                lists,
            ]
        },
        "RowsForm": _any([form_schema(one["inputs"]) for one in models]),
        "Predictions": {
            "type": "object", "required": ["id", "model", "predictions"],
            "properties": {
                "id": TEXT, "model": TEXT,
                "predictions": {"type": "array", "items": _any([prediction_schema(one["kind"], one["classes"]) for one in models])},
            },
        },
        "Explanations": {
            "type": "object", "required": ["id", "model", "method", "explanations"],
            "properties": {
                "id": TEXT, "model": TEXT, "method": TEXT,
                "explanations": {"type": "array", "items": _any([explanation_schema(one["kind"], one["classes"]) for one in models])},
            },
        },
        "InferenceRequest": _any([tensor_schema(one) for one in models]),
    }  # fmt: skip


def _any(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
