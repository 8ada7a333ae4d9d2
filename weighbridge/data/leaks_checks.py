"""The checks of the leak gate that look at rows and sides: each says how many rows or groups leak, which, and how that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weighbridge.data.identity import group_rows
from weighbridge.data.leaks_images import near_images
from weighbridge.data.leaks_rows import digests_at, numbers_at, rounded_at, thumbnails_at, values_at
from weighbridge.data.leaks_target import sample_rows
from weighbridge.data.leaks_text import near_texts
from weighbridge.data.plan import Plan
from weighbridge.data.rows import SIDES, Rows
from weighbridge.data.split import TEST, VALIDATION
from weighbridge.data.spool import Spool
from weighbridge.findings import EMPTY, Message
from weighbridge.storage.progress import Progress

MOST_NEAR_ROWS = 200_000
MOST_EVIDENCE = 1000
SCALE_ROWS = 5000
STEPS = 10_000  # to how many steps of its 5 % to 95 % range a number is rounded
BY_CHANCE = 0.05  # pairs that chance may give where rounded copies are called suspicious


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the checks look at. side int8 [n] (-1: dropped); `dropped`: equal rows that cleaning took out."""

    raw: Spool
    plan: Plan
    rows: Rows
    side: np.ndarray
    method: str
    seed: int
    progress: Progress
    dropped: int = 0


@dataclass(frozen=True, kw_only=True)
class Check:
    """What one check found.

    Attributes: found, how many rows, groups or columns (`unit`) leak, of `n` (`n_of`) that were looked at; what, the leak in words for the
        error; reason, why for the report; stops, whether it ends the run (else it is a limitation where something was found); drop, row
        numbers that can be taken out of training instead; evidence, pairs of row numbers (or, `columns`, what is known of each column);
        unmeasured, why it could not run.
    """

    name: str
    found: int = 0
    unit: str = "rows"
    n: int = 0
    n_of: str = "rows"
    what: str = ""
    reason: Message = EMPTY
    method: Message = EMPTY
    source: str = ""
    stops: bool = True
    suspicious: bool = True
    drop: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    evidence: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    columns: Sequence[Any] = ()
    unmeasured: Message | None = None


def check_duplicates(case: Case) -> Check:
    """Rows equal in all inputs and the target that stand on two sides."""
    kept = np.flatnonzero(case.side >= 0)
    pairs = kept[_across(np.column_stack([case.rows.digests[kept], case.rows.targets[kept]]), case.side[kept])]
    none = Message("none is left: cleaning dropped {dropped} equal rows before (data.clean.duplicates)", dropped=case.dropped)
    reason = Message("rows that equal a row of a later side in every column")
    return Check(
        name="duplicates",
        found=len(pairs),
        n=len(kept),
        what=f"{_many(len(pairs), 'row')} equal to a row of a later side in every column: {shown(pairs, case.side)}",
        reason=reason if len(pairs) else none if case.dropped else Message("none found"),
        method=Message("equal 128-bit hashes of all columns but the ids"),
        source="RFC 7693",
        evidence=pairs,
    )


def check_near_duplicates(case: Case) -> Check:
    """Images and texts of which a near copy stands on a later side; where no input is one, rows whose numbers agree when rounded.

    Where the other inputs of the two rows differ it is a limitation: the same picture may well belong to two rows.
    """
    looked = [column for column in case.plan.schema.inputs if column.type in ("image", "text")]
    if not looked:
        return _rounded_rows(case)
    kept = np.flatnonzero(case.side >= 0)
    rows = sample_rows(kept, MOST_NEAR_ROWS, case.seed)
    pairs = [_near_pairs(case, column.name, column.type, rows) for column in looked]
    others = [[other.name for other in case.plan.schema.inputs if other is not column] for column in looked]
    certain = [_agreeing(case, names, found) for names, found in zip(others, pairs, strict=True)]
    sure = any(len(found) for found in certain)
    chosen = np.unique(np.concatenate(certain if sure else pairs), axis=0)
    early = np.unique(chosen[:, 0])
    names = ", ".join(column.name for column in looked)
    reason = Message("rows whose image or text is a near copy of one on a later side")
    unsure = Message("near copies of an image or text stand on two sides; their other inputs differ")
    return Check(
        name="near_duplicates",
        found=len(early),
        n=len(rows),
        what=f"{_many(len(early), 'row')} in column {names} a near copy of a row of a later side: {shown(chosen, case.side)}",
        reason=Message("none found") if not len(early) else reason if sure else unsure,
        method=_near_method({column.type for column in looked}, len(rows), len(kept)),
        source="Zauner 2010; Broder 1997",
        stops=sure,
        drop=early if sure else early[:0],
        evidence=chosen,
    )


