"""The dialect `form`: what a person needs to fill in a row by hand: the columns with their choices and typical values. It reads no rows.

    {"models", "name", "model", "kind", "target", "classes", "inputs": [{"name", "type", "choices", "more", "typical", "separator"}]}

It tells what the package tells whoever holds it: the values that the encoder knows, and the reference of each column by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from weighbridge.preprocessing.category import CategoryFeature
from weighbridge.preprocessing.set import SetFeature
from weighbridge.runtime import Input, Model
from weighbridge.serving.dialects import DIALECTS, Rows
from weighbridge.serving.limits import Limits
from weighbridge.serving.plain import JSON

MOST_CHOICES = 200


class Form:
    """The dialect `form`; `head` holds `name` and `models`, which the front knows."""

    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        """Return no rows."""
        return Rows(columns={}, count=0, context=head)

    def write(self, model: Model, context: Mapping[str, Any], output: np.ndarray) -> tuple[str, dict[str, str], bytes]:
        """Return the form as JSON."""
        return JSON, {}, orjson.dumps({"models": list(context["models"]), "name": context["name"], **form_json(model)})


def form_json(model: Model) -> dict[str, Any]:
    """Return what the model reads and says."""
    return {
        "model": model.hash, "kind": model.info.kind, "target": str(model.info.content.get("target", "")), "classes": list(model.classes),
        "inputs": [_input(model, one) for one in model.inputs],
    }  # fmt: skip


def _input(model: Model, one: Input) -> dict[str, Any]:
    choices = _choices(model, one)
    reference = model.info.content.get("reference")
    values = reference.get(one.name) if isinstance(reference, dict) else None
    typical = values[len(values) // 2] if isinstance(values, list) and values else None
    return {
        "name": one.name, "type": one.type, "choices": choices[:MOST_CHOICES], "more": len(choices) > MOST_CHOICES, "typical": typical,
        "separator": one.separator,
    }  # fmt: skip


def _choices(model: Model, one: Input) -> list[str]:
    """Return the values that the encoder knows, in natural order: numbers in a text by their size."""
    feature = next(part for part in model.encoder.features if part.column == one.name)
    known = one.known if isinstance(feature, CategoryFeature) else feature.values if isinstance(feature, SetFeature) else ()
    return sorted(known, key=_natural)


def _natural(text: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]{1,18})", text) if part]


DIALECTS["form"] = Form()
