"""Does it hold on rows that it did not see, of another time, of another group? Is what it learnt more than what it can learn by heart?

audit/generalization.json holds the scores on training and held-out rows, with the labels as they are and shuffled; audit/time.json the
scores by time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.audit import shift, shuffled
from weighbridge.audit.registry import audit
from weighbridge.audit.subject import Subject
from weighbridge.errors import DataError, DependencyError, RecipeError, TrainingError
from weighbridge.evaluation.gap import Gap, gap
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.evaluation.results import Result, headline_of
from weighbridge.evaluation.wording import WORDS
from weighbridge.findings import Finding, Message, Reference, Verdict, by_key, read_findings
from weighbridge.storage import write_json

NAME = "generalization"
ALARM = 0.01  # of the test of the shuffled labels: one false alarm in a hundred runs
FALL, FALL_OF_AN_ERROR = (
    0.01,
    0.05,
)  # a fall with time, or of a group, that counts: a point of a share, a twentieth of the mean absolute error
FAILS = (TrainingError, RecipeError, DataError, DependencyError)
MEMORISED = Message("Score on training rows whose labels were shuffled")
HELD_OUT = Message("Score on held-out rows after learning from shuffled labels")
GAP = Message("Gap between training rows and unseen rows, beside that of shuffled labels")
CHANGE = {
    "category": Message("Change of accuracy from the oldest to the newest test row"),
    "set": Message("Change of the mean F1 of a row from the oldest to the newest test row"),
    "number": Message("Change of the mean absolute error, sign turned, from the oldest to the newest test row"),
}
LOWEST = {
    "category": Message("Accuracy of the group that does worst, less that of all other test rows"),
    "set": Message("Mean F1 of a row of the group that does worst, less that of all other test rows"),
    "number": Message("Mean absolute error, sign turned, of the group that does worst, less that of all other test rows"),
}
UNSEEN = {
    "category": Message("Accuracy on groups without training rows, less that on known groups"),
    "set": Message("Mean F1 of a row on groups without training rows, less that on known groups"),
    "number": Message("Mean absolute error, sign turned, on groups without training rows, less that on known groups"),
}
TIME, GROUP = Message("Behaviour on rows of a later time"), Message("Behaviour on single groups of rows")


def _seconds(subject: Subject) -> float:
    return shuffled.seconds_of(subject) + 1.0 + 2e-4 * len(subject.said["test"])


@audit(NAME, Message("Whether it holds on rows that it did not see"), seconds=_seconds)
def generalization(subject: Subject) -> list[Finding]:
    """Return the findings of the shuffled labels, of time and of groups; what can not be measured says why, and the rest is measured."""
    found = list(_shuffled(subject))
    return [*found, _repeats(subject), _time(subject), *_groups(subject)]


@dataclass(frozen=True, kw_only=True)
class _Words:
    """What the findings of one audit share."""

    subject: Subject

    def finding(self, key: str, title: Message, **more: Any) -> Finding:
        more.setdefault("unit", WORDS[HEADLINES[self.subject.said["test"].kind].name].unit)
        return Finding(key=f"audit.{NAME}.{key}", title=title, command=f"{self.subject.command} --only {NAME}.{key}", **more)

    def unmeasured(self, key: str, title: Message, reason: Message) -> Finding:
        return self.subject.unmeasured(f"{NAME}.{key}", title, reason)


def _shuffled(subject: Subject) -> Iterator[Finding]:
    """Yield the real gap beside that of shuffled labels, what the network memorises, and what is left of a score without labels."""
    words = _Words(subject=subject)
    least = shuffled.LEAST_ROWS
    rows = min(len(subject.arrays["train"]), len(subject.arrays["validation"]))
    try:
        if rows < least:
            raise DataError(f"{rows} training or validation rows are too few to shuffle labels of; {least} are needed")
        made = shuffled.train_shuffled(subject)
    except FAILS as error:
        for key, title in (("gap", GAP), ("memorised", MEMORISED), ("shuffled", HELD_OUT)):
            yield words.unmeasured(key, title, Message("{why}", why=str(error)))
        return
    own = gap(subject.said["train"], subject.said["test"], subject.how)
    none = gap(made.train, made.held_out, subject.how)
    learnt, judged = (headline_of(said, subject.how) for said in (made.train, made.held_out))
    chance = shuffled.by_chance(made.held_out, subject.seed)
    evidence = (f"audit/{NAME}.json",)
    write_json(subject.place / f"{NAME}.json", _as_evidence(subject, learnt, judged, chance.expected))
    yield _gap_finding(words, own, none, evidence)
    yield _memorised(words, learnt, shuffled.by_chance(made.train, subject.seed, shuffles=0).expected, made, evidence)
    yield _chance(words, judged, chance, evidence)


def _gap_finding(words: _Words, own: Gap, none: Gap, evidence: tuple[str, ...]) -> Finding:
    reason = (
        Message("labels that mean nothing leave a gap of {gap}: so much it can learn by heart; see evaluation.gap", gap=none.value)
        if none.interval[0] > 0
        else Message("labels that mean nothing leave no measurable gap: it learns nothing by heart so soon; see evaluation.gap")
    )
    return words.finding(
        "gap", GAP, value=own.value, interval=own.interval, n=own.n_train + own.n_held_out, reason=reason, evidence=evidence,
        reference=Reference(name=Message("with shuffled labels"), value=none.value),
        method=Message("training score less score on unseen rows, classes weighted as there; BCa of two independent bootstraps"),
        source="Zhang 2017",
    )  # fmt: skip


def _memorised(words: _Words, learnt: Result, chance: float, made: shuffled.Shuffled, evidence: tuple[str, ...]) -> Finding:
    """How much of labels that mean nothing it can learn: the network's capacity, which is neither good nor bad alone."""
    perfect = 0.0 if made.train.kind == "number" else 1.0
    share = (learnt.value - chance) / (perfect - chance) if perfect != chance else 0.0
    reason = Message(
        "it learns {share} of the way from chance to no error by heart, in {epochs} epochs",
        share=round(max(share, 0.0), 3),
        epochs=round(made.epochs, 1),
    )
    return words.finding(
        "memorised", MEMORISED, value=learnt.value, interval=learnt.interval, n=learnt.n, reason=reason, evidence=evidence,
        reference=Reference(name=Message("chance"), value=chance),
        method=Message(
            "the recipe's network learns {rows} training rows with shuffled labels, without early stopping; the interval is over rows, of "
            "one training", rows=learnt.n,
        ),
        source="Zhang 2017",
    )  # fmt: skip


