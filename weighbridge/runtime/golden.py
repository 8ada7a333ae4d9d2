"""Real rows with the answers of the model that was trained, kept in the package: a machine that answers otherwise is found."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def golden_json(columns: Mapping[str, np.ndarray], types: Mapping[str, str], outputs: np.ndarray) -> dict[str, Any]:
    """Return golden.json: canonical `columns` and the `outputs` [n] or [n, C] that belong to them, as plain JSON.

    Files named by a path are put in, so that the package stands alone.
    """
    values = {name: [value_json(value, types[name]) for value in column] for name, column in columns.items()}
    return {"columns": values, "outputs": np.asarray(outputs, dtype=np.float64).tolist()}


def value_json(value: Any, kind: str) -> Any:
    """Return one canonical value as JSON that `to_columns` reads back as the same value."""
    if value is None:
        return None
    if kind == "number":
        return None if np.isnan(value) else float(value)
    if kind == "date":
        return None if np.isnat(value) else str(np.datetime64(value, "us"))
    if kind == "set":
        return list(value)
    return _file_json(value) if kind in ("image", "audio") else value


def _file_json(value: Any) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        return {"uint8": _encoded(np.ascontiguousarray(value).tobytes()), "shape": list(value.shape)}
    return {"bytes": _encoded(value if isinstance(value, bytes) else Path(value).read_bytes())}


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
