"""The front's application: one path from a request to its answer.

    route -> access -> handler -> answer, counted

There is no framework between: each of the steps is one look-up, and a request of one row costs the front about as much as reading it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from weighbridge.errors import UsageError, WeighbridgeError
from weighbridge.serving.access import Denied
from weighbridge.serving.asking import Refused
from weighbridge.serving.call import Call, GoneError
from weighbridge.serving.callers import Caller
from weighbridge.serving.keyring import Keyring
from weighbridge.serving.limits import Limits
from weighbridge.serving.metrics import Measured
from weighbridge.serving.replies import INTERNAL, Response, error_response, failure, refusal
from weighbridge.serving.routes import Route, Table

if TYPE_CHECKING:
    from weighbridge.feedback.board import Board
    from weighbridge.serving.access import Access
    from weighbridge.serving.fleet import Fleet

# What a mistake of ours can raise: it costs one request its answer and is said in the log by its place, without what was sent.
MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
GONE = Response(status=499, body=b"", code="client_closed")  # as nginx counts it; nobody reads it
WriteTrail = Callable[[str, str, dict[str, Any]], object]


class Outcome(Protocol):
    """What became of labels, by number, and why some were refused."""

    def to_json(self) -> dict[str, Any]: ...


class Labels(Protocol):
    """Where labels go, such as feedback.inbox.Inbox; what `accept` returns is on the disk."""

    async def accept(self, records: list[dict[str, Any]], who: str) -> Outcome: ...


class App:
    """Answers HTTP requests with a fleet. `draining` is set by the server when it was asked to stop; `busy` are requests in work."""

    def __init__(
        self, fleet: Fleet, access: Access, limits: Limits, *, labels: Labels | None = None, board: Board | None = None,
        packages: Path = Path(), open_metrics: bool = False, write_trail: WriteTrail | None = None, measured: Measured | None = None,
    ) -> None:  # fmt: skip
        """`packages`: the folder under which an administrator may name others; `open_metrics`: /metrics needs no key.

        `board`: what /dashboard shows. `write_trail(what, who, detail)` returns when the line is on the disk; it is called in a thread.
        """
        self.fleet, self.access, self.limits, self.labels, self.packages = fleet, access, limits, labels, packages
        self.board, self.open_metrics, self.table, self.write_trail = board, open_metrics, Table(), write_trail
        self.measured = measured or Measured()
        self.document: tuple[Any, Response] | None = None  # of /openapi.json, and what it was made of
        self.draining, self.busy = False, 0
        self.keyring = Keyring(limits.keys_bytes)

    def is_ready(self) -> bool:
        """Whether every model answers and the server does not stop."""
        return not self.draining and self.fleet.ready()

    def only_name(self) -> str:
        """Return the name of the one package. Raises UsageError where there are several."""
        names = self.fleet.names
        if len(names) != 1:
            raise UsageError(f"this server has {len(names)} models", do=f"name one with ?model=, of {', '.join(names)[:200]}")
        return names[0]

    async def note(self, what: str, who: str, detail: dict[str, Any]) -> None:
        """The line is in the audit trail, on the disk. Raises StorageError."""
        if self.write_trail is not None:
            await asyncio.to_thread(self.write_trail, what, who, detail)

    async def answer(self, call: Call) -> Response | None:
        """Return the answer to a request, whatever happens, and count it; None where the client has gone."""
        route, call.parts = self.table.find(call.path)
        call.protocol = route is not None and route.protocol
        self.busy += 1
        try:
            response = await self._response(route, call)
        except GoneError:
            response = GONE
        finally:
            self.busy -= 1
        self.measured.request(route.path if route else "", response, time.monotonic() - call.received_s)
        return None if response is GONE else response

    async def _response(self, route: Route | None, call: Call) -> Response:
        """Return the answer, whatever happens."""
        try:
            caller = await self._decide(route, call)
            if isinstance(caller, Denied):
                headers = tuple((name.encode(), value.encode("latin-1", "replace")) for name, value in caller.headers.items())
                return error_response(
                    caller.status, caller.code, caller.what, call.request_id, protocol=call.protocol, retry_after_s=caller.retry_after_s,
                    headers=headers,
                )  # fmt: skip
            assert route is not None
            call.who = caller.who
            response = await route.handler(self, call)
            self.access.charge(caller, response.rows)
            return response
        except Refused as error:
            return refusal(error, call.request_id, protocol=call.protocol)
        except WeighbridgeError as error:
            return failure(error, call.request_id, protocol=call.protocol)
        except MISTAKES as error:
            _say_mistake(call, error)
            return error_response(500, "internal", INTERNAL, call.request_id, protocol=call.protocol)

    async def _decide(self, route: Route | None, call: Call) -> Caller | Denied:
        caller = await self.access.decide(route, call.method, call.headers, call.client, server=call.server, target=call.target)
        if isinstance(caller, Denied) and caller.status == 401 and self.open_metrics and call.path == "/metrics" and call.method == "GET":
            return Caller(who="", roles=frozenset())
        return caller


def _say_mistake(call: Call, error: Exception) -> None:
    trace, where = error.__traceback__, ""
    while trace is not None:
        where, trace = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}", trace.tb_next
    print(f"weigh serve: request {call.request_id}: {type(error).__name__} at {where}", file=sys.stderr, flush=True)
