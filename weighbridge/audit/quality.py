"""What is wrong with the rows: labels that others contradict, rare classes that are missed, rows far from all others, near copies, test
rows that lie where no training row does; and the twenty rows most worth a human look.

audit/worth_a_look.json, audit/label_errors.json (rows that `data.clean.labels` can drop or relabel)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.audit import quality_labels, quality_look, quality_rows
from weighbridge.audit.fairness_gaps import difference, mean_cell, rate_cell
from weighbridge.audit.quality_sample import ROWS, Sample
from weighbridge.audit.registry import audit
from weighbridge.audit.shift import scores_of
from weighbridge.audit.subject import Subject
from weighbridge.errors import DependencyError
from weighbridge.evaluation.intervals import NORMAL, rate_interval
from weighbridge.evaluation.predictions import Array
from weighbridge.findings import Finding, Message, Reference, Verdict
from weighbridge.storage import write_json

NAME = "quality"
WRONG = 0.01  # share of wrong labels that is a limitation: Northcutt 2021 found 0.034 on average in ten famous test sets
OUTLYING, COPIED = 0.01, 0.01  # share of rows far from all others, or with a near copy, that is a limitation
UNCOVERED = 0.01  # by how much more than training rows themselves test rows may lie far from training rows
EVEN = 1.5  # the most frequent class may have so many times the rows of the rarest before it counts as imbalance
LEAST_OF_A_CLASS = 10  # test rows of a class for its recall to be compared
ODD = 6.0  # robust deviations of a residual from which a number is worth a look
Z = NORMAL.inv_cdf(0.975)
LABELS = Message("Share of training labels that are wrong")
COPIES = Message("Training rows that have a near copy among them")
COVERED = Message("Test rows that lie far from all training rows")
BALANCE = Message("Recall of the rarest class less that of the most frequent one")


def _seconds(subject: Subject) -> float:
    return 2.0 + 2e-3 * min(len(subject.arrays["train"]), ROWS)


@audit(NAME, Message("What is wrong with the rows"), seconds=_seconds)
def quality(subject: Subject) -> list[Finding]:
    """Return what is found in a sample of the training rows, and in test rows held against it."""
    sheet = _Sheet(subject=subject, sample=Sample.of(subject))
    reasons: dict[str, list[quality_look.Look]] = {"label": [], "copies": [], "far": [], "doubt": []}
    found = [*_labels(sheet, reasons), *_imbalance(sheet), _outliers(sheet, reasons), _copies(sheet, reasons), *_coverage(sheet)]
    return [*found, _rows(sheet, reasons)]


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """What the findings of one audit share."""

    subject: Subject
    sample: Sample

    @property
    def labels(self) -> list[str]:
        """The label of each training row of the sample in words."""
        target, feature = np.asarray(self.sample.train.target), self.subject.encoder.learnt
        if feature.kind == "category":
            return [str(feature.classes[code]) for code in target]
        if feature.kind == "number":
            return [f"{value:.6g}" for value in feature.decode(target)]
        return [", ".join(np.asarray(feature.classes)[row > 0.5]) for row in target]

    def finding(self, key: str, title: Message, **more: Any) -> Finding:
        return Finding(key=f"audit.{NAME}.{key}", title=title, command=f"{self.subject.command} --only {NAME}.{key}", **more)

    def unmeasured(self, key: str, title: Message, reason: Message) -> Finding:
        return self.subject.unmeasured(f"{NAME}.{key}", title, reason)


def _against(so: bool) -> Verdict:
    return "limitation" if so else "neutral"


def _labels(sheet: _Sheet, reasons: dict[str, list[quality_look.Look]]) -> Iterator[Finding]:
    """Yield the share of wrong labels and the rows that are named; numbers far from what others say are only listed."""
    sample, kind = sheet.sample, sheet.subject.kind
    if kind != "category":
        if kind == "number":
            reasons["label"], reasons["doubt"] = _residuals(sheet)
        reason = Message(
            "a wrong value of a target of type {kind} can not be told from a rare one; rows worth a look are listed", kind=kind
        )
        yield sheet.unmeasured("label_errors", LABELS, reason)
        return
    target, classes = np.asarray(sample.train.target), sheet.subject.encoder.learnt.classes
    counts = np.bincount(target, minlength=len(classes))
    if len(target) < quality_labels.LEAST_ROWS or (counts > 0).sum() < 2:
        yield sheet.unmeasured("label_errors", LABELS, Message("{n} training rows are too few", n=len(target)))
        return
    said = quality_labels.out_of_fold(sample.parts, target, len(classes), sheet.subject.seed, sample.group)
    rate = quality_labels.noise_rate(said, target)
    try:
        rows = quality_labels.suspects(said, target)
    except DependencyError as error:
        rows = np.empty(0, dtype=np.int64)
        yield sheet.unmeasured("suspects", Message("Training rows whose label is suspected"), Message("{why}", why=str(error)))
    names = [str(name) for name in classes]
    reasons["label"] = quality_look.by_label(rows, said, target, names)
    reasons["doubt"] = quality_look.by_label(quality_look.doubted(said, target, rows)[: quality_look.MOST], said, target, names)
    yield _rate(sheet, rate, len(target), float((said.argmax(axis=1) == target).mean()))
    yield _suspects(sheet, reasons["label"], len(target))


def _rate(sheet: _Sheet, rate: quality_labels.Rate, n: int, accuracy: float) -> Finding:
    many = rate.interval[0] > WRONG
    about = round(rate.value * len(sheet.subject.splits.train))
    reason = (
        Message("more than {limit}: about {rows} training rows; those named are worth a look", limit=WRONG, rows=about)
        if many
        else Message("not measurably above {limit}; about {rows} training rows", limit=WRONG, rows=about)
    )
    return sheet.finding(
        "label_errors", LABELS, verdict=_against(many), value=rate.value, interval=rate.interval, unit="share", n=rate.n, reason=reason,
        evidence=("audit/label_errors.json",),
        method=Message(
            "among {n} rows, the {surest} that models which did not see them are surest of (accuracy {accuracy}): the share with another "
            "label. Too large where classes overlap even there, blind to errors where classes meet",
            n=n, surest=rate.n, accuracy=round(accuracy, 3),
        ),
        source="Menon 2015; Northcutt 2021",
    )  # fmt: skip


def _suspects(sheet: _Sheet, looks: list[quality_look.Look], n: int) -> Finding:
    ids, labels = sheet.sample.train.row_ids, sheet.labels
    named = [{"row_id": str(ids[look.row]), "label": labels[look.row], "better": look.better, "own": look.own} for look in looks]
    write_json(sheet.subject.place / "label_errors.json", {"rows": named})
    return sheet.finding(
        "suspects", Message("Training rows whose label is suspected"), value=len(looks), interval=None, unit="rows", n=n,
        reason=Message("data.clean.labels can drop or relabel them; look at them first"), evidence=("audit/label_errors.json",),
        method=Message("confident learning on out-of-fold probabilities, at most as many as are estimated to be wrong"),
        source="Northcutt 2021",
    )  # fmt: skip


def _residuals(sheet: _Sheet) -> tuple[list[quality_look.Look], list[quality_look.Look]]:
    """Return the rows whose number lies far from what forests say that did not see them, and those that follow."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    target, feature = np.asarray(sheet.sample.train.target), sheet.subject.encoder.learnt
    if len(target) < quality_labels.LEAST_ROWS:
        return [], []
    model = ExtraTreesRegressor(quality_labels.TREES, min_samples_leaf=2, random_state=sheet.subject.seed % 2**31)
    said = cross_val_predict(model, sheet.sample.points.train, target, cv=KFold(quality_labels.FOLDS, shuffle=True, random_state=0))
    found = quality_look.by_residual(feature.decode(said), feature.decode(target), 0.0)
    far = quality_look.by_residual(feature.decode(said), feature.decode(target), ODD)
    return far, found[len(far) :][: quality_look.MOST]


