"""The data stage: read, understand, clean, split, pass the leak gate, write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.data.anonymize import Treatment, as_json, treat, written_ids
from weighbridge.data.anonymize_findings import anonymize_findings
from weighbridge.data.clean import clean
from weighbridge.data.convert import canonical_field, convert
from weighbridge.data.erased import erased_finding, leave_out, read_erased
from weighbridge.data.identity import group_rows, number_repeats
from weighbridge.data.labels import Mended, label_findings, mend
from weighbridge.data.leaks import EVIDENCE, leak_gate
from weighbridge.data.leaks_checks import Case
from weighbridge.data.plan import Plan, make_plan
from weighbridge.data.rows import SIDES, Rows, scan
from weighbridge.data.sources import meter_of, pieces
from weighbridge.data.split import TRAIN, fewer, method_of, sides
from weighbridge.data.spool import SPLIT, Spool, fill
from weighbridge.data.statements import class_counts, column_facts, statements
from weighbridge.data.table import ROW_ID, save_schema
from weighbridge.errors import DataError
from weighbridge.findings import Finding
from weighbridge.storage import atomic_path, fresh_folder, remove, write_json
from weighbridge.storage.progress import Progress, silent

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection


def prepare(
    section: DataSection, *, seed: int, folder: Path, command: str, progress: Progress = silent, separator: str = ";"
) -> list[Finding]:
    """`folder` holds train.arrow, validation.arrow, test.arrow, schema.json and the evidence; returns the findings `data.*`.

    The source is read once, in record batches. Nothing in `folder` changes before all is known to be well.
    Rows that `folder`'s receipts name as erased are left out, as if the source had never held them.
    Args: command, the shell command of this stage (`weigh data runs/NAME`); separator, what stands between the values of a set.
    Raises: DataError (LeakError: leaks_stopped.json then holds the rows and columns), DependencyError, StorageError.
    """
    erased = read_erased(folder)
    with _spooled(section, folder, progress) as raw:
        raw, left = (raw, 0) if erased is None else leave_out(section, raw, erased, separator, progress)
        plan = make_plan(section, raw, separator)
        rows = scan(raw, plan, progress)
        telling = any(column.type in ("text", "image", "audio") for column in plan.schema.inputs)  # of few values rows are equal by chance
        cleaned = clean(rows, section.clean, telling=telling)
        _check_ids(plan, rows, cleaned.keep)
        _check_classes(plan, rows, cleaned.keep)
        side = sides(rows, cleaned.keep, section, seed)
        method = method_of(section, rows)
        ids = _ids(rows, cleaned.keep)
        case = Case(
            raw=raw, plan=plan, rows=rows, side=side, method=method, seed=seed, progress=progress,
            dropped=cleaned.dropped["duplicates"], across=cleaned.across, many_equal=cleaned.many,
            drops_near=section.clean.near_duplicates == "drop",
        )  # fmt: skip
        passed = leak_gate(case, section.allow, folder, command)
        side, cleaned = passed.side, replace(cleaned, keep=passed.side >= 0)
        if section.split.train_rows is not None:
            side = fewer(ids, side, section.split.train_rows, seed)
        ids = written_ids(section.anonymize, ids)
        if (mended := mend(section, rows, side, ids)) is not None:
            cleaned = replace(cleaned, keep=cleaned.keep & (side == mended.side))
            rows, side = mended.rows, mended.side
        made = treat(section, raw, plan, rows, side)  # last: what it promises of the training rows holds of those that are written
        plan, side, cleaned = made.plan(plan), made.side, replace(cleaned, keep=cleaned.keep & ~((side == TRAIN) & (made.side < 0)))
        found = statements(section, plan, rows, cleaned, side, method, command) + passed.findings
        found += anonymize_findings(made, section.anonymize, plan.stored, command)
        found += label_findings(mended, section, command)
        found += [] if erased is None else [erased_finding(erased, left, command)]
        _write(raw, plan, made, ids, folder, progress, mended)
    write_json(folder / EVIDENCE, passed.evidence)
    _keep_treatment(folder, made, section)
    write_json(folder / "columns.json", column_facts(plan, rows))
    write_json(
        folder / "split.json", {"method": method, "seed": seed} | {name: int((side == code).sum()) for code, name in enumerate(SIDES)}
    )
    schema = plan.schema
    if schema.target.type != "number":
        balance = class_counts(rows, side)
        write_json(folder / "classes.json", balance)
        totals = np.sum([balance["counts"][name] for name in SIDES], axis=0).tolist()
        schema = replace(schema, classes=dict(zip(balance["classes"], totals, strict=True)))
    save_schema(folder / "schema.json", schema)
    return found


@contextlib.contextmanager
def _spooled(section: DataSection, folder: Path, progress: Progress) -> Iterator[Spool]:
    """Give the source's rows, kept beside the result while the block runs."""
    import shutil

    place = fresh_folder(folder / ".reading")
    try:
        raw = Spool(place)
        meter = meter_of(section)
        fill(raw, pieces(section, meter), section.limit, progress, meter)
        yield raw
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _ids(rows: Rows, keep: np.ndarray) -> np.ndarray:
    """Return the row ids [n]; the k-th repeat of equal inputs has `-k` behind."""
    kept = np.flatnonzero(keep)
    repeats = np.zeros(len(rows), dtype=np.int64)
    _, repeats[kept] = group_rows(rows.digests[kept])
    return number_repeats(rows.ids, repeats) if rows.hashed_ids else rows.ids


