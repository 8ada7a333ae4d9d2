"""Where is the model weak in service? The slices of evaluation, over labelled rows of the road: found on one half, judged on the other.

Halves by a hash of the answer's id, so a row stays on its side and looking again does not change what was found. Weakness at release is not
told apart from new weakness: the slices of the run's report say what was known then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast
from zlib import crc32

import numpy as np

from weighbridge.evaluation.predictions import Array
from weighbridge.evaluation.slice_inputs import Feature as Input
from weighbridge.evaluation.slice_inputs import FeatureKind
from weighbridge.evaluation.slices import Found, find_slices
from weighbridge.feedback.windows import Window, predictions_of
from weighbridge.findings import Finding, Message, Reference, Verdict

if TYPE_CHECKING:
    from weighbridge.preprocessing.feature import Feature

TITLE = Message("Weak slices in service")
SOURCE = "Chung 2019; Benjamini and Hochberg 1995; Benjamini and Yekutieli 2005"
KINDS = ("number", "date", "category", "set")


def weak_slices(rows: Window, columns: Mapping[str, Array], features: Sequence[Feature], *, seed: int = 0) -> Found:
    """Return the slices of labelled answers [n] in which the model is measurably worse than in the rest, corrected over all tested.

    columns: canonical inputs [n] of these very rows. Fewer than 120 labels on a side give none to test. Raises DataError without a label.
    """
    found = predictions_of(rows)
    places = {id_: place for place, id_ in enumerate(rows.id.tolist())}
    known = np.array([places[id_] for id_ in found.row_id.tolist()], dtype=np.int64)  # predictions are sorted by id
    judged = np.array([crc32(id_.encode()) % 2 == 1 for id_ in found.row_id.tolist()], dtype=bool)
    inputs = [
        _input(feature, columns[feature.column][known]) for feature in features if feature.type in KINDS and feature.column in columns
    ]
    sides = [(found.rows(np.flatnonzero(side)), [_part(one, side) for one in inputs]) for side in (~judged, judged)]
    return find_slices(*sides[0], *sides[1], seed=seed)


def slice_findings(found: Found, kind: str, command: str) -> list[Finding]:
    """Return `feedback.slice.1` and further, the weakest first, or `feedback.slice` that says that there is none."""
    if not found.slices:
        reason = Message("none of {tested} slices tested is measurably weaker than the rest", tested=found.tested)
        verdict: Verdict = "neutral" if found.tested else "unmeasured"
        reason = reason if found.tested else Message("too few labels for slices")
        value = "none found" if found.tested else None
        return [Finding(key="feedback.slice", title=TITLE, verdict=verdict, value=value, n=found.n, reason=reason, command=command)]
    unit = "" if kind == "number" else "share"
    return [
        Finding(
            key=f"feedback.slice.{place}", title=Message("Where {where}", where=", ".join(one.where)), verdict="limitation",
            value=one.score, interval=(min(one.interval[0], one.score), max(one.interval[1], one.score)),
            unit=unit, n=one.n, command=command, source=SOURCE,
            reference=Reference(name=Message("the other rows"), value=one.rest),
            reason=Message("weaker than the rest of the labelled rows"),
        )
        for place, one in enumerate(found.slices, 1)
    ]  # fmt: skip


def _input(feature: Feature, column: Array) -> Input:
    values = column
    if feature.type == "date":
        days = column.astype("datetime64[us]").astype(np.int64) / 86_400e6
        values = np.where(np.isnat(column), np.nan, days)
    numbers = feature.type in ("number", "date") and not np.isnan(values.astype(np.float64)).all()
    middle = float(np.nanmedian(values.astype(np.float64))) if numbers else 0.0
    return Input(name=feature.column, kind=cast(FeatureKind, feature.type), values=values, middle=middle)


def _part(one: Input, side: Array) -> Input:
    return Input(name=one.name, kind=one.kind, values=one.values[side], middle=one.middle)
