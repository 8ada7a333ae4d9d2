"""Which audits there are: a limitation a file, each with what it is called, whether it fits, and how long it will take.

    @audit("robustness", Message("Behaviour under noise, damage and attack"), seconds=estimate)
    def robustness(subject: Subject) -> list[Finding]: ...

Each ships with controls (weighbridge.controls): a planted defect that it must find and a clean case that it must pass.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from weighbridge.audit.subject import Subject
from weighbridge.findings import Finding, Message

Measure = Callable[[Subject], list[Finding]]
PLACES: tuple[str, ...] = (  # in the order in which they are made: what decides most first
    "weighbridge.audit.cost",
    "weighbridge.audit.security",
    "weighbridge.audit.quality",
    "weighbridge.audit.generalization",
    "weighbridge.audit.robustness",
    "weighbridge.audit.fairness",
    "weighbridge.audit.calibration",
    "weighbridge.audit.explanation",
    "weighbridge.audit.privacy",
)
ORDER = ("cost", "security", "quality", "fairness", "calibration", "generalization", "robustness", "explanation", "privacy")
_AUDITS: dict[str, Audit] = {}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """An audit: its name is its section's key and the second word of its findings' keys (`audit.<name>...`).

    Attributes:
        measure: returns the findings; raises Unmeasured where the run has no rows or model for it.
        seconds: about how long it takes on a subject.
    """

    name: str
    title: Message
    measure: Measure
    seconds: Callable[[Subject], float]


def audit(name: str, title: Message, *, seconds: Callable[[Subject], float]) -> Callable[[Measure], Measure]:
    """Register a measure under `name`. Raises ValueError when the name is taken."""

    def register(measure: Measure) -> Measure:
        if name in _AUDITS and _AUDITS[name].measure.__module__ != measure.__module__:
            raise ValueError(f"two audits are named {name}")
        _AUDITS[name] = Audit(name=name, title=title, measure=measure, seconds=seconds)
        return measure

    return register


def audits() -> list[Audit]:
    """Return every audit in the order in which they are made."""
    for place in PLACES:
        importlib.import_module(place)
    return sorted(_AUDITS.values(), key=lambda one: ORDER.index(one.name))