def check_group(case: Case) -> Check:
    """Groups that stand on two sides. The recipe names a group."""
    assert case.rows.groups is not None
    name = next(column.name for column in case.plan.schema.columns if column.role == "group")
    kept = np.flatnonzero(case.side >= 0)
    pairs = kept[_across(case.rows.groups[kept][:, None], case.side[kept])]
    split = len(np.unique(case.rows.groups[pairs[:, 0]]))
    first = f" '{_value(case, name, int(pairs[0, 0]))}'" if split else ""
    return Check(
        name="group",
        found=split,
        unit="groups",
        n=len(np.unique(case.rows.groups[kept])),
        n_of="groups",
        what=f"{_many(split, 'group')} of column {name} on two sides, first{first}: {shown(pairs, case.side)}",
        reason=Message("groups of {column} that stand on two sides", column=name) if split else Message("none found"),
        method=Message("the sides on which the rows of each group stand"),
        evidence=pairs,
    )


def check_time(case: Case) -> Check:
    """Training and validation rows newer than the oldest test row, where a column of time is named."""
    name = next((column.name for column in case.plan.schema.columns if column.role == "time"), None)
    if name is None or case.rows.times is None:
        return Check(name="time", unmeasured=Message("the recipe names no column of time (data.time)"))
    test = np.flatnonzero(case.side == TEST)
    oldest = int(test[np.argmin(case.rows.times[test])])
    before = np.flatnonzero((case.side >= 0) & (case.side < TEST))
    newer = before[case.rows.times[before] > case.rows.times[oldest]]
    pairs = np.column_stack([newer, np.full(len(newer), oldest)])
    what = f"{_many(len(newer), 'row')} of training and validation newer by column {name} than the oldest test row"
    return Check(
        name="time",
        found=len(newer),
        n=len(before),
        what=f"{what} (the split is by {case.method}): {shown(pairs, case.side, 'after')}",
        reason=Message("rows of training and validation newer by {column} than the oldest test row", column=name)
        if len(newer)
        else Message("none found"),
        method=Message("times of training and validation rows against the oldest test row"),
        evidence=pairs,
    )


def shown(pairs: np.ndarray, side: np.ndarray, word: str = "=") -> str:
    """Return the first pairs in words: `row 3 (train) = row 90 (test)`."""
    words = [f" {word} ".join(f"row {row + 1} ({SIDES[side[row]]})" for row in pair) for pair in pairs[:3].tolist()]
    return ", ".join(words) + (f" and {len(pairs) - 3:,} more" if len(pairs) > 3 else "")


def _rounded_rows(case: Case) -> Check:
    """Rows that agree with one of a later side in every input when numbers are rounded, and were not equal: copies that were changed
    in their last digits. A suspicion at most, and none where chance gives as many.
    """
    columns = {column.name: column.type for column in case.plan.schema.inputs}
    numbers = [name for name, kind in columns.items() if kind in ("number", "date")]
    if not numbers:
        return Check(name="near_duplicates", unmeasured=Message("no input is an image, text, number or date; equal rows are another check"))
    kept = np.flatnonzero(case.side >= 0)
    rows = sample_rows(kept, MOST_NEAR_ROWS, case.seed)
    scale = numbers_at(case.raw, case.plan, numbers, sample_rows(rows, SCALE_ROWS, case.seed))
    steps = {name: _step(values) for name, values in scale.items()}
    digests = rounded_at(case.raw, case.plan, list(columns), rows, steps)
    target = case.rows.targets[rows]
    found = np.concatenate([_across(np.column_stack([digests[:, grid], target]), case.side[rows]) for grid in (0, 1)])
    pairs = _unequal(case.rows, rows[found[np.unique(found[:, 0], return_index=True)[1]]])
    chance = _by_chance(scale, steps, case.side[rows])
    return Check(
        name="near_duplicates",
        found=len(pairs),
        n=len(rows),
        reason=Message("rows that agree with a row of a later side but for the last digits of their numbers (chance gives {chance})",
                       chance=chance) if len(pairs) else Message("none found"),
        method=Message("equal hashes of all inputs, numbers rounded to a ten-thousandth of their range; {compared} of {of} rows",
                       compared=len(rows), of=len(kept)),
        stops=False,
        suspicious=chance < BY_CHANCE,
        evidence=pairs,
    )  # fmt: skip


