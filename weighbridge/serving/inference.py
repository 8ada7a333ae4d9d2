"""Requests that a model answers: the front reads the body within its limits and forwards it; what is in it is the worker's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weighbridge.errors import UsageError
from weighbridge.serving.asking import Ask, Refused, Reply
from weighbridge.serving.replies import Response, as_json, caused
from weighbridge.serving.strict_json import read_json

if TYPE_CHECKING:
    from weighbridge.serving.app import App
    from weighbridge.serving.call import Call

MOST_LABELS = 10_000
LABELS = 'send {"labels": [{"id": ID, "label": VALUE}, ...]}'


async def predict(app: App, call: Call, kind: str = "predict", *, alone: bool = False) -> Response:
    """`/predict`: rows in any of three forms."""
    query = call.query("model", "top")
    head: dict[str, Any] = {"content_type": call.header(b"content-type") or "application/json", "id": call.request_id}
    if "top" in query:
        head["top"] = query["top"]
    return await ask(app, call, kind, query.get("model") or app.only_name(), head, alone=alone)


async def explain(app: App, call: Call) -> Response:
    """`/explain`: a few rows in the forms of `/predict`, each answered with what spoke for its answer."""
    return await predict(app, call, "explain", alone=True)


async def form(app: App, call: Call) -> Response:
    """`/form`: what a model reads, as a person fills it in; the first model where none is named."""
    name = call.query("model").get("model") or next(iter(app.fleet.names), "")
    return await ask(app, call, "form", name, {"name": name, "models": list(app.fleet.names)})


async def infer(app: App, call: Call) -> Response:
    """`/v2/models/NAME/infer`: tensors."""
    call.query()
    name, version = call.parts["model"], call.parts.get("version", "")
    head: dict[str, Any] = {"name": name, "version": version, "id": call.request_id}
    length = call.header(b"inference-header-content-length")
    if length is not None:
        head["json_bytes"] = length
    return await ask(app, call, "infer", name, head, version=version)


async def ask(app: App, call: Call, kind: str, name: str, head: dict[str, Any], *, version: str = "", alone: bool = False) -> Response:
    """Return a worker's answer to the request, its model named in a header. Raises Refused."""
    if name not in app.fleet.names:  # before its body is read
        raise Refused("model", 404, None, "there is no model of this name")
    body = await call.body(app.limits)
    one = Ask(
        kind=kind, head=head, body=body, request_id=call.request_id, who=call.who, received_s=call.received_s,
        deadline_s=call.received_s + app.limits.deadline_s, alone=alone,
    )  # fmt: skip
    return response_of(await app.fleet.ask(name, one, version=version), call)


def response_of(reply: Reply, call: Call) -> Response:
    """Return a worker's reply as an answer."""
    if reply.cause is not None:
        return caused(reply.status, reply.cause, call.request_id, protocol=call.protocol, model=reply.model)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    return Response(
        status=reply.status, body=reply.body, content_type=reply.content_type.encode("latin-1"), headers=tuple(headers),
        model=reply.model, rows=reply.rows,
    )  # fmt: skip


async def feedback(app: App, call: Call) -> Response:
    """`/feedback`: what was right, by the ids of answered rows; acknowledged when it is on the disk."""
    call.query()
    if app.labels is None:
        raise UsageError("this server keeps no predictions, so no label fits one", do="start it with --log answers, fingerprints or inputs")
    given = read_json(await call.body(app.limits))
    records = given.get("labels") if isinstance(given, dict) and given.keys() == {"labels"} else None
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise UsageError("the body holds no labels", do=LABELS)
    if not 1 <= len(records) <= MOST_LABELS:
        raise UsageError(f"the body holds {len(records):,} labels", do=f"send 1 to {MOST_LABELS:,} at once")
    outcome = (await app.labels.accept(records, call.who)).to_json()
    await app.note("labels.accepted", call.who, {name: value for name, value in outcome.items() if isinstance(value, int)})
    return as_json(outcome)
