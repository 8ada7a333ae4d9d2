"""Weighbridge takes data and a question through the whole life of a model and measures what it is good for and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weighbridge.runtime import load

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `load` at its first use, so that `import weighbridge` costs nothing."""
    if name == "load":
        from weighbridge.runtime import load

        return load
    raise AttributeError(f"module 'weighbridge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