def _imbalance(sheet: _Sheet) -> Iterator[Finding]:
    """Yield whether the rarest class is missed more often than the most frequent one."""
    said = sheet.subject.said["test"]
    if said.kind != "category":
        yield sheet.unmeasured("imbalance", BALANCE, Message("the target is of type {kind}, not a class", kind=said.kind))
        return
    counts = np.bincount(np.asarray(sheet.subject.arrays["train"].target), minlength=len(said.classes))
    tested = np.bincount(said.target, minlength=len(said.classes))
    known = [code for code in range(len(counts)) if counts[code] and tested[code] >= LEAST_OF_A_CLASS]
    if len(known) < 2:
        yield sheet.unmeasured("imbalance", BALANCE, Message("fewer than two classes have {least} test rows", least=LEAST_OF_A_CLASS))
        return
    rare, common = min(known, key=lambda code: (counts[code], code)), max(known, key=lambda code: (counts[code], -code))
    ours, theirs = (rate_cell(said.chosen[said.target == code] == code, place) for place, code in enumerate((rare, common)))
    value, interval, times = ours.value - theirs.value, difference(ours, theirs, Z), float(counts[common] / counts[rare])
    missed = interval[1] < 0 and times >= EVEN
    words: dict[str, Any] = {"name": said.classes[rare], "other": said.classes[common], "times": round(times, 1)}
    reason = (
        Message("{name} is missed more often than {other}, which has {times} times its training rows", **words)
        if missed
        else Message("{name} against {other}, which has {times} times its training rows", **words)
    )
    yield sheet.finding(
        "imbalance", BALANCE, verdict=_against(missed), value=value, interval=interval, unit="share", n=ours.n + theirs.n,
        reason=reason, method=Message("difference of two rates of test rows, Newcombe's interval"), source="Newcombe 1998",
    )  # fmt: skip


