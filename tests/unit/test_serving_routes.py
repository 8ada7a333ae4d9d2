"""Law: one table says what the server does: page, OpenAPI document and router follow it; the page names every limit as it is."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from weighbridge.errors import UsageError
from weighbridge.serving.access import ANY_ROLE, PUBLIC, check_table
from weighbridge.serving.launch import read_limits
from weighbridge.serving.limits import Limits
from weighbridge.serving.openapi import document
from weighbridge.serving.replies import MOST_MESSAGE, error_body
from weighbridge.serving.routes import EXEMPTIONS, ROUTES, Table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
MODEL: dict[str, Any] = {
    "name": "tiny", "versions": ["abc"], "version": "abc", "kind": "category", "classes": ["no", "yes"], "model": "f00",
    "inputs": [{"name": name, "type": name} for name in ("number", "category", "text", "date", "set", "image")],
}  # fmt: skip
WHO = {PUBLIC: "public", ANY_ROLE: "any key"}


def cells(first: str) -> list[list[str]]:
    """Return the rows of the page's table whose head begins with a word."""
    table = re.search(rf"^\| {first} .*\n\|[-| ]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_every_route_has_a_decision() -> None:
    check_table(ROUTES, EXEMPTIONS)


def test_the_page_names_every_route_with_its_methods_and_who_may_use_it() -> None:
    said = {row[0].strip("`"): (row[1], row[2]) for row in cells("route")}
    meant = {
        route.path: ("/".join(sorted(route.methods - {"HEAD"})), WHO.get(route.roles) or " or ".join(sorted(route.roles)))
        for route in ROUTES
    }
    assert said == meant


def test_the_page_names_every_limit_with_its_default() -> None:
    said = {row[0].strip("`"): row[1] for row in cells("limit")}
    assert said == {one.name: str(one.default) for one in fields(Limits)}


def test_limits_are_set_by_name() -> None:
    assert read_limits(["rows=7", "deadline_s=0.5", "batch_wait_s=0"]) == Limits(rows=7, deadline_s=0.5, batch_wait_s=0.0)
    for bad in ("rows", "rows=", "rows=0", "rows=-1", "rows=1.5", "deadline_s=nan", "deadline_s=inf", "deadline_s=0", "row=1"):
        with pytest.raises(UsageError, match="limit"):
            read_limits([bad])


@pytest.mark.parametrize(
    ("path", "found", "parts"),
    [
        ("/predict", "/predict", {}),
        ("/v2/models/a/infer", "/v2/models/{model}/infer", {"model": "a"}),
        ("/v2/models/a/versions/b/infer", "/v2/models/{model}/versions/{version}/infer", {"model": "a", "version": "b"}),
        ("/v2/models/versions", "/v2/models/{model}", {"model": "versions"}),
        ("/predict/", "", {}),
        ("//predict", "", {}),
        ("/v2/models/", "", {}),
        ("/v2/models//infer", "", {}),
        ("/v2/models/{model}", "/v2/models/{model}", {"model": "{model}"}),
        ("", "", {}),
    ],
)
def test_a_path_leads_to_one_route_or_to_none(path: str, found: str, parts: dict[str, str]) -> None:
    route, given = Table().find(path)
    assert (route.path if route else "", given) == (found, parts)


def test_the_document_has_every_route_method_and_role_and_its_references_lead_somewhere() -> None:
    made = document(ROUTES, [MODEL], Limits())
    operations = {(path, method.upper()): one for path, methods in made["paths"].items() for method, one in methods.items()}
    assert set(operations) == {(route.path, method) for route in ROUTES for method in route.methods}
    for route in ROUTES:
        for method in route.methods:
            one = operations[route.path, method]
            assert one["x-roles"] == sorted(route.roles)
            assert bool(one["security"]) == (route.roles is not PUBLIC)
    names = set(re.findall(r"#/components/schemas/(\w+)", repr(made)))
    assert names <= set(made["components"]["schemas"])
    assert len({one["operationId"] for one in operations.values()}) == len(operations)


def test_the_document_is_one_of_openapi() -> None:
    schemathesis = pytest.importorskip("schemathesis")
    for models in ([MODEL], [MODEL, {**MODEL, "name": "other", "kind": "number", "classes": []}]):
        loaded = schemathesis.openapi.from_dict(document(ROUTES, models, Limits()))
        assert all(one.ok() for one in loaded.get_all_operations())


def test_a_row_that_fits_the_schema_of_the_document_is_one_that_the_model_reads() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    made = document(ROUTES, [MODEL], Limits(rows=2))
    check = jsonschema.Draft202012Validator(made["components"]["schemas"]["Rows"]).is_valid
    row = {"number": 4.5, "category": "a", "text": "b", "date": "2026-01-01", "set": ["a"], "image": [[1, 2]]}
    assert all(map(check, ([row], {"rows": [row, dict.fromkeys(row)]}, {"columns": {name: [value] for name, value in row.items()}})))
    wrong = ([], [row] * 3, {"rows": [row], "more": 1}, [{**row, "number": "4"}], [{**row, "image": "/etc/passwd"}], [{"number": 1}], 7)
    assert not any(map(check, wrong))


def test_the_front_loads_no_model_and_nothing_that_computes() -> None:
    program = """
import sys
import weighbridge.cli.serve, weighbridge.serving.launch, weighbridge.serving.app, weighbridge.serving.server, weighbridge.serving.state
print([name for name in ("numpy", "onnxruntime", "torch", "pandas", "pyarrow", "scipy", "pydantic", "sqlalchemy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_is_one_line_of_bounded_length_that_json_can_hold() -> None:
    import json

    assert json.loads(error_body("code", "x" * 9999, "id"))["error"] == {"code": "code", "message": "x" * MOST_MESSAGE, "request_id": "id"}
    assert json.loads(error_body("code", "half \ud800", "id", protocol=True)) == {"error": "half ?", "code": "code", "request_id": "id"}
