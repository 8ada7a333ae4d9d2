"""Which column plays which part: roles and types of all columns, and how each is converted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from weighbridge.data.convert import Conversion
from weighbridge.data.infer import Reading, infer
from weighbridge.data.sources import base_of, kind_of, sources_of
from weighbridge.data.spool import SPLIT, Spool
from weighbridge.data.table import Column, Role, Schema, Texts, unknown_column
from weighbridge.errors import DataError
from weighbridge.findings import Message

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection

MOST_CLASSES = 1000
TARGETS = ("category", "number", "set")
FILES = ("image", "audio")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Schema and conversions.

    Attributes: readings and conversions by column; hashed: the columns that make a row what it is (no target, ids, ignored or
    split columns; left-out ones included, so that an id does not hang on what was inferred); stored: written for later stages;
    id, split: names of these columns, or None; left: names of columns by why they are left out; rows; remarks: lines that were
    skipped at the head of files.
    """

    schema: Schema
    readings: Mapping[str, Reading]
    conversions: Mapping[str, Conversion]
    hashed: tuple[str, ...]
    stored: tuple[str, ...]
    id: str | None
    split: str | None
    left: Mapping[str, tuple[str, ...]]
    rows: int
    remarks: tuple[str, ...] = ()


def make_plan(section: DataSection, raw: Spool, separator: str = ";") -> Plan:
    """Return the part that each column plays. Raises DataError for unknown columns, an unfit target, or when no input is left."""
    names = [name for name in raw.schema.names if name != SPLIT]
    check_names(section, names)
    readings = {name: _read(section, raw, name, column) for name, column in raw.columns(names)}
    renamed = _dotted(section, raw, readings[section.target])
    readings[section.target] = _fewer(readings[section.target], len(renamed))
    lasting = id_name(section)
    split = SPLIT if SPLIT in raw.schema.names else section.split.column
    columns, left = [], dict[str, list[str]]()
    for name in names:
        role, why, cause = _role(section, readings[name], raw.rows, lasting)
        if cause:
            left.setdefault(cause, []).append(name)
        readings[name] = _as_used(readings[name], role, raw.schema.field(name).type)
        pattern = readings[name].pattern if readings[name].type == "date" else ""
        columns.append(Column(name=name, type=readings[name].type, role=role, why=why, pattern=pattern))
    schema = Schema(tuple(columns), _texts(section))
    if not schema.inputs:
        raise DataError(
            "no column is left to learn from",
            do="see `weigh check` for what was left out; name types in data.columns, or keep with data.clean",
        )
    never = ("target", "id", "split")
    hashed = tuple(column.name for column in columns if column.role not in never and section.columns.get(column.name) != "ignore")
    stored = tuple(column.name for column in columns if _stored(column, section))
    bases = (
        {side: base_of(source, section) for side, source in sources_of(section).items()} if any(c.type in FILES for c in columns) else {}
    )
    conversions = {name: Conversion(reading=readings[name], bases=bases, separator=separator) for name in names}
    conversions[section.target] = replace(conversions[section.target], renamed=renamed)
    return Plan(
        schema=schema,
        readings=readings,
        conversions=conversions,
        hashed=hashed,
        stored=stored,
        id=lasting,
        split=split,
        left={cause: tuple(found) for cause, found in left.items()},
        rows=raw.rows,
        remarks=tuple(raw.remarks),
    )


def _texts(section: DataSection) -> Texts | None:
    """Return how texts are read where the training rows come from CSV, else None."""
    sources = sources_of(section)
    if kind_of(sources.get("", sources.get("train", "")), section) != "csv":
        return None
    return Texts(missing=tuple(section.csv.missing), strip=section.csv.strip)


def check_names(section: DataSection, names: list[str]) -> None:
    """Raise DataError for a column that the recipe names and the source has not."""
    named = [section.target, section.id, section.group, section.time, section.weight, section.split.column]
    named += [*section.protected, *section.columns]
    named += [*section.anonymize.columns, section.anonymize.sensitive]
    for name in named:
        if name is not None and name not in names:
            raise unknown_column(name, names)


def _read(section: DataSection, raw: Spool, name: str, column: Any) -> Reading:
    field = raw.schema.field(name)
    reading = infer(name, column, field.metadata, target=name == section.target, wanted=section.columns.get(name))
    if name == section.target:
        _check_target(reading, raw.rows, named=name in section.columns)
    if name == section.time and reading.type not in ("date", "number"):
        reading = _as_number(raw, name, reading, key="data.time", rule="a time is a date or a number")
    if name == section.weight and reading.type != "number":
        reading = _as_number(raw, name, reading, key="data.weight", rule="a weight is a number from 0 on")
    return reading


