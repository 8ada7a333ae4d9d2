"""What every test can ask for: `record`, which keeps a measured figure for the proof tables of the README.

And which slow tests are a harness of their own: hundreds of killed processes, failing disks, hostile files. `make test` runs them in a
second process beside the rest of the suite, so that two cores take about half the time; what needs a machine to itself is left out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Property tests try the same examples each time, so that what passed here passes on another machine; `make explore` tries others.
# No deadline: machines are shared.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

PASSED = pytest.StashKey[bool]()
# `make harness` and `make proof` run them, `make test` does not
HARNESSES = (
    "tests/controls/test_cycles.py",
    "tests/faults/test_large_data.py",
    "tests/faults/test_serving_overload.py",
    "tests/faults/test_watch_kills.py",
    "tests/journeys/test_container.py",
)
BESIDE = (
    "tests/controls/test_audits.py",
    "tests/controls/test_calibration.py",
    "tests/controls/test_choice.py",
    "tests/controls/test_controls.py",
    "tests/controls/test_fairness.py",
    "tests/controls/test_leaks.py",
    "tests/controls/test_promotion.py",
    "tests/controls/test_spread.py",
    "tests/controls/test_watching.py",
    "tests/faults/test_resume.py",
    "tests/faults/test_saves.py",
    "tests/faults/test_disk.py",
    "tests/faults/test_erase.py",
    "tests/faults/test_stages.py",
    "tests/faults/test_before.py",
    "tests/faults/test_loop_kills.py",
    "tests/faults/test_search.py",
    "tests/faults/test_serving_workers.py",
    "tests/faults/test_optimization.py",
    "tests/faults/test_feedback.py",
    "tests/attacks/test_payloads.py",
    "tests/attacks/test_serving_malformed.py",
    "tests/attacks/test_serving_trust.py",
    "tests/faults/test_serving_clients.py",
    "tests/faults/test_serving_restart.py",
    "tests/journeys/test_encrypted_serving.py",
    "tests/journeys/test_erase.py",
    "tests/journeys/test_serving.py",
    "tests/journeys/test_page.py",
    "tests/journeys/test_loop.py",
    "tests/journeys/test_recalibration.py",
    "tests/journeys/test_spread.py",
    "tests/journeys/test_trackers.py",
)
NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
Record = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof-folder", type=Path, help="folder into which passed tests write the figures that they `record`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        name = item.path.relative_to(config.rootpath).as_posix()
        if item.get_closest_marker("slow") and name in HARNESSES:
            item.add_marker(pytest.mark.harness)
        if item.get_closest_marker("slow") and name in BESIDE:
            item.add_marker(pytest.mark.beside)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture(scope="module", autouse=True)
def few_audits(request: pytest.FixtureRequest) -> Generator[None]:
    """Whole runs of journeys, faults and attacks are audited for as long as they trained, without the minutes that any run has.

    What is audited has tests of its own: tests/unit/test_audit_*.py, and tests/journeys/test_audit.py makes every audit.
    """
    if request.path.parent.name == "unit" or request.path.name == "test_audit.py":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weighbridge.audit.stage.LEAST_BUDGET_S", 0.0)
        yield


@pytest.fixture(scope="module", autouse=True)
def no_load(request: pytest.FixtureRequest) -> Generator[None]:
    """Runs of tests start no server to measure the load that their package carries, but for those that are about it."""
    if request.path.name in ("test_deployment_load.py", "test_papers.py"):
        yield
        return
    from weighbridge.deployment.load import NotMeasured

    def not_asked(*_: object, **__: object) -> None:
        raise NotMeasured("this test is not about load")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weighbridge.deployment.load_findings.carried", not_asked)
        yield


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
        folder = request.config.invocation_params.dir / folder  # a test may stand in another folder by now
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in held.items():
            (folder / f"{name}.json").write_text(json.dumps(figure, indent=2) + "\n", encoding="utf-8")
