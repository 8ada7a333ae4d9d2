"""The checks of the leak gate that look at columns: which give the target away, look like groups, or lie after the row's own time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.data.leaks_checks import Case, Check
from weighbridge.data.leaks_rows import numbers_at, single_columns
from weighbridge.data.leaks_target import GIVES_AWAY, Kind, Score, ranks, sample_of_classes, sample_rows, score_columns, too_few
from weighbridge.data.split import TRAIN
from weighbridge.findings import Message

TARGET_ROWS, MANY_COLUMNS, TARGET_ROWS_WIDE = 5000, 50, 2000
LATER = 0.5  # share of rows from which on a date is said to lie after the row's time


@dataclass(frozen=True, kw_only=True)
class Tried:
    """The score of each single column against the target, best first, on `rows` training rows."""

    scores: Sequence[Score]
    rows: int


def try_columns(case: Case) -> Tried | None:
    """Return how well each column alone answers, learnt and judged on training rows; None where they are too few to tell."""
    kind, train = kind_of(case), np.flatnonzero(case.side == TRAIN)
    most = TARGET_ROWS_WIDE if len(case.plan.schema.inputs) > MANY_COLUMNS else TARGET_ROWS
    rows = sample_rows(train, most, case.seed) if kind == "number" else sample_of_classes(train, case.rows.targets, most, case.seed)
    if not len(rows):
        return None
    columns, target = single_columns(case.raw, case.plan, rows)
    if kind == "number":
        truth = ranks(np.array(target.to_numpy(zero_copy_only=False), dtype=np.float64))
    else:
        truth = np.unique(case.rows.targets[rows], return_inverse=True)[1].astype(np.int64)
    if too_few(truth, kind):
        return None
    return Tried(scores=score_columns(columns, truth, kind, case.seed, case.progress), rows=len(rows))


def check_target(case: Case, tried: Tried | None) -> Check:
    """Columns that alone (nearly) give the target away. The only input of a model is its task: a limitation."""
    if tried is None:
        return Check(name="target", unmeasured=Message("too few training rows, or too few outside of the largest class"))
    inputs = {column.name for column in case.plan.schema.inputs}
    scores = [score for score in tried.scores if score.column in inputs]
    if not scores:
        return Check(name="target", unmeasured=Message("no input is a number, category or date"))
    kind, target = kind_of(case), case.plan.schema.target.name
    given = _by_column([score for score in scores if score.gives_away(kind)])
    found = given or _by_column([score for score in scores if score.suspect()])
    best = (found or scores)[0]
    names = ", ".join(f"{score.name} (score {score.score:.3f}{_tested(score)})" for score in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    alone = "alone gives" if len(found) == 1 else "alone give"
    return Check(
        name="target",
        found=len(found),
        unit="columns",
        n=tried.rows,
        what=f"{len(found)} column{'s' * (len(found) != 1)} {alone} the target '{target}' away: {names}{more}",
        reason=_target_reason(best, bool(given), len(inputs) == 1),
        method=Message(
            "cross-validated score of each column alone by a shallow tree, stop at {most}; permutation test", most=GIVES_AWAY[kind]
        ),
        source="Kaufman 2012; Phipson 2010",
        stops=bool(given) and len(inputs) > 1,
        columns=[_as_evidence(score) for score in tried.scores],
    )


def unnamed_group(tried: Tried | None) -> Check:
    """A category of many values that come again and determine the target names a group, or gives the target away: who knows."""
    scores = tried.scores if tried else ()
    like = [score for score in scores if score.names_groups and score.score >= GIVES_AWAY["class"]]
    if not like:
        return Check(name="group", unmeasured=Message("the recipe names no group (data.group), and no column looks like one"))
    return Check(
        name="group",
        found=len(like),
        unit="columns",
        n=len(scores),
        n_of="columns",
        reason=Message(
            "{column} has {distinct} values that come again and determine the target: name it in data.group, or leave it out",
            column=like[0].column,
            distinct=like[0].distinct,
        ),
        method=Message("cross-validated score of each value's own answer"),
        stops=False,
        columns=[_as_evidence(score) for score in like],
    )


def check_outcome(case: Case) -> Check:
    """Dates that lie after the row's own time are perhaps known only after the outcome. What the data can not show is said."""
    unproven = Message("the data can not prove it: ask of each column whether its value is known when the model is asked")
    time = next((column for column in case.plan.schema.columns if column.role == "time" and column.type == "date"), None)
    dates = [column.name for column in case.plan.schema.inputs if column.type == "date"]
    if time is None or not dates:
        return Check(name="outcome", unmeasured=unproven)
    rows = sample_rows(np.flatnonzero(case.side == TRAIN), TARGET_ROWS, case.seed)
    values = numbers_at(case.raw, case.plan, [time.name, *dates], rows)
    shares = {name: float(np.mean(values[name] > values[time.name])) for name in dates}
    late = sorted((name for name in dates if shares[name] > LATER), key=lambda name: -shares[name])
    if not late:
        return Check(name="outcome", unmeasured=unproven)
    return Check(
        name="outcome",
        found=len(late),
        unit="columns",
        n=len(rows),
        reason=Message(
            "{column} lies after {time} in most rows (share {share}): is it known when the model is asked?",
            column=late[0],
            time=time.name,
            share=shares[late[0]],
        ),
        method=Message("dates of each row against its own time"),
        stops=False,
        columns=[{"column": name, "later": shares[name]} for name in dates],
    )


def kind_of(case: Case) -> Kind:
    """Return whether the target is a number or a class (a set of labels counts as a class of its own)."""
    return "number" if case.plan.schema.target.type == "number" else "class"


def _target_reason(best: Score, given: bool, single: bool) -> Message:
    values: dict[str, str | float] = {"column": best.name, "score": best.score}
    if given and not single:
        return Message("{column} alone gives the target away (score {score})", **values)
    if given:
        return Message("the only input, {column}, answers nearly every row (score {score}): an easy task, or the target itself", **values)
    return Message("the strongest column alone is {column} (score {score}; 1 gives the target away)", **values)


def _by_column(scores: Sequence[Score]) -> list[Score]:
    """Return each column once: by what is missing where that alone is enough."""
    chosen: dict[str, Score] = {}
    for score in scores:
        if score.column not in chosen or score.missing:
            chosen[score.column] = score
    return list(chosen.values())


def _tested(score: Score) -> str:
    return "" if score.p_value is None else f", p = {score.p_value:.2g}"


def _as_evidence(score: Score) -> dict[str, str | float | bool | None]:
    return {"column": score.name, "score": round(score.score, 6), "p_value": score.p_value, "certain": score.certain}
