"""What the server says of itself: health, the models' metadata, metrics, the OpenAPI document and the page that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge import __version__
from weighbridge.serving.asking import Refused
from weighbridge.serving.replies import Response, as_json

if TYPE_CHECKING:
    from weighbridge.serving.app import App
    from weighbridge.serving.call import Call

DOCS = Path(__file__).with_name("docs_page")
DOCS_FILES = {"page.js": b"text/javascript; charset=utf-8", "page.css": b"text/css; charset=utf-8"}
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
PAGE_HEADERS = ((b"content-security-policy", POLICY), (b"referrer-policy", b"no-referrer"), (b"cache-control", b"no-cache"))


async def server(app: App, call: Call) -> Response:
    """`/v2`: name, version and extensions, as the Open Inference Protocol has them."""
    return as_json({"name": "weighbridge", "version": __version__, "extensions": ["binary_tensor_data"]})


async def live(app: App, call: Call) -> Response:
    """`/v2/health/live`: the server runs."""
    return as_json({"live": True})


async def ready(app: App, call: Call) -> Response:
    """`/v2/health/ready`: every model has a warm worker and the server does not stop; else 503."""
    whole = app.is_ready()
    return as_json({"ready": whole}, 200 if whole else 503)


async def model(app: App, call: Call) -> Response:
    """`/v2/models/NAME`: what it reads and gives."""
    from weighbridge.serving.metadata import metadata

    described = app.fleet.describe(call.parts["model"])
    _refuse_other(described, call)
    return as_json(metadata(described))


async def model_ready(app: App, call: Call) -> Response:
    """`/v2/models/NAME/ready`: whether it answers; 503 where it does not."""
    name = call.parts["model"]
    _refuse_other(app.fleet.describe(name), call)
    whole = not app.draining and app.fleet.ready(name)
    return as_json({"name": name, "ready": whole}, 200 if whole else 503)


async def metrics(app: App, call: Call) -> Response:
    """`/metrics`: counts and times in the text format of Prometheus."""
    content_type, text = app.measured.page(app.fleet)
    return Response(status=200, body=text, content_type=content_type)


async def openapi(app: App, call: Call) -> Response:
    """`/openapi.json`: the routes and the schemas of the rows that the models read."""
    from weighbridge.serving.openapi import document

    return as_json(document(app.table.routes, [app.fleet.describe(name) for name in app.fleet.names], app.limits))


async def docs(app: App, call: Call) -> Response:
    """`/docs`: a page that reads the OpenAPI document with the caller's key and shows it."""
    return Response(status=200, body=(DOCS / "page.html").read_bytes(), content_type=b"text/html; charset=utf-8", headers=PAGE_HEADERS)


async def docs_file(app: App, call: Call) -> Response:
    """`/docs/FILE`: a file of that page."""
    name = call.parts["file"]
    if name not in DOCS_FILES:
        raise Refused("not_found", 404, None, "there is no such file")
    return Response(status=200, body=(DOCS / name).read_bytes(), content_type=DOCS_FILES[name], headers=PAGE_HEADERS)


def _refuse_other(described: dict[str, object], call: Call) -> None:
    version, known = call.parts.get("version"), described["versions"]
    if version is not None and (not isinstance(known, list) or version not in known):
        raise Refused("version", 404, None, "the model has no such version")
