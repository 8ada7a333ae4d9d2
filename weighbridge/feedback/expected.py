"""Expected against actual: the contract beside what happened, each line a Finding with its verdict.

A limitation stands only where an instrument that may be looked at for ever says so: the fall of quality, the drift of a column, the pace
of the service. Figures of the window (class mix, latency, load) have intervals of this window alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np

from weighbridge.evaluation.intervals import quantile_interval, rate_interval
from weighbridge.evaluation.predictions import Array, Kind
from weighbridge.evaluation.slices import Found
from weighbridge.feedback.diagnose import Diagnosis, diagnose
from weighbridge.feedback.drift import Moved
from weighbridge.feedback.estimate import can_estimate, estimated_accuracy, is_outside
from weighbridge.feedback.looking import Watch
from weighbridge.feedback.pace import SLOWER, SPAN_S, Pace
from weighbridge.feedback.streams import ANSWER, ANSWERED, MISSING, OUTPUT, answer_traits
from weighbridge.feedback.weak_slices import slice_findings
from weighbridge.feedback.windows import Window
from weighbridge.findings import EMPTY, Finding, Message, Reference, Verdict
from weighbridge.runtime.contract import ColumnSketch, Contract, Measured

COMMAND = "weigh feedback status --state STATE"
EXPECTED = Message("at release")
GAP = 0.02  # of probability: less is not worth a recalibration


def status_findings(
    contract: Contract, watch: Watch, window: Window, bins: Array, columns: Mapping[str, Array] | None = None, *,
    slices: Found | None = None, command: str = COMMAND,
) -> list[Finding]:  # fmt: skip
    """Return the findings `feedback.*` of a window [n] of one model's answers, in the order in which they should be read.

    Args: bins, int64 [n, S] as of `looking.row_bins`; columns, canonical inputs of the window's rows where they are kept, for diagnoses;
        slices, as of `weak_slices`.
    """
    moved = {one.column for one in watch.drift.moved()}
    found = [*_quality(contract, watch, command), *_estimated(contract, watch, window, bins, command)]
    if len(window):
        found += [*_answers(contract, watch, window, moved, command), _calibration(contract, watch, command)]
        found += [*_served(contract, watch, window, command)]
    found += [] if slices is None else slice_findings(slices, contract.kind, command)
    told = {one.column: one for one in watch.drift.columns()}
    for sketch in contract.inputs:
        if sketch.name in told:
            diagnosis = diagnose(sketch, columns[sketch.name]) if sketch.name in moved and columns and sketch.name in columns else None
            found.append(_input(sketch, told[sketch.name], watch, sketch.name in moved, diagnosis, command))
            found.append(_missing(sketch, watch, bins, command))
    return found


def _around(interval: tuple[float, float], value: float) -> tuple[float, float]:
    return min(interval[0], value), max(interval[1], value)


def _reference(expected: Measured | None) -> Reference | None:
    return None if expected is None else Reference(name=EXPECTED, value=expected.value)


def _quality(contract: Contract, watch: Watch, command: str) -> Iterator[Finding]:
    titles = {"number": Message("Errors within the promised limit"), "set": Message("Quality in service, mean F1 of the rows")}
    title = titles.get(contract.kind, Message("Quality in service"))
    value = watch.mean.value
    if value is None:
        reason = Message("no label has come; give labels: weigh feedback add LABELS.csv")
        yield Finding(key="feedback.quality", title=title, verdict="unmeasured", reason=reason, command=command, headline=True)
        return
    fall = watch.fall
    verdict, reason = _judged(watch)
    expected = contract.of_rows.value if contract.of_rows else contract.conformal.level if contract.conformal else None
    yield Finding(
        key="feedback.quality", title=title, verdict=verdict, value=value, interval=_around(watch.mean.interval, value), unit="share",
        n=watch.mean.n, reason=reason, command=command, headline=True, reference=Reference(name=EXPECTED, value=expected),
        method=Message("interval that holds at every look; alarm by bets against {bound}, the lower end of the promise",
                       bound="-" if fall is None else f"{fall.bound:.4f}"),
        source="Waudby-Smith and Ramdas 2024",
    )  # fmt: skip


def _judged(watch: Watch) -> tuple[Verdict, Message]:
    fall = watch.fall
    if fall is None:
        return "neutral", Message("the promise is no mean over rows, so there is no bound to hold outcomes to")
    if fall.since is not None:
        return "limitation", Message(
            "below the promise since label {row}; false in at most 5 % of models, however often one looks", row=fall.since
        )
    if watch.mean.interval[0] >= fall.bound:
        return "advantage", Message("holds the promise")
    return "neutral", Message("no sign that the promise is broken; too few labels to say that it is held")


def _estimated(contract: Contract, watch: Watch, window: Window, bins: Array, command: str) -> Iterator[Finding]:
    title = Message("Quality estimated without labels")
    if not can_estimate(contract) or not len(window):
        reason = Message("no answers") if can_estimate(contract) else Message("only classes with a reliability curve allow it")
        yield Finding(key="feedback.estimate", title=title, verdict="unmeasured", reason=reason, command=command)
        return
    made = estimated_accuracy(contract.calibration, window.output, is_outside(watch.drift.streams, bins))
    reason = Message(
        "it can not see a change in how inputs and labels hang together; {share} of rows are unlike any that evaluation saw",
        share=f"{100 * made.outside:.1f} %",
    )
    yield Finding(
        key="feedback.estimate", title=title, value=made.value, interval=_around(made.interval, made.value),
        unit="share", n=made.n, reason=reason, command=command, reference=_reference(contract.promise),
        method=Message("stated probabilities through the reliability curve of the test rows; unlike rows count from 0 to 1"),
        source="Guillory 2021; Manski 2003",
    )  # fmt: skip


def _answers(contract: Contract, watch: Watch, window: Window, moved: set[str], command: str) -> Iterator[Finding]:
    """The answers as a whole, with the verdict of their drift, and how sure the model is, or what it answers."""
    told = next((one for one in watch.drift.columns() if one.column == OUTPUT), None)
    if told is not None:
        verdict, reason = _drift_words(told, OUTPUT in moved)
        now, before = _mix(contract, window)
        yield Finding(
            key="feedback.answers", title=Message("Distance of the answers from those at release"), verdict=verdict,
            value=_apart(now, before),
            unit="share", n=len(window), reason=reason, command=command, method=_drift_method(watch), source="Vovk 2021; Fedorova 2012",
        )  # fmt: skip
    values = answer_traits(_kind(contract), contract.classes, window.output)[OUTPUT, ANSWER]
    edges, counts = np.array(contract.output.edges), np.array(contract.output.counts)
    if len(edges):
        below = np.cumsum(counts)[:-1] / max(counts.sum(), 1)
        yield Finding(
            key="feedback.confidence", title=Message("Median answer") if contract.kind == "number" else Message("Median confidence"),
            value=float(np.median(values)), interval=quantile_interval(values) if len(values) > 10 else None, n=len(window),
            reference=Reference(name=EXPECTED, value=float(np.interp(0.5, below, edges))), command=command,
        )  # fmt: skip


def _kind(contract: Contract) -> Kind:
    return cast(Kind, contract.kind)


def _mix(contract: Contract, window: Window) -> tuple[Array, Array]:
    """Return shares by class of the answers now and at release; of a number's values, by bin."""
    if contract.kind == "category" and contract.predicted is not None:
        expected = contract.predicted
        names = list(expected.counts)
        said = np.array(contract.classes, dtype=object)[window.output.argmax(axis=1)]
        now = np.array([*(np.sum(said == name) for name in names), sum(one not in expected.counts for one in said)], dtype=float)
        return now / now.sum(), np.array([*expected.counts.values(), expected.other]) / max(
            sum(expected.counts.values()) + expected.other, 1
        )
    values = answer_traits(_kind(contract), contract.classes, window.output)[OUTPUT, ANSWER]
    now = np.bincount(contract.output.places(values), minlength=len(contract.output.counts)).astype(float)
    return now / max(now.sum(), 1), np.array(contract.output.counts) / max(contract.output.n, 1)


