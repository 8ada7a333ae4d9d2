"""What happened to a column that moved: is the input broken (units, missing, constant, cut off, unknown names), or has the world changed?

A broken input has a cause outside the model's world and a repair that is not training; a changed world may need a new model. Each cause is
a rule on the moved values beside the contract's bins. No rule fires: the world has changed, as far as one can see. n values.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.findings import Message
from weighbridge.runtime.contract import ColumnSketch, Histogram
from weighbridge.runtime.traits import is_known

Cause = Literal["unit", "missing", "constant", "clipped", "new_value", "world"]
BROKEN, CHANGED = "the input is broken: ", "the world has changed: "
LARGEST, SMALLEST = (f"{{share}} of rows hold its {end} value, {{value}}" for end in ("largest", "smallest"))
LEAST_ROWS = 20
UNITS: dict[str, tuple[float, float]] = {  # old = (new - shift) / scale, by what turned old into new
    **{f"x {scale:g}": (scale, 0.0) for scale in (10, 100, 1000, 10_000, 1e6, 12, 60, 3600, 24, 7)},
    **{f"/ {scale:g}": (1 / scale, 0.0) for scale in (10, 100, 1000, 10_000, 1e6, 12, 60, 3600, 24, 7)},
    "inch -> cm": (2.54, 0.0), "cm -> inch": (1 / 2.54, 0.0), "mile -> km": (1.609344, 0.0), "km -> mile": (1 / 1.609344, 0.0),
    "lb -> kg": (0.45359237, 0.0), "kg -> lb": (1 / 0.45359237, 0.0), "ft -> m": (0.3048, 0.0), "m -> ft": (1 / 0.3048, 0.0),
    "°C -> °F": (1.8, 32.0), "°F -> °C": (1 / 1.8, -32 / 1.8), "°C -> K": (1.0, 273.15), "K -> °C": (1.0, -273.15), "sign": (-1.0, 0.0),
}  # fmt: skip
CLEARLY = 0.5  # a unit must take off at least half of the distance, and leave no more than FIT
FIT = 0.15
MANY = 0.05  # share of rows that is worth a cause
CONSTANT = 0.98


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The likeliest cause of a column's move, in words; `broken` for one that is repaired where the input comes from."""

    column: str
    cause: Cause
    words: Message
    n: int

    @property
    def broken(self) -> bool:
        return self.cause not in ("world", "new_value")

    @property
    def said(self) -> Message:
        """The words with what they mean before them."""
        return Message((BROKEN if self.broken else CHANGED) + self.words.template, **self.words.values)


def diagnose(sketch: ColumnSketch, column: Array) -> Diagnosis:
    """Return what happened to the canonical values [n] of a column that is known to have moved."""
    known = is_known(column)
    n, missing = len(column), float(1 - known.mean()) if len(column) else 0.0
    expected = sketch.missing / max(sketch.rows, 1)
    made = _Made(sketch.name, n)
    if n < LEAST_ROWS:
        return made("world", Message("too few rows to say what changed"))
    if missing - expected > MANY:
        return made("missing", Message("missing in {share} of rows, expected {expected}", share=_share(missing), expected=_share(expected)))
    values = column[known]
    if sketch.type == "number" and len(values) and "value" in sketch.traits:
        return _number(made, sketch.traits["value"], np.asarray(values, dtype=np.float64))
    if sketch.type == "category" and len(values) and sketch.values is not None:
        return _category(made, sketch, values)
    return made("world", Message("the distribution of its values is another"))


@dataclass(frozen=True)
class _Made:
    column: str
    n: int

    def __call__(self, cause: Cause, words: Message) -> Diagnosis:
        return Diagnosis(column=self.column, cause=cause, words=words, n=self.n)


def _number(made: _Made, expected: Histogram, values: Floats) -> Diagnosis:
    value, share = _commonest(values)
    if share >= CONSTANT and expected.counts[int(expected.places(np.array([value]))[0])] < CONSTANT * expected.n:
        return made("constant", Message("every row holds {value}", value=value))
    unit = unit_change(expected, values)
    if unit is not None:
        return made("unit", Message("fits what was expected when its unit is changed back: {unit}", unit=unit))
    for end, template in ((float(values.max()), LARGEST), (float(values.min()), SMALLEST)):
        piled = float((values == end).mean())
        usual = expected.counts[int(expected.places(np.array([end]))[0])] / max(expected.n, 1)
        inside = expected.edges and expected.edges[0] < end < expected.edges[-1]
        if inside and piled > max(MANY, 2 * usual):
            return made("clipped", Message(template, share=_share(piled), value=end))
    low, middle, high = (float(one) for one in np.quantile(values, [0.25, 0.5, 0.75]))
    before = quantiles(expected, np.array([0.25, 0.5, 0.75]))
    words = Message(
        "median {now}, was {was}; middle half {low} to {high}, was {was_low} to {was_high}",
        now=middle, was=float(before[1]), low=low, high=high, was_low=float(before[0]), was_high=float(before[2]),
    )  # fmt: skip
    return made("world", words)


def _category(made: _Made, sketch: ColumnSketch, values: Array) -> Diagnosis:
    assert sketch.values is not None
    counts = Counter(values.tolist())
    name, most = counts.most_common(1)[0]
    if most >= CONSTANT * len(values) and sketch.values.counts.get(name, 0) < CONSTANT * (sketch.rows - sketch.missing):
        return made("constant", Message("every row holds {value}", value=name))
    foreign = {one: count for one, count in counts.items() if one not in sketch.values.counts}
    usual = sketch.values.other / max(sketch.rows - sketch.missing, 1)
    share = sum(foreign.values()) / len(values)
    if share - usual > MANY:
        words = Message("{share} of rows hold values that were rare or unknown, most of all {value}", share=_share(share),
                        value=max(foreign, key=lambda one: foreign[one]))  # fmt: skip
        return made("new_value", words)
    return made("world", Message("the mix of its values is another"))


def unit_change(expected: Histogram, values: Floats) -> str | None:
    """Return the change of unit after which the values fit the expected histogram (total variation), or None where none does clearly."""
    before = distance(expected, values)
    found = {name: distance(expected, (values - shift) / scale) for name, (scale, shift) in UNITS.items()}
    best = min(found, key=lambda name: found[name])
    noise = 0.8 * np.sqrt(len(expected.counts) / max(len(values), 1))  # about what a sample of this size shows without any change
    return best if found[best] <= min(CLEARLY * before, FIT + noise) and before > FIT + noise else None


def distance(expected: Histogram, values: Floats) -> float:
    """Total variation between the shares of the bins: 0 alike, 1 nothing in common."""
    now = np.bincount(expected.places(values), minlength=len(expected.counts)) / max(len(values), 1)
    return float(np.abs(now - np.array(expected.counts) / max(expected.n, 1)).sum() / 2)


def quantiles(expected: Histogram, shares: Floats) -> Floats:
    """Return the values below which these shares of the reference lie, read along a line within a bin; the ends for the open bins."""
    if not expected.edges:
        return np.zeros(len(shares))
    below = np.cumsum(expected.counts)[:-1] / max(expected.n, 1)
    return np.asarray(np.interp(shares, below, np.array(expected.edges)))


def _commonest(values: Floats) -> tuple[float, float]:
    found, counts = np.unique(values, return_counts=True)
    return float(found[counts.argmax()]), float(counts.max() / len(values))


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"
