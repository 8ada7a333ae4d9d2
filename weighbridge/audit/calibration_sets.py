"""Sets and intervals that promise to hold the truth: whether they do, how large they are, and for whom they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.calibration_line import NEUTRAL, Judged, line, not_measured
from weighbridge.evaluation import sets
from weighbridge.evaluation.conformal import radius
from weighbridge.evaluation.intervals import Interval, bca
from weighbridge.evaluation.metrics import mean_of
from weighbridge.evaluation.resampling import Resampling, Sampler, Statistic, replicate
from weighbridge.evaluation.results import LEAST_UNITS, TOO_FEW, Result, rate
from weighbridge.evaluation.verdicts import NARROW, NOMINAL_COVERAGE
from weighbridge.evaluation.wording import bootstrap_method
from weighbridge.findings import Finding, Message, Reference
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.predictions import Array, Floats

EVIDENCE = "sets.json"
PARTS = 5  # of numbers, by what is predicted
HELD = Message("Share of rows whose set of answers holds the truth")
HELD_LABELS = Message("Share of a row's labels that its set holds")
HELD_NUMBERS = Message("Share of rows whose interval holds the truth")
SIZE = Message("Mean number of classes in a set")
SIZE_LABELS = Message("Mean number of labels in a set")
WIDTH = Message("Width of the intervals")
WEAKEST = Message("Class that its sets hold least often: {name}")
WEAKEST_PART = Message("Fifth of the rows, by prediction, that its intervals hold least often: {low} to {high}")
NO_LEVEL = Message("{rows} validation rows are too few: 9 give limits for 0.9")
SOURCE = "Sadinle 2019; Vovk 2012; Angelopoulos and Bates 2023"


def held(subject: Subject) -> list[Finding]:
    """Return coverage, size and the weakest part of sets (classes, labels) or intervals (numbers)."""
    kind = subject.said["test"].kind
    return {"category": _classes, "set": _labels, "number": _numbers}[kind](subject)


def fits_on_validation(subject: Subject) -> bool:
    """Whether validation rows may fit sets: not where a map of many pieces was fitted on them before."""
    return "isotonic" not in subject.kept.name.split("+")


def _classes(subject: Subject) -> list[Finding]:
    test, fitting = subject.said["test"], _fitting(subject)
    level = sets.level_for(fitting or test.rows(np.arange(len(test) // 2)))
    if level is None:
        return [not_measured(subject, "sets", HELD, Message(NO_LEVEL.template, rows=len(fitting or test)))]
    made = sets.sets_of(sets.least_ambiguous, fitting, test, level)
    hits = made.hits(test.target)
    covered = rate(hits, test.group, subject.how)
    found = [_held_line(subject, HELD, covered, made, SOURCE), _size_line(subject, SIZE, test, made)]
    if 2 < len(test.classes) <= sets.MOST_CLASSES:
        own = sets.sets_of(sets.by_class, fitting, test, level)
        found.append(_weakest_class(subject, test, made, own))
    write_json(subject.place / EVIDENCE, _evidence(subject, test, made, hits))
    return found


def _labels(subject: Subject) -> list[Finding]:
    test, fitting = subject.said["test"], _fitting(subject)
    level = sets.level_for(fitting or test)
    if level is None:
        return [not_measured(subject, "sets", HELD_LABELS, Message(NO_LEVEL.template, rows=len(fitting or test)))]
    made = sets.sets_of(sets.least_missed, fitting, test, level)
    some = test.target.any(axis=1)
    shares = np.where(some, (made.held & test.target).sum(axis=1) / np.maximum(test.target.sum(axis=1), 1), 1.0)
    covered = mean_result(shares, test.group, subject.how)
    source = "Angelopoulos 2022 (conformal risk control)"
    return [_held_line(subject, HELD_LABELS, covered, made, source, law=False), _size_line(subject, SIZE_LABELS, test, made)]


def _numbers(subject: Subject) -> list[Finding]:
    """Intervals of one width for all rows: whether they hold, how wide they are, and in which fifth of the predictions they hold least."""
    test, validation = subject.said["test"], subject.said["validation"]
    reach = radius(np.abs(validation.output - validation.target))
    if not np.isfinite(reach):
        return [not_measured(subject, "sets", HELD_NUMBERS, Message(NO_LEVEL.template, rows=len(validation)))]
    hits = np.abs(test.output - test.target) <= reach
    made = sets.Sets(level=NOMINAL_COVERAGE, held=hits[:, None], fitting_rows=len(validation), crossed=False)
    covered = rate(hits, test.group, subject.how)
    middle = float(np.median(validation.target))
    without = 2 * radius(np.abs(validation.target - middle))
    ends = _width_interval(validation, subject.how)
    judged: Judged = NEUTRAL
    if ends is not None and ends[1] <= NARROW * without:
        judged = "advantage", Message("half the width that is needed without a model, or less")
    elif ends is not None and ends[0] >= without:
        judged = "limitation", Message("not narrower than what is needed without a model")
    width = line(
        subject, "set_size", WIDTH, 2 * reach, ends, judged, n=len(validation), unit="",
        method=Message("twice the 0.9 quantile of the errors on validation rows; order statistics"), source="David and Nagaraja 2003, 7.1",
        reference=Reference(name=Message("without a model"), value=without),
    )  # fmt: skip
    return [_held_line(subject, HELD_NUMBERS, covered, made, SOURCE), width, _weakest_part(subject, test, hits)]


def _fitting(subject: Subject) -> Predictions | None:
    return subject.said["validation"] if fits_on_validation(subject) else None


def mean_result(values: Floats, group: Array | None, how: Resampling) -> Result:
    """Return the mean of a value of each row with its BCa interval, within 0 and what is largest."""
    sampler = Sampler(n=len(values), resamples=how.resamples, seed=how.seed, group=group)
    drawn = replicate([Statistic(names=("mean",), of=mean_of(values[:, None]))], sampler)["mean"]
    if drawn.units < LEAST_UNITS:
        return Result(value=drawn.value, interval=None, n=len(values), method=TOO_FEW)
    interval = bca(drawn, how.level, low=0.0)
    return Result(value=drawn.value, interval=interval, n=len(values), method=bootstrap_method(how.resamples, grouped=group is not None))


def of_held(result: Result, made: sets.Sets, *, law: bool) -> Judged:
    """Limitation when fewer rows are held than draws of fitting and judged rows from one source would show in 97.5 % of cases.

    The law needs rows that are exchangeable and validation rows that only these limits were fitted on; else the interval decides.
    """
    words: dict[str, Any] = {"level": made.level}
    if law:
        low, high = sets.held_law(made.level, made.fitting_rows, result.n)
        words |= {"low": low, "high": high, "rows": made.fitting_rows}
        if result.value < low:
            return "limitation", Message(
                "less than the {level} promised, and than the {low} to {high} that chance leaves {rows} fitting rows", **words
            )
        return "advantage", Message("as promised: {level}; chance leaves {rows} fitting rows {low} to {high} or more", **words)
    if result.interval is not None and result.interval[1] < made.level:
        return "limitation", Message("less than the {level} promised", **words)
    return "neutral", Message("not measurably less than the {level} promised", **words)


def _held_line(subject: Subject, title: Message, result: Result, made: sets.Sets, source: str, *, law: bool = True) -> Finding:
    method = Message("split conformal, fitted on {rows} validation rows", rows=made.fitting_rows)
    if made.crossed:
        method = Message("split conformal, each half of the test rows fitted on the other: validation rows fitted a map before")
    judged = of_held(result, made, law=law and not made.crossed and subject.said["test"].group is None)
    reference = Reference(name=Message("promised"), value=made.level)
    return line(
        subject, "sets", title, result.value, result.interval, judged, n=result.n, method=method, source=source, reference=reference,
        evidence=(f"audit/{EVIDENCE}",) if subject.said["test"].kind == "category" else (),
    )  # fmt: skip


def _size_line(subject: Subject, title: Message, test: Predictions, made: sets.Sets) -> Finding:
    sizes = made.sizes
    result = mean_result(sizes.astype(np.float64), test.group, subject.how)
    reason = Message("one alone in {one} of the rows; at most {most}", one=float((sizes == 1).mean()), most=int(sizes.max()))
    if test.kind == "category":
        adaptive = sets.sets_of(sets.adaptive, _fitting(subject), test, made.level)
        held_so = float(adaptive.hits(test.target).mean())
        reason = Message(
            "one alone in {one} of the rows; at most {most}. Sets that grow with how hard a row is (APS): {size} classes, {held} held",
            one=float((sizes == 1).mean()), most=int(sizes.max()), size=float(adaptive.sizes.mean()), held=held_so,
        )  # fmt: skip
    reference = Reference(name=Message("all of them"), value=float(len(test.classes)))
    return line(
        subject, "set_size", title, result.value, result.interval, ("neutral", reason), n=result.n, unit="", method=result.method,
        source="Sadinle 2019; Romano 2020", reference=reference,
    )  # fmt: skip


def _weakest_class(subject: Subject, test: Predictions, made: sets.Sets, own: sets.Sets) -> Finding:
    """The class whose rows are most surely held less than promised: the promise is for all rows together, so a class may be let down."""
    hits, classes = made.hits(test.target), np.unique(test.target)
    weakest, result = _weakest({int(code): test.target == code for code in classes}, hits, test, subject.how)
    rows = test.target == weakest
    words: dict[str, Any] = {"level": made.level, "held": float(own.hits(test.target)[rows].mean()), "size": float(own.sizes.mean())}
    short = result.interval is not None and result.interval[1] < made.level
    reason = Message("less than {level}" if short else "not measurably less than {level}", level=made.level)
    if _has_own_limit(_fitting(subject) or test, weakest, made.level):
        reason = Message("not measurably less than {level}; limits of its own: {held} held, {size} classes on average", **words)
        if short:
            reason = Message("less than {level}; limits of its own would hold {held}, with {size} classes on average", **words)
    judged: Judged = ("limitation" if short else "neutral"), reason
    method = Message("rate of its rows, widened by Bonferroni because the weakest of {classes} classes is picked", classes=len(classes))
    return line(
        subject, "set_weakest", Message(WEAKEST.template, name=test.classes[weakest]), result.value, result.interval, judged, n=result.n,
        method=method, source="Vovk 2012; Dunn 1961", evidence=(f"audit/{EVIDENCE}",),
    )  # fmt: skip


def _weakest(parts: dict[int, Array], hits: Array, test: Predictions, how: Resampling) -> tuple[int, Result]:
    """Return the part whose interval ends lowest and its rate, each interval widened so that all hold together."""
    wide = Resampling(resamples=how.resamples, level=1 - (1 - how.level) / len(parts), seed=how.seed)
    found = {name: rate(hits[rows], None if test.group is None else test.group[rows], wide) for name, rows in parts.items()}
    return min(found.items(), key=lambda one: (one[1].interval or (0.0, 1.0))[1])


def _has_own_limit(fitting: Predictions, code: int, level: float) -> bool:
    return int((fitting.target == code).sum()) >= sets.least_rows(level)


def _weakest_part(subject: Subject, test: Predictions, hits: Array) -> Finding:
    """The fifth of the rows by what is predicted that is held least: one width for all does not fit errors that grow."""
    order = np.argsort(test.output, kind="stable")
    parts = [part for part in np.array_split(order, PARTS) if len(part)]
    chosen, result = _weakest(dict(enumerate(parts)), hits, test, subject.how)
    weakest = parts[chosen]
    title = Message(WEAKEST_PART.template, low=float(test.output[weakest].min()), high=float(test.output[weakest].max()))
    judged: Judged = "neutral", Message("not measurably less than {level}", level=NOMINAL_COVERAGE)
    if result.interval is not None and result.interval[1] < NOMINAL_COVERAGE:
        judged = "limitation", Message("less than {level}: errors are larger there than one width allows for", level=NOMINAL_COVERAGE)
    method = Message("rate of its rows, widened by Bonferroni because the weakest of {parts} parts is picked", parts=len(parts))
    return line(subject, "set_weakest", title, result.value, result.interval, judged, n=result.n, method=method, source="Dunn 1961")


def _width_interval(validation: Predictions, how: Resampling) -> Interval | None:
    from weighbridge.evaluation.intervals import quantile_interval

    if len(validation) < LEAST_UNITS:
        return None
    low, high = quantile_interval(2 * np.abs(validation.output - validation.target), NOMINAL_COVERAGE, how.level)
    reach = 2 * radius(np.abs(validation.output - validation.target))
    return min(low, reach), max(high, reach)


def _evidence(subject: Subject, test: Predictions, made: sets.Sets, hits: Array) -> dict[str, Any]:
    """Return which share of each class's rows is held (the weakest first), and how many sets have which size."""
    rows = []
    for code in np.unique(test.target):
        own = test.target == code
        result = rate(hits[own], None if test.group is None else test.group[own], subject.how)
        low, high = result.interval or (None, None)
        rows.append({"name": test.classes[code], "value": result.value, "low": low, "high": high, "n": result.n})
    rows.sort(key=lambda row: row["value"])
    counts = np.bincount(made.sizes)
    return {"level": made.level, "classes": rows[: sets.MOST_CLASSES], "sizes": [int(count) for count in counts[:100]]}