def _apart(now: Array, before: Array) -> float:
    return float(np.abs(now - before).sum() / 2)


def _calibration(contract: Contract, watch: Watch, command: str) -> Finding:
    """The mean of right minus stated over all labels, which may be looked at for ever; a limitation where it is sure to be beyond GAP."""
    title, key, n = Message("Share right minus stated confidence"), "feedback.calibration", watch.gap.n
    if contract.kind != "category" or watch.gap.value is None:
        reason = Message("no label has come; give labels: weigh feedback add LABELS.csv")
        reason = reason if contract.kind == "category" else Message("no class is stated")
        return Finding(key=key, title=title, verdict="unmeasured", reason=reason, command=command)
    value, (low, high) = 2 * watch.gap.value - 1, (2 * end - 1 for end in watch.gap.interval)
    off = low > GAP or high < -GAP
    return Finding(
        key=key, title=title, verdict="limitation" if off else "neutral", value=value, interval=_around((low, high), value), n=n,
        reference=Reference(name=Message("calibrated"), value=0.0), command=command, source="Waudby-Smith and Ramdas 2024",
        reason=Message("stated probabilities are off by more than {gap}, at every look", gap=GAP) if off else EMPTY,
        method=Message("of all labels; an interval that holds at every look"),
    )  # fmt: skip


