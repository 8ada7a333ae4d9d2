"""Does the model notice rows of another kind: strange rows are planted, and its sureness is to tell them from the test rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.calibration_inner import Inner, inner_scores
from weighbridge.audit.calibration_line import Judged, line, not_measured
from weighbridge.audit.calibration_planted import Planted, planted
from weighbridge.audit.subject import Unmeasured
from weighbridge.evaluation.selective import apart, passing, sureness_of
from weighbridge.evaluation.verdicts import STRONG_AUROC
from weighbridge.findings import Finding, Message
from weighbridge.storage import write_json
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Callable

    from weighbridge.audit.subject import Subject
    from weighbridge.evaluation.predictions import Floats, Kind
    from weighbridge.preprocessing import Arrays

    Score = Callable[[Arrays], dict[str, Floats]]

EVIDENCE = "strange.json"
ROWS, KNOWN = 1000, 2000
LEAST = 20  # test rows with fewer of which nothing is planted
NEAR_CHANCE = 0.75  # halfway between chance and a perfect order
TITLE = Message("Strange rows told from usual ones: {kind}")
NONE = Message("Strange rows told from usual ones")
LEAST_TOLD = Message("Strange rows that are told least from usual ones: {kind}")
OWN, ENERGY, DISTANCE = "sureness", "energy", "distance"  # what is stated; of the outputs behind it; of what the last layer reads
SOURCES = {OWN: "Hendrycks and Gimpel 2017", ENERGY: "Liu 2020", DISTANCE: "Sun 2022"}


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well one score tells strange rows: area with interval, and the share that passes where 95 % of the usual rows do."""

    score: str
    value: float
    interval: tuple[float, float]
    passing: float


@dataclass(frozen=True, kw_only=True)
class Met:
    """A kind of strange rows, what each score makes of it, and the interval of the first that holds for all kinds together.

    `shown`: how well trees tell these rows that are shown them; 1 where they are strange beyond doubt.
    """

    kind: Planted
    told: list[Told]
    wide: tuple[float, float]
    shown: float = 1.0


def strange(subject: Subject) -> list[Finding]:
    """Return the kind of strange rows that is told least, with the verdict, and then each kind."""
    test = subject.arrays["test"]
    usual = test.subset(np.linspace(0, len(test) - 1, min(ROWS, len(test))).astype(int))
    kinds = planted(usual, subject.encoder.blocks, subject.seed)
    if not kinds:
        return [not_measured(subject, "strange", NONE, Message("one column alone has no strange rows that could be made of usual ones"))]
    if len(usual) < LEAST:
        few = Message("{rows} test rows are too few: {least} are needed", rows=len(usual), least=LEAST)
        return [not_measured(subject, "strange", NONE, few)]
    scores, missing = _scores(subject)
    if not scores:
        return [not_measured(subject, "strange", NONE, missing)]
    met = [_met(subject, kind, scores, usual, len(kinds)) for kind in kinds]
    write_json(
        subject.place / EVIDENCE,
        {"rows": len(usual), "kinds": [{"name": one.kind.name, "scores": [_shown(told) for told in one.told]} for one in met]},
    )
    return [_least(subject, met, len(usual)), *(_line(subject, one, len(usual)) for one in met)]


def _met(subject: Subject, kind: Planted, scores: list[Score], usual: Arrays, kinds: int) -> Met:
    subject.heard("strange rows", 0, None, kind.name)
    said, level = subject.said["test"], subject.how.level
    group = None if said.group is None else said.group[np.searchsorted(said.row_id, usual.row_ids)]
    ordinary, others = _all(scores, usual), _all(scores, kind.rows)
    told = [
        Told(score=name, value=value, interval=interval, passing=passing(ordinary[name], other))
        for name, other in others.items()
        for value, interval in [apart(ordinary[name], other, level, group)]
    ]
    first = told[0].score
    wide = apart(ordinary[first], others[first], 1 - (1 - level) / kinds, group)[1]
    return Met(kind=kind, told=told, wide=wide, shown=shown_apart(usual, kind.rows, subject.seed) if kind.name == "columns" else 1.0)


def _all(scores: list[Score], rows: Arrays) -> dict[str, Floats]:
    return {name: values for score in scores for name, values in score(rows).items()}


