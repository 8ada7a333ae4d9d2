"""The dialect `explain`: the body of `/predict` with a few rows in; for each its answer, what spoke for it, and how faithful that is.

    {"id", "model", "method": "occlusion", "explanations": [
        {"prediction", "probabilities", "explained": class or null, "answer", "nothing", "faithfulness": {...} or null,
         "columns": [{"column", "strength", "without"}],
         "images": [{"column", "down": [edges], "across": [edges], "strength": [[...]]}],
         "texts": [{"column", "pieces": [{"text", "strength", "without"}]}]}]}

`answer` is the probability of what is explained (a number's value), `nothing` that of a row without any part, `without` that of the row
without this part alone; `strength` is by how much the log odds fall without it (a number: in deviations of the target). What is drawn from
it is never shown without `faithfulness`: see runtime/occlusion.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from weighbridge.errors import PackageError, UsageError
from weighbridge.runtime import Model
from weighbridge.runtime.occlusion import Explanation, Faithfulness, explain
from weighbridge.serving.dialects import DIALECTS, Rows
from weighbridge.serving.limits import Limits, TooLarge
from weighbridge.serving.plain import JSON, PREDICTIONS, Asked, Plain

MOST_ROWS = 4
PATIENCE = 0.5  # of the time after which a worker counts as hanging
DIGITS = 6


class Unexplained(UsageError):  # noqa: N818 - nothing failed: the rows are answered, only not explained
    """An answer that can not be explained here: it takes too long, or the package does not carry what that needs."""

    http_status = 422


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The rows that are to be explained, and how long that may take."""

    asked: Asked
    columns: Mapping[str, np.ndarray]
    count: int
    most_s: float


class Explain:
    """The dialect `explain`; `head` as that of `predict`. Each ask is to be `alone`: it costs some 200 answers a row."""

    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        """Return the rows. Raises what the dialect `predict` raises; TooLarge (413) for more than MOST_ROWS."""
        rows = Plain().read(model, head, body, limits)
        if rows.count > MOST_ROWS:
            raise TooLarge(f"the body holds {rows.count:,} rows, at most {MOST_ROWS} are explained at once", do="send fewer")
        wanted = Wanted(asked=rows.context, columns=rows.columns, count=rows.count, most_s=PATIENCE * limits.hang_s)
        return Rows(columns=rows.columns, count=rows.count, context=wanted)

    def write(self, model: Model, context: Wanted, output: np.ndarray) -> tuple[str, dict[str, str], bytes]:
        """Return the answers with their explanations as JSON. Raises Unexplained, InputError."""
        try:
            found = explain(model, context.columns, context.count, until_s=time.monotonic() + context.most_s)
        except TimeoutError:
            what = f"explaining takes this model longer than {context.most_s:g} s"
            raise Unexplained(what, do="explain one row at a time, or in a process of your own (weighbridge.runtime.occlusion)") from None
        except PackageError as error:
            raise Unexplained(f"this answer can not be explained: {error.what}", do="build the package again") from None
        answers = PREDICTIONS[model.info.kind](model.classes, output, context.asked.top)
        told = [answer | explanation_json(model, one) for answer, one in zip(answers, found, strict=True)]
        about = {"id": context.asked.request_id, "model": model.hash, "method": "occlusion", "explanations": told}
        return JSON, {}, orjson.dumps(about, option=orjson.OPT_SERIALIZE_NUMPY)


def explanation_json(model: Model, one: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON."""
    is_number = model.info.kind == "number"
    return {
        "explained": None if is_number else model.classes[one.choice], "answer": _rounded(one.answer), "nothing": _rounded(one.nothing),
        "faithfulness": None if one.faithfulness is None else faithfulness_json(one.faithfulness), "columns": _columns(one),
        "images": [_image(one, name, owner) for name, owner in one.owner.items() if owner.ndim == 2],
        "texts": [_text(one, name) for name in one.pieces],
    }  # fmt: skip


def faithfulness_json(found: Faithfulness) -> dict[str, Any]:
    """Return the figure without which an explanation is not shown."""
    return {
        "status": found.status, "named": _rounded(found.named), "random": _rounded(found.random), "lead": _rounded(found.lead),
        "slower": found.slower, "orders": found.orders, "chance": _rounded(found.chance),
    }  # fmt: skip


def _columns(one: Explanation) -> list[dict[str, Any]]:
    """Return the columns of a table, from the one that weighs most."""
    return [
        {"column": one.parts[place].column, "strength": _rounded(one.strength[place]), "without": _rounded(one.without[place])}
        for place in one.ranked.tolist()
        if one.parts[place].block in ("number", "category")
    ]


def _image(one: Explanation, block: str, owner: np.ndarray) -> dict[str, Any]:
    """Return where squares begin and end, as shares of height and width, and what each weighs."""
    down, across = (np.unique(line, return_index=True)[1] for line in (owner[:, 0], owner[0]))
    edges = [[*(_rounded(edge / size) for edge in first.tolist()), 1.0] for first, size in zip((down, across), owner.shape, strict=True)]
    weights = one.strength[owner[np.ix_(down, across)]]
    strength = [[_rounded(value) for value in line] for line in weights.tolist()]
    return {"column": block.partition(".")[2], "down": edges[0], "across": edges[1], "strength": strength}


def _text(one: Explanation, block: str) -> dict[str, Any]:
    """Return the text as the model reads it, in pieces in their order; those that belong to no part have a strength of null.

    What stands behind the last token that the model reads is a piece too.
    """
    spelled, owner = one.pieces[block], one.owner[block]
    pieces: list[dict[str, Any]] = []
    done = 0
    for number in range(len(one.parts)):
        inside = [spelled.spans[place] for place in np.flatnonzero(owner == number).tolist() if place < len(spelled.spans)]
        inside = [span for span in inside if span[1] > span[0]]
        if not inside:
            continue
        start, stop = max(done, inside[0][0]), max(done, inside[-1][1])
        if start > done:
            pieces.append(_piece(spelled.text[done:start]))
        pieces.append(_piece(spelled.text[start:stop], one.strength[number], one.without[number]))
        done = stop
    if done < len(spelled.text):
        pieces.append(_piece(spelled.text[done:]))
    return {"column": block.removeprefix("text."), "pieces": pieces}


def _piece(text: str, strength: float | None = None, without: float | None = None) -> dict[str, Any]:
    values = {"strength": strength, "without": without}
    return {"text": text, **{name: None if value is None else _rounded(value) for name, value in values.items()}}


def _rounded(value: float) -> float:
    """Return the value to six digits, so that an answer of many parts stays small."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else 0.0


DIALECTS["explain"] = Explain()
