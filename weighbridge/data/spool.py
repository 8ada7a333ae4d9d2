"""What was read, kept as it came in memory-mapped Arrow files, so that every later pass streams and none reads the source again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from weighbridge.data.sources.files import REMARK, Meter
from weighbridge.errors import DataError
from weighbridge.sound import write_wav
from weighbridge.storage.files import named_storage_errors
from weighbridge.storage.progress import Progress, silent

SPLIT = "__split__"
ROWS = 1 << 16
NESTED = b"nested"
COLUMNS = 64  # read at once: opening the files for each of 5,000 columns alone is opening all columns 5,000 times


class Spool:
    """Rows in the order read. Types grow as batches come (nothing -> whole number -> number -> text), so no row is refused for
    standing under a column whose first rows looked different.

    Attributes: schema (Arrow; the split given by the source stands in SPLIT where there is one), rows, remarks (lines skipped).
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        self.folder = folder
        self.schema = pa.schema([])
        self.rows = 0
        self.remarks: list[str] = []
        self._segments: list[Path] = []
        self._writer: Any = None

    def add(self, split: str | None, batch: Any) -> None:
        """The batch is on the disk. Raises DataError when a column can not hold both its old and new values; StorageError."""
        import pyarrow as pa

        if SPLIT in batch.schema.names or "__row_id__" in batch.schema.names:
            raise DataError(f"the names {SPLIT} and __row_id__ are taken", do="rename that column")
        if REMARK in (batch.schema.metadata or {}):
            self.remarks.append(batch.schema.metadata[REMARK].decode())
        batch = plain(batch)
        if split is not None:
            batch = batch.append_column(SPLIT, pa.array([split] * len(batch), pa.string()))
        schema = unite(self.schema, batch.schema, self.rows)
        with named_storage_errors(self.folder):
            if schema != self.schema or self._writer is None:
                self._open(schema)
            for start in range(0, len(batch), ROWS):
                self._writer.write_batch(fit(batch.slice(start, ROWS), self.schema))
        self.rows += len(batch)

    def _open(self, schema: Any) -> None:
        import pyarrow as pa

        self.close()
        self.schema = schema
        self._segments.append(self.folder / f"{len(self._segments)}.arrow")
        self._writer = pa.ipc.new_file(str(self._segments[-1]), schema)

    def close(self) -> None:
        """All rows can be read. Raises StorageError: what the writer still held did not fit on the disk."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with named_storage_errors(self.folder):
                writer.close()

    def batches(self) -> Iterator[Any]:
        """Yield the rows in their order, mapped, every batch in the final schema."""
        for batch in self._mapped():
            yield fit(batch, self.schema)

    def _mapped(self) -> Iterator[Any]:
        import pyarrow as pa

        for path in self._segments:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)

    def column(self, name: str) -> Any:
        """Return one column as a chunked array; unchanged types stay mapped."""
        return next(self.columns([name]))[1]

    def columns(self, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """Yield (name, chunked array) of each of the columns, whose files are opened once for COLUMNS of them."""
        import pyarrow as pa

        for start in range(0, len(names), COLUMNS):
            some = names[start : start + COLUMNS]
            part = pa.schema([self.schema.field(name) for name in some])
            batches = [fit(batch.select([name for name in some if has(batch.schema, name)]), part) for batch in self._mapped()]
            for place, name in enumerate(some):
                yield name, pa.chunked_array([batch.column(place) for batch in batches], part.field(place).type)


def fill(
    spool: Spool, source: Iterator[tuple[str | None, Any]], limit: int | None, progress: Progress = silent, meter: Meter | None = None
) -> None:
    """The spool holds the source's rows, at most `limit`. Raises DataError when there is none.

    Progress is told in rows where their number is known, else in the bytes that the `meter` has counted.
    """
    meter = Meter() if meter is None else meter
    try:
        for split, batch in source:
            left = len(batch) if limit is None else limit - spool.rows
            spool.add(split, batch.slice(0, left))
            _tell(spool.rows, limit, meter, progress)
            if left <= len(batch) and limit is not None:
                break
    finally:
        spool.close()
    _tell(spool.rows, limit, meter, progress, ended=True)
    if not spool.rows:
        raise DataError("the source holds no rows", do="check data.source, data.query and data.csv")


def _tell(rows: int, limit: int | None, meter: Meter, progress: Progress, *, ended: bool = False) -> None:
    if limit is not None or meter.total_rows is not None or meter.total_bytes is None:
        total = min(count for count in (limit, meter.total_rows, rows if ended else None, 1 << 62) if count is not None)
        progress("read rows", rows, total if total < 1 << 62 else None)
        return
    unit, size = ("MB", 10**6) if meter.total_bytes >= 10**7 else ("kB", 10**3)
    total = -(-meter.total_bytes // size)
    progress(f"read {unit}", total if ended else min(meter.done_bytes // size, total - 1), total, f"{rows:,} rows")


def unite(old: Any, new: Any, row: int) -> Any:
    """Return the schema that holds both. Raises DataError for a column that changes between values and lists."""
    import pyarrow as pa

    fields = {field.name: field for field in old}
    if old.names and row and set(new.names).isdisjoint(set(old.names) - {SPLIT}):
        raise DataError(
            f"from row {row + 1} on, none of the columns has a name seen before ({', '.join(new.names[:5])})",
            do="give the files the same header",
        )
    for field in new:
        known = fields.get(field.name)
        if known is None or (known.type == field.type and known.metadata == field.metadata):
            fields[field.name] = known or field
            continue
        kind = _wider(known.type, field.type)
        if kind is None:
            raise DataError(
                f"column '{field.name}' changes from {known.type} to {field.type} at row {row + 1}", do="give it values of one kind"
            )
        fields[field.name] = pa.field(field.name, kind, metadata=known.metadata or field.metadata)
    return pa.schema(list(fields.values()))


def _wider(one: Any, other: Any) -> Any | None:
    import pyarrow as pa
    import pyarrow.types as pt

    if pt.is_null(one) or pt.is_null(other) or one == other:
        return other if pt.is_null(one) else one
    if pt.is_nested(one) or pt.is_nested(other) or pt.is_binary(one) or pt.is_binary(other):
        return None
    numbers = pt.is_integer(one) or pt.is_floating(one), pt.is_integer(other) or pt.is_floating(other)
    return pa.float64() if all(numbers) else pa.string()


def has(schema: Any, name: str) -> bool:
    """Say whether the Arrow schema has a column of this name; its list of names is not made for it."""
    return bool(schema.get_all_field_indices(name))


def fit(batch: Any, schema: Any) -> Any:
    """Return the batch in this schema: absent columns null, others cast."""
    import pyarrow as pa

    if batch.schema == schema:
        return batch
    columns = []
    for field in schema:
        if not has(batch.schema, field.name):
            columns.append(pa.nulls(len(batch), field.type))
        else:
            column = batch.column(field.name)
            columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def plain(batch: Any) -> Any:
    """Return the batch with few types: int64, float64, bool, string, timestamp[us], binary, list<string>, uint8 images, null.

    A hub image or clip {bytes, path} becomes its bytes, or its path; a waveform {array, sampling_rate} a WAV file.
    Other nested values become null, marked NESTED in the field's metadata.
    """
    import pyarrow as pa

    twice = sorted(name for name, times in Counter(batch.schema.names).items() if times > 1)
    if twice:
        raise DataError(f"the source has more than one column '{twice[0]}'", do="rename one of them")
    columns, fields = [], []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        values, metadata = _plain_column(column, field)
        columns.append(values)
        fields.append(pa.field(field.name, values.type, metadata=metadata))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _plain_column(column: Any, field: Any) -> tuple[Any, dict[bytes, bytes] | None]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    kind = column.type
    if pt.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if field.metadata and b"shape" in field.metadata and pt.is_fixed_size_list(kind) and kind.value_type == pa.uint8():
        return column, {b"shape": field.metadata[b"shape"]}
    if pt.is_struct(kind) and {inner.name for inner in kind} >= {"array", "sampling_rate"}:
        return _waveforms(column, field.name), None
    if pt.is_struct(kind) and {inner.name for inner in kind} == {"bytes", "path"}:
        content = column.field("bytes")
        return (content.cast(pa.binary()) if content.null_count < len(content) else column.field("path").cast(pa.string())), None
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        if pt.is_nested(kind.value_type):
            return pa.nulls(len(column)), {NESTED: str(kind).encode()}
        return column.cast(pa.list_(pa.string())), None
    if pt.is_nested(kind):
        return pa.nulls(len(column)), {NESTED: str(kind).encode()}
    if pt.is_timestamp(kind) and kind.tz is not None:
        column = pc.cast(column, pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()).cast(pa.timestamp("us"))
        return column, None
    target = _plain_type(kind)
    return (column if target == kind else column.cast(target, safe=False)), None


def _waveforms(column: Any, name: str) -> Any:
    """Return the clips of {array, sampling_rate} as WAV files, sample for sample."""
    import pyarrow as pa

    files = []
    for place, clip in enumerate(column):
        known = clip.is_valid and clip["array"].is_valid
        try:
            samples = clip["array"].values.to_numpy(zero_copy_only=False) if known else None
            files.append(None if samples is None else write_wav(samples, clip["sampling_rate"].as_py() or 0))
        except (ValueError, pa.ArrowInvalid) as error:
            raise DataError(f"column '{name}' holds no waveform in row {place + 1} of a batch ({error})", do="give samples [n]") from None
    return pa.array(files, pa.binary())


def _plain_type(kind: Any) -> Any:
    import pyarrow as pa
    import pyarrow.types as pt

    if pt.is_null(kind) or pt.is_boolean(kind):
        return kind
    if pt.is_integer(kind):
        return pa.float64() if kind == pa.uint64() else pa.int64()
    if pt.is_floating(kind) or pt.is_decimal(kind):
        return pa.float64()
    if pt.is_date(kind) or pt.is_timestamp(kind):
        return pa.timestamp("us")
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind) or str(kind) == "binary_view":
        return pa.binary()
    return pa.string()
