"""Weighbridge takes data and a question through the whole life of a model and measures what it is good for and what it costs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weighbridge.runtime import load

__all__ = ["__version__", "load"]

__version__ = "0.1.0"

# From 1.29 on, onnxruntime reports its use to its makers some seconds after it was imported. Nothing here asks for the network unless a
# recipe names an address. The user's own value wins.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Import `load` at its first use, so that `import weighbridge` costs nothing."""
    if name == "load":
        from weighbridge.runtime import load

        return load
    raise AttributeError(f"module 'weighbridge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
