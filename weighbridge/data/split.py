"""Which rows train, choose and judge. Sides come from hashes of row ids, so a row keeps its side when the data grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weighbridge.data.identity import units
from weighbridge.data.rows import SIDES, Rows
from weighbridge.errors import DataError

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection, SplitOptions

TRAIN, VALIDATION, TEST = range(3)
PURPOSE = "data.split"
FEWER = "data.split.train_rows"


def method_of(section: DataSection, rows: Rows) -> str:
    """Return how the rows are split; auto: given, else by group, else by time, else by hash. Raises DataError for a missing given split."""
    if section.split.method == "given" and rows.given is None:
        raise DataError(
            "data.split.method: given, and the source gives no split",
            do="name a column with data.split.column, or sources with data.source.train and test",
        )
    if section.split.method != "auto":
        return section.split.method
    if rows.given is not None:
        return "given"
    if section.group is not None:
        return "group"
    return "time" if section.time is not None else "hash"


def sides(rows: Rows, keep: np.ndarray, section: DataSection, seed: int) -> np.ndarray:
    """Return int8 [n]: 0 train, 1 validation, 2 test, -1 for rows that are not kept. Raises DataError for an empty split."""
    method = method_of(section, rows)
    side = np.full(len(rows), -1, dtype=np.int8)
    kept = np.flatnonzero(keep)
    side[kept] = _BY_METHOD[method](rows, kept, section.split, seed)
    for code, name in enumerate(SIDES):
        if not (side == code).any():
            raise _empty(name, len(kept), section.split, method)
    return side


def fewer(ids: np.ndarray, side: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return the sides with at most `most` training rows, the others -1: those of the lowest hashes, so a smaller part is in a larger.

    The hash is not that of the split; validation and test rows stay as they are, and runs at several sizes are judged on the same rows.
    """
    train = np.flatnonzero(side == TRAIN)
    order = np.argsort(units(ids[train].tolist(), seed, FEWER), kind="stable")
    found = side.copy()
    found[train[order[most:]]] = -1
    return found


def by_hash(names: np.ndarray, options: SplitOptions, seed: int) -> np.ndarray:
    """Return sides by the hash of (seed, name): below `test` test, below `test + validation` validation, else train."""
    unit = units(names, seed, PURPOSE)
    return np.where(unit < options.test, TEST, np.where(unit < options.test + options.validation, VALIDATION, TRAIN)).astype(np.int8)


def _hashed(rows: Rows, kept: np.ndarray, options: SplitOptions, seed: int) -> np.ndarray:
    return by_hash(rows.ids[kept], options, seed)


def _grouped(rows: Rows, kept: np.ndarray, options: SplitOptions, seed: int) -> np.ndarray:
    assert rows.groups is not None
    known, position = np.unique(rows.groups[kept], return_inverse=True)
    return by_hash(np.array([f"{value:016x}" for value in known.tolist()]), options, seed)[position]


def _stratified(rows: Rows, kept: np.ndarray, options: SplitOptions, seed: int) -> np.ndarray:
    """Within each class the rows in the order of their hash: the first share is test, the next validation."""
    unit = units(rows.ids[kept], seed, PURPOSE)
    side = np.zeros(len(kept), dtype=np.int8)
    for value in np.unique(rows.targets[kept]):
        members = np.flatnonzero(rows.targets[kept] == value)
        ordered = members[np.argsort(unit[members], kind="stable")]
        test, validation = _cuts(len(ordered), options)
        side[ordered[:test]], side[ordered[test : test + validation]] = TEST, VALIDATION
    return side


def _timed(rows: Rows, kept: np.ndarray, options: SplitOptions, seed: int) -> np.ndarray:
    """The newest rows are test, the next newest validation; rows of one time stay on one side, the older one."""
    assert rows.times is not None
    times = np.sort(rows.times[kept])
    test, validation = _cuts(len(times), options)
    newest, middle = times[len(times) - test - 1], times[max(0, len(times) - test - validation - 1)]
    return np.where(rows.times[kept] > newest, TEST, np.where(rows.times[kept] > middle, VALIDATION, TRAIN)).astype(np.int8)


def _given(rows: Rows, kept: np.ndarray, options: SplitOptions, seed: int) -> np.ndarray:
    """The sides given; a validation or test split that is not given is cut by hash from the training rows."""
    assert rows.given is not None
    side: np.ndarray = rows.given[kept].copy()
    unit = units(rows.ids[kept], seed, PURPOSE)
    train = side == TRAIN
    start = 0.0
    for code, share in ((TEST, options.test), (VALIDATION, options.validation)):
        if not (rows.given == code).any():
            side[train & (unit >= start) & (unit < start + share)] = code
            start += share
    return side


def _cuts(n: int, options: SplitOptions) -> tuple[int, int]:
    return round(options.test * n), round(options.validation * n)


def _empty(name: str, n: int, options: SplitOptions, method: str) -> DataError:
    share = "" if name == "train" else f", data.split.{name} {getattr(options, name)}"
    return DataError(
        f"the {name} split is empty ({n} rows, method {method}{share})",
        do="give more rows, a larger share, or for few rows data.split.method: stratified",
    )


_BY_METHOD = {"hash": _hashed, "stratified": _stratified, "group": _grouped, "time": _timed, "given": _given}
