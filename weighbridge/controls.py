"""Controls: the planted case that an instrument must find, the clean case that it must pass, and the rate that it states.

A scale that is not calibrated weighs nothing. Each room registers the controls of its instruments in a module of its own, named in
PLACES; `weigh calibrate` runs them all and writes the table, the tests run them too, and nothing else knows what an instrument is.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from weighbridge.storage.progress import Progress, silent

PLACES: tuple[str, ...] = ()  # modules that register controls when imported

Kind = Literal["planted", "clean"]
Trial = Callable[[int], bool]  # seed -> the instrument answered rightly
Registered = TypeVar("Registered", bound=Trial)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A simulated case with a known answer.

    Attributes:
        instrument: what is calibrated, by the key of its findings where it has one (`data.leak.target`, `interval.rmse`).
        kind: planted, a defect that must be found (or a naive way that must fail in the same harness); clean, a case to pass
            (for an interval: one that holds the truth).
        case: the case in words, different for each control of an instrument and kind.
        low, high: the share of right answers that is stated, without the Monte Carlo error of the simulation.
        trials: simulations of a whole calibration.
        trial: seed -> whether the answer was right; equal seeds give equal answers.
    """

    instrument: str
    kind: Kind
    case: str
    low: float
    high: float
    trials: int
    trial: Trial

    @property
    def name(self) -> str:
        return f"{self.instrument}: {self.case}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How often a control's answer was right in n trials."""

    control: Control
    right: int
    n: int

    @property
    def share(self) -> float:
        return self.right / self.n

    @property
    def holds(self) -> bool:
        """Whether the share may come from the stated range: three standard errors of the simulation are allowed beyond it."""
        slack = 3 * math.sqrt(max(self.share * (1 - self.share), 0.0475) / self.n)
        return self.control.low - slack <= self.share <= self.control.high + slack


_REGISTERED: dict[str, Control] = {}


def control(instrument: str, kind: Kind, case: str, *, trials: int, low: float, high: float = 1.0) -> Callable[[Registered], Registered]:
    """Register the decorated `seed -> bool` as a control. Raises ValueError when its name is taken or its range is empty."""

    def register(trial: Registered) -> Registered:
        made = Control(instrument=instrument, kind=kind, case=case, low=low, high=high, trials=trials, trial=trial)
        if made.name in _REGISTERED:
            raise ValueError(f"the control '{made.name}' is registered twice")
        if not 0 <= low <= high <= 1 or trials < 1:
            raise ValueError(f"the control '{made.name}' states {low} to {high} in {trials} trials")
        _REGISTERED[made.name] = made
        return trial

    return register


def controls() -> list[Control]:
    """Return every control of every place, in the order of registration."""
    for place in PLACES:
        importlib.import_module(place)
    return list(_REGISTERED.values())


def run_control(control: Control, *, trials: int | None = None, progress: Progress = silent) -> Outcome:
    """Return the outcome over seeds 0 to n - 1; n is the control's own number unless `trials` says a smaller one."""
    n = control.trials if trials is None else min(trials, control.trials)
    right = sum(_counted(control, n, progress))
    return Outcome(control=control, right=right, n=n)


def _counted(control: Control, n: int, progress: Progress) -> Iterator[bool]:
    for seed in range(n):
        yield bool(control.trial(seed))
        progress(control.name, seed + 1, n)
