"""Labels in files: CSV, JSON lines or Parquet with columns `id` and `label`; read piece by piece, and rewritten without an erased id."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from weighbridge.errors import DataError, did_you_mean
from weighbridge.storage.files import atomic_path, read_json, write_json

BATCH = 2000
NEEDED = ("id", "label")
FORMATS = (".csv", ".jsonl", ".parquet")
MOST_FIELD = 1 << 20
Batches = Iterator[list[Any]]


def read_labels(path: Path) -> Batches:
    """Give the labels of a file in parts, as records with `id` and `label`; lines that are no record are given as they are.

    Raises DataError: the file is missing, of another format, without one of the columns, or breaks off.
    """
    readers: dict[str, Callable[[Path], Batches]] = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is no file of labels that is known here", do=f"give one that ends with {', '.join(FORMATS)}")
    try:
        yield from readers[path.suffix.lower()](path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing", do="check the name") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start})", do="save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path} can not be read ({error.strerror})", do="see who may read it") from None


def _read_csv(path: Path) -> Batches:
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = _rows(file, path)
        names = next(rows, [])
        places = [names.index(one) for one in _checked(names, path)]
        batch: list[Any] = []
        for row in rows:
            if not row:
                continue
            batch.append({name: row[place] if place < len(row) else None for name, place in zip(NEEDED, places, strict=True)})
            if len(batch) == BATCH:
                yield batch
                batch = []
        yield batch


def _rows(file: TextIO, path: Path) -> Iterator[list[str]]:
    limit = csv.field_size_limit(MOST_FIELD)
    try:
        reader = csv.reader(file, strict=True)
        while True:
            try:
                yield next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(
                    f"{path} is not CSV in line {reader.line_num} ({error})", do="mend the line; nothing after it was read"
                ) from None
    finally:
        csv.field_size_limit(limit)


def _read_jsonl(path: Path) -> Batches:
    with open(path, encoding="utf-8-sig") as file:
        batch: list[Any] = []
        for line in file:
            if not line.strip():
                continue
            batch.append(_parsed(line))
            if len(batch) == BATCH:
                yield batch
                batch = []
        yield batch


def _parsed(line: str) -> Any:
    """Return the record of a line, or the line itself, which is then refused as one."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line


def _read_parquet(path: Path) -> Batches:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = _checked(list(file.schema_arrow.names), path)
            for part in file.iter_batches(BATCH, columns=list(names)):
                yield part.to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})", do="write it again") from None


def _checked(names: list[str], path: Path) -> tuple[str, ...]:
    for one in NEEDED:
        if one not in names:
            raise DataError(f"{path} has no column '{one}'{did_you_mean(one, names)}", do="give the columns id and label")
    return NEEDED


def without(path: Path, ids: Collection[str]) -> int:
    """The file has no row of these ids; return how many it had. Atomic; the other lines keep their bytes.

    Files of labels, and the notes (JSON) that were written beside them. Raises StorageError.
    """
    wanted, suffix = set(ids), path.suffix.lower()
    if suffix == ".parquet":
        return _without_parquet(path, wanted)
    if not any(one.encode() in path.read_bytes() for one in wanted):
        return 0
    return _without_refusals(path, wanted) if suffix == ".json" else _without_lines(path, wanted)


def _without_refusals(path: Path, wanted: set[str]) -> int:
    note = read_json(path)
    kept = [one for one in note["refusals"] if one["id"] not in wanted]
    gone = len(note["refusals"]) - len(kept)
    if gone:
        write_json(path, {**note, "refusals": kept})
    return gone


def _without_parquet(path: Path, wanted: set[str]) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException:
        return 0
    if "id" not in table.column_names:
        return 0
    kept = table.filter(pc.invert(pc.is_in(table["id"].cast(pa.string()), pa.array(sorted(wanted), pa.string()))))
    if kept.num_rows < table.num_rows:
        with atomic_path(path) as temporary:
            pq.write_table(kept, temporary)
    return int(table.num_rows - kept.num_rows)


def _without_lines(path: Path, wanted: set[str]) -> int:
    """Lines that name an erased id go, whatever they are: of a refused file nobody knows the form."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not any(_names(line, one) for one in wanted)]
    if len(kept) < len(lines):
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"".join(kept))
    return len(lines) - len(kept)


def _names(line: bytes, id_: str) -> bool:
    """Whether the id stands in the line as a whole value: `r1/0` is not named by a line of `r1/00` or `xr1/0`."""
    start, id_bytes = 0, id_.encode()
    while (place := line.find(id_bytes, start)) >= 0:
        around = line[place - 1 : place] if place else b"", line[place + len(id_bytes) : place + len(id_bytes) + 1]
        if all(not one or one in b"\",;\t\r\n :{}[]'" for one in around):
            return True
        start = place + 1
    return False
