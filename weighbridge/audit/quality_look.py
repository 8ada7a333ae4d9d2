"""The training rows most worth a human look, ranked, each with why: a label that others contradict, a near copy with another label, a
row far from all others; where these are few, rows that others would label otherwise.

audit/worth_a_look.json holds them with a small picture, a text or the first columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weighbridge.audit.quality_sample import Sample, in_words
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.findings import Message

MOST = 20
SHARES = {"label": 12, "copies": 6, "far": 8, "doubt": 0}  # of each reason before another's turn


@dataclass(kw_only=True)
class Look:
    """A row of the sample, why it is worth a look, and the label that others say it should have ("" for none)."""

    row: int
    why: list[Message] = field(default_factory=list)
    better: str = ""
    own: float | None = None


def ranked(reasons: dict[str, list[Look]], most: int = MOST) -> list[Look]:
    """Return at most so many rows: of each reason its share first, in its order, then what is left; reasons of one row are joined."""
    found: dict[int, Look] = {}
    for part in (
        [look for name, looks in reasons.items() for look in looks[: SHARES[name]]],
        [look for name, looks in reasons.items() for look in looks[SHARES[name] :]],
    ):
        for look in part:
            if look.row in found:
                kept = found[look.row]
                kept.why += look.why
                kept.better, kept.own = kept.better or look.better, kept.own if kept.own is not None else look.own
            elif len(found) < most:
                found[look.row] = look
    return list(found.values())


def by_label(rows: Array, probabilities: Floats, target: Array, classes: Sequence[str]) -> list[Look]:
    """Return the rows whose label is suspected, in their order."""
    looks = []
    for row in rows.tolist():
        better = int(probabilities[row].argmax())
        own, other = float(probabilities[row, target[row]]), float(probabilities[row, better])
        why = Message(
            "models that did not see it say {better} with probability {p}, and its own label with {own}",
            better=classes[better], p=round(other, 3), own=round(own, 4),
        )  # fmt: skip
        looks.append(Look(row=row, why=[why], better=str(classes[better]), own=own))
    return looks


def doubted(probabilities: Floats, target: Array, named: Array) -> Array:
    """Return the rows that others would label otherwise, without those named already, the surest first. int64 [k]."""
    odds = probabilities.max(axis=1) / np.maximum(probabilities[np.arange(len(target)), target], 1e-12)
    rows = np.flatnonzero(probabilities.argmax(axis=1) != target)
    rows = rows[~np.isin(rows, named)]
    return np.asarray(rows[np.argsort(-odds[rows], kind="stable")], dtype=np.int64)


def by_copies(pairs: Array, ids: Array, labels: Sequence[str]) -> list[Look]:
    """Return the rows of pairs of near copies that carry different labels, both of them."""
    return [
        Look(row=one, why=[Message("a near copy of it, row {row}, is labelled {label}", row=str(ids[other]), label=labels[other])])
        for pair in pairs.tolist()
        for one, other in (pair, pair[::-1])
        if labels[one] != labels[other]
    ]


def by_distance(distance: Floats, far: Array) -> list[Look]:
    """Return the rows far from all others, the farthest first."""
    mean = distance.mean(axis=1)
    usual = max(float(np.median(mean)), 1e-12)
    rows = np.flatnonzero(far)
    return [
        Look(
            row=int(row),
            why=[Message("{times} times as far from its neighbours as the usual row", times=round(float(mean[row]) / usual, 1))],
        )
        for row in rows[np.argsort(-mean[rows], kind="stable")]
    ]


def by_residual(said: Floats, truth: Floats, least: float) -> list[Look]:
    """Return the rows whose number lies so many robust deviations from what others say, the farthest first."""
    apart = truth - said
    scale = max(1.4826 * float(np.median(np.abs(apart - np.median(apart)))), 1e-12)
    rows = np.flatnonzero(np.abs(apart) > least * scale)
    return [
        Look(
            row=int(row),
            why=[Message("models that did not see it say {said}, {times} usual errors away", said=float(f"{said[row]:.4g}"),
                         times=round(abs(float(apart[row])) / scale, 1))],
        )
        for row in rows[np.argsort(-np.abs(apart[rows]), kind="stable")]
    ]  # fmt: skip


def as_evidence(looks: Sequence[Look], sample: Sample, labels: Sequence[str]) -> dict[str, Any]:
    """Return the content of worth_a_look.json."""
    from weighbridge.stages.evaluation import thumbnail

    subject = sample.subject
    ids = sample.train.row_ids
    images, texts = [*subject.blocks("image"), *subject.blocks("audio")], subject.blocks("text")
    shown = [name.removeprefix("text.") for name in texts] or [] if images or texts else list(subject.encoder.columns)
    wanted = np.array([ids[look.row] for look in looks])
    raw = dict(sample.raw(shown, wanted)) if shown and len(looks) else {}
    rows = []
    for look in looks:
        name = str(ids[look.row])
        picture = thumbnail(np.asarray(sample.train.blocks[images[0]][look.row])) if images else None
        rows.append(
            {
                "row_id": name, "split": "train", "label": labels[look.row], "better": look.better, "own": look.own,
                "why": [why.to_json() for why in look.why], "thumbnail": picture, "text": in_words(raw[name]) if name in raw else None,
            }
        )  # fmt: skip
    return {"rows": rows}