def _scores(subject: Subject) -> tuple[list[Score], Message]:
    """Return what tells strange rows: what the packaged form states, and what is inside of the network behind it."""
    found: list[Score] = []
    missing = Message("a number is predicted without saying how sure it is, and there is no single network to look into")
    kind: Kind = subject.encoder.learnt.kind
    if kind != "number":
        found.append(lambda rows: {OWN: sureness_of(kind, np.asarray(subject.answer(rows), dtype=np.float64))})
    try:
        network = subject.network()
    except Unmeasured:
        return found, missing
    train = subject.arrays["train"]
    known = train.subset(np.linspace(0, len(train) - 1, min(KNOWN, len(train))).astype(int))
    inner = inner_scores(network, kind, known)
    if inner is not None:
        found.append(lambda rows: _inside(inner(rows)))
    return found, missing


def _inside(scores: Inner) -> dict[str, Floats]:
    return {DISTANCE: scores.nearness} if scores.energy is None else {ENERGY: scores.energy, DISTANCE: scores.nearness}


def shown_apart(usual: Arrays, strange: Arrays, seed: int) -> float:
    """Return the area by which boosted trees that are shown half of both tell the other half: shuffled columns may make usual rows.

    A row and what was made of it are in the same half.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    names = [name for name in ("number", "category") if name in usual.blocks]
    flat = [np.concatenate([np.asarray(rows.blocks[name], dtype=np.float64) for name in names], axis=1) for rows in (usual, strange)]
    half = rng(seed, "audit", "strange", "halves").permutation(len(usual)) < len(usual) // 2
    areas = []
    for shown in (half, ~half):
        learnt, judged = (np.concatenate([one[rows] for one in flat]) for rows in (shown, ~shown))
        truth, wanted = (np.repeat([1, 0], rows.sum()) for rows in (shown, ~shown))
        trees = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=0).fit(learnt, truth)
        areas.append(float(roc_auc_score(wanted, trees.predict_proba(judged)[:, 1])))
    return float(np.mean(areas))


def _least(subject: Subject, met: list[Met], rows: int) -> Finding:
    """The kind that is told least of those that are strange: the one to mind."""
    real = [one for one in met if one.shown >= NEAR_CHANCE] or met
    least = min(real, key=lambda one: one.told[0].value)
    first = least.told[0]
    words = {"share": round(100 * first.passing, 1)}
    judged: Judged = "neutral", Message("{share} % of them pass where 95 % of the usual rows do", **words)
    if least.shown < NEAR_CHANCE:
        judged = "neutral", Message("these rows are hardly strange: trees that are shown them tell {shown}", shown=least.shown)
    elif first.score == OWN and least.wide[1] < NEAR_CHANCE:
        reason = Message("it is about as sure of them: {share} % of them pass where 95 % of the usual rows do", **words)
        if least.wide[1] < 0.5:
            reason = Message("it is surer of them than of usual rows: {share} % of them pass where 95 % of the usual rows do", **words)
        judged = "limitation", reason
    elif first.score == OWN and least.wide[0] >= STRONG_AUROC:
        judged = (
            "advantage",
            Message("less sure of every kind that was tried; {share} % of them pass where 95 % of the usual rows do", **words),
        )
    return line(
        subject, "strange", Message(LEAST_TOLD.template, kind=str(least.kind.words)), first.value, least.wide, judged, n=rows,
        method=Message(
            "the least of {kinds} kinds, each of {rows} rows made of test rows; DeLong's interval over pairs, widened by Bonferroni",
            kinds=len(real), rows=rows,
        ),
        source=f"{SOURCES[first.score]}; DeLong 1988; Newcombe 2006; Dunn 1961", evidence=(f"audit/{EVIDENCE}",),
    )  # fmt: skip


def _line(subject: Subject, met: Met, rows: int) -> Finding:
    first, others = met.told[0], {one.score: one.value for one in met.told[1:]}
    reason = Message("{share} % of them pass where 95 % of the usual rows do", share=round(100 * first.passing, 1))
    if ENERGY in others and DISTANCE in others:
        reason = Message(
            "{share} % of them pass where 95 % of the usual rows do; inside the network energy tells {energy}, distance {distance}",
            share=round(100 * first.passing, 1), energy=others[ENERGY], distance=others[DISTANCE],
        )  # fmt: skip
    if met.shown < NEAR_CHANCE:
        reason = Message("these rows are hardly strange: trees that are shown them tell {shown}", shown=met.shown)
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
        subject, f"strange.{met.kind.name}", Message(TITLE.template, kind=str(met.kind.words)), first.value, first.interval,
        ("neutral", reason), n=rows, method=method, source=f"{SOURCES[first.score]}; DeLong 1988; Newcombe 2006",
        evidence=(f"audit/{EVIDENCE}",),
    )  # fmt: skip


def _shown(one: Told) -> dict[str, Any]:
    return {"name": one.score, "value": one.value, "low": one.interval[0], "high": one.interval[1], "passing": one.passing}
