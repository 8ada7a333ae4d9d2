"""Which keys give labels that can not be trusted: how often each disagrees with the model, with other keys, and how many it sends.

A key is held against all the others, never against itself. How often others disagree is taken in the strata of what the model said and how
sure it was, so that a key with harder cases is not suspected for them; keys differ between each other, too, and that spread is estimated
from the others with its upper bound, so that the spread of honest people is not called a lie. The tail is that of a beta-binomial; over all
keys it is corrected so that the chance of any false alarm at one look stays at the level (Holm 1979). Looking again and again is for who
looks to pay for. What three others can not tell is not told.

n labels, K keys.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.evaluation.comparison import holm
from weighbridge.evaluation.label_errors import suspects
from weighbridge.evaluation.predictions import Array, Floats, Predictions

LEVEL = 0.05
LEAST_LABELS, LEAST_OTHERS = 20, 3
SPREAD_LEVEL = 0.2  # the spread of honest keys is below the bound that is used for it with 80 %
PRIOR = 2.0  # labels of the others' mean rate that a stratum begins with
MOST_SPREAD = 0.5
TERTILES = (1 / 3, 2 / 3)


@dataclass(frozen=True, kw_only=True)
class KeyVerdict:
    """How one key stands.

    Attributes:
        hits: of n labels (those that disagree; for bursts, labels in the newest window and n of them in all).
        expected: share of hits that the others let one expect of this key's rows.
        spread: of the shares of honest keys, as intraclass correlation, at its upper bound.
        p_value: corrected for the number of keys; None where nothing can be told, and `why` says why.
    """

    key: str
    hits: int
    n: int
    expected: float | None = None
    spread: float | None = None
    p_value: float | None = None
    why: str = ""

    @property
    def suspected(self) -> bool:
        return self.p_value is not None and self.p_value <= LEVEL


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """Per key and stratum: int64 [K, S] labels and hits."""

    keys: list[str]
    labels: Array
    hits: Array


def disagreeing_keys(key: Array, hit: Array, strata: Array | None = None) -> list[KeyVerdict]:
    """Return a verdict for each key, the most suspected first: whether it disagrees more often than the others let one expect.

    key: str [n]. hit: bool [n], this label disagrees. strata: int64 [n] in what kind of case; None for one kind.
    """
    counts = _counted(key, hit, np.zeros(len(key), dtype=np.int64) if strata is None else strata)
    found = [_judged(counts, place) for place in range(len(counts.keys))]
    return _corrected(found)


def strata_of(rows: Predictions) -> Array:
    """Return int64 [n]: the class that the model chose, and in which third of its sureness (of a set: how many labels)."""
    if rows.kind == "number":
        return np.digitize(rows.output, np.quantile(rows.output, TERTILES))
    sure = rows.output.max(axis=1) if rows.kind == "category" else np.abs(rows.output - 0.5).min(axis=1)
    chosen = rows.chosen if rows.kind == "category" else rows.chosen.sum(axis=1)
    return np.asarray(chosen * 3 + np.digitize(sure, np.quantile(sure, TERTILES)), dtype=np.int64)


def against_model(rows: Predictions) -> Array:
    """Return bool [n]: the label is not what the model said; for a number, its error is among the largest tenth."""
    if rows.kind == "number":
        error = np.abs(rows.output - rows.target)
        return np.asarray(error > np.quantile(error, 0.9))
    wrong = rows.chosen != rows.target
    return np.asarray(wrong.any(axis=1) if rows.kind == "set" else wrong)


def disputes(events: Iterable[Mapping[str, Any]]) -> tuple[Array, Array]:
    """Return (key, hit) of each label of an answer that another key labelled, too: whether any other said something else.

    events: with id, who and value (JSON); what one key said last of an answer is what it says.
    """
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for event in events:
        said[event["id"]][event["who"]] = json.dumps(json.loads(event["value"]))
    shared = [values for values in said.values() if len(values) > 1]
    pairs = [(who, any(other != value for other in values.values())) for values in shared for who, value in values.items()]
    return np.array([who for who, _ in pairs], dtype=object), np.array([hit for _, hit in pairs], dtype=bool)


def bursting_keys(history: Mapping[str, Sequence[int]]) -> list[KeyVerdict]:
    """Return a verdict for each key: whether its newest window (the last count) holds more labels than its earlier ones.

    By rank: where windows are alike, the newest is the largest of W + 1 with chance 1 / (W + 1), whatever their distribution. So at least
    K / level - 1 earlier windows are needed to tell anything of K keys.
    """
    found = []
    for key, counts in history.items():
        newest, earlier = counts[-1], counts[:-1]
        p_value = (1 + sum(one >= newest for one in earlier)) / (1 + len(earlier))
        few = len(history) / (1 + len(earlier)) > LEVEL
        why = f"{len(earlier)} earlier windows are too few to judge one of {len(history)} keys" if few else ""
        found.append(
            KeyVerdict(
                key=key,
                hits=newest,
                n=sum(counts),
                expected=float(np.mean(earlier)) if len(earlier) else None,
                p_value=None if few else p_value,
                why=why,
            )
        )
    return _corrected(found)


def doubtful_labels(rows: Predictions) -> Array:
    """Return ids of rows whose label is probably wrong by confident learning, the surest first; str [k].

    The model did not learn from these rows, so its probabilities are out-of-sample. Raises DependencyError without cleanlab.
    """
    if rows.kind != "category":
        return np.empty(0, dtype=str)
    return np.asarray(rows.row_id[suspects(rows.output, rows.target)])


def _counted(key: Array, hit: Array, strata: Array) -> _Counts:
    keys, key_places = np.unique(np.asarray(key).astype(str), return_inverse=True)
    kinds, stratum_places = np.unique(strata, return_inverse=True)
    labels = np.zeros((len(keys), len(kinds)), dtype=np.int64)
    hits = np.zeros_like(labels)
    np.add.at(labels, (key_places, stratum_places), 1)
    np.add.at(hits, (key_places, stratum_places), np.asarray(hit, dtype=np.int64))
    return _Counts(keys=keys.tolist(), labels=labels, hits=hits)


def _judged(counts: _Counts, place: int) -> KeyVerdict:
    """Return the verdict of a key, its p-value not corrected yet."""
    n, hits = int(counts.labels[place].sum()), int(counts.hits[place].sum())
    others = np.flatnonzero((counts.labels.sum(axis=1) >= LEAST_LABELS) & (np.arange(len(counts.keys)) != place))
    plain = KeyVerdict(key=counts.keys[place], hits=hits, n=n)
    if n < LEAST_LABELS:
        return _untold(plain, f"it gave {n} labels, fewer than {LEAST_LABELS}")
    if len(others) < LEAST_OTHERS:
        return _untold(plain, f"{len(others)} other keys gave {LEAST_LABELS} labels; {LEAST_OTHERS} are needed to know how keys differ")
    labels, struck = counts.labels[others], counts.hits[others]
    rates = _stratum_rates(labels, struck)
    expected = float(counts.labels[place] @ rates / n)
    spread = spread_bound(struck.sum(axis=1), labels.sum(axis=1), labels @ rates / labels.sum(axis=1))
    uncertain = min(spread * (1 + 1 / len(others)) + _uncertainty(counts.labels[place] / n, rates, labels.sum(axis=0)), MOST_SPREAD)
    return KeyVerdict(
        key=plain.key, hits=hits, n=n, expected=expected, spread=spread, p_value=beta_binomial_tail(hits, n, expected, uncertain)
    )  # fmt: skip


def _untold(plain: KeyVerdict, why: str) -> KeyVerdict:
    return KeyVerdict(key=plain.key, hits=plain.hits, n=plain.n, why=why)


def _stratum_rates(labels: Array, hits: Array) -> Floats:
    """Return float64 [S]: the others' share of hits in each stratum, drawn towards their mean where it has few labels."""
    mean = (hits.sum() + 0.5) / (labels.sum() + 1)
    return np.asarray((hits.sum(axis=0) + PRIOR * mean) / (labels.sum(axis=0) + PRIOR))