def _check_ids(plan: Plan, rows: Rows, keep: np.ndarray) -> None:
    """Raise DataError where data.id names two rows alike."""
    if rows.hashed_ids:
        return
    known, counts = np.unique(rows.ids[keep], return_counts=True)
    twice = known[counts > 1]
    if len(twice):
        raise DataError(
            f"data.id '{plan.id}' names {len(twice)} ids more than once, first {twice[0]}", do="choose a column that names each row once"
        )


def _check_classes(plan: Plan, rows: Rows, keep: np.ndarray) -> None:
    """Raise DataError unless the target has at least two values."""
    target = plan.schema.target
    values = np.unique(rows.targets[keep])
    if not len(values):
        raise DataError("no row is left after cleaning", do="see data.clean")
    if len(values) == 1:
        only = rows.classes.get(int(values[0]))
        shown = f" ('{only}')" if only is not None else ""
        raise DataError(
            f"the target '{target.name}' has one value only{shown} in {int(keep.sum())} rows",
            do="give rows of at least two classes or values",
        )


def _keep_treatment(folder: Path, made: Treatment, section: DataSection) -> None:
    """anonymize.json says what was done to columns, and is not there where nothing was."""
    path = folder / "anonymize.json"
    if made.ways:
        write_json(path, as_json(made, section.anonymize))
    else:
        remove(path)


def _write(
    raw: Spool, plan: Plan, made: Treatment, ids: np.ndarray, folder: Path, progress: Progress, mended: Mended | None = None
) -> None:
    """The three split files hold the stored columns in canonical form; all three are written before the first is put in place."""
    import pyarrow as pa

    side = made.side
    kinds = {column.name: column.type for column in plan.schema.columns}
    fields = [canonical_field(raw.schema.field(name), kinds[name]) for name in plan.stored]
    schema = pa.schema([pa.field(ROW_ID, pa.string()), *fields])
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(atomic_path(folder / f"{name}.arrow")) for name in SIDES]
        writers = [stack.enter_context(pa.ipc.new_file(str(path), schema)) for path in paths]
        row = 0
        for batch in raw.batches():
            part = slice(row, row + len(batch))
            _write_batch(_canonical(batch, plan, made, row, schema, ids[part], mended), side[part], writers)
            row += len(batch)
            progress("rows written", row, raw.rows)


def _canonical(batch: Any, plan: Plan, made: Treatment, row: int, schema: Any, ids: np.ndarray, mended: Mended | None) -> Any:
    import pyarrow as pa

    splits = batch.column(SPLIT) if SPLIT in batch.schema.names else None
    columns = [convert(batch.column(name), plan.conversions[name], row=row, splits=splits) for name in plan.stored]
    columns = [made.column(name, one, schema.field(name), plan.schema[name].type) for name, one in zip(plan.stored, columns, strict=True)]
    if mended is not None:
        target = plan.stored.index(plan.schema.target.name)
        columns[target] = mended.column(columns[target], row)
    return pa.RecordBatch.from_arrays([pa.array(ids.tolist(), pa.string()), *columns], schema=schema)


def _write_batch(batch: Any, side: np.ndarray, writers: list[Any]) -> None:
    import pyarrow as pa

    for code, writer in enumerate(writers):
        chosen = np.flatnonzero(side == code)
        if len(chosen):
            writer.write_batch(batch.take(pa.array(chosen)))
