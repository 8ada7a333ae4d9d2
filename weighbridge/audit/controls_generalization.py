"""Controls of the audit of generalization: a fall with time, a group that does worse, labels that leak through what was made of them."""

from __future__ import annotations

import numpy as np

from weighbridge.audit import shift
from weighbridge.audit.generalization import ALARM, FALL
from weighbridge.audit.shuffled import by_chance
from weighbridge.controls import control
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.storage.seeds import rng

TIME, GROUP, SHUFFLED = "audit.generalization.time", "audit.generalization.group", "audit.generalization.shuffled"
SHUFFLES = 199  # of a control: enough for a p-value of one in two hundred


def hits(n: int, rates: Floats | float, random: np.random.Generator) -> Floats:
    """Return scores of rows that are right with these rates."""
    return (random.random(n) < rates).astype(np.float64)


@control(TIME, "planted", "accuracy falls from 0.95 to 0.75 over 600 rows", trials=300, low=0.9)
def fall_is_found(seed: int) -> bool:
    random = rng(seed, "control", TIME, "fall")
    when = random.permutation(600).astype(np.float64)
    return shift.trend(hits(600, 0.95 - 0.2 * when / 599, random), when).interval[1] < -FALL


@control(TIME, "clean", "the interval holds the slope of a fall from 0.9 to 0.8 over 600 rows", trials=1000, low=0.94, high=0.96)
def slope_is_held(seed: int) -> bool:
    random = rng(seed, "control", TIME, "slope")
    when = random.permutation(600).astype(np.float64)
    low, high = shift.trend(hits(600, 0.9 - 0.1 * when / 599, random), when).interval
    return low <= -0.1 <= high


@control(TIME, "clean", "no fall: days of five rows that do well or badly together, 400 rows", trials=1000, low=0.97)
def days_are_no_fall(seed: int) -> bool:
    random = rng(seed, "control", TIME, "days")
    rates = np.repeat(np.clip(random.normal(0.85, 0.1, 80), 0, 1), 5)
    return not shift.trend(hits(400, rates, random), np.arange(400.0)).interval[1] < -FALL


def grouped(worst: float, random: np.random.Generator) -> shift.Apart | None:
    group = np.repeat(np.arange(10), 60)
    rates = np.where(group == 3, worst, 0.9)
    return shift.lowest_group(hits(600, rates, random), group.astype(str), shares=True)


@control(GROUP, "planted", "one of ten groups of 60 rows is right in 0.6, the others in 0.9", trials=300, low=0.9)
def group_is_found(seed: int) -> bool:
    found = grouped(0.6, rng(seed, "control", GROUP, "planted"))
    return found is not None and found.interval[1] < -FALL and found.name == "3"


@control(GROUP, "clean", "ten groups of 60 rows, all right in 0.9", trials=1000, low=0.95)
def groups_are_alike(seed: int) -> bool:
    found = grouped(0.9, rng(seed, "control", GROUP, "clean"))
    return found is not None and not found.interval[1] < -FALL


def answered(chosen: Array, target: Array) -> Predictions:
    """Return choices among three classes beside the truth."""
    ids = np.array([f"{row:05d}" for row in range(len(target))])
    return Predictions(kind="category", row_id=ids, target=target, output=np.eye(3)[chosen], classes=("a", "b", "c"))


@control(
    SHUFFLED, "planted", "a column made of the labels of all rows, held-out ones too: the mean label of three rows", trials=300, low=0.95
)
def leak_is_found(seed: int) -> bool:
    """Labels are shuffled before the column is made: what it tells of a held-out label is its leak and nothing else."""
    random = rng(seed, "control", SHUFFLED, "leak")
    target, place = random.integers(0, 3, 600), random.integers(0, 200, 600)  # which rows share a value of the column
    counts = np.zeros((200, 3))
    np.add.at(counts, (place, target), 1)
    held_out = np.arange(600) < 200
    said = counts[place[held_out]].argmax(axis=1)
    return by_chance(answered(said, target[held_out]), seed, SHUFFLES).p_value < ALARM


@control(SHUFFLED, "clean", "the same column made of the labels of training rows only", trials=300, low=0.985)
def no_leak_is_passed(seed: int) -> bool:
    random = rng(seed, "control", SHUFFLED, "clean")
    target, place = random.integers(0, 3, 600), random.integers(0, 200, 600)
    held_out, counts = np.arange(600) < 200, np.zeros((200, 3))
    np.add.at(counts, (place[~held_out], target[~held_out]), 1)
    said = counts[place[held_out]].argmax(axis=1)
    return not by_chance(answered(said, target[held_out]), seed, SHUFFLES).p_value < ALARM
