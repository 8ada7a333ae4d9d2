"""Which rows an erasure is about: named by their ids or by a value of a column, looked up in the source and in what the run kept of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.data.anonymize import written_ids
from weighbridge.data.plan import Plan, id_name, make_plan
from weighbridge.data.rows import SIDES, Rows, scan
from weighbridge.data.sources import pieces
from weighbridge.data.spool import Spool, fill
from weighbridge.data.table import Batch, Table, load_schema, unknown_column
from weighbridge.errors import DataError, DependencyError, UsageError
from weighbridge.findings import Message
from weighbridge.storage.progress import Progress, silent

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection

REPEAT = re.compile(r"([0-9a-f]{16})(-[0-9]+)?", re.ASCII)  # an id that is a hash, with the number of a repeat of equal rows


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source as it was read: its rows, what is known of each, and the ids under which a run writes them, str [n]."""

    raw: Spool
    plan: Plan
    rows: Rows
    written: np.ndarray

    def values(self, places: np.ndarray) -> list[dict[str, Any]]:
        """Return the values of rows as they came."""
        return [row for batch, inside in _parts(self.raw, places) for row in batch.take(inside).to_pylist()]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The rows to erase.

    names: their lasting ids, which the list of erased rows goes by; written: the ids under which the run's files may name them;
    split: how many of them each split holds; held: their stored values, in canonical form, by split; places: where they stand in the
    source, None where it could not be read, with the reason in `unread`.
    """

    names: tuple[str, ...]
    written: frozenset[str]
    split: Mapping[str, int]
    held: Mapping[str, Batch] = field(default_factory=dict)
    places: np.ndarray | None = None
    unread: Message | None = None


def read_source(section: DataSection, place: Path, separator: str, progress: Progress = silent) -> Source:
    """Return the source's rows, kept in `place`, an empty folder. Raises DataError, DependencyError, StorageError."""
    raw = Spool(place)
    fill(raw, pieces(section), section.limit, progress)
    plan = make_plan(section, raw, separator)
    rows = scan(raw, plan, progress)
    anonymous = bool(section.anonymize.columns)
    if anonymous and section.anonymize.key is None:
        raise UsageError(
            "rows of this run have no ids that last: they are numbered anew with each reading",
            do="name a secret with data.anonymize.key and run the recipe again; or take the row out of the source and do so",
        )
    return Source(raw=raw, plan=plan, rows=rows, written=written_ids(section.anonymize, rows.ids) if anonymous else rows.ids)


def find_rows(
    section: DataSection, folder: Path, ids: Sequence[str], where: Mapping[str, str], source: Source | None, unread: Message | None = None
) -> Found:
    """Return the rows of these ids, and those that hold these values in all of the columns. Equal rows under hashed ids are one.

    Args: folder, the run's data folder, which holds some of them, or none.
    Raises UsageError for an id or a value that no row has, DataError for a column that is not there; nothing was changed.
    """
    hashed = id_name(section) is None
    schema = load_schema(folder / "schema.json")
    tables = {side: Table(folder / f"{side}.arrow", schema) for side in SIDES}
    names = {_named(section, tables, one, source, hashed=hashed) for one in ids} | _valued(where, source)
    places = None if source is None else np.flatnonzero(np.isin(source.rows.ids, sorted(names)))
    written = _written(section, names, source, places, hashed=hashed)
    held = {side: batch for side, table in tables.items() if len(batch := _held(table, written, hashed=hashed))}
    written |= {str(one) for batch in held.values() for one in batch.row_ids}
    return Found(
        names=tuple(sorted(names)), written=frozenset(written), split={side: len(batch) for side, batch in held.items()}, held=held,
        places=places, unread=unread,
    )  # fmt: skip


def base_of_id(row_id: str, *, hashed: bool) -> str:
    """Return the lasting id: that of a repeat of equal rows is theirs."""
    found = REPEAT.fullmatch(row_id) if hashed else None
    return row_id if found is None else found[1]