def _outliers(sheet: _Sheet, reasons: dict[str, list[quality_look.Look]]) -> Finding:
    distance, _ = sheet.sample.near
    far = quality_rows.outliers(distance)
    reasons["far"] = quality_look.by_distance(distance, far)
    hits, n = int(far.sum()), len(far)
    interval = rate_interval(hits, n)
    many = interval[0] > OUTLYING
    return sheet.finding(
        "outliers", Message("Training rows far from all others"), verdict=_against(many), value=hits / n,
        interval=interval, unit="share", n=n, evidence=("audit/worth_a_look.json",),
        reason=Message("more than {limit} of them: look at them, they pull at what is learnt", limit=OUTLYING) if many
        else Message("not measurably more than {limit}", limit=OUTLYING),
        method=Message("mean distance to the {k} nearest encoded rows beyond Tukey's outer fence", k=quality_rows.NEIGHBOURS),
        source="Ramaswamy 2000; Tukey 1977",
    )  # fmt: skip


def _copies(sheet: _Sheet, reasons: dict[str, list[quality_look.Look]]) -> Finding:
    alike, kind = sheet.sample.alike()
    pairs = quality_rows.near_pairs(sheet.sample.near[1], alike)
    labels = sheet.labels
    reasons["copies"] = quality_look.by_copies(pairs, sheet.sample.train.row_ids, labels) if sheet.subject.kind == "category" else []
    hits, n = len(np.unique(pairs)), len(sheet.sample.train)
    interval, apart = rate_interval(hits / 2, n / 2), sum(labels[one] != labels[other] for one, other in pairs.tolist())
    many = interval[0] > COPIED and kind != "table"
    method = {
        "text": Message("the nearest {k} rows of each, Jaccard of their runs of characters 0.8 or more; interval of pairs",
                        k=quality_rows.NEIGHBOURS),
        "image": Message("the nearest {k} rows of each, correlation of thumbnails 0.995 or more; interval of pairs",
                         k=quality_rows.NEIGHBOURS),
        "table": Message("the nearest {k} rows of each, equal but for last digits; of few values rows are alike by chance",
                         k=quality_rows.NEIGHBOURS),
    }[kind]  # fmt: skip
    return sheet.finding(
        "copies", COPIES, verdict=_against(many), value=hits / n, interval=interval, unit="share", n=n,
        reason=Message("{pairs} pairs, {apart} of them with different labels; copies among rows that were not looked at are not counted",
                       pairs=len(pairs), apart=apart),
        evidence=("audit/worth_a_look.json",), method=method, source="Broder 1997; Zauner 2010",
    )  # fmt: skip


