"""A look at the first rows: what `weigh check` shows and what `weigh init` writes."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.data.convert import convert
from weighbridge.data.plan import Plan, make_plan
from weighbridge.data.sources import known_rows, pieces, sources_of, text_size
from weighbridge.data.spool import SPLIT, Spool, fill
from weighbridge.data.table import Schema

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection

DRAFT_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the first rows say.

    Attributes: schema as inferred from them; rows, the first five as dicts of JSON values; n_rows, how many were looked at;
    n_rows_estimate, of the whole source (None: not known without reading it); exact, whether that is counted; bytes_estimate, of
    the decoded columns in memory; splits, those the source gives; left, columns left out by cause.
    """

    schema: Schema
    rows: tuple[dict[str, Any], ...]
    n_rows: int
    n_rows_estimate: int | None
    exact: bool
    bytes_estimate: int | None
    splits: tuple[str, ...]
    left: dict[str, tuple[str, ...]]


def preview(section: DataSection, rows: int = 1000, *, separator: str = ";") -> Preview:
    """Return what the first `rows` rows of the source say; nothing is kept. Raises DataError, DependencyError."""
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder:
        raw = Spool(Path(folder))
        fill(raw, pieces(section), min(rows, section.limit or rows))
        plan = make_plan(section, raw, separator)
        first = next(raw.batches())
        splits = _splits(section, raw)
        a_row = sum(batch.nbytes for batch in raw.batches()) / raw.rows
        estimate, exact = _count(section, raw, rows, a_row)
        return Preview(
            schema=plan.schema,
            rows=_shown(first.slice(0, 5), plan),
            n_rows=raw.rows,
            n_rows_estimate=estimate,
            exact=exact,
            bytes_estimate=None if estimate is None else math.ceil(a_row * estimate),
            splits=splits,
            left=dict(plan.left),
        )


def draft_recipe(source: str, target: str) -> str:
    """Return a recipe (YAML) for the source with each column's type and why in comments; it loads as it is.

    Raises: DataError for a source that is not there or a column that it has not.
    """
    from weighbridge.recipe import parse_recipe

    section = parse_recipe({"data": {"source": source, "target": target}}).data
    seen = preview(section, DRAFT_ROWS)
    count = f"{seen.n_rows_estimate:,}" if seen.n_rows_estimate is not None else "an unknown number of"
    about = "" if seen.exact else "about "
    lines = [
        f"# Drafted from the first {seen.n_rows:,} of {about}{count} rows; every absent key has its default (see `weigh check`).",
        "data:",
        f"  source: {_scalar(source)}",
        f"  target: {_scalar(target)}  # {_why(seen.schema, target)}",
        *([f"  # The source gives the splits {', '.join(seen.splits)}."] if seen.splits else []),
        "  # Types as inferred; to set one, uncomment `columns:` and its line: number, category, date, image, audio, text, set, id, ignore",
        "  # columns:",
        *(_column_line(seen.schema, column.name) for column in seen.schema.columns if column.name != target),
        "training:",
        "  model: auto  # cnn where images or clips are, else mlp; or linear, mlp, cnn, transformer",
        "report:",
        "  language: en  # or zh",
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _column_line(schema: Schema, name: str) -> str:
    column = schema[name]
    role = {"left_out": ", left out", "id": ", not used as input"}.get(column.role, "")
    kind = column.type if column.type != "nested" else "ignore"
    return f"  #   {_scalar(name)}: {kind}  # {column.why}{role}"


def _why(schema: Schema, name: str) -> str:
    return f"{schema[name].type}: {schema[name].why}"


def _scalar(text: str) -> str:
    """Return a YAML scalar of one line."""
    import yaml

    return str(yaml.safe_dump(text, allow_unicode=True, width=10_000, default_style=None)).split("\n...")[0].strip()


def _count(section: DataSection, raw: Spool, rows: int, a_row: float) -> tuple[int | None, bool]:
    """Return (rows of the source, whether they are counted): by footers, by all having been read, else by the size of its text."""
    if raw.rows < min(rows, section.limit or rows):
        return raw.rows, True
    known = [known_rows(source, section) for source in sources_of(section).values()]
    counted = [number for number in known if number is not None]
    if len(counted) == len(known):
        return min(sum(counted), section.limit or sum(counted)), True
    sizes = [text_size(source, section) for source in sources_of(section).values()]
    if any(size is None for size in sizes):
        return section.limit, False
    estimate = max(raw.rows, round(sum(size or 0 for size in sizes) / max(1.0, _line(raw))))
    return min(estimate, section.limit or estimate), False


def _splits(section: DataSection, raw: Spool) -> tuple[str, ...]:
    if not isinstance(section.source, str):
        return tuple(section.source)
    return tuple(raw.column(SPLIT).unique().to_pylist()) if SPLIT in raw.schema.names else ()


def _line(raw: Spool) -> float:
    """Return the mean bytes that a row of text takes: its values and one separator each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [name for name in raw.schema.names if name != SPLIT]
    flat = [name for name in names if not pa.types.is_nested(raw.schema.field(name).type)]
    total = sum(pc.sum(pc.binary_length(column.cast(pa.string()))).as_py() or 0 for _, column in raw.columns(flat))
    return float(total) / raw.rows + len(names)


def _shown(batch: Any, plan: Plan) -> tuple[dict[str, Any], ...]:
    splits = batch.column(SPLIT) if SPLIT in batch.schema.names else None
    columns = {name: _values(convert(batch.column(name), plan.conversions[name], splits=splits)) for name in plan.stored}
    return tuple({name: values[row] for name, values in columns.items()} for row in range(len(batch)))


def _values(values: Any) -> list[Any]:
    """Return JSON values: images in words, dates in ISO form, NaN as None."""
    import pyarrow.types as pt

    if pt.is_fixed_size_list(values.type):
        return [f"<{values.type.list_size} pixels>"] * len(values)
    if pt.is_binary(values.type):
        return [f"<{len(value)} bytes>" if value is not None else None for value in values.to_pylist()]
    if pt.is_timestamp(values.type):
        return [value.isoformat() if value is not None else None for value in values.to_pylist()]
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values.to_pylist()]
