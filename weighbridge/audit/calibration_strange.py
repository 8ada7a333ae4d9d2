"""Does the model notice rows of another kind: strange rows are planted, and its sureness is to tell them from the test rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.calibration_inner import Inner, inner_scores
from weighbridge.audit.calibration_line import NEUTRAL, Judged, line, not_measured
from weighbridge.audit.calibration_planted import Planted, planted
from weighbridge.audit.subject import Unmeasured
from weighbridge.evaluation.selective import apart, passing, sureness_of
from weighbridge.evaluation.verdicts import STRONG_AUROC
from weighbridge.findings import Finding, Message
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from weighbridge.audit.subject import Subject
    from weighbridge.evaluation.predictions import Floats, Kind
    from weighbridge.preprocessing import Arrays

EVIDENCE = "strange.json"
ROWS, KNOWN = 1000, 2000
NEAR_CHANCE = 0.75  # halfway between chance and a perfect order
TITLE = Message("Strange rows told from usual ones: {kind}")
NONE = Message("Strange rows told from usual ones")
OWN, ENERGY, DISTANCE = "sureness", "energy", "distance"  # what is stated; of the outputs behind it; of what the last layer reads
SOURCES = {OWN: "Hendrycks and Gimpel 2017", ENERGY: "Liu 2020", DISTANCE: "Sun 2022"}


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well one score tells strange rows: area with interval, and the share that passes where 95 % of the usual rows do."""

    score: str
    value: float
    interval: tuple[float, float]
    passing: float


def strange(subject: Subject) -> list[Finding]:
    """Return a finding for each kind of strange rows."""
    test = subject.arrays["test"]
    usual = test.subset(np.linspace(0, len(test) - 1, min(ROWS, len(test))).astype(int))
    kinds = planted(usual, subject.encoder.blocks, subject.seed)
    if not kinds:
        return [not_measured(subject, "strange", NONE, Message("one column alone has no strange rows that could be made of usual ones"))]
    scores, missing = _scores(subject)
    if not scores:
        return [not_measured(subject, "strange", NONE, missing)]
    ordinary = _all(scores, usual)
    said = subject.said["test"]
    places = np.searchsorted(said.row_id, usual.row_ids)
    group = None if said.group is None else said.group[places]
    found, shown = [], []
    for kind in kinds:
        subject.heard(f"strange rows, {kind.name}", 0, None)
        told = [
            Told(score=name, value=value, interval=interval, passing=passing(ordinary[name], other))
            for name, other in _all(scores, kind.rows).items()
            for value, interval in [apart(ordinary[name], other, subject.how.level, group)]
        ]
        found.append(_line(subject, kind, told, len(usual)))
        shown.append({"name": kind.name, "scores": [_shown(one) for one in told]})
    write_json(subject.place / EVIDENCE, {"rows": len(usual), "kinds": shown})
    return found


def _all(scores: list[Callable[[Arrays], dict[str, Floats]]], rows: Arrays) -> dict[str, Floats]:
    return {name: values for score in scores for name, values in score(rows).items()}


def _scores(subject: Subject) -> tuple[list[Callable[[Arrays], dict[str, Floats]]], Message]:
    """Return what tells strange rows: what the packaged form states, and what is inside of the network behind it."""
    found: list[Callable[[Arrays], dict[str, Floats]]] = []
    missing = Message("a number is predicted without saying how sure it is")
    kind: Kind = subject.encoder.learnt.kind
    if kind != "number":
        found.append(lambda rows: {OWN: sureness_of(kind, np.asarray(subject.answer(rows), dtype=np.float64))})
    try:
        network = subject.network()
    except Unmeasured as error:
        return found, error.reason
    train = subject.arrays["train"]
    known = train.subset(np.linspace(0, len(train) - 1, min(KNOWN, len(train))).astype(int))
    inner = inner_scores(network, kind, known)
    if inner is not None:
        found.append(lambda rows: _inside(inner(rows)))
    return found, missing


def _inside(scores: Inner) -> dict[str, Floats]:
    return {DISTANCE: scores.nearness} if scores.energy is None else {ENERGY: scores.energy, DISTANCE: scores.nearness}


def _line(subject: Subject, kind: Planted, told: list[Told], rows: int) -> Finding:
    first, others = told[0], {one.score: one for one in told[1:]}
    words: dict[str, Any] = {"share": round(100 * first.passing, 1)}
    beside = Message("{share} % of them pass where 95 % of the usual rows do", **words)
    if ENERGY in others and DISTANCE in others:
        beside = Message(
            "{share} % of them pass where 95 % of the usual rows do; inside the network energy tells {energy}, distance {distance}",
            **words, energy=others[ENERGY].value, distance=others[DISTANCE].value,
        )  # fmt: skip
    judged: Judged = NEUTRAL[0], beside
    if first.score == OWN and first.interval[1] < NEAR_CHANCE:
        judged = "limitation", beside
    elif first.score == OWN and first.interval[0] >= STRONG_AUROC:
        judged = "advantage", beside
    method = Message(
        "{rows} test rows beside as many made of them, told by the stated probability; DeLong's interval over pairs", rows=rows
    )
    if first.score != OWN:
        method = Message(
            "{rows} test rows beside as many made of them, told by how far the network's features lie from those of training rows, "
            "since the package states no sureness; DeLong's interval over pairs",
            rows=rows,
        )
    return line(
        subject, f"strange.{kind.name}", Message(TITLE.template, kind=str(kind.words)), first.value, first.interval, judged, n=rows,
        method=method, source=f"{SOURCES[first.score]}; DeLong 1988; Newcombe 2006", evidence=(f"audit/{EVIDENCE}",),
    )  # fmt: skip


def _shown(one: Told) -> dict[str, Any]:
    return {"name": one.score, "value": one.value, "low": one.interval[0], "high": one.interval[1], "passing": one.passing}
