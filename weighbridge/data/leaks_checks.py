"""The checks of the leak gate that look at rows and sides: each says how many rows or groups leak, which, and how that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weighbridge.data.identity import group_rows
from weighbridge.data.leaks_images import near_images
from weighbridge.data.leaks_near_text import near_texts
from weighbridge.data.leaks_rows import SpooledTexts, digests_at, numbers_at, rounded_at, thumbnails_at, values_at
from weighbridge.data.leaks_target import sample_rows
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
    """What the checks look at. side int8 [n] (-1: dropped); `dropped`: equal rows that cleaning took out, `across` of them equal to a row
    of a later given side; `many_equal`: there are too many to take them out unasked; `drops_near`: the recipe has near copies taken out
    (data.clean.near_duplicates).
    """

    raw: Spool
    plan: Plan
    rows: Rows
    side: np.ndarray
    method: str
    seed: int
    progress: Progress
    dropped: int = 0
    across: int = 0
    many_equal: bool = False
    drops_near: bool = False


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
    """Rows equal in all inputs and the target that stand on two sides; where they are many and the recipe does not say what to do with
    them, all rows equal to an earlier one: on one side each counts as new evidence, and is none.
    """
    kept = np.flatnonzero(case.side >= 0)
    keys = np.column_stack([case.rows.digests[kept], case.rows.targets[kept]])
    pairs = kept[_repeated(keys) if case.many_equal else _across(keys, case.side[kept])]
    found = Message("rows that equal a row of a later side in every column")
    what = f"{_many(len(pairs), 'row')} equal to a row of a later side in every column"
    if case.many_equal:
        found = Message(
            "rows that equal an earlier row in every column, more than a tenth of all; the recipe does not say what to do with them"
        )
        what = f"{len(pairs):,} of {len(kept):,} rows are equal to an earlier row in every column"
    none = Message("none is left: cleaning dropped {dropped} equal rows before (data.clean.duplicates)", dropped=case.dropped)
    if case.across:
        none = Message(
            "none is left: cleaning dropped {dropped} equal rows before, {across} of them equal to a row of a later given side",
            dropped=case.dropped, across=case.across,
        )  # fmt: skip
    return Check(
        name="duplicates",
        found=len(pairs),
        n=len(kept),
        what=f"{what}: {shown(pairs, case.side)}",
        reason=found if len(pairs) else none if case.dropped else Message("none found"),
        method=Message("equal 128-bit hashes of all columns but the ids"),
        source="RFC 7693",
        evidence=pairs,
    )


def check_near_duplicates(case: Case) -> Check:
    """Images and texts of which a near copy stands on a later side; where no input is one, rows whose numbers agree when rounded.

    Where the other inputs of the two rows differ it is a limitation: the same picture may well belong to two rows. So it is for texts
    without spaces (molecules, genes): what differs in a few characters is often another thing.
    """
    looked = [column for column in case.plan.schema.inputs if column.type in ("image", "text")]
    if not looked:
        return _rounded_rows(case)
    kept = np.flatnonzero(case.side >= 0)
    rows = sample_rows(kept, MOST_NEAR_ROWS, case.seed)
    near = [_near_pairs(case, column.name, column.type, rows) for column in looked]
    others = [[other.name for other in case.plan.schema.inputs if other is not column] for column in looked]
    agreeing = [_agreeing(case, names, found.pairs) for names, found in zip(others, near, strict=True)]
    certain = [pairs for pairs, found in zip(agreeing, near, strict=True) if not found.sequences]
    sure, alike = (any(len(pairs) for pairs in some) for some in (certain, agreeing))
    chosen = np.unique(np.concatenate(certain if sure else agreeing if alike else [found.pairs for found in near]), axis=0)
    early = np.unique(chosen[:, 0])
    names = ", ".join(column.name for column in looked)
    return Check(
        name="near_duplicates",
        found=len(early),
        n=len(rows),
        what=f"{_many(len(early), 'row')} in column {names} a near copy of a row of a later side: {shown(chosen, case.side)}",
        reason=_near_reason(len(early), sure=sure, alike=alike),
        method=_near_method({column.type for column in looked}, len(rows), len(kept)),
        source="Zauner 2010; Broder 1997",
        stops=sure,
        drop=early if sure or alike else early[:0],
        evidence=chosen,
    )


def _near_reason(found: int, *, sure: bool, alike: bool) -> Message:
    if not found:
        return Message("none found")
    if sure:
        return Message("rows whose image or text is a near copy of one on a later side")
    if alike:
        return Message("sequences nearly equal to one on a later side; whether they are the same thing the data can not say")
    return Message("near copies of an image or text stand on two sides; their other inputs differ")


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
    if not numbers and "audio" in columns.values():
        why = Message("near copies of clips are not looked for: equal files are, as equal rows")
        return Check(name="near_duplicates", unmeasured=why)
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


@dataclass(frozen=True, kw_only=True)
class _Near:
    """Row numbers int64 [k, 2]: near copies of test rows among the others, then of validation rows among training rows."""

    pairs: np.ndarray
    sequences: bool = False


def _near_pairs(case: Case, name: str, kind: str, rows: np.ndarray) -> _Near:
    side = case.side[rows]
    if kind == "text":
        found = near_texts(SpooledTexts(case.raw, case.plan, name, rows), side, case.progress)
        return _Near(pairs=_unequal(case.rows, rows[found.pairs]), sequences=found.sequences)
    held = thumbnails_at(case.raw, case.plan, name, rows, case.progress)
    of_test = near_images(held, side == TEST, case.progress)
    earlier = np.flatnonzero(side < TEST)
    of_validation = earlier[near_images(held[earlier], side[earlier] == VALIDATION, case.progress)]
    return _Near(pairs=_unequal(case.rows, rows[np.concatenate([of_test, of_validation.reshape(-1, 2)])]))


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
        frozenset(
            {"text"}
        ): "MinHash of runs of 5 characters (3 where dense), verified at Jaccard 0.8 without the common runs; {compared} of {of} rows",
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


def _repeated(keys: np.ndarray) -> np.ndarray:
    """Return int64 [k, 2]: each row whose key [n, c] stands before, and the first row with that key."""
    groups, before = group_rows(keys)
    first = np.empty(int(groups.max(initial=-1)) + 1, dtype=np.int64)
    first[groups[before == 0]] = np.flatnonzero(before == 0)
    again = np.flatnonzero(before > 0)
    return np.column_stack([again, first[groups[again]]])


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun} is" if n == 1 else f"{n:,} {noun}s are"


def _value(case: Case, name: str, row: int) -> str:
    return str(values_at(case.raw, case.plan, [name], np.array([row]))[name][0].as_py())[:40]
