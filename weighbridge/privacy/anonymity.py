"""How many rows share what an outsider may know of them: k-anonymity, l-diversity, the risk of being found again, how to lower it.

Classes are rows that are equal in all quasi-identifiers. k: rows of the smallest class (Samarati 2001; Sweeney 2002). l: different values
of the sensitive column in the class with the fewest (distinct l-diversity, Machanavajjhala 2007). Risks (El Emam 2013): the prosecutor
knows that a person is among the rows; the marketer wants to find as many as possible again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.privacy.coarsening import entropy
from weighbridge.storage.seeds import rng

MOST_TELLING = 20_000
SHUFFLES = 3


@dataclass(frozen=True, kw_only=True)
class Anonymity:
    """What n rows leave an outsider to find.

    Attributes:
        k, l: rows of the smallest class, and values of the sensitive column in the least diverse one.
        classes: how many different combinations there are.
        unique: share of rows that are alone in their class.
        at_risk: share of rows in classes under the k that was asked for (prosecutor risk above 1 / k).
        prosecutor: the highest chance of finding a row again: 1 / k.
        marketer: the share of rows that would be found again, guessing within each class: classes / rows.
        told: share of rows whose class has one value of the sensitive column only: it is told without being found.
    """

    k: int
    l: int  # noqa: E741 - its name in the field
    n: int
    classes: int
    unique: float
    at_risk: float
    prosecutor: float
    marketer: float
    told: float


@dataclass(frozen=True, kw_only=True)
class Climbed:
    """The rung of each column, the rows that must go (bool [n]), and the share of each column's bits that is left."""

    rungs: tuple[int, ...]
    suppressed: np.ndarray
    kept_bits: tuple[float, ...]


def classes_of(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return the class of each row as int64 [n], from codes of the quasi-identifiers [n] each."""
    codes = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        codes = np.unique(codes * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1].astype(np.int64)
    return codes


def measure(columns: Sequence[np.ndarray], sensitive: np.ndarray | None, k: int) -> Anonymity:
    """Return what the rows leave to find; `sensitive`: codes [n], None where there is no such column (l is then 0).

    Raises ValueError where there is no row.
    """
    if not len(columns[0]):
        raise ValueError("there are no rows")
    codes = classes_of(columns)
    sizes = np.bincount(codes)
    n = len(codes)
    diverse = _diversity(codes, sensitive, len(sizes)) if sensitive is not None else None
    return Anonymity(
        k=int(sizes.min()), l=0 if diverse is None else int(diverse.min()), n=n, classes=len(sizes), unique=float((sizes == 1).sum() / n),
        at_risk=float(sizes[sizes < k].sum() / n), prosecutor=1 / float(sizes.min()), marketer=len(sizes) / n,
        told=0.0 if diverse is None else float(sizes[diverse == 1].sum() / n),
    )  # fmt: skip


def violating(columns: Sequence[np.ndarray], sensitive: np.ndarray | None, k: int, diversity: int) -> np.ndarray:
    """Return which rows stand in a class of fewer than k rows, or of fewer than `diversity` sensitive values; bool [n]."""
    codes = classes_of(columns)
    sizes = np.bincount(codes)
    bad = sizes < k
    if sensitive is not None and diversity > 1:
        bad |= _diversity(codes, sensitive, len(sizes)) < diversity
    return np.asarray(bad[codes])


def climb(
    ladders: Sequence[Sequence[np.ndarray]],
    sensitive: np.ndarray | None,
    *,
    k: int,
    diversity: int,
    most_suppressed: float,
    answer: np.ndarray | None = None,
) -> Climbed | None:
    """Return how far each column must be made coarser, so that at most `most_suppressed` of the rows stand in classes that are too small.

    ladders: for each column its codes [n] under each rung, from fine to coarse, each a coarsening of the one before. From the top, where
    all rows are alike, steps down are taken as long as the rest holds, first by the column that tells most of `answer` (codes [n] of the
    target) a step, then by the one that brings most bits (top-down specialisation, Fung 2005): no column can go one rung lower in what is
    returned. None where even the top does not hold.
    """
    n = len(ladders[0][0])
    bits = [[entropy(codes) for codes in ladder] for ladder in ladders]
    told = [[0.0 if answer is None else information(codes, answer) for codes in ladder] for ladder in ladders]
    rungs = [len(ladder) - 1 for ladder in ladders]

    def bad(places: Sequence[int]) -> np.ndarray:
        return violating([ladder[place] for ladder, place in zip(ladders, places, strict=True)], sensitive, k, diversity)

    if bad(rungs).sum() > most_suppressed * n:
        return None
    open_columns = set(range(len(ladders)))
    while open_columns:
        column = max(open_columns, key=lambda one: (_ahead(told[one], rungs[one]), _gain(bits[one], rungs[one]), -one))
        lower = [place - (number == column) for number, place in enumerate(rungs)]
        if rungs[column] == 0 or bad(lower).sum() > most_suppressed * n:
            open_columns.discard(column)
        else:
            rungs = lower
    kept = tuple(bits[one][place] / bits[one][0] if bits[one][0] > 0 else 1.0 for one, place in enumerate(rungs))
    return Climbed(rungs=tuple(rungs), suppressed=bad(rungs), kept_bits=kept)


def information(codes: np.ndarray, answer: np.ndarray) -> float:
    """Return the bits that codes [n] tell of an answer [n] beyond what they tell of the same answers in another order (at least 0).

    Codes that name each row tell everything of any answer, and so nothing here. Of more than MOST_TELLING rows, so many are looked at.
    """
    rows = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), MOST_TELLING)).astype(np.int64))
    codes, answer = codes[rows], answer[rows]
    found = entropy(classes_of([codes, answer]))
    generator = rng(0, "privacy.information")
    by_chance = [entropy(classes_of([codes, generator.permutation(answer)])) for _ in range(SHUFFLES)]
    return max(0.0, float(np.mean(by_chance)) - found)


def _ahead(told: Sequence[float], place: int) -> float:
    """Return the bits about the answer that the steps down from a rung bring, a step, where they bring most."""
    return max([0.0, *((told[lower] - told[place]) / (place - lower) for lower in range(place))])


def _gain(bits: Sequence[float], place: int) -> float:
    """Return the bits that one step down brings, as a share of all that the column has."""
    return (bits[place - 1] - bits[place]) / bits[0] if place > 0 and bits[0] > 0 else 0.0


def _diversity(codes: np.ndarray, sensitive: np.ndarray, classes: int) -> np.ndarray:
    """Return how many values of the sensitive column each class has, int64 [classes]."""
    width = int(sensitive.max(initial=0)) + 1
    return np.bincount(np.unique(codes * width + sensitive) // width, minlength=classes)