def _step(values: np.ndarray) -> float:
    present = values[np.isfinite(values)]
    if not len(present):
        return 0.0
    low, high = np.quantile(present, [0.05, 0.95])
    return float(high - low) / STEPS


def _by_chance(scale: dict[str, np.ndarray], steps: dict[str, float], side: np.ndarray) -> float:
    """Return the pairs across sides that agree by chance if the columns of numbers were independent of each other."""
    counts = np.bincount(side, minlength=len(SIDES)).astype(np.float64)
    pairs = counts[0] * counts[1] + (counts[0] + counts[1]) * counts[2]
    for name, values in scale.items():
        cells = np.floor(values / steps[name]) if steps[name] > 0 else values
        same = np.unique(cells, return_counts=True)[1].astype(np.float64)
        n = same.sum()
        pairs *= max(float((same * (same - 1)).sum()), 1.0) / max(n * (n - 1), 1.0)
    return float(2 * pairs)  # two grids


def _near_pairs(case: Case, name: str, kind: str, rows: np.ndarray) -> np.ndarray:
    """Return int64 [k, 2] of row numbers: near copies of test rows among the others, then of validation rows among training rows."""
    if kind == "image":
        held: Any = thumbnails_at(case.raw, case.plan, name, rows, case.progress)
        near: Any = near_images
    else:
        held = np.array(values_at(case.raw, case.plan, [name], rows)[name].to_pylist(), dtype=object)
        near = near_texts
    side = case.side[rows]
    of_test = near(held, side == TEST, case.progress)
    earlier = np.flatnonzero(side < TEST)
    of_validation = earlier[near(held[earlier], side[earlier] == VALIDATION, case.progress)]
    return _unequal(case.rows, rows[np.concatenate([of_test, of_validation.reshape(-1, 2)])])


def _unequal(rows: Rows, pairs: np.ndarray) -> np.ndarray:
    """Return the pairs that are not equal in every column: those are another check's, and may be allowed."""
    apart = (rows.digests[pairs[:, 0]] != rows.digests[pairs[:, 1]]).any(axis=1)
    return np.asarray(pairs[apart | (rows.targets[pairs[:, 0]] != rows.targets[pairs[:, 1]])])


def _agreeing(case: Case, others: Sequence[str], pairs: np.ndarray) -> np.ndarray:
    """Return the pairs whose other inputs are equal."""
    if not others or not len(pairs):
        return pairs
    rows = np.unique(pairs)
    digests = digests_at(case.raw, others, rows)
    ours, theirs = (digests[np.searchsorted(rows, pairs[:, column])] for column in (0, 1))
    return np.asarray(pairs[(ours == theirs).all(axis=1)])


def _near_method(kinds: set[str], compared: int, of: int) -> Message:
    how = {
        frozenset({"image"}): "perceptual hash of 63 bits, verified on thumbnails of 32 x 32 pixels; {compared} of {of} rows",
        frozenset({"text"}): "MinHash of shingles of 5 characters, verified exactly at Jaccard 0.8; {compared} of {of} rows",
    }
    both = "images by perceptual hash, verified on pixels; texts by MinHash, verified at Jaccard 0.8; {compared} of {of} rows"
    return Message(how.get(frozenset(kinds), both), compared=compared, of=of)


def _across(keys: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return int64 [k, 2]: each row whose key [n, c] also stands on a later side, and the first row there with that key."""
    if not len(keys):
        return np.empty((0, 2), dtype=np.int64)
    groups, _ = group_rows(keys)
    latest = np.full(int(groups.max()) + 1, -1, dtype=np.int64)
    np.maximum.at(latest, groups, side)
    last = np.flatnonzero(side == latest[groups])[::-1]
    partner = np.zeros(len(latest), dtype=np.int64)
    partner[groups[last]] = last  # the first row is written last
    early = np.flatnonzero(side < latest[groups])
    return np.column_stack([early, partner[groups[early]]])


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun} is" if n == 1 else f"{n:,} {noun}s are"


def _value(case: Case, name: str, row: int) -> str:
    return str(values_at(case.raw, case.plan, [name], np.array([row]))[name][0].as_py())[:40]