def _as_number(raw: Spool, name: str, reading: Reading, *, key: str, rule: str) -> Reading:
    """Return the reading of a column that `key` names as one of numbers: whole ones that look like classes or ids are numbers here."""
    import pyarrow.types as pt

    if reading.numeric or pt.is_integer(raw.schema.field(name).type) or pt.is_floating(raw.schema.field(name).type):
        return replace(reading, type="number", why=Message("named as {key}", key=key))
    raise DataError(f"{key} '{name}' is read as {reading.type} ({reading.why})", do=rule)


def _check_target(reading: Reading, rows: int, *, named: bool) -> None:
    if reading.type not in TARGETS:
        raise DataError(
            f"the target '{reading.name}' is read as {reading.type} ({reading.why})", do="a target is a category, number or set"
        )
    several = reading.distinct > MOST_CLASSES or (rows >= 20 and reading.distinct > rows / 2)
    if reading.type == "category" and several and not named:
        odd = f"; {reading.odd[0]!r} is not a number" if reading.odd else ""
        raise DataError(
            f"the target '{reading.name}' holds {reading.distinct} different texts in {rows} rows{odd}",
            do=f"a category has few values that come again; name its type with data.columns.{reading.name}",
        )


def id_name(section: DataSection) -> str | None:
    """Return data.id, or the only column that data.columns calls an id."""
    named = [name for name, kind in section.columns.items() if kind == "id"]
    return section.id or (named[0] if len(named) == 1 else None)


def _role(section: DataSection, reading: Reading, rows: int, id_name: str | None) -> tuple[Role, Message, str]:
    """Return (role, why, cause of leaving it out or "")."""
    name = reading.name
    special: dict[str | None, tuple[Role, str]] = {
        section.split.column: ("split", "data.split.column"),
        section.time: ("time", "data.time"),
        section.weight: ("weight", "data.weight"),
        section.group: ("group", "data.group"),
        id_name: ("id", "data.id"),
        section.target: ("target", "data.target"),
    }
    if name in special:
        return special[name][0], reading.why, ""
    names_rows = reading.type == "id" and (section.clean.ids == "drop" or section.columns.get(name) == "id")
    if section.anonymize.columns.get(name) == "drop":  # what only names rows is no part of what they are, so that they keep their sides
        return "id" if names_rows else "left_out", Message("named drop in data.anonymize"), ""
    if section.columns.get(name) == "ignore":
        return "left_out", Message("named ignore in data.columns"), "ignored"
    if reading.type == "nested":
        return "left_out", reading.why, "nested"
    if reading.missing > section.clean.most_missing * rows:
        return "left_out", Message("{missing} of {rows} rows have no value", missing=reading.missing, rows=rows), "missing"
    if names_rows:
        return "id", reading.why, "ids"
    if section.clean.constants == "drop" and reading.type not in (*FILES, "set") and reading.distinct <= 1 and not reading.missing:
        return "left_out", Message("all rows have the same value"), "constants"
    return "input", reading.why, ""


def _as_used(reading: Reading, role: Role, raw_type: Any) -> Reading:
    """Return the reading with a type that a later stage can use: a kept id is a category or number, a group a category."""
    import pyarrow.types as pt

    if reading.type == "id" and role == "input":
        numbers = reading.numeric or pt.is_integer(raw_type) or pt.is_floating(raw_type)
        return replace(reading, type="number" if numbers else "category")
    return replace(reading, type="category") if role in ("group", "split") else reading


def _stored(column: Column, section: DataSection) -> bool:
    return column.role in ("input", "target", "group", "time", "weight") or (column.name in section.protected and column.type != "nested")


def _dotted(section: DataSection, raw: Spool, reading: Reading) -> dict[str, str]:
    """Return the labels that one split writes with a dot behind and another without (UCI's adult.test), as {with: without}."""
    if SPLIT not in raw.schema.names or reading.type != "category" or reading.numeric:
        return {}
    seen = set(_labels(raw, section.target))
    return {label: label[:-1] for label in sorted(seen) if label.endswith(".") and label[:-1] in seen}


def _fewer(reading: Reading, n: int) -> Reading:
    """Return the reading of a target of which `n` labels turned out to be others written differently."""
    if not n:
        return reading
    why = Message(reading.why.template, **(reading.why.values | {"distinct": reading.distinct - n}))
    return replace(reading, distinct=reading.distinct - n, why=why)


def _labels(raw: Spool, target: str) -> list[str]:
    import pyarrow as pa

    column = raw.column(target)
    return [value for value in column.unique().to_pylist() if value is not None] if pa.types.is_string(column.type) else []
