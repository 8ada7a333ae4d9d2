"""Controls of the audit of quality: labels flipped on purpose, rows far out, copies, test rows elsewhere; and clean rows of each kind."""

from __future__ import annotations

import numpy as np

from weighbridge.audit import quality_labels, quality_rows
from weighbridge.audit.fairness_gaps import difference, rate_cell
from weighbridge.audit.quality import OUTLYING, UNCOVERED, WRONG, Z
from weighbridge.controls import control
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.storage.seeds import rng

RATE, NAMED = "audit.quality.label_errors", "audit.quality.suspects"
OUTLIERS, COPIES, COVERAGE = "audit.quality.outliers", "audit.quality.copies", "audit.quality.coverage"
CLASSES, WIDTH = 4, 6


def clusters(n: int, random: np.random.Generator, apart: float = 1.6) -> tuple[Floats, Array]:
    """Return rows [n, WIDTH] of four classes around centres, and their classes."""
    centres, target = np.eye(CLASSES, WIDTH) * apart * 2, random.integers(0, CLASSES, n)
    return centres[target] + random.normal(size=(n, WIDTH)), target


def overlapping(n: int, random: np.random.Generator) -> tuple[Floats, Array]:
    """Return rows of two classes two deviations apart: 16 % of the right labels contradict the best possible answer."""
    target = random.integers(0, 2, n)
    rows = random.normal(size=(n, WIDTH))
    rows[:, 0] += 2 * target
    return rows, target


def flipped(target: Array, share: float, random: np.random.Generator, classes: int = CLASSES) -> tuple[Array, Array]:
    """Return labels of which this share is another class at random, and which are."""
    wrong = random.random(len(target)) < share
    return np.where(wrong, (target + random.integers(1, classes, len(target))) % classes, target), wrong


def said_of(rows: Floats, target: Array, seed: int, classes: int = CLASSES) -> Floats:
    return quality_labels.out_of_fold([rows], target, classes, seed)


@control(NAMED, "planted", "5 % of 1,000 labels flipped: 0.7 of them are named, and 0.7 of the named are wrong", trials=200, low=0.9)
def flips_are_named(seed: int) -> bool:
    random = rng(seed, "control", NAMED, "planted")
    rows, target = clusters(1000, random)
    labels, wrong = flipped(target, 0.05, random)
    named = quality_labels.suspects(said_of(rows, labels, seed), labels)
    right = wrong[named].sum()
    return bool(right >= 0.7 * wrong.sum() and right >= 0.7 * len(named))


@control(NAMED, "clean", "1,000 right labels: at most 1 % are named", trials=200, low=0.95)
def right_labels_pass(seed: int) -> bool:
    rows, target = clusters(1000, rng(seed, "control", NAMED, "clean"))
    return len(quality_labels.suspects(said_of(rows, target, seed), target)) <= 0.01 * len(target)


@control(RATE, "planted", "5 % of 2,000 labels flipped: told from 1 %", trials=200, low=0.9)
def flips_are_counted(seed: int) -> bool:
    random = rng(seed, "control", RATE, "planted")
    rows, target = clusters(2000, random)
    labels, _ = flipped(target, 0.05, random)
    return quality_labels.noise_rate(said_of(rows, labels, seed), labels).interval[0] > WRONG


@control(RATE, "clean", "the interval holds the share of 5 % flipped labels, 1,000 rows", trials=100, low=0.92)
def share_is_held(seed: int) -> bool:
    random = rng(seed, "control", RATE, "held")
    rows, target = clusters(1000, random, 2.5)
    labels, _ = flipped(target, 0.05, random)
    low, high = quality_labels.noise_rate(said_of(rows, labels, seed), labels).interval
    return low <= 0.05 <= high


@control(RATE, "clean", "right labels of two classes that overlap by 16 %, 2,000 rows: not told from 1 %", trials=200, low=0.95)
def overlap_is_no_error(seed: int) -> bool:
    rows, target = overlapping(2000, rng(seed, "control", RATE, "overlap"))
    return not quality_labels.noise_rate(said_of(rows, target, seed, 2), target).interval[0] > WRONG


