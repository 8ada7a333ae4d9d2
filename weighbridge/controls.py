"""Controls: the planted case that an instrument must find, the clean case that it must pass, and the rate that it states.

A scale that is not calibrated weighs nothing. Each room registers the controls of its instruments in a module of its own, named in
PLACES; `weigh calibrate` runs them all and writes the table, the tests run them too, and nothing else knows what an instrument is.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Literal, TypeVar

from threadpoolctl import threadpool_limits

from weighbridge.errors import UsageError, did_you_mean
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Progress, silent

PLACES: tuple[str, ...] = (  # modules that register controls when imported
    "weighbridge.evaluation.controls",
    "weighbridge.evaluation.controls_planted",
    "weighbridge.evaluation.controls_tests",
    "weighbridge.data.controls_leaks",
    "weighbridge.data.controls_texts",
    "weighbridge.evaluation.controls_spread",
    "weighbridge.evaluation.controls_noninferiority",
    "weighbridge.evaluation.controls_choice",
    "weighbridge.evaluation.controls_scale",
    "weighbridge.feedback.controls_screen",
    "weighbridge.feedback.controls_pace",
    "weighbridge.feedback.controls_watching",
    "weighbridge.feedback.controls_estimate",
    "weighbridge.feedback.controls_promotion",
    "weighbridge.audit.controls_generalization",
    "weighbridge.audit.controls_quality",
    "weighbridge.audit.controls_robustness",
    "weighbridge.audit.controls_robustness_words",
    "weighbridge.audit.controls_cost",
    "weighbridge.audit.controls_security",
    "weighbridge.audit.controls_fairness",
    "weighbridge.audit.controls_calibration",
    "weighbridge.audit.controls_privacy_personal",
    "weighbridge.audit.controls_privacy",
    "weighbridge.audit.controls_explanation",
    "weighbridge.audit.controls_explanation_networks",
    "weighbridge.runtime.controls_occlusion",
)

PIECE = 50  # trials between two looks at a request to stop
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

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


def chosen(only: str | None) -> list[Control]:
    """Return the controls of one instrument, or of a family of them (`interval`, `data.leak`); all without a name. Raises UsageError."""
    known = controls()
    if only is None:
        return known
    found = [one for one in known if one.instrument == only or one.instrument.startswith(f"{only}.")]
    if not found:
        names = sorted({one.instrument for one in known})
        raise UsageError(f"no instrument '{only}' has controls{did_you_mean(only, names)}", do=f"known: {', '.join(names)}")
    return found


def run_control(control: Control, *, trials: int | None = None, progress: Progress = silent) -> Outcome:
    """Return the outcome over seeds 0 to n - 1; n is the control's own number unless `trials` says a smaller one."""
    n = _trials(control, trials)
    with threadpool_limits(1):
        right = sum(_counted(control, n, progress))
    return Outcome(control=control, right=right, n=n)


def run_controls(
    wanted: Sequence[Control], *, trials: int | None = None, progress: Progress = silent, stop: StopRequest | None = None, workers: int = 1
) -> list[Outcome]:
    """Return the outcome of each control, in order; the same whatever the number of processes. Raises Stopped when a stop was asked for."""
    request = StopRequest() if stop is None else stop
    pieces = [
        (place, start, min(start + PIECE, n))
        for place, one in enumerate(wanted)
        for n in [_trials(one, trials)]
        for start in range(0, n, PIECE)
    ]
    right, done, total = [0] * len(wanted), 0, sum(stop - start for _, start, stop in pieces)
    with contextlib.closing(_answers(wanted, pieces, workers)) as answers:
        for place, count, size in answers:
            right[place] += count
            done += size
            progress("controls", done, total, wanted[place].name)
            request.check("nothing was written")
    return [Outcome(control=one, right=right[place], n=_trials(one, trials)) for place, one in enumerate(wanted)]


Piece = tuple[int, int, int]  # place of the control, first seed, seed after the last


def _answers(wanted: Sequence[Control], pieces: list[Piece], workers: int) -> Generator[tuple[int, int, int]]:
    """Give (place, right answers, trials) of each piece of work."""
    if workers < 2:
        for place, start, stop in pieces:
            with threadpool_limits(1):  # small matrices: threads that wait for a busy core made trials 10 to 60 times slower
                right = _right(wanted[place], start, stop)
            yield place, right, stop - start
        return
    with _one_thread_each(), ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_deaf) as pool:
        waiting = {pool.submit(_right_by_name, wanted[place].name, start, stop): (place, stop - start) for place, start, stop in pieces}
        try:
            for future in as_completed(waiting):
                place, size = waiting[future]
                yield place, future.result(), size
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _right(control: Control, start: int, stop: int) -> int:
    return sum(bool(control.trial(seed)) for seed in range(start, stop))


def _right_by_name(name: str, start: int, stop: int) -> int:
    controls()
    return _right(_REGISTERED[name], start, stop)


def _deaf() -> None:
    """A worker leaves Ctrl-C to its parent, which lets it end its piece and gives it no other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """While workers start, each is told to compute on one thread: together they fill the cores."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _trials(control: Control, trials: int | None) -> int:
    return control.trials if trials is None else min(trials, control.trials)


def _counted(control: Control, n: int, progress: Progress) -> Iterator[bool]:
    for seed in range(n):
        yield bool(control.trial(seed))
        progress(control.name, seed + 1, n)