def _served(contract: Contract, watch: Watch, window: Window, command: str) -> Iterator[Finding]:
    known = window.latency_s[~np.isnan(window.latency_s)]
    if len(known):
        verdict, reason = _pace_words(watch.pace)
        yield Finding(
            key="feedback.latency", title=Message("Median latency"), verdict=verdict, value=float(np.median(known)),
            interval=quantile_interval(known) if len(known) > 10 else None, unit="s", n=len(known), command=command, reason=reason,
            reference=_reference(contract.load.p50_s if contract.load is not None else None),
            method=Message("windows of {minutes} minutes, bets that most of them are slow", minutes=round(SPAN_S / 60)),
        )  # fmt: skip
    seconds = float(window.time_us[-1] - window.time_us[0]) / 1e6
    promised = contract.load.rows_per_s if contract.load is not None else contract.price.rows_per_s
    if seconds > 0:
        yield Finding(
            key="feedback.load", title=Message("Answers each second"), value=(len(window) - 1) / seconds, unit="rows/s", n=len(window),
            reference=Reference(name=Message("capacity"), value=promised.value), command=command,
        )  # fmt: skip


def _pace_words(pace: Pace | None) -> tuple[Verdict, Message]:
    if pace is None:
        return "neutral", Message("how long a server takes was not measured at release, so nothing is held to it")
    if pace.fall.since is not None:
        return "limitation", Message(
            "most windows are slower than {times} times what was measured at release, since window {window}; false in at most 5 % of "
            "services whose slow spells pass, however often one looks",
            times=SLOWER, window=pace.fall.since,
        )  # fmt: skip
    return "neutral", Message("no sign that it is slower for good: {windows} windows", windows=pace.fall.n)


def _drift_method(watch: Watch) -> Message:
    return Message(
        "conformal ranks, bets that start anew at every row; any false alarm of any column, ever: at most {alpha}", alpha=watch.drift.alpha
    )


def _drift_words(told: Moved, moved: bool) -> tuple[Verdict, Message]:
    if told.since is not None:
        return "limitation", Message(
            "moved: alarm at row {row} ({traits})", row=told.since, traits=", ".join(_trait(one) for one in told.traits[:3])
        )
    if moved:
        return "limitation", Message("moved, as other columns have")
    return "neutral", Message("no sign of a move (p {p}, valid at every look)", p=round(told.p_value, 4))


def _trait(trait: str) -> str:
    return {ANSWER: "output", ANSWERED: "class"}.get(trait, trait)


def _input(sketch: ColumnSketch, told: Moved, watch: Watch, moved: bool, diagnosis: Diagnosis | None, command: str) -> Finding:
    verdict, reason = _drift_words(told, moved)
    if diagnosis is not None:
        reason = diagnosis.said
    distances = [_apart(_now(watch, place), _before(watch, place)) for place, one in enumerate(watch.drift.streams)
                 if one.column == sketch.name and one.trait != MISSING]  # fmt: skip
    return Finding(
        key=f"feedback.input.{sketch.name}", title=Message("Distance of '{column}' from release", column=sketch.name), verdict=verdict,
        value=max(distances, default=0.0), unit="share", n=watch.drift.rows, reason=reason, command=command, method=_drift_method(watch),
        source="Vovk 2021; Fedorova 2012; Choe and Ramdas 2024",
    )  # fmt: skip


def _now(watch: Watch, place: int) -> Array:
    seen = watch.drift.seen[place]
    return np.asarray(seen / max(seen.sum(), 1))


def _before(watch: Watch, place: int) -> Array:
    counts = np.zeros(watch.drift.seen.shape[1])
    own = watch.drift.streams[place].counts
    counts[: len(own)] = own
    return np.asarray(counts / max(counts.sum(), 1))


def _missing(sketch: ColumnSketch, watch: Watch, bins: Array, command: str) -> Finding:
    place = next((at for at, one in enumerate(watch.drift.streams) if (one.column, one.trait) == (sketch.name, MISSING)), None)
    here = bins[:, place] if place is not None else np.zeros(0, dtype=np.int64)
    n, gone = int((here >= 0).sum()), int((here == 1).sum())
    title = Message("Missing values of '{column}'", column=sketch.name)
    key = f"feedback.missing.{sketch.name}"
    if not n or place is None:
        return Finding(key=key, title=title, verdict="unmeasured", reason=Message("no inputs are kept"), command=command)
    alarm = int(watch.drift.since[place])
    return Finding(
        key=key, title=title, verdict="limitation" if alarm else "neutral", value=gone / n, unit="share", n=n,
        interval=rate_interval(gone, n),
        reference=Reference(name=EXPECTED, value=sketch.missing / max(sketch.rows, 1)), command=command, method=_drift_method(watch),
        reason=Message("another share than at release: alarm at row {row}", row=alarm) if alarm else EMPTY,
    )  # fmt: skip


def broken_inputs(diagnoses: Sequence[Diagnosis]) -> list[str]:
    """Return the columns whose input is broken: what they need is repair, not training."""
    return [one.column for one in diagnoses if one.broken]