def _uncertainty(shares: Floats, rates: Floats, labels: Array) -> float:
    """Return the variance of the expected share, from the others' labels in each stratum, over that of a single label."""
    mean = float(shares @ rates)
    variance = float((shares**2 * rates * (1 - rates) / (labels + PRIOR)).sum())
    return variance / max(mean * (1 - mean), 1e-12)


def spread_bound(hits: Array, n: Array, expected: Floats) -> float:
    """Return the upper bound of the spread between keys: the intraclass correlation at which their sum of squares would be this small
    with 20 % chance.

    The sum of squares over its variance n e (1 - e) (1 + (n - 1) spread) follows chi-square with K - 1 degrees of freedom, because the
    expected shares are the keys' own mean.
    """
    from scipy.stats import chi2

    squares = (hits - n * expected) ** 2 / np.maximum(n * expected * (1 - expected), 1e-12)
    least = float(chi2.ppf(SPREAD_LEVEL, len(hits) - 1))
    low, high = 0.0, MOST_SPREAD
    if float(squares.sum()) <= least:
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if float((squares / (1 + (n - 1) * middle)).sum()) > least else (low, middle)
    return high


def beta_binomial_tail(hits: int, n: int, mean: float, spread: float) -> float:
    """Return the chance of at least so many hits in n with this mean; `spread` is the intraclass correlation, 1 / (a + b + 1)."""
    from scipy.stats import betabinom, binom

    mean = min(max(mean, 1e-9), 1 - 1e-9)
    if spread < 1e-9:
        return float(binom.sf(hits - 1, n, mean))
    weight = 1 / spread - 1
    return float(betabinom.sf(hits - 1, n, mean * weight, (1 - mean) * weight))


def _corrected(found: Sequence[KeyVerdict]) -> list[KeyVerdict]:
    told = [one for one in found if one.p_value is not None]
    corrected = holm([one.p_value for one in told if one.p_value is not None])
    judged = [
        KeyVerdict(key=one.key, hits=one.hits, n=one.n, expected=one.expected, spread=one.spread, p_value=p_value)
        for one, p_value in zip(told, corrected, strict=True)
    ]
    return [*sorted(judged, key=lambda one: (one.p_value, one.key)), *(one for one in found if one.p_value is None)]
