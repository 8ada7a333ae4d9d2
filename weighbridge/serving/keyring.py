"""Encrypted rows in the front: evaluation keys are sent once and kept as bytes, rows name them by their SHA-256.

The front looks into neither. A worker that does not know the keys of a row (another one took them, or it is a new one) says so, and is
asked again with the keys behind the row. Each ask is alone in its batch.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from weighbridge.errors import UsageError
from weighbridge.serving.asking import Ask, Refused, Reply
from weighbridge.serving.inference import response_of
from weighbridge.serving.replies import Response

if TYPE_CHECKING:
    from weighbridge.serving.app import App
    from weighbridge.serving.call import Call

NAME = re.compile(r"[0-9a-f]{64}")
UNKNOWN = "unknownkeys"  # as a worker says it


class Keyring:
    """Evaluation keys by their SHA-256, at most so many bytes of them: those that were asked for longest ago go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._bytes = most_bytes, 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def put(self, name: str, content: bytes) -> None:
        """They are kept, if they fit at all."""
        self._bytes += len(content) - len(self._kept.pop(name, b""))
        self._kept[name] = content
        while self._bytes > self._most:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    def get(self, name: str) -> bytes | None:
        """Return them, None where they are not kept."""
        if name in self._kept:
            self._kept.move_to_end(name)
        return self._kept.get(name)


async def client(app: App, call: Call) -> Response:
    """`/v2/models/NAME/encrypted/client`: what a client needs beside its own secret."""
    call.query()
    _check(app, call)
    return response_of(await _ask(app, call, "encrypted_client", b"", "", 0), call)


async def keys(app: App, call: Call) -> Response:
    """`/v2/models/NAME/encrypted/keys`: a client's evaluation keys, kept when a worker has found them to be such."""
    call.query()
    _check(app, call)
    content = await call.body(replace(app.limits, body_bytes=app.limits.keys_bytes))
    reply = await _ask(app, call, "encrypted_keys", content, "", 0)
    if reply.cause is None:
        app.keyring.put(await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest()), content)
    return response_of(reply, call)


async def row(app: App, call: Call) -> Response:
    """`/v2/models/NAME/encrypted/row?keys=SHA256`: the encrypted answer to one encrypted row."""
    name = call.query("keys").get("keys", "")
    if not NAME.fullmatch(name):
        raise UsageError("the query names no evaluation keys", do="send them to .../encrypted/keys, and ?keys= with the name that it gives")
    _check(app, call)
    body = await call.body(app.limits)
    reply = await _ask(app, call, "encrypted_row", body, name, len(body))
    if reply.cause is not None and reply.cause.code == UNKNOWN and (kept := app.keyring.get(name)) is not None:
        reply = await _ask(app, call, "encrypted_row", body + kept, name, len(body))
    return replace(response_of(reply, call), rows=int(reply.cause is None))


def _check(app: App, call: Call) -> None:
    """The model answers encrypted rows. Raises Refused (404), before a body is read."""
    if not app.fleet.describe(call.parts["model"]).get("encrypted"):
        raise Refused("no_circuit", 404, None, "this package answers no encrypted rows; see weigh deploy homomorphic")


async def _ask(app: App, call: Call, kind: str, body: bytes, keys: str, row_bytes: int) -> Reply:
    """Return the champion's answer: a challenger has other parameters."""
    name = call.parts["model"]
    one = Ask(
        kind=kind, head={"keys": keys, "row_bytes": row_bytes}, body=body, request_id=call.request_id, who=call.who,
        received_s=call.received_s, deadline_s=call.received_s + app.limits.deadline_s, alone=True,
    )  # fmt: skip
    return await app.fleet.ask(name, one, version=app.fleet.describe(name)["version"])
