"""Take rows out of the user's own source file: every other byte of it stays, and it is replaced whole or not at all.

CSV, JSON lines, Parquet, Arrow and folders of images, local ones. What was written is read again and compared with what was read before,
row by row, before it takes the old one's place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from weighbridge.data.convert import resolved
from weighbridge.data.erase_rows import Source
from weighbridge.data.sources import base_of, files_of, kind_of, sources_of
from weighbridge.data.sources.columnar import read_arrow, read_jsonl, read_parquet
from weighbridge.data.sources.files import Place, compression
from weighbridge.data.sources.images import KINDS as FOLDERS
from weighbridge.data.sources.text_csv import read_csv
from weighbridge.errors import UsageError
from weighbridge.storage import remove
from weighbridge.storage.files import atomic_path

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection

KINDS = ("csv", "jsonl", "parquet", "arrow", "images", "audio")
PACKED = (None, "gzip", "bz2", "xz")


def refuse_source(section: DataSection) -> None:
    """Raise UsageError for a source that is not rewritten here: nothing was changed."""
    for source in sources_of(section).values():
        kind = kind_of(source, section)
        place = files_of(source, section) if kind in KINDS else None
        if place is None or not place.local:
            raise UsageError(
                f"{source} is not a local file of a kind that is rewritten ({', '.join(KINDS)})",
                do="take the row out there yourself; without --source it is erased from the run, and never read again",
            )
        for file in place.files:
            if compression(file) not in PACKED:
                raise UsageError(f"{file} is packed in a way that is not written here", do="unpack it, or take the row out yourself")


def rewrite_source(section: DataSection, places: np.ndarray, source: Source) -> list[str]:
    """The source's files no longer hold the rows at these places [k, rising]; return the files that were rewritten or removed.

    Images and clips that no other row names go with their rows. Atomic a file; repeated safely when it is asked for what is still there.
    Raises UsageError where what was written would not read as the rest of what was there; StorageError.
    """
    lost = _images(section, places, source)
    done, begun = list[str](), 0  # a file is read to know which of the places are its own
    for one in sources_of(section).values():
        kind, place = kind_of(one, section), files_of(one, section)
        if kind in FOLDERS:
            lost += [place.files[number - begun] for number in places.tolist() if begun <= number < begun + len(place.files)]
            begun += len(place.files)
            continue
        for file in place.files:
            count = sum(len(batch) for batch in _read(place, file, kind, section))
            inside = places[(places >= begun) & (places < begun + count)] - begun
            begun += count
            if len(inside):
                _rewrite(place, file, kind, section, inside)
                done.append(file)
    for path in lost:
        remove(Path(path))
    return [*done, *lost]


def _images(section: DataSection, places: np.ndarray, source: Source) -> list[str]:
    """Return the image files and clips that columns of these rows name and no other row does; none where rows are files themselves."""
    found = list[str]()
    if any(kind_of(one, section) in FOLDERS for one in sources_of(section).values()):
        return found
    bases = [base_of(one, section) for one in sources_of(section).values()]
    mine = np.zeros(source.raw.rows, dtype=bool)
    mine[places] = True
    for column in source.plan.schema.columns:
        if column.type in ("image", "audio") and str(source.raw.schema.field(column.name).type) == "string":
            values = np.array(source.raw.column(column.name).to_pylist(), dtype=object)
            others = set(values[~mine].tolist())
            paths = [Path(resolved(one, base) or "") for one in set(values[mine].tolist()) - others - {None} for base in bases]
            found += [str(path) for path in paths if path.is_file()]
    return found


def _rewrite(place: Place, file: str, kind: str, section: DataSection, rows: np.ndarray) -> None:
    with atomic_path(Path(file)) as temporary:
        if kind in ("csv", "jsonl"):
            _text(Path(file), temporary, set(rows.tolist()), section, kind)
        elif kind == "parquet":
            _parquet(Path(file), temporary, rows)
        else:
            _arrow(Path(file), temporary, rows)
        _refuse_other(place, file, temporary, kind, section, rows)
        temporary.chmod(Path(file).stat().st_mode & 0o777)


def _refuse_other(place: Place, file: str, made: Path, kind: str, section: DataSection, rows: np.ndarray) -> None:
    """Raise UsageError unless `made` reads as the file without these rows."""
    before = _past(_read(place, file, kind, section), rows)
    packed = compression(file)
    unpacked = replace(place, files=(str(made),))
    with _named_alike(made, packed) as path:
        now = list(_read(unpacked, str(path), kind, section)) if path.stat().st_size else []
    if _plain(before) != _plain(now):
        raise UsageError(f"{file} would not read as before without its row", do="take the row out yourself; nothing was changed")


@contextmanager
def _named_alike(made: Path, packed: str | None) -> Iterator[Path]:
    """Give the file under a name that says how it is packed, by which readers go."""
    endings = {"gzip": ".gz", "bz2": ".bz2", "xz": ".xz"}
    if packed is None:
        yield made
        return
    other = made.with_name(made.name + endings[packed])
    other.hardlink_to(made)
    try:
        yield other
    finally:
        other.unlink(missing_ok=True)


def _plain(batches: Iterable[Any]) -> list[list[tuple[str, str]]]:
    """Return each row's values in words, without those that are missing; JSON lines read 3 as 3.0 beside 2.5 and as 3 without it."""
    rows = (row for one in batches for row in one.to_pylist())
    return [[(name, _word(value)) for name, value in sorted(row.items()) if value is not None] for row in rows]