def _chance(words: _Words, judged: Result, chance: shuffled.Chance, evidence: tuple[str, ...]) -> Finding:
    alarm = chance.p_value < ALARM
    reason = (
        Message(
            "above chance although no label it learnt from was true: what was made of the labels reaches the training (p {p})",
            p=chance.p_value,
        )
        if alarm
        else Message("at chance, as it must be (p {p})", p=round(chance.p_value, 3))
    )  # fmt: skip
    verdict: Verdict = "limitation" if alarm else "neutral"
    return words.finding(
        "shuffled", HELD_OUT, verdict=verdict, value=judged.value, interval=judged.interval, n=judged.n, reason=reason, evidence=evidence,
        reference=Reference(name=Message("chance"), value=chance.expected, p_value=chance.p_value),
        method=Message("one-sided permutation test on validation rows, labels shuffled too; an alarm under p {alarm}", alarm=ALARM),
        source="Zhang 2017; Phipson and Smyth 2010",
    )  # fmt: skip


def _as_evidence(subject: Subject, learnt: Result, judged: Result, chance: float) -> dict[str, Any]:
    own = {split: headline_of(subject.said[split], subject.how) for split in ("train", "test")}
    shown = [("train", "as_they_are", own["train"]), ("held_out", "as_they_are", own["test"]),
             ("train", "shuffled", learnt), ("held_out", "shuffled", judged)]  # fmt: skip
    return {
        "metric": HEADLINES[subject.said["test"].kind].name,
        "chance": chance,
        "scores": [
            {"rows": rows, "labels": labels, "value": one.value, "interval": list(one.interval or (one.value, one.value)), "n": one.n}
            for rows, labels, one in shown
        ],
    }


def _repeats(subject: Subject) -> Finding:
    """How many trainings stand behind the figures, and which findings tell of their spread."""
    path = subject.folder / "evaluation" / "findings.jsonl"
    known = read_findings(path) if path.exists() else []
    seeds, curve = (
        (found := by_key(known, f"evaluation.{name}")) is not None and found.verdict != "unmeasured" for name in ("seeds", "learning_curve")
    )
    reason = {
        (True, True): Message("their spread is evaluation.seeds; what more rows would bring is evaluation.learning_curve"),
        (True, False): Message(
            "their spread is evaluation.seeds; evaluation.learning_curve.enabled: true measures what more rows would bring"
        ),
        (False, True): Message(
            "training.seeds: 5 measures how much another seed would differ; for more rows see evaluation.learning_curve"
        ),
        (False, False): Message(
            "training.seeds: 5 measures how much another seed would differ, evaluation.learning_curve.enabled: true what more rows bring"
        ),
    }[seeds, curve]
    title = Message("Trainings of the recipe's network from other seeds")
    return _Words(subject=subject).finding("repeats", title, value=subject.recipe.training.seeds - 1, unit="", reason=reason)


