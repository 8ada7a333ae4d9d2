"""The one table of routes: what each path takes and gives, which role may use it, what answers.

Routing, access, the OpenAPI document and the enumeration test are made from it, so a route without a decision can not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weighbridge.serving import about, administration, dashboard, inference, keyring
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
BINARY = ("application/octet-stream",)
PAGE_FILES = ("text/javascript", "text/css", "text/html", "application/json", "image/svg+xml")


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


MODEL_QUERY = {"model": "the name of a package; not needed where one is served"}
TOP_QUERY = {"top": "name only so many of the most probable classes of each row"}


def _get(path: str, roles: frozenset[str], handler: Handler, summary: str, **more: Any) -> Route:
    return Route(path=path, methods=GET, roles=roles, handler=handler, summary=summary, **more)


def _post(path: str, roles: frozenset[str], handler: Handler, summary: str, **more: Any) -> Route:
    return Route(path=path, methods=POST, roles=roles, handler=handler, summary=summary, **more)


def _protocol() -> Iterator[Route]:
    """Give the routes of the Open Inference Protocol; a model's stand twice, with and without a version."""
    yield _get("/v2", ANY_ROLE, about.server, "Name, version and extensions.", answer="Server", protocol=True)
    yield _get("/v2/health/live", PUBLIC, about.live, "The server runs.", answer="Live", protocol=True)
    yield _get("/v2/health/ready", PUBLIC, about.ready, "Every model answers.", answer="Ready", protocol=True)
    tensors: dict[str, Any] = {"takes": TENSORS, "gives": TENSORS, "body": "InferenceRequest", "answer": "InferenceResponse"}
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        yield _get(path, PREDICT, about.model, "What a model reads and gives.", answer="ModelMetadata", protocol=True)
        yield _get(f"{path}/ready", PREDICT, about.model_ready, "Whether the model answers.", answer="ModelReady", protocol=True)
        yield _post(f"{path}/infer", PREDICT, inference.infer, "Answer tensors.", protocol=True, **tensors)


def _encrypted() -> Iterator[Route]:
    """Give the routes of rows that are answered without being seen."""
    path: str = "/v2/models/{model}/encrypted"
    binary: dict[str, Any] = {"takes": BINARY, "protocol": True}
    yield _get(f"{path}/client", PREDICT, keyring.client, "What a client needs to encrypt rows.", answer="EncryptedClient", protocol=True)
    yield _post(f"{path}/keys", PREDICT, keyring.keys, "Keep a client's evaluation keys.", answer="EncryptedKeys", **binary)
    query = {"keys": "the name of evaluation keys that were sent before"}
    yield _post(f"{path}/row", PREDICT, keyring.row, "Answer an encrypted row without seeing it.", gives=BINARY, query=query, **binary)


def _administration() -> Iterator[Route]:
    yield _get("/admin/status", ADMIN, administration.status, "Workers, queues and times.", answer="Status")
    for name, handler, summary, body in (
        ("swap", administration.swap, "Another package answers from now on.", "Package"),
        ("rollback", administration.rollback, "The package before the last swap answers again.", ""),
        ("challenge", administration.challenge, "Another package answers a share of the requests.", "Challenge"),
        ("promote", administration.promote, "The challenger answers every request.", ""),
        ("withdraw", administration.withdraw, "The challenger leaves.", ""),
    ):
        takes = JSON if body else ()
        yield _post(f"/admin/models/{{model}}/{name}", ADMIN, handler, summary, takes=takes, body=body, answer="Described")


def _page() -> Iterator[Route]:
    """Give the page on which a person tries a model, and what only it asks for."""
    query = {**MODEL_QUERY, **TOP_QUERY}
    yield _get("/", PUBLIC, about.page, "A page on which a person tries a model.", gives=("text/html",))
    yield _get("/page/{file}", PUBLIC, about.page_file, "A file of that page.", answer="Words", gives=PAGE_FILES)
    yield _get("/form", PREDICT, inference.form, "What a model reads, for a form.", answer="Form", query=MODEL_QUERY)
    yield _post(
        "/explain",
        PREDICT,
        inference.explain,
        "Answer a few rows and say why.",
        takes=ROWS,
        body="Rows",
        answer="Explanations",
        query=query,
    )


def _dashboard() -> Iterator[Route]:
    """Give the page that shows how the models do in service, and what only it asks for."""
    spoken = {**MODEL_QUERY, "language": "en or zh, for its sentences"}
    rows = {**MODEL_QUERY, "rows": "answers in a window"}
    yield _get("/dashboard", PUBLIC, dashboard.page, "A page that shows how the models do in service.", gives=("text/html",))
    yield _get("/feedback/status", LABEL, dashboard.status, "What is promised and found of a model.", answer="Course", query=spoken)
    yield _get("/feedback/windows", LABEL, dashboard.windows, "Expected against actual over time.", answer="Windows", query=rows)
    yield _get("/feedback/decisions", LABEL, dashboard.decisions, "What was decided and why.", answer="Decisions", query=spoken)
    yield _get("/feedback/queue", LABEL, dashboard.queue, "Rows that a label is asked for.", answer="Queue", query=MODEL_QUERY)
    yield _post(
        "/feedback/decisions/{number}", ADMIN, dashboard.answer, "Approve or refuse a decision that waits.", takes=JSON, body="YesOrNo",
        answer="Decision",
    )  # fmt: skip


ROUTES: tuple[Route, ...] = (
    _post("/predict", PREDICT, inference.predict, "Answer rows.", takes=ROWS, body="Rows", answer="Predictions",
          query={**MODEL_QUERY, **TOP_QUERY}),
    *_protocol(),
    *_encrypted(),
    _post("/feedback", LABEL, inference.feedback, "Say what was right, by the ids of answered rows.", takes=JSON, body="Labels",
          answer="LabelsOutcome"),
    _get("/metrics", ANY_ROLE, about.metrics, "Counts and times for Prometheus.", gives=("text/plain",)),
    _get("/openapi.json", ANY_ROLE, about.openapi, "This document.", answer="Document"),
    _get("/docs", PUBLIC, about.docs, "A page that shows this document.", gives=("text/html",)),
    _get("/docs/{file}", PUBLIC, about.docs_file, "A file of that page.", gives=("text/javascript", "text/css")),
    *_page(),
    *_dashboard(),
    *_administration(),
)  # fmt: skip
# What may be public: a reviewed list, against which check_table holds the table.
EXEMPTIONS = ("/", "/dashboard", "/page/{file}", "/v2/health/live", "/v2/health/ready", "/docs", "/docs/{file}")


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
