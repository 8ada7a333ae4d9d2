"""What was found in the data, as findings: each action with its count, also where the count is nought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.data.clean import Cleaned
from weighbridge.data.plan import Plan
from weighbridge.data.rows import SIDES, Labels, Rows
from weighbridge.findings import Finding, Message, Verdict

if TYPE_CHECKING:
    from weighbridge.recipe.schema import CleanOptions, DataSection

RARE_SHARE, RARE_ROWS = 0.01, 30
CONFLICT_SHARE = 0.01
BLAKE2 = "RFC 7693"


def statements(
    section: DataSection, plan: Plan, rows: Rows, cleaned: Cleaned, side: np.ndarray, method: str, command: str
) -> list[Finding]:
    """Return all findings of the data stage; `command` is the shell command that measures them again."""
    return [
        _rows(rows, cleaned, command),
        _split(side, method, command),
        *_fewer(section, cleaned, side, command),
        _missing(plan, rows, command),
        *_row_actions(plan, rows, cleaned, command),
        *_column_actions(section.clean, plan, command),
        *_labels(plan, command),
        *_remarks(plan, command),
        *_odd(plan, command),
        *_classes(plan, rows, side, command),
    ]


def class_counts(rows: Rows, side: np.ndarray) -> dict[str, Any]:
    """Return {"classes": names sorted, "counts": {split: rows of each class}}; for sets the same of their labels."""
    labels = rows.labels or Labels(names=rows.classes, keys=rows.targets, rows=np.arange(len(rows)))
    held = side[labels.rows]
    keys, codes = np.unique(labels.keys[held >= 0], return_inverse=True)
    table = np.zeros((len(keys), len(SIDES)), dtype=np.int64)
    np.add.at(table, (codes, held[held >= 0]), 1)
    named = sorted((labels.names[int(key)], counts) for key, counts in zip(keys, table.tolist(), strict=True))
    return {
        "classes": [name for name, _ in named],
        "counts": {name: [counts[code] for _, counts in named] for code, name in enumerate(SIDES)},
    }


def column_facts(plan: Plan, rows: Rows) -> dict[str, Any]:
    """Return what is known of each column, as JSON."""
    facts = {}
    for column in plan.schema.columns:
        reading = plan.readings[column.name]
        missing = rows.missing.get(column.name, reading.missing)
        facts[column.name] = {
            "type": column.type,
            "role": column.role,
            "why": column.why.to_json(),
            "missing": missing,
            "distinct": reading.distinct,
        }
    return facts


def _finding(name: str, command: str, title: Message, value: int | float | str, *, verdict: Verdict = "neutral", **more: Any) -> Finding:
    only = f"{command} --only {name.split('.')[0]}" if command else ""
    return Finding(key=f"data.{name}", title=title, value=value, verdict=verdict, command=only, **more)


def _rows(rows: Rows, cleaned: Cleaned, command: str) -> Finding:
    kept = int(cleaned.keep.sum())
    reason = Message("{read} rows were read, {dropped} of them were dropped", read=len(rows), dropped=len(rows) - kept)
    return _finding("rows", command, Message("Rows used"), kept, unit="rows", n=len(rows), reason=reason)


def _split(side: np.ndarray, method: str, command: str) -> Finding:
    train, validation, test = (int((side == code).sum()) for code in range(3))
    words = {
        "hash": Message("by the hash of the row id: a row keeps its side when the data grows"),
        "stratified": Message("within each class by the order of the hash of the row id"),
        "group": Message("by the hash of the group: rows of one group stand on one side"),
        "time": Message("by time: the newest rows are the test rows, the next newest the validation rows"),
        "given": Message("as the source gives it; a split that it does not give is cut from the training rows by hash"),
    }
    return _finding(
        "split",
        command,
        Message("Training / validation / test rows"),
        f"{train:,} / {validation:,} / {test:,}",
        unit="rows",
        n=train + validation + test,
        reason=words[method],
        method=Message("BLAKE2b keyed with the seed"),
        source=BLAKE2,
        evidence=("data/split.json",),
    )


def _fewer(section: DataSection, cleaned: Cleaned, side: np.ndarray, command: str) -> list[Finding]:
    """Return how many training rows the recipe leaves out; nothing where it leaves out none."""
    left = int((cleaned.keep & (side < 0)).sum())
    if section.split.train_rows is None or not left:
        return []
    reason = Message("data.split.train_rows keeps {rows} of them, chosen at random", rows=section.split.train_rows)
    return [
        _finding(
            "split.left",
            command,
            Message("Training rows that the recipe leaves out"),
            left,
            unit="rows",
            reason=reason,
            method=Message("BLAKE2b keyed with the seed"),
            source=BLAKE2,
            evidence=("data/split.json",),
        )
    ]


def _missing(plan: Plan, rows: Rows, command: str) -> Finding:
    worst = sorted(((count, name) for name, count in rows.missing.items() if count), key=lambda item: (-item[0], item[1]))
    reason = Message("no input column has one")
    if worst:
        share = worst[0][0] / len(rows)
        reason = Message(
            "in {columns} input columns; the most in {name} (share {share})", columns=len(worst), name=worst[0][1], share=share
        )
    return _finding(
        "missing",
        command,
        Message("Missing values in the inputs"),
        sum(rows.missing.values()),
        unit="values",
        n=len(rows),
        reason=reason,
        evidence=("data/columns.json",),
    )


def _row_actions(plan: Plan, rows: Rows, cleaned: Cleaned, command: str) -> list[Finding]:
    of_rows: dict[str, Any] = {"unit": "rows", "n": len(rows)}
    by_hash = of_rows | {"method": Message("equal 128-bit hashes of all columns but the ids"), "source": BLAKE2}
    duplicates = _done(cleaned.duplicates, cleaned.dropped["duplicates"])
    if cleaned.many:
        duplicates = Message("more than a tenth of the rows: none was dropped unasked (data.clean.duplicates)")
    return [
        _finding("duplicates", command, Message("Rows equal to an earlier row"), cleaned.duplicates, reason=duplicates, **by_hash),
        _conflicts(rows, cleaned, command, by_hash),
        _finding("missing_target", command, Message("Rows without a target"), cleaned.no_target, **of_rows,
                 reason=_done(cleaned.no_target, cleaned.no_target)),
        _unreadable(plan, rows, cleaned, command),
    ]  # fmt: skip


def _conflicts(rows: Rows, cleaned: Cleaned, command: str, by_hash: dict[str, Any]) -> Finding:
    """A limitation where more than 1 % of the rows stay that contradict each other and the target is a class."""
    title = Message("Rows with equal inputs and different targets")
    if cleaned.conflicts > CONFLICT_SHARE * len(rows) and not cleaned.dropped["conflicts"] and rows.classes:
        reason = Message("no model can be right on all of them")
        return _finding("conflicts", command, title, cleaned.conflicts, verdict="limitation", reason=reason, **by_hash)
    reason = _done(cleaned.conflicts, cleaned.dropped["conflicts"])
    return _finding("conflicts", command, title, cleaned.conflicts, reason=reason, **by_hash)


def _unreadable(plan: Plan, rows: Rows, cleaned: Cleaned, command: str) -> Finding:
    title, method = Message("Images that can not be opened"), Message("header and all pixels are decoded")
    if any(column.type == "audio" for column in plan.schema.inputs):
        title, method = Message("Images and clips that can not be opened"), Message("each file is decoded whole")
    reason = Message("skipped: {first}", first="; ".join(rows.problems)) if rows.problems else _done(0, 0)
    return _finding(
        "unreadable",
        command,
        title,
        cleaned.unreadable,
        unit="rows",
        n=len(rows),
        reason=reason,
        method=method,
    )


def _done(found: int, dropped: int) -> Message:
    if not found:
        return Message("none found")
    return Message("dropped: {dropped}", dropped=dropped) if dropped else Message("all of them were kept, as the recipe says")


def _column_actions(options: CleanOptions, plan: Plan, command: str) -> list[Finding]:
    left = plan.left
    found = [
        _columns("constants", Message("Columns with one value only"), left.get("constants", ()), command),
        _columns("ids", Message("Columns that only number or name the rows"), left.get("ids", ()), command),
        _columns("missing_columns", Message("Columns with too many missing values"), left.get("missing", ()), command),
    ]
    if left.get("nested"):
        found.append(
            _left_out(
                "nested",
                left["nested"],
                Message("columns of nested values or plain bytes ({names}) are not read", names=_names(left["nested"])),
                command,
            )
        )
    if left.get("ignored"):
        names = left["ignored"]
        found.append(
            _finding(
                "left_out.ignored",
                command,
                Message("Columns left out by the recipe"),
                len(names),
                unit="columns",
                reason=Message("left out: {names}", names=_names(names)),
            )
        )
    return found


def _columns(name: str, title: Message, names: Sequence[str], command: str) -> Finding:
    reason = Message("left out: {names}", names=_names(names)) if names else Message("none found")
    return _finding(name, command, title, len(names), unit="columns", reason=reason, evidence=("data/columns.json",))


def _left_out(kind: str, names: Sequence[str], reason: Message, command: str) -> Finding:
    return _finding(
        f"left_out.{kind}",
        command,
        Message("Columns that the model does not see"),
        len(names),
        unit="columns",
        verdict="limitation",
        reason=reason,
        evidence=("data/columns.json",),
    )


def _labels(plan: Plan, command: str) -> list[Finding]:
    renamed = plan.conversions[plan.schema.target.name].renamed
    if not renamed:
        return []
    return [
        _finding(
            "labels",
            command,
            Message("Labels that differed by a final dot between the splits"),
            len(renamed),
            unit="labels",
            reason=Message("read without the dot: {names}", names=_names(list(renamed))),
        )
    ]


def _remarks(plan: Plan, command: str) -> list[Finding]:
    if not plan.remarks:
        return []
    title, reason = Message("Remark lines before the first row of files"), Message("skipped: {first}", first="; ".join(plan.remarks[:3]))
    method = Message("a first line that begins with | is a remark unless | cuts the fields")
    return [_finding("remarks", command, title, len(plan.remarks), unit="lines", reason=reason, method=method)]


def _odd(plan: Plan, command: str) -> list[Finding]:
    """Return a limitation for columns that would be numbers but for a few values; values of an anonymised column are not shown."""
    shown = [column for column in plan.schema.inputs if column.step is None]
    odd = [(plan.readings[column.name], column) for column in shown if plan.readings[column.name].odd]
    if not odd:
        return []
    reading, _ = odd[0]
    reason = Message(
        "{name} is read as {type}: most of its values are numbers, but not {odd}; see data.csv.missing and data.columns",
        name=reading.name,
        type=reading.type,
        odd=", ".join(map(repr, reading.odd)),
    )
    return [
        _finding(
            "types",
            command,
            Message("Columns of numbers that hold some texts"),
            len(odd),
            unit="columns",
            verdict="limitation",
            reason=reason,
        )
    ]


def _classes(plan: Plan, rows: Rows, side: np.ndarray, command: str) -> list[Finding]:
    """Return the class balance: a limitation when the rarest class has under 1 % or under 30 rows, or none to train on."""
    if plan.schema.target.type != "category":
        return []
    balance = class_counts(rows, side)
    totals = np.sum([balance["counts"][name] for name in SIDES], axis=0)
    rarest = int(totals.argmin())
    share = float(totals[rarest] / totals.sum())
    values: Mapping[str, Any] = {"classes": len(totals), "name": balance["classes"][rarest], "rows": int(totals[rarest]), "share": share}
    untrained = [name for name, count in zip(balance["classes"], balance["counts"]["train"], strict=True) if not count]
    verdict: Verdict = "neutral"
    reason = Message("{classes} classes; the rarest, {name}, has {rows} rows (share {share})", **values)
    if untrained:
        verdict, reason = "limitation", Message("no training row has the class {names}: it can not be learned", names=_names(untrained))
    elif share < RARE_SHARE or totals[rarest] < RARE_ROWS:
        verdict, reason = "limitation", Message("the rarest of {classes} classes, {name}, has only {rows} rows (share {share})", **values)
    return [
        _finding(
            "classes",
            command,
            Message("Share of the rarest class"),
            share,
            unit="share",
            n=int(totals.sum()),
            verdict=verdict,
            reason=reason,
            evidence=("data/classes.json",),
        )
    ]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" + {len(names) - 5}" if len(names) > 5 else "")
