"""The one table of routes: what each path takes and gives, which role may use it, what answers. Routing, access, the OpenAPI document and the
enumeration test are made from it, so a route without a decision can not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weighbridge.serving import about, administration, inference
from weighbridge.serving.access import ANY_ROLE, PUBLIC

if TYPE_CHECKING:
    from weighbridge.serving.app import App
    from weighbridge.serving.call import Call
    from weighbridge.serving.replies import Response

Handler = Callable[["App", "Call"], Awaitable["Response"]]
GET, POST = frozenset({"GET", "HEAD"}), frozenset({"POST"})
PREDICT, LABEL, ADMIN = frozenset({"predict"}), frozenset({"label"}), frozenset({"admin"})
ROWS = ("application/json", "multipart/form-data", "text/csv")
TENSORS = ("application/json", "application/octet-stream")
JSON = ("application/json",)


@dataclass(frozen=True, kw_only=True)
class Route:
    """A path, its parameters in braces, and everything that is decided about it.

    Attributes:
        roles: PUBLIC, or those of which a caller needs one.
        summary: a line for the OpenAPI document.
        takes: content types of a body, empty where none is read; `query`: its fields and what they mean.
        gives: the first is that of an ordinary answer.
        body, answer: names of schemas in the OpenAPI document, see openapi.py.
        protocol: whether errors have the form of the Open Inference Protocol.
    """

    path: str
    methods: frozenset[str]
    roles: frozenset[str]
    handler: Handler
    summary: str
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = JSON
    query: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    answer: str = ""
    protocol: bool = False


MODEL = {"model": "the name of a package; not needed where one is served"}
VERSION = "/v2/models/{model}/versions/{version}"
ROUTES: tuple[Route, ...] = (
    Route(
        path="/predict", methods=POST, roles=PREDICT, handler=inference.predict, summary="Answer rows.", takes=ROWS, body="Rows",
        answer="Predictions", query={**MODEL, "top": "name only so many of the most probable classes of each row"},
    ),
    Route(path="/v2", methods=GET, roles=ANY_ROLE, handler=about.server, summary="Name, version and extensions.", protocol=True, answer="Server"),
    Route(path="/v2/health/live", methods=GET, roles=PUBLIC, handler=about.live, summary="The server runs.", protocol=True, answer="Live"),
    Route(path="/v2/health/ready", methods=GET, roles=PUBLIC, handler=about.ready, summary="Every model answers.", protocol=True, answer="Ready"),
    Route(
        path="/v2/models/{model}", methods=GET, roles=PREDICT, handler=about.model, summary="What a model reads and gives.", protocol=True,
        answer="ModelMetadata",
    ),
    Route(
        path="/v2/models/{model}/ready", methods=GET, roles=PREDICT, handler=about.model_ready, summary="This model answers.", protocol=True,
        answer="ModelReady",
    ),
    Route(
        path="/v2/models/{model}/infer", methods=POST, roles=PREDICT, handler=inference.infer, summary="Answer tensors.", takes=TENSORS,
        gives=TENSORS, body="InferenceRequest", answer="InferenceResponse", protocol=True,
    ),
    Route(path=VERSION, methods=GET, roles=PREDICT, handler=about.model, summary="The same, of a version.", protocol=True, answer="ModelMetadata"),
    Route(
        path=f"{VERSION}/ready", methods=GET, roles=PREDICT, handler=about.model_ready, summary="This version answers.", protocol=True,
        answer="ModelReady",
    ),
    Route(
        path=f"{VERSION}/infer", methods=POST, roles=PREDICT, handler=inference.infer, summary="Answer tensors by a version.", takes=TENSORS,
        gives=TENSORS, body="InferenceRequest", answer="InferenceResponse", protocol=True,
    ),
    Route(
        path="/feedback", methods=POST, roles=LABEL, handler=inference.feedback, summary="Say what was right, by the ids of answered rows.",
        takes=JSON, body="Labels", answer="LabelsOutcome",
    ),
    Route(path="/metrics", methods=GET, roles=ANY_ROLE, handler=about.metrics, summary="Counts and times for Prometheus.", gives=("text/plain",)),
    Route(path="/openapi.json", methods=GET, roles=ANY_ROLE, handler=about.openapi, summary="This document."),
    Route(path="/docs", methods=GET, roles=PUBLIC, handler=about.docs, summary="A page that shows this document.", gives=("text/html",)),
    Route(path="/docs/{file}", methods=GET, roles=PUBLIC, handler=about.docs_file, summary="A file of that page.", gives=("text/javascript", "text/css")),
    Route(path="/admin/status", methods=GET, roles=ADMIN, handler=administration.status, summary="Workers, queues and times.", answer="Status"),
    Route(
        path="/admin/models/{model}/swap", methods=POST, roles=ADMIN, handler=administration.swap, summary="Another package answers.",
        takes=JSON, body="Package", answer="Described",
    ),
    Route(
        path="/admin/models/{model}/rollback", methods=POST, roles=ADMIN, handler=administration.rollback, answer="Described",
        summary="The package before answers again.",
    ),
    Route(
        path="/admin/models/{model}/challenge", methods=POST, roles=ADMIN, handler=administration.challenge, takes=JSON, body="Challenge",
        summary="Another package answers a share of the requests.", answer="Described",
    ),
    Route(
        path="/admin/models/{model}/promote", methods=POST, roles=ADMIN, handler=administration.promote, answer="Described",
        summary="The challenger answers every request.",
    ),
    Route(
        path="/admin/models/{model}/withdraw", methods=POST, roles=ADMIN, handler=administration.withdraw, answer="Described",
        summary="The challenger leaves.",
    ),
)  # fmt: skip
# What may be public: a reviewed list, against which check_table holds the table.
EXEMPTIONS = ("/v2/health/live", "/v2/health/ready", "/docs", "/docs/{file}")


class Table:
    """Finds the route of a path: literal ones by one look-up, the others by their segments; a literal segment goes before a parameter."""

    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        self.routes = tuple(routes)
        self._literal = {route.path: route for route in self.routes if "{" not in route.path}
        self._patterns: dict[int, list[tuple[list[str], Route]]] = {}
        for route in sorted((route for route in self.routes if "{" in route.path), key=lambda route: route.path.count("{")):
            segments = route.path.split("/")
            self._patterns.setdefault(len(segments), []).append((segments, route))

    def find(self, path: str) -> tuple[Route | None, dict[str, str]]:
        """Return the route of a path and its parameters, none of them empty; None where there is none."""
        route = self._literal.get(path)
        if route is not None:
            return route, {}
        given = path.split("/")
        for segments, one in self._patterns.get(len(given), ()):
            pairs = list(zip(segments, given, strict=True))
            if all(value if name.startswith("{") else name == value for name, value in pairs):
                return one, {name[1:-1]: value for name, value in pairs if name.startswith("{")}
        return None, {}