def neighbours(rows: Floats) -> tuple[Floats, Array]:
    return quality_rows.nearest(rows.astype(np.float32), rows.astype(np.float32), itself=True)


@control(OUTLIERS, "planted", "8 of 500 rows lie 12 deviations out, each elsewhere: all are found", trials=200, low=0.95)
def far_rows_are_found(seed: int) -> bool:
    random = rng(seed, "control", OUTLIERS, "planted")
    rows = random.normal(size=(500, WIDTH))
    away = random.normal(size=(8, WIDTH))
    rows[:8] = 12 * away / np.linalg.norm(away, axis=1, keepdims=True)
    return bool(quality_rows.outliers(neighbours(rows)[0])[:8].all())


@control(OUTLIERS, "clean", "500 rows of a normal distribution: at most 1 % are called far", trials=200, low=0.95)
def normal_rows_pass(seed: int) -> bool:
    rows = rng(seed, "control", OUTLIERS, "clean").normal(size=(500, WIDTH))
    return float(quality_rows.outliers(neighbours(rows)[0]).mean()) <= OUTLYING


def texts(count: int, random: np.random.Generator) -> list[str]:
    """Return texts of thirty made-up words each."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    return [" ".join("".join(letters[random.integers(0, 26, 6)]) for _ in range(30)) for _ in range(count)]


def pairs_of_texts(told: list[str]) -> Array:
    """Return the near copies among texts, every pair proposed."""
    place = np.tile(np.arange(len(told)), (len(told), 1))
    alike = quality_rows.alike_texts(told)
    return quality_rows.near_pairs(place, lambda pairs: (pairs[:, 0] != pairs[:, 1]) & alike(pairs))


@control(COPIES, "planted", "5 of 25 texts with one word changed, and 10 of 300 rows with their last digits", trials=60, low=0.95)
def copies_are_found(seed: int) -> bool:
    random = rng(seed, "control", COPIES, "planted")
    told = texts(25, random)
    told += [" ".join(["changed", *text.split()[1:]]) for text in told[:5]]
    rows = random.normal(size=(300, WIDTH))
    rows[:10] = rows[10:20] + 1e-6
    found = quality_rows.near_pairs(neighbours(rows)[1], quality_rows.alike_points(rows, WIDTH))
    return len(pairs_of_texts(told)) == 5 and len(found) == 10


@control(COPIES, "clean", "25 different texts and 300 different rows: none is called a copy", trials=60, low=0.95)
def different_rows_pass(seed: int) -> bool:
    random = rng(seed, "control", COPIES, "clean")
    rows = random.normal(size=(300, WIDTH))
    found = quality_rows.near_pairs(neighbours(rows)[1], quality_rows.alike_points(rows, WIDTH))
    return not len(pairs_of_texts(texts(25, random))) and not len(found)


def claimed(test: Floats, random: np.random.Generator, seed: int) -> bool:
    """Whether it is said that test rows lie elsewhere than 900 training rows do."""
    points = quality_rows.Points(train=random.normal(size=(900, WIDTH)).astype(np.float32), test=test.astype(np.float32))
    found = quality_rows.coverage(points, seed)
    cells = rate_cell(found.far, 0), rate_cell(np.arange(found.held) < found.beyond, 1)
    return difference(*cells, Z)[0] > UNCOVERED


@control(COVERAGE, "planted", "a fifth of 300 test rows shifted by 4 deviations", trials=200, low=0.95)
def elsewhere_is_found(seed: int) -> bool:
    random = rng(seed, "control", COVERAGE, "planted")
    test = random.normal(size=(300, WIDTH))
    test[:60, 0] += 4
    return claimed(test, random, seed)


@control(COVERAGE, "clean", "300 test rows of the training rows' own distribution", trials=200, low=0.975)
def same_rows_pass(seed: int) -> bool:
    random = rng(seed, "control", COVERAGE, "clean")
    return not claimed(random.normal(size=(300, WIDTH)), random, seed)
