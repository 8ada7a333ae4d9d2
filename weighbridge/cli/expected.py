"""Expected against actual on a terminal: what each served name promised beside what its answers and labels show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.cli.show import say
from weighbridge.errors import UsageError

if TYPE_CHECKING:
    from weighbridge.feedback.log import Log
    from weighbridge.findings import Finding
    from weighbridge.report.words import Language

NO_PROMISE = "nothing was released in this state folder, so nothing is known of what was expected: give --package PACKAGE"


def findings_of_each(log: Log, package: Path | None) -> dict[str, list[Finding]]:
    """Return what is found of each name: of those that answered with `package`; without it, of the champions of the registry.

    Raises UsageError for a package that never answered here.
    """
    from weighbridge.deployment.overseeing import hold_to_promise, oversee
    from weighbridge.feedback.registry import Registry, names

    command = f"weigh feedback status --state {log.folder}"
    if package is None:
        return {name: oversee(Registry.open(log.folder, name), log, command=command) for name in names(log.folder)}
    found = _answered_with(log, package)
    return {name: hold_to_promise(log, name, package, command=f"{command} --package {package}") for name in found}


def _answered_with(log: Log, package: Path) -> list[str]:
    """Return the names under which a package answered."""
    from weighbridge.runtime import verify

    model = verify(package).model_sha256
    found = sorted({one["package"] for one in log.status()["models"] if one["model"] == model})
    if not found:
        raise UsageError(f"the model of {package} gave none of the answers in this log", do="give the package that was served")
    return found


def show(expected: dict[str, list[Finding]], language: Language) -> None:
    """Each name has its table on standard output."""
    from rich.console import Console

    from weighbridge.feedback.status_table import print_status

    if not expected:
        say(f"\n{NO_PROMISE}")
    for name, found in expected.items():
        say(f"\n{name}")
        print_status(found, Console(), language)
