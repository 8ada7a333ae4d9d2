"""How bodies are read and answers written: one dialect for each kind of ask. Dialects run in the workers, never in the front."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from weighbridge.runtime import Model
from weighbridge.serving.fleet import MODULES
from weighbridge.serving.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one ask, as `runtime.to_columns` gives them; `context` is what the dialect needs to write their answer."""

    columns: dict[str, np.ndarray]
    count: int
    context: Any = None


class Dialect(Protocol):
    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        """Return the rows of a body; nothing in it is trusted. Raises UsageError (its `http_status` is the answer's)."""
        ...

    def write(self, model: Model, context: Any, output: np.ndarray) -> tuple[str, dict[str, str], bytes]:
        """Return content type, further headers and body for `Model.outputs` of those rows: float64 [n] or [n, C]. Raises UsageError."""
        ...


DIALECTS: dict[str, Dialect] = {}


def spoken() -> dict[str, Dialect]:
    """Return every dialect by the kind of ask that it reads; they are loaded by the first call."""
    for name in MODULES:
        importlib.import_module(name)
    return DIALECTS