def _named(section: DataSection, tables: Mapping[str, Table], row_id: str, source: Source | None, *, hashed: bool) -> str:
    """Return the lasting id of the row that is named so, in the source or in the run. Raises UsageError where there is none."""
    base = base_of_id(row_id, hashed=hashed)
    if source is not None and len(same := np.flatnonzero((source.rows.ids == base) | (source.written == row_id))):
        return str(source.rows.ids[same[0]])
    if not section.anonymize.columns and any(
        base_of_id(one, hashed=hashed) == base for table in tables.values() for one in table.row_ids.tolist()
    ):
        return base  # the source no longer holds it, or can not be read: the run does
    raise UsageError(f"no row has the id '{row_id}'", do="ids stand in the first column of evaluation/test.parquet, and in the report")


def _valued(where: Mapping[str, str], source: Source | None) -> set[str]:
    if not where:
        return set()
    if source is None:
        raise UsageError("rows are looked for by value in the source, which can not be read", do="make it readable, or name --row ID")
    stay = np.ones(source.raw.rows, dtype=bool)
    names = [field.name for field in source.raw.schema]
    for name, value in where.items():
        if name not in names:
            raise unknown_column(name, names)
        stay &= _equal(source.raw.column(name), value)
    if not stay.any():
        told = " and ".join(f"{name}={value}" for name, value in where.items())
        raise UsageError(f"no row of the source has {told}", do="values are compared as they stand in the source")
    return set(source.rows.ids[stay].tolist())


def _equal(column: Any, value: str) -> np.ndarray:
    """Return which values are this one: as numbers where the column holds numbers, else as texts. bool [n]."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if pt.is_integer(column.type) or pt.is_floating(column.type):
        try:
            same = pc.equal(pc.cast(column, pa.float64(), safe=False), float(value))
        except ValueError:
            return np.zeros(len(column), dtype=bool)
    elif pt.is_nested(column.type) or pt.is_binary(column.type):
        return np.array([str(one) == value for one in column.to_pylist()], dtype=bool)
    else:
        same = pc.equal(pc.cast(column, pa.string()), value)
    return np.asarray(pc.fill_null(same, False).to_numpy(zero_copy_only=False), dtype=bool)


def _written(section: DataSection, names: set[str], source: Source | None, places: np.ndarray | None, *, hashed: bool) -> set[str]:
    """Return the ids under which the run may have written these rows, those of their repeats too."""
    repeats = 1 if places is None or not hashed else max(1, len(places))
    known = [*sorted(names), *(f"{name}-{number}" for name in sorted(names) for number in range(1, repeats))]
    if not section.anonymize.columns:
        return set(known)
    return set(written_ids(section.anonymize, np.array(known, dtype=np.str_)).tolist()) if source is not None else set()


def _held(table: Table, written: set[str], *, hashed: bool) -> Batch:
    """Return the rows of a split that bear one of these ids, of hashed ones their repeats too."""
    bases = {base_of_id(one, hashed=hashed) for one in written}
    rows = [place for place, one in enumerate(table.row_ids.tolist()) if one in written or base_of_id(one, hashed=hashed) in bases]
    return table.rows(np.array(rows, dtype=np.int64))


def _parts(raw: Spool, places: np.ndarray) -> list[tuple[Any, Any]]:
    """Return each batch that holds some of these places, with where they stand in it."""
    import pyarrow as pa

    found, begun = [], 0
    for batch in raw.batches():
        inside = places[(places >= begun) & (places < begun + len(batch))] - begun
        if len(inside):
            found.append((batch, pa.array(inside)))
        begun += len(batch)
    return found


def readable_source(section: DataSection, place: Path, separator: str, progress: Progress = silent) -> tuple[Source | None, Message | None]:
    """Return the source, or None and why it can not be read: what the run kept of it can be erased all the same."""
    try:
        return read_source(section, place, separator, progress), None
    except (DataError, DependencyError) as error:
        return None, Message("{why}", why=str(error))
