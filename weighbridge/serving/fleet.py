"""Packages by name, each with the workers that answer for it; a package is swapped, tried on a share of the asks, and rolled back by name.

Everything here runs in one event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weighbridge.serving.asking import Ask, Reply
from weighbridge.serving.limits import Limits

OnEvent = Callable[[str, dict[str, Any]], None]


class Fleet:
    """What `weigh serve` asks. `on_event(kind, facts)` hears what happens to packages and workers, for metrics and the audit trail."""

    def __init__(
        self, limits: Limits, *, workers: int = 1, threads: int = 1, journal: Path | None = None, on_event: OnEvent | None = None
    ) -> None:
        """`workers`: processes of each package; `threads`: CPU threads of one call; `journal`: the folder of the prediction log."""
        self.limits, self.workers, self.threads, self.journal, self.on_event = limits, workers, threads, journal, on_event

    @property
    def names(self) -> tuple[str, ...]:
        """The packages' names, in the order in which they were started."""
        raise NotImplementedError

    def ready(self, name: str = "") -> bool:
        """Whether a worker of this package (every package, without a name) is warm, and the server does not drain."""
        raise NotImplementedError

    async def start(self, packages: Mapping[str, Path]) -> None:
        """Every package is loaded, verified and checked against its golden answers in each of its workers.

        Raises PackageError with the worker's own line; then nothing runs.
        """
        raise NotImplementedError

    async def ask(self, name: str, ask: Ask, *, version: str = "") -> Reply:
        """Return the answer of the package (of one of its `versions`, where one is named). Raises Refused."""
        raise NotImplementedError

    def describe(self, name: str) -> dict[str, Any]:
        """Return {name, versions, version, kind, classes, inputs: [{name, type}], output, model, package}. Raises Refused (404)."""
        raise NotImplementedError

    async def swap(self, name: str, path: Path) -> dict[str, Any]:
        """The package at `path` answers every ask from now on; what was accepted before is answered by the old one.

        Returns `describe`. Raises PackageError: the old one goes on as if nothing was asked. Refused (404): no such name.
        """
        raise NotImplementedError

    async def rollback(self, name: str) -> dict[str, Any]:
        """The package before the last swap answers again; its bytes are the same as then. Raises PackageError, Refused."""
        raise NotImplementedError

    async def challenge(self, name: str, path: Path, share: float) -> dict[str, Any]:
        """The package at `path` answers a share of the asks, chosen by their request id: the same id, the same package."""
        raise NotImplementedError

    async def promote(self, name: str) -> dict[str, Any]:
        """The challenger answers every ask from now on. Raises Refused where there is none."""
        raise NotImplementedError

    async def withdraw(self, name: str) -> dict[str, Any]:
        """The champion answers every ask again. Raises Refused where there is no challenger."""
        raise NotImplementedError

    async def drain(self, timeout_s: float) -> bool:
        """Nothing is accepted any more, what was accepted is answered, and no worker is left; False when the time was not enough."""
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        """Return by package: workers, queue, in flight, restarts, requests, rows, seconds, p50 and p99 of recent answers."""
        raise NotImplementedError
