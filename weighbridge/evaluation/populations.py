"""Populations whose true metrics are known: what the controls of the evaluation draw their rows from.

Rows are independent (or in groups, where a function says so) and nothing is forced on a sample: one that fixes a row of each class
has less spread than its population, and an interval that is right then looks too wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.evaluation.results import plain_values
from weighbridge.storage.seeds import rng

LARGE = 400_000  # rows that stand for the population: the standard error of a share is then under 0.0008

Population = Callable[[int, np.random.Generator], Predictions]


def ids(n: int) -> Array:
    """Return row ids whose order is that of the rows."""
    return np.char.zfill(np.arange(n).astype(str), 7)


def two_classes(distance: float = 1.2, share: float = 0.4) -> Population:
    """A score that is normal in both classes, at `distance` apart; the stated probability is the true one. Draws both classes."""

    def draw(n: int, random: np.random.Generator) -> Predictions:
        target = (random.random(n) < share).astype(int)
        while not 0 < target.sum() < n:  # 2 of 10 million samples of 30 rows
            target = (random.random(n) < share).astype(int)
        logit = distance * (random.normal(size=n) + distance * target) - distance**2 / 2 + math.log(share / (1 - share))
        p = 1 / (1 + np.exp(-logit))
        return Predictions(kind="category", row_id=ids(n), target=target, output=np.stack([1 - p, p], axis=1), classes=("no", "yes"))

    return draw


def many_classes(classes: int, skill: float) -> Population:
    """Classes of equal share, found by noisy logits; the stated probability is the true one."""

    def draw(n: int, random: np.random.Generator) -> Predictions:
        target = random.integers(0, classes, n)
        logits = skill * np.eye(classes)[target] + random.normal(size=(n, classes))  # the posterior of a unit normal is a softmax of it
        stated = np.exp(skill * (logits - logits.max(axis=1, keepdims=True)))
        names = tuple(f"c{code}" for code in range(classes))
        return Predictions(kind="category", row_id=ids(n), target=target, output=stated / stated.sum(axis=1, keepdims=True), classes=names)

    return draw


def surer(population: Population) -> Population:
    """The same rows with the square of each probability, normed again: stated by a model that is twice as sure as it may be."""

    def draw(n: int, random: np.random.Generator) -> Predictions:
        rows = population(n, random)
        squares = rows.output**2
        return replace(rows, output=squares / squares.sum(axis=1, keepdims=True))

    return draw


def stated_above(off: float) -> Population:
    """The stated probability is `off` above the true one everywhere; at 0 it is calibrated."""

    def draw(n: int, random: np.random.Generator) -> Predictions:
        true = random.uniform(0.1, 0.8, n)
        target = (random.random(n) < true).astype(int)
        output = np.stack([1 - true - off, true + off], axis=1)
        return Predictions(kind="category", row_id=ids(n), target=target, output=output, classes=("no", "yes"))

    return draw


def errors(spread: float = 1.0, *, freedom: float = math.inf) -> Population:
    """Numbers with normal targets; errors are normal, or t with `freedom`, of standard deviation `spread`."""

    def draw(n: int, random: np.random.Generator) -> Predictions:
        target = random.normal(size=n)
        noise = random.normal(size=n)
        if math.isfinite(freedom):
            noise = random.standard_t(freedom, n) * math.sqrt((freedom - 2) / freedom)
        return Predictions(kind="number", row_id=ids(n), target=target, output=target + spread * noise)

    return draw


def clustered(size: int, low: float = 0.4, high: float = 0.9) -> Population:
    """Two classes in groups of `size` rows; each group has its own rate of right answers, uniform between `low` and `high`."""

    def draw(n: int, random: np.random.Generator) -> Predictions:
        group = np.arange(n) // size
        right = random.random(n) < random.uniform(low, high, group.max() + 1)[group]
        target = random.integers(0, 2, n)
        output = np.eye(2)[np.where(right, target, 1 - target)]
        return Predictions(kind="category", row_id=ids(n), target=target, output=output, classes=("no", "yes"), group=group)

    return draw


def label_sets(noise: float = 0.35) -> Population:
    """Sets of three labels of equal rarity; what is stated is the truth with uniform noise, right on its side of 0.5 for most labels."""

    def draw(n: int, random: np.random.Generator) -> Predictions:
        target = random.random((n, 3)) < 0.4
        output = np.clip(np.where(target, 0.7, 0.3) + noise * random.normal(size=(n, 3)), 0.01, 0.99)
        return Predictions(kind="set", row_id=ids(n), target=target, output=output, classes=("x", "y", "z"))

    return draw


@cache
def truths(population: Population) -> dict[str, float]:
    """Return the metrics of a large sample."""
    return plain_values(population(LARGE, rng(0, "population")))


def true_f1_of_first_class(population: Population) -> float:
    """Return the F1 of class 0 in a large sample."""
    large = population(LARGE, rng(0, "population"))
    hit, given = large.target == 0, large.chosen == 0
    return float(2 * (hit & given).sum() / (hit.sum() + given.sum()))


def jittered(rate: float, n: int, random: np.random.Generator) -> float:
    """Return a rate within one standard error of `rate`: counts come in steps, so coverage at one exact rate is an accident of them."""
    half = math.sqrt(rate * (1 - rate) / n)
    return float(random.uniform(max(rate - half, 0.0), min(rate + half, 1.0)))


def weighted_squares(bins: Array, gap: Floats, weights: Floats) -> Floats:
    """Return the plain (biased) squared calibration error of each row of weights [R, n]: the naive way, for planted controls."""
    matrix = np.eye(int(bins.max()) + 1)[bins]
    mass, sums = weights @ matrix, weights @ (matrix * gap[:, None])
    squares = np.divide(sums**2, mass, out=np.zeros_like(sums), where=mass > 0)
    return np.asarray(squares.sum(axis=1) / weights.sum(axis=1))