def _coverage(sheet: _Sheet) -> Iterator[Finding]:
    """Yield how many test rows lie far from the training rows, against training rows kept apart, and how they are answered."""
    found = quality_rows.coverage(sheet.sample.points, sheet.subject.seed)
    hits, n = int(found.far.sum()), len(found.far)
    own = found.beyond / max(found.held, 1)
    test, train = rate_cell(found.far, 0), rate_cell(np.arange(found.held) < found.beyond, 1)
    low, high = difference(test, train, Z)
    many = low > UNCOVERED
    yield sheet.finding(
        "coverage", COVERED, verdict=_against(many), value=hits / n, interval=rate_interval(hits, n), unit="share", n=n,
        reference=Reference(name=Message("training rows kept apart"), value=own, difference=hits / n - own,
                            difference_interval=(low, high)),
        reason=Message("more than among training rows by over {limit}: the test rows are others", limit=UNCOVERED) if many
        else Message("not measurably more than among training rows, by over {limit}", limit=UNCOVERED),
        method=Message("mean distance to the {k} nearest training rows beyond what 95 % of training rows kept apart have",
                       k=quality_rows.NEIGHBOURS),
        source="Ramaswamy 2000",
    )  # fmt: skip
    yield _far(sheet, found.far)


def _far(sheet: _Sheet, far: Array) -> Finding:
    said = sheet.subject.said["test"]
    title = Message("Score on test rows far from training rows, less that on the others")
    score = scores_of(said)[sheet.sample.tested]
    if min(far.sum(), (~far).sum()) < LEAST_OF_A_CLASS:
        return sheet.unmeasured("far_rows", title, Message("{n} test rows lie far from training rows: too few", n=int(far.sum())))
    make = rate_cell if said.kind == "category" else mean_cell
    ours, theirs = (make(score[side] if said.kind != "category" else score[side] == 1, place) for place, side in enumerate((far, ~far)))
    interval = difference(ours, theirs, Z)
    worse = interval[1] < 0
    return sheet.finding(
        "far_rows", title, verdict=_against(worse), value=ours.value - theirs.value, interval=interval,
        unit="share" if said.kind != "number" else "", n=ours.n,
        reason=Message("it is worse where it has seen little") if worse else Message("not measurably worse where it has seen little"),
        method=Message("difference of the mean scores of two sets of test rows (numbers: minus the absolute error)"),
        source="Newcombe 1998",
    )  # fmt: skip


def _rows(sheet: _Sheet, reasons: dict[str, list[quality_look.Look]]) -> Finding:
    counts = {name: len({look.row for look in looks}) for name, looks in reasons.items()}
    looks = quality_look.ranked(reasons)
    write_json(sheet.subject.place / "worth_a_look.json", quality_look.as_evidence(looks, sheet.sample, sheet.labels))
    return sheet.finding(
        "rows", Message("Training rows most worth a human look"), value=len(looks), unit="rows", n=len(sheet.sample.train),
        reason=Message("by their label {label}, by a near copy with another label {copies}, far from all others {far}; then those in doubt",
                       label=counts["label"], copies=counts["copies"], far=counts["far"]),
        method=Message("ranked by each reason, shown below the evidence"), evidence=("audit/worth_a_look.json",),
    )  # fmt: skip
