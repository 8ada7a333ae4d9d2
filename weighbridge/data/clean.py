"""Which rows go, and why: no target, unreadable images and clips, duplicates, contradictions. Given test rows are never thinned out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.data.identity import group_rows
from weighbridge.data.rows import Rows
from weighbridge.errors import DataError

if TYPE_CHECKING:
    from weighbridge.recipe.schema import CleanOptions

TEST = 2
MOST_EQUAL = 0.1  # share of rows with texts, images or clips that may equal an earlier one and be dropped unasked


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """Which rows stay (bool [n]) and how many were found of each kind, kept or not.

    duplicates: rows equal to an earlier one; across: of these, training or validation rows that equal a row of a given later
    split; conflicts: rows that share their inputs with a row of another target; many: whether the equal rows are too many to be
    dropped unasked (data.clean.duplicates: auto).
    """

    keep: np.ndarray
    no_target: int
    unreadable: int
    duplicates: int
    across: int
    conflicts: int
    dropped: dict[str, int]
    many: bool = False


def clean(rows: Rows, options: CleanOptions, *, telling: bool = True) -> Cleaned:
    """Return which rows stay; `telling`: an input is a text, an image or a clip, which nobody makes twice by chance.

    Raises DataError where the recipe says refuse, with the count and the first rows.
    """
    keep = ~(rows.no_target | rows.unreadable)
    if options.missing_target == "refuse":
        _refuse(rows.no_target, "rows have no target (empty or NaN)", "fill them in, or set data.clean.missing_target: drop")
    if options.unreadable == "refuse" and rows.unreadable.any():
        raise DataError(
            f"{int(rows.unreadable.sum())} {rows.files} can not be opened: {'; '.join(rows.problems)}",
            do="mend or remove them, or set data.clean.unreadable: skip",
        )
    judged = rows.given == TEST if rows.given is not None else np.zeros(len(rows), dtype=bool)
    duplicate, across = _duplicates(rows, keep)
    conflict = _conflicts(rows, keep)
    if options.duplicates == "refuse":
        _refuse(duplicate, "rows equal an earlier row in every column", "remove them, or set data.clean.duplicates: drop")
    if options.conflicts == "refuse":
        _refuse(conflict, "rows have equal inputs and different targets", "mend them, or set data.clean.conflicts: keep or drop")
    many = options.duplicates == "auto" and telling and rows.given is None and int(duplicate.sum()) > MOST_EQUAL * int(keep.sum())
    equal = "drop" if options.duplicates == "auto" and not many else options.duplicates
    dropped = {"no_target": int(rows.no_target.sum()), "unreadable": int(rows.unreadable.sum()), "duplicates": 0, "conflicts": 0}
    for name, found, chosen in (("duplicates", duplicate, equal), ("conflicts", conflict, options.conflicts)):
        if chosen == "drop":
            gone = found & keep & ~judged
            dropped[name] = int(gone.sum())
            keep = keep & ~gone
    return Cleaned(
        keep=keep,
        no_target=dropped["no_target"],
        unreadable=dropped["unreadable"],
        duplicates=int(duplicate.sum()),
        across=int(across.sum()),
        conflicts=int(conflict.sum()),
        dropped=dropped,
        many=many,
    )


def _duplicates(rows: Rows, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows equal to one that stands before, of these the ones equal to a row of a later given split). bool [n] each.

    With a given split test rows stand first, then validation: a training row that equals a test row is the one that goes.
    """
    duplicate, across = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    kept = np.flatnonzero(keep)
    whole = np.column_stack([rows.digests[kept], rows.targets[kept]])
    given = rows.given[kept] if rows.given is not None else np.zeros(len(kept), dtype=np.int8)
    groups, before = group_rows(whole, priority=-given)
    duplicate[kept] = before > 0
    latest = np.zeros(groups.max(initial=-1) + 1, dtype=np.int8)
    np.maximum.at(latest, groups, given)
    across[kept] = given < latest[groups]
    return duplicate, across


def _conflicts(rows: Rows, keep: np.ndarray) -> np.ndarray:
    """Return the rows whose inputs stand elsewhere with another target. bool [n]."""
    conflict = np.zeros(len(rows), dtype=bool)
    kept = np.flatnonzero(keep)
    groups, _ = group_rows(rows.digests[kept])
    if len(kept):
        first = np.zeros(groups.max() + 1, dtype=np.uint64)
        first[groups] = rows.targets[kept]
        differs = np.zeros(len(first), dtype=bool)
        np.logical_or.at(differs, groups, first[groups] != rows.targets[kept])
        conflict[kept] = differs[groups]
    return conflict


def _refuse(found: np.ndarray, what: str, do: str) -> None:
    if found.any():
        first = ", ".join(str(row + 1) for row in np.flatnonzero(found)[:3])
        raise DataError(f"{int(found.sum())} {what}, first row{'s' if found.sum() > 1 else ''} {first}", do=do)