def _time(subject: Subject) -> Finding:
    words, name = _Words(subject=subject), _time_column(subject)
    if name is None:
        return words.unmeasured("time", TIME, Message("the rows have no column of time (data.time, or a column of dates)"))
    when, score = _beside(subject, name), shift.scores_of(subject.said["test"])
    known = np.isfinite(when)
    try:
        found = shift.trend(score[known], when[known])
    except ValueError:
        reason = Message("{n} test rows with a time in {column}, or one time only; {least} rows are needed", n=int(known.sum()),
                         column=name, least=shift.LEAST_ROWS)  # fmt: skip
        return words.unmeasured("time", TIME, reason)
    fall = _fall(score, subject.kind)
    worse = found.interval[1] < -fall
    reason = (
        Message("it falls with time by more than {fall}: what comes later can be worse still", fall=fall)
        if worse
        else Message("no fall by more than {fall} that the rows show", fall=fall)
    )
    content = {"column": name, "metric": subject.kind, "start": found.start, "value": found.value, "blocks": found.blocks.tolist()}
    write_json(subject.place / "time.json", content)
    return words.finding(
        "time", CHANGE[subject.kind], value=found.value, interval=found.interval, n=found.n, reason=reason,
        verdict="limitation" if worse else "neutral", evidence=("audit/time.json",),
        method=Message("a line through {blocks} blocks of rows that are neighbours in {column}; Student's t, blocks as units",
                       blocks=len(found.blocks), column=name),
    )  # fmt: skip


def _groups(subject: Subject) -> Iterator[Finding]:
    words, name = _Words(subject=subject), subject.recipe.data.group
    if name is None:
        yield words.unmeasured("group", GROUP, Message("the recipe names no column of groups (data.group)"))
        return
    predictions = subject.said["test"]
    score, group = shift.scores_of(predictions), _column(subject, name).astype(str)
    found, fall = shift.lowest_group(score, group, shares=predictions.kind == "category"), _fall(score, subject.kind)
    if found is None:
        reason = Message("fewer than two groups of {column} have {least} test rows", column=name, least=shift.LEAST_OF_A_GROUP)
        yield words.unmeasured("group", GROUP, reason)
    else:
        worse = found.interval[1] < -fall
        reason = (
            Message("measurably worse, of {groups} groups of {column}: {names}", groups=found.groups, column=name,
                    names=", ".join(found.worse[:5]))
            if worse
            else Message("none of {groups} groups of {column} is worse by more than {fall} that the rows show; the lowest is {name}",
                         groups=found.groups, column=name, fall=fall, name=found.name)
        )  # fmt: skip
        yield words.finding(
            "group", LOWEST[subject.kind], value=found.value, interval=found.interval, n=found.n, reason=reason,
            verdict="limitation" if worse else "neutral",
            method=Message("each group against all other test rows; intervals that hold for all {groups} at once (Bonferroni)",
                           groups=found.groups),
            source="Newcombe 1998",
        )  # fmt: skip
    yield from _unseen(words, score, group, name, fall)


def _unseen(words: _Words, score: Floats, group: Array, name: str, fall: float) -> Iterator[Finding]:
    """Yield how much worse groups are that no training row belongs to; nothing where the split leaves no known group among test rows."""
    subject = words.subject
    known = np.unique(np.asarray(subject.splits.train.column(name)).astype(str))
    found = shift.unseen_against_seen(score, group, known)
    if found is None:
        return
    value, interval, n = found
    worse = interval[1] < -fall
    yield words.finding(
        "unseen_groups", UNSEEN[subject.kind], value=value, interval=interval, n=n, verdict="limitation" if worse else "neutral",
        reason=Message("worse on groups of {column} that it has not met", column=name) if worse
        else Message("not measurably worse by more than {fall} on groups of {column} that it has not met", fall=fall, column=name),
        method=Message("difference of two means, groups as units; intervals joined by the recovery of variance estimates"),
        source="Zou and Donner 2008",
    )  # fmt: skip


def _fall(score: Floats, kind: str) -> float:
    """Return the fall of a mean score that counts."""
    return FALL if kind != "number" else float(f"{FALL_OF_AN_ERROR * float(np.abs(score).mean()):.2g}")


def _time_column(subject: Subject) -> str | None:
    """Return the recipe's column of time, else the first column of dates."""
    if subject.recipe.data.time is not None:
        return subject.recipe.data.time
    return next(
        (column.name for column in subject.test.schema.columns if column.type == "date" and column.name in subject.test.names), None
    )


def _beside(subject: Subject, name: str) -> Floats:
    """Return a column of times of the test rows as numbers, NaN where missing, in the order of the predictions."""
    values = _column(subject, name)
    if values.dtype.kind == "M":
        return np.asarray(np.where(np.isnat(values), np.nan, values.astype("datetime64[us]").astype(np.int64).astype(np.float64)))
    return np.asarray(values, np.float64)


def _column(subject: Subject, name: str) -> Array:
    """Return a stored column of the test rows in the order of the predictions."""
    return np.asarray(subject.test.column(name)[subject.test.places(subject.said["test"].row_id)])
