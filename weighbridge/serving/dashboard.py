"""What the page /dashboard asks for: how a served model does, what was decided about it, which rows a label is asked for.

Whoever may give labels reads it; only an administrator says yes or no to a decision, and that is in the audit trail.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import UsageError
from weighbridge.serving.about import dashboard as page
from weighbridge.serving.asking import Refused
from weighbridge.serving.replies import Response, as_json
from weighbridge.serving.strict_json import read_json

if TYPE_CHECKING:
    from weighbridge.feedback.board import Board
    from weighbridge.serving.app import App
    from weighbridge.serving.call import Call

__all__ = ["answer", "decisions", "page", "queue", "status", "windows"]
MOST_ROWS, MOST_NUMBER = 100_000, 9


async def status(app: App, call: Call) -> Response:
    """`/feedback/status`: counts, promise, the watch's findings, who answers; of the first model where none is named."""
    board, query = _board(app), call.query("model", "language")
    name, language = _name(app, query), _language(query)
    shown = await asyncio.to_thread(board.status, name, _package(app, name), language)
    described = app.fleet.describe(name)
    sides = {key: described[key] for key in ("version", "versions", "share", "model", "kind", "classes")}
    return as_json({"name": name, "models": list(app.fleet.names), "serving": sides, **shown})


async def windows(app: App, call: Call) -> Response:
    """`/feedback/windows`: expected against actual over time, in windows of `rows` answers."""
    from weighbridge.feedback.course import ROWS

    board, query = _board(app), call.query("model", "rows")
    name, rows = _name(app, query), query.get("rows", str(ROWS))
    if not (rows.isascii() and rows.isdigit() and 1 <= int(rows[:9]) <= MOST_ROWS and len(rows) <= MOST_NUMBER):
        raise UsageError("rows is not the number of a window's answers", do=f"give 1 to {MOST_ROWS:,}")
    found = await asyncio.to_thread(board.windows, name, _package(app, name), int(rows))
    return as_json({"name": name, "rows": int(rows), "windows": found})


async def decisions(app: App, call: Call) -> Response:
    """`/feedback/decisions`: what was decided, on which evidence, what waits for a person, and what came of it."""
    board, query = _board(app), call.query("model", "language")
    return as_json(await asyncio.to_thread(board.decisions, _name(app, query), _language(query)))


async def queue(app: App, call: Call) -> Response:
    """`/feedback/queue`: the rows whose label would teach most, and some drawn at random, with what the model said of them."""
    board, query = _board(app), call.query("model")
    return as_json(await asyncio.to_thread(board.queue, _name(app, query)))


async def answer(app: App, call: Call) -> Response:
    """`/feedback/decisions/NUMBER`: an administrator approves or refuses what waits."""
    call.query()
    board, number = _board(app), call.parts["number"]
    given = read_json(await call.body(app.limits))
    if not isinstance(given, dict) or given.keys() != {"answer"} or given["answer"] not in ("approved", "refused"):
        raise UsageError("the body holds no answer", do='send {"answer": "approved"} or {"answer": "refused"}')
    if not (number.isascii() and number.isdigit() and len(number) <= MOST_NUMBER):
        raise UsageError("a decision's number is a whole number", do="see /feedback/decisions")
    return as_json(await asyncio.to_thread(board.answer, int(number), given["answer"], call.who, app.write_trail))


def _board(app: App) -> Board:
    if app.board is None:
        raise UsageError(
            "this server keeps no answers, so there is nothing to show", do="start it with --log answers, fingerprints or inputs"
        )
    return app.board


def _name(app: App, query: dict[str, str]) -> str:
    name = query.get("model") or next(iter(app.fleet.names), "")
    if name not in app.fleet.names:
        raise Refused("model", 404, None, "there is no model of this name")
    return name


def _language(query: dict[str, str]) -> Any:
    from weighbridge.feedback.board import spoken

    return spoken(query.get("language", "en"))


def _package(app: App, name: str) -> Path:
    return app.fleet.path(name)
