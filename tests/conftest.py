"""What every test can ask for: `record`, which keeps a measured figure for the proof tables of the README."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

PASSED = pytest.StashKey[bool]()
NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
Record = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof-folder", type=Path, help="folder into which passed tests write the figures that they `record`")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Generator[Record]:
    """Give `record(name, value, n=...)`: the figure is written as <name>.json when the test has passed, and never when it failed.

    Without --proof-folder nothing is written. Args: name, of a row of scripts/proof_promises.py; value, the number that was measured;
    n, of how many trials, rows or files; more, further numbers that the row shows, by name.
    """
    held: dict[str, dict[str, Any]] = {}

    def keep(name: str, value: float, *, n: int, **more: float) -> None:
        if not NAME.fullmatch(name) or name in held:
            raise ValueError(f"{name!r} is recorded already, or is no name such as kill.saving")
        if isinstance(value, str) or n < 1:
            raise ValueError(f"{name}: a figure is a number, measured on at least one trial; not {value!r} of {n}")
        held[name] = {"name": name, "value": value, "n": n, **more, "test": request.node.nodeid}

    yield keep
    folder = request.config.getoption("--proof-folder")
    if folder is not None and request.node.stash.get(PASSED, False):
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in held.items():
            (folder / f"{name}.json").write_text(json.dumps(figure, indent=2) + "\n", encoding="utf-8")
