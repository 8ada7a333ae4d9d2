"""What the server says of itself: health, the models' metadata, metrics, the OpenAPI document and the page that shows it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge import __version__
from weighbridge.serving.asking import Refused
from weighbridge.serving.replies import Response, as_json

if TYPE_CHECKING:
    from weighbridge.serving.app import App
    from weighbridge.serving.call import Call

DOCS, PAGE = Path(__file__).with_name("docs_page"), Path(__file__).with_name("page")
TYPES = {
    ".html": b"text/html; charset=utf-8", ".js": b"text/javascript; charset=utf-8", ".css": b"text/css; charset=utf-8",
    ".json": b"application/json", ".svg": b"image/svg+xml",
}  # fmt: skip
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
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
    """`/openapi.json`: the routes and the schemas of the rows that the models read; made again when a package changed."""
    models = [app.fleet.describe(name) for name in app.fleet.names]
    made_of = tuple((one["name"], *one["versions"]) for one in models)
    if app.document is None or app.document[0] != made_of:
        from weighbridge.serving.openapi import document

        app.document = made_of, as_json(document(app.table.routes, models, app.limits))
    return app.document[1]


async def docs(app: App, call: Call) -> Response:
    """`/docs`: a page that reads the OpenAPI document with the caller's key and shows it."""
    return _file(DOCS, "page.html")


async def docs_file(app: App, call: Call) -> Response:
    """`/docs/FILE`: a file of that page."""
    return _file(DOCS, call.parts["file"])


async def page(app: App, call: Call) -> Response:
    """`/`: a page on which a person tries a model; what it asks for, it asks with the caller's key."""
    return _file(PAGE, "index.html")


async def dashboard(app: App, call: Call) -> Response:
    """`/dashboard`: a page that shows how the models do in service; what it asks for, it asks with the caller's key."""
    return _file(PAGE, "dashboard.html")


async def page_file(app: App, call: Call) -> Response:
    """`/page/FILE`: a file of that page."""
    return _file(PAGE, call.parts["file"])


@functools.cache
def files_of(folder: Path) -> dict[str, Response]:
    """Return the files of a page, as they were when the first was asked for."""
    paths = [path for path in folder.iterdir() if path.suffix in TYPES]
    return {
        path.name: Response(status=200, body=path.read_bytes(), content_type=TYPES[path.suffix], headers=PAGE_HEADERS) for path in paths
    }


def _file(folder: Path, name: str) -> Response:
    found = files_of(folder).get(name)
    if found is None:
        raise Refused("not_found", 404, None, "there is no such file")
    return found


def _refuse_other(described: dict[str, object], call: Call) -> None:
    version, known = call.parts.get("version"), described["versions"]
    if version is not None and (not isinstance(known, list) or version not in known):
        raise Refused("version", 404, None, "the model has no such version")
