"""Which rows a label is asked for: those that would teach most, and a share drawn at random that keeps estimates honest.

Rows are chosen by how unsure the model is (of classes the margin between the two most probable, Scheffer 2001; of sets and yes-or-no labels
their entropy) times how far their features are from all rows chosen so far (farthest first, Gonzalez 1985; as a product Kirsch's and
Ash's aims in one step, without their sampling), so that a queue is not a hundred copies of one hard case.

Such rows are harder than others: their mean error says nothing of the model's. So a share of the queue is drawn at random from all the
other rows. The chosen ones are then a stratum of which every row is taken and the drawn ones stand for the rest: each row's inclusion
probability is known and stored, and `weighted_mean` (Horvitz and Thompson 1952) is unbiased for the mean of all rows. n rows, D features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.errors import UsageError
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.storage.seeds import rng

PROJECTED = 32  # features are projected to so many: distances stay within about a fifth (Johnson and Lindenstrauss 1984)
MOST_POOL = 20_000  # rows among which is chosen


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A queue: rows of the pool by their place int64 [k], the probability with which each came in, and whether it was drawn at random.

    pool: how many rows it was chosen from.
    """

    place: Array
    probability: Floats
    random: Array
    pool: int


def unsureness(output: Floats, kind: str) -> Floats:
    """Return float64 [n] in [0, 1], the more the less sure; of numbers, whose models say nothing of it, 1 for each."""
    output = np.asarray(output, dtype=np.float64)
    if kind == "number":
        return np.ones(len(output))
    if kind == "category" and output.ndim == 2 and output.shape[1] > 1:
        two = np.partition(output, -2, axis=1)[:, -2:]
        return np.asarray(1 - (two[:, 1] - two[:, 0]))
    chance = np.clip(output.reshape(len(output), -1), 1e-12, 1 - 1e-12)
    bits = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
    return np.asarray(bits.max(axis=1))


def select(score: Floats, features: Floats | None, *, rows: int, random: float, seed: int) -> Asked:
    """Return a queue of at most `rows` rows of the n, a share `random` of them drawn at random (at least one).

    score: float [n], from 0 on, how much a label would teach. features: float [n, D]; None: the score alone. Equal arguments give the
    same queue. Raises UsageError for a share outside (0, 1].
    """
    if not 0 < random <= 1:
        raise UsageError(f"a random share of {random:g} is not above 0 and at most 1", do="give for example 0.2")
    n = len(score)
    wanted = min(rows, n)
    drawn = min(max(1, math.ceil(random * wanted)), wanted)
    chosen = _farthest(np.asarray(score, dtype=np.float64), features, wanted - drawn, seed)
    rest = np.setdiff1d(np.arange(n), chosen)
    lot = rng(seed, "feedback", "select", "random").choice(rest, size=drawn, replace=False) if drawn else rest[:0]
    place = np.concatenate([chosen, lot]).astype(np.int64)
    chance = np.concatenate([np.ones(len(chosen)), np.full(len(lot), drawn / max(len(rest), 1))])
    return Asked(place=place, probability=chance, random=np.arange(len(place)) >= len(chosen), pool=n)


def weighted_mean(values: Floats, probability: Floats, pool: int) -> float:
    """Return the estimate of the mean over all rows of the pool from those that were asked for and have an answer each."""
    return float((np.asarray(values, dtype=np.float64) / probability).sum() / pool)


def projected(features: Floats, seed: int) -> Floats:
    """Return float32 [n, at most PROJECTED]: features of deviation 1, projected by a seeded matrix where there are more."""
    values = np.asarray(features, dtype=np.float32).reshape(len(features), -1)
    deviation = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    if values.shape[1] <= PROJECTED:
        return np.asarray(values)
    matrix = rng(seed, "feedback", "select", "projection").standard_normal((values.shape[1], PROJECTED)).astype(np.float32)
    return np.asarray(values @ matrix / math.sqrt(PROJECTED))


def _farthest(score: Floats, features: Floats | None, count: int, seed: int) -> Array:
    """Return `count` places: each time the row of the largest score times distance to all that were chosen."""
    if features is None or count == 0:
        return np.argsort(-score, kind="stable")[:count]
    points = projected(features, seed)
    chosen = [int(np.argmax(score))] if count else []
    nearest = np.full(len(score), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        worth = score * nearest
        worth[chosen] = -1.0
        best = int(np.argmax(worth))
        chosen.append(best)
    return np.array(chosen, dtype=np.int64)


def features_of(columns: Sequence[Any]) -> Floats:
    """Return float [n, D] of a model's encoded columns, each [n, ...]; what is ragged is left out."""
    parts = [np.asarray(one).reshape(len(one), -1) for one in columns if isinstance(one, np.ndarray) and one.dtype != object]
    return np.concatenate(parts, axis=1) if parts else np.empty((0, 0))