def _word(value: Any) -> str:
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)


def _past(batches: Iterable[Any], rows: np.ndarray) -> Iterator[Any]:
    import pyarrow as pa

    begun = 0
    for batch in batches:
        stay = np.ones(len(batch), dtype=bool)
        stay[rows[(rows >= begun) & (rows < begun + len(batch))] - begun] = False
        begun += len(batch)
        yield batch.filter(pa.array(stay))


def _read(place: Place, file: str, kind: str, section: DataSection) -> Iterator[Any]:
    if kind == "csv":
        return read_csv(place, file, section.csv)
    if kind == "jsonl":
        return read_jsonl(place, file)
    return read_parquet(place, file) if kind == "parquet" else read_arrow(place, file)


def _text(path: Path, made: Path, rows: set[int], section: DataSection, kind: str) -> None:
    encoding = section.csv.encoding if kind == "csv" else "utf-8"
    with _opened(path, path, "rb") as stream:
        text = stream.read().decode(encoding)
    records = list(_records(text) if kind == "csv" else re.findall(r"[^\n]*\n|[^\n]+$", text))
    first = _head(records, section) if kind == "csv" else 0
    number, kept = -1, list[str]()
    for place, record in enumerate(records):
        is_row = place >= first and bool(record.strip("\r\n") if kind == "csv" else record.strip())
        number += is_row
        if not (is_row and number in rows):
            kept.append(record)
    with _opened(path, made, "wb") as stream:
        stream.write("".join(kept).encode(encoding))


def _head(records: list[str], section: DataSection) -> int:
    """Return how many records stand before the first row: skipped lines, blank ones, a remark, the header."""
    place = section.csv.skip_rows
    while place < len(records) and not records[place].strip():
        place += 1
    if place < len(records) and records[place].startswith("|") and not section.csv.names:
        place += 1
    return place + (0 if section.csv.names else 1)


def _records(text: str) -> Iterator[str]:
    """Yield the records of CSV with their line ends: one within quotes belongs to its field (RFC 4180)."""
    begun = 0
    quoted = False
    for found in re.finditer(r'"|\r\n|\n|\r', text):
        if found[0] == '"':
            quoted = not quoted
        elif not quoted:
            yield text[begun : found.end()]
            begun = found.end()
    if begun < len(text):
        yield text[begun:]


@contextmanager
def _opened(named: Path, path: Path, mode: str) -> Iterator[IO[bytes]]:
    """Give the file's plain bytes, packed as the name says."""
    import fsspec

    with fsspec.open(str(path), mode, compression=compression(str(named))) as stream:
        yield stream


def _parquet(path: Path, made: Path, rows: np.ndarray) -> None:
    """The row groups stay apart; the compression is that of the first column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    old, begun = pq.ParquetFile(path), 0
    packed = old.metadata.row_group(0).column(0).compression.lower() if old.metadata.num_columns else "snappy"
    with pq.ParquetWriter(made, old.schema_arrow, compression="none" if packed == "uncompressed" else packed) as writer:
        for number in range(old.metadata.num_row_groups):
            group = old.read_row_group(number)
            stay = np.ones(len(group), dtype=bool)
            stay[rows[(rows >= begun) & (rows < begun + len(group))] - begun] = False
            begun += len(group)
            writer.write_table(group.filter(pa.array(stay)))


def _arrow(path: Path, made: Path, rows: np.ndarray) -> None:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        batches = [reader.get_batch(k) for k in range(reader.num_record_batches)] if is_file else list(reader)
        with (pa.ipc.new_file if is_file else pa.ipc.new_stream)(str(made), reader.schema) as writer:
            for batch in _past(batches, rows):
                writer.write_batch(batch)
