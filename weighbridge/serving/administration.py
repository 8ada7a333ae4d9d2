"""What an administrator does to a running server: swap a package, roll it back, try one on a share of the requests.

A package is named by its path under one folder (`--packages`); nothing outside it can be reached, and no answer names a path of the server.
"""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import PackageError, UsageError
from weighbridge.serving.replies import Response, as_json
from weighbridge.serving.strict_json import read_json

if TYPE_CHECKING:
    from weighbridge.serving.app import App
    from weighbridge.serving.call import Call

MOST_PATH = 1000


async def status(app: App, call: Call) -> Response:
    """`/admin/status`: workers, queues and times of each package."""
    call.query()
    return as_json({"draining": app.draining, "models": app.fleet.status()})


async def swap(app: App, call: Call) -> Response:
    """`/admin/models/NAME/swap`: another package answers from now on."""
    given = await _object(app, call, {"package"})
    path = _package(app, given["package"])
    return await _changed(app, call, "package.swapped", app.fleet.swap(call.parts["model"], path))


async def rollback(app: App, call: Call) -> Response:
    """`/admin/models/NAME/rollback`: the package before the last swap answers again."""
    await _nothing(app, call)
    return await _changed(app, call, "package.rolled_back", app.fleet.rollback(call.parts["model"]))


async def challenge(app: App, call: Call) -> Response:
    """`/admin/models/NAME/challenge`: another package answers a share of the requests."""
    given = await _object(app, call, {"package", "share"})
    share = given["share"]
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise UsageError("share is not a number", do="give one between 0 and 1")
    path = _package(app, given["package"])
    return await _changed(app, call, "package.challenged", app.fleet.challenge(call.parts["model"], path, float(share)))


async def promote(app: App, call: Call) -> Response:
    """`/admin/models/NAME/promote`: the challenger answers every request from now on."""
    await _nothing(app, call)
    return await _changed(app, call, "package.promoted", app.fleet.promote(call.parts["model"]))


async def withdraw(app: App, call: Call) -> Response:
    """`/admin/models/NAME/withdraw`: the challenger leaves."""
    await _nothing(app, call)
    return await _changed(app, call, "package.withdrawn", app.fleet.withdraw(call.parts["model"]))


def described(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what a caller may know of a package: all but where it lies."""
    return {name: value for name, value in facts.items() if name not in ("path", "folder")}


async def _object(app: App, call: Call, keys: set[str]) -> dict[str, Any]:
    call.query()
    given = read_json(await call.body(app.limits))
    if not isinstance(given, dict) or given.keys() != keys:
        raise UsageError("the body is not the object that this route takes", do=f"send {', '.join(sorted(keys))}, each once")
    return given


async def _nothing(app: App, call: Call) -> None:
    call.query()
    if (await call.body(app.limits)).strip() not in (b"", b"{}"):
        raise UsageError("this route takes no body", do="send none")


def _package(app: App, given: Any) -> Path:
    """Return the path of a package under the server's folder. Raises UsageError for one that leads elsewhere, through links too."""
    if not isinstance(given, str) or not 0 < len(given) <= MOST_PATH or "\0" in given or "\\" in given:
        raise UsageError("package is not a path", do="give that of a package under the server's folder of packages")
    root = app.packages.resolve()
    path = (root / given).resolve()
    if not path.is_relative_to(root) or path == root:
        raise UsageError("package leads out of the server's folder of packages", do="give a path under it, see --packages")
    return path


async def _changed(app: App, call: Call, what: str, work: Awaitable[dict[str, Any]]) -> Response:
    """Do it, write it into the trail, and answer with what serves now; an error of a package goes on without the server's own paths."""
    try:
        facts = described(await work)
    except PackageError as error:
        root = str(app.packages.resolve())
        raise PackageError(error.what.replace(f"{root}/", "").replace(root, "."), do=error.do) from None
    await app.note(what, call.who, {name: facts.get(name, "") for name in ("name", "version", "model")})
    return as_json(facts)
