"""Law: every route and every method of the server has its decision, written down here a second time; nothing is open by mistake.

A route that is added, removed, or given to another role fails here until someone has said it in this list, too.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from weighbridge.serving.access import ANY_ROLE, PUBLIC, Access, Denied, check_table
from weighbridge.serving.hosts import hosts_of
from weighbridge.serving.keys import ROLES, KeyFile, Keys
from weighbridge.serving.routes import EXEMPTIONS, ROUTES, Table

OPEN, PREDICT, LABEL, ADMIN = PUBLIC, frozenset({"predict"}), frozenset({"label"}), frozenset({"admin"})
DECIDED = {
    "/": OPEN,
    "/dashboard": OPEN,
    "/page/{file}": OPEN,
    "/docs": OPEN,
    "/docs/{file}": OPEN,
    "/v2/health/live": OPEN,
    "/v2/health/ready": OPEN,
    "/v2": ANY_ROLE,
    "/metrics": ANY_ROLE,
    "/openapi.json": ANY_ROLE,
    "/predict": PREDICT,
    "/explain": PREDICT,
    "/form": PREDICT,
    "/v2/models/{model}": PREDICT,
    "/v2/models/{model}/ready": PREDICT,
    "/v2/models/{model}/infer": PREDICT,
    "/v2/models/{model}/versions/{version}": PREDICT,
    "/v2/models/{model}/versions/{version}/ready": PREDICT,
    "/v2/models/{model}/versions/{version}/infer": PREDICT,
    "/v2/models/{model}/encrypted/client": PREDICT,
    "/v2/models/{model}/encrypted/keys": PREDICT,
    "/v2/models/{model}/encrypted/row": PREDICT,
    "/feedback": LABEL,
    "/feedback/status": LABEL,
    "/feedback/windows": LABEL,
    "/feedback/decisions": LABEL,
    "/feedback/queue": LABEL,
    "/feedback/decisions/{number}": ADMIN,
    "/admin/status": ADMIN,
    "/admin/models/{model}/swap": ADMIN,
    "/admin/models/{model}/rollback": ADMIN,
    "/admin/models/{model}/challenge": ADMIN,
    "/admin/models/{model}/promote": ADMIN,
    "/admin/models/{model}/withdraw": ADMIN,
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "")
UNKNOWN = (
    "/nothing",
    "/predict/",
    "//predict",
    "/Predict",
    "/predict;x",
    "/admin",
    "/admin/models/m",
    "/v2/models",
    "/.env",
    "/v2/models/m/x",
)


def test_the_table_and_this_list_say_the_same() -> None:
    assert {route.path: route.roles for route in ROUTES} == DECIDED
    check_table(ROUTES, EXEMPTIONS)
    assert sorted(EXEMPTIONS) == sorted(path for path, roles in DECIDED.items() if roles == OPEN)


def test_only_reading_is_public() -> None:
    assert {method for route in ROUTES if route.roles == OPEN for method in route.methods} <= {"GET", "HEAD"}


def test_a_route_that_is_open_by_mistake_is_found() -> None:
    class Hole:
        path, methods, roles = "/debug", frozenset({"GET"}), PUBLIC

    with pytest.raises(ValueError, match="/debug is public"):
        check_table([*ROUTES, Hole()], EXEMPTIONS)


def expected(path: str, method: str, role: str) -> int:
    """The status that the list above asks for; 200 stands for being let through."""
    route = next((route for route in ROUTES if route.path == path), None)
    roles = DECIDED.get(path, frozenset())
    if route is not None and roles == OPEN and method in route.methods:
        return 200
    if role in ("none", "wrong"):
        return 401
    if route is None:
        return 404
    if method not in route.methods:
        return 405
    return 200 if role == "admin" or roles == OPEN or role in roles else 403


def test_every_route_method_and_caller_gets_the_decision_that_is_written_down(tmp_path: Path, record: Callable[..., None]) -> None:
    texts = {role: KeyFile(tmp_path).add(role, [role])[1] for role in ROLES}
    texts["wrong"] = f"wb_{'0' * 10}_{'A' * 43}"
    access, table = Access(Keys(tmp_path), hosts_of("127.0.0.1")), Table()
    tried = 0

    async def decide(path: str, method: str, role: str) -> int:
        headers = [(b"host", b"localhost")] + ([(b"x-api-key", texts[role].encode())] if role != "none" else [])
        route, _ = table.find(path.replace("{", "").replace("}", ""))
        found = await access.decide(route, method, headers, f"192.0.2.{tried}")  # another address each time: none is throttled
        return found.status if isinstance(found, Denied) else 200

    async def enumerate_all() -> None:
        nonlocal tried
        for path, method, role in itertools.product([*DECIDED, *UNKNOWN], METHODS, [*ROLES, "wrong", "none"]):
            assert await decide(path, method, role) == expected(path, method, role), (path, method, role)
            tried += 1

    asyncio.run(enumerate_all())
    record("access.decisions", tried, n=tried)
