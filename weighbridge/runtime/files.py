"""`weigh predict`: a file of rows becomes a file of predictions, a thousand rows at a time."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from weighbridge.errors import DependencyError, InputError
from weighbridge.runtime.columns import Reading
from weighbridge.runtime.model import Answer, Model, load
from weighbridge.storage import atomic_path
from weighbridge.storage.progress import Progress, silent

ROWS = 1000
MOST_LINE = 16 << 20
DELIMITERS = ",;\t|"
# How a CSV file is read by a package that does not say how its training rows were: the defaults of data.csv.
CSV = Reading(text=True, strip=True, missing=frozenset({"", "NA", "NaN", "nan", "null", "NULL", "None", "?"}))
Part = tuple[Any, int]


def predict_file(
    package: str | os.PathLike[str] | Model, path: str | os.PathLike[str], output: str | os.PathLike[str], *,
    names: Sequence[str] | None = None, threads: int | None = None, progress: Progress = silent,
) -> int:  # fmt: skip
    """`output` (CSV or JSON lines, by its ending) holds one prediction for each row of `path`, in order; returns the number of rows.

    `path`: .csv, .tsv, .txt (UTF-8; `names` where it has no header), .jsonl, .ndjson, .parquet, .arrow. Images and clips are looked up
    beside it. CSV has the columns row (from 1), prediction, and p_<class> for each class. Atomic: on an error nothing is written.
    Raises InputError that names row, column and value; StorageError.
    """
    model = package if isinstance(package, Model) else load(package, threads=threads)
    source, target = Path(path), Path(output)
    if target.suffix.lower() not in WRITE:
        raise InputError(f"{target} ends with {target.suffix or 'nothing'}", do="name the output .csv or .jsonl")
    done = 0
    with atomic_path(target) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        write = WRITE[target.suffix.lower()](file, model)
        for answer in predict_parts(model, source, names=names):
            write(answer, done + 1)
            done += len(answer)
            progress("predict", done, None)
    return done


def predict_parts(model: Model, path: Path, *, names: Sequence[str] | None = None) -> Iterator[Answer]:
    """Yield the answers for a file's rows, at most 1,000 at a time. Raises InputError."""
    suffix = path.suffix.lower()
    if suffix not in READ:
        raise InputError(f"{path} ends with {path.suffix or 'nothing'}", do=f"rows are read from {', '.join(READ)}")
    if not path.is_file():
        raise InputError(f"there is no file {path}", do="give a file of rows")
    reading = CSV if READ[suffix] is _read_csv and not model.reading.text else model.reading
    files = [one.name for one in model.inputs if one.type in ("image", "audio")]
    first, known = 1, {one.name for one in model.inputs}
    for part, count in READ[suffix](path, names):
        given = part.keys() if isinstance(part, dict) else {name for row in part for name in row}
        if known and not known & given:
            raise InputError(f"{path} has none of the columns that the model reads", do=f"give {', '.join(sorted(known))[:200]}")
        if files:
            _beside(part, files, path.parent, reading)
        yield model.answer(part, replace(reading, first_row=first))
        first += count
    if first == 1:
        raise InputError(f"{path} holds no rows", do="give at least one row to answer")


def _read_csv(path: Path, names: Sequence[str] | None) -> Iterator[Part]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from csv_parts(file, str(path), names)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (0x{error.object[error.start]:02x})", do="save it as UTF-8") from None


def csv_parts(file: IO[str], where: str, names: Sequence[str] | None = None) -> Iterator[Part]:
    """Yield the rows of a CSV text that can be read from its start again, a thousand at a time, by column. Raises InputError."""
    delimiter = _delimiter(file, where)
    csv.field_size_limit(MOST_LINE)  # Python's own limit of 131,072 is less than a long text
    lines = csv.reader(_no_remark(file, where, delimiter), delimiter=delimiter)
    try:
        header = list(names) if names else [name.strip() for name in next(lines, [])]
        if not header or len(set(header)) < len(header):
            raise InputError(f"{where} has no header of different names", do="name each column once in the first line")
        yield from _csv_parts(where, lines, header)
    except csv.Error as error:
        raise InputError(f"{where} is not CSV ({error})", do="check its quotes") from None


def _csv_parts(where: str, lines: Iterator[list[str]], header: list[str]) -> Iterator[Part]:
    held: list[list[str]] = []
    row = 0
    for fields in lines:
        if not fields:
            continue
        row += 1
        if len(fields) != len(header):
            raise InputError(f"{where} row {row} has {len(fields)} fields, its header has {len(header)}", do="mend that row")
        held.append(fields)
        if len(held) == ROWS:
            yield _by_column(header, held), len(held)
            held = []
    if held:
        yield _by_column(header, held), len(held)


def _by_column(header: list[str], rows: list[list[str]]) -> dict[str, list[str]]:
    return {name: list(values) for name, values in zip(header, zip(*rows, strict=True), strict=True)}


def _no_remark(file: IO[str], where: str, delimiter: str) -> Iterator[str]:
    """Yield the lines without a first one that is a remark as UCI's files carry it (`|1x3 Cross validator`)."""
    lines = _lines(file, where)
    first = next(lines, "")
    if not first.startswith("|") or delimiter == "|":
        yield first
    yield from lines


def _lines(file: IO[str], where: str) -> Iterator[str]:
    """Yield the file's lines. Raises InputError for one that is longer than a row can be: it would be held in memory whole."""
    while line := file.readline(MOST_LINE):
        if len(line) >= MOST_LINE:
            raise InputError(f"{where} has a line of more than {MOST_LINE:,} characters", do="give one row a line")
        yield line


def _delimiter(file: IO[str], where: str) -> str:
    """Return the separator that cuts the first line into most fields; the file is at its start again."""
    first = file.readline(MOST_LINE)
    first = file.readline(MOST_LINE) if first.startswith("|") else first
    file.seek(0)
    return max(DELIMITERS, key=first.count)


def _read_lines(path: Path, names: Sequence[str] | None) -> Iterator[Part]:
    held: list[Any] = []
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(_lines(file, str(path)), 1):
                if line.strip():
                    held.append(_json_row(path, number, line))
                if len(held) == ROWS:
                    yield held, len(held)
                    held = []
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (0x{error.object[error.start]:02x})", do="save it as UTF-8") from None
    if held:
        yield held, len(held)


def _json_row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} line {number} is not JSON ({str(error)[:80]})", do="give one JSON object a line") from None
    if not isinstance(row, dict):
        raise InputError(f"{path} line {number} is not an object", do="give one JSON object a line")
    return row


def _read_columnar(path: Path, names: Sequence[str] | None) -> Iterator[Part]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DependencyError(f"{path.suffix} files are read by pyarrow", do="pip install pyarrow, or give CSV or JSON lines") from None
    try:
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as file:
                yield from ((_lists(batch), batch.num_rows) for batch in file.iter_batches(ROWS))
            return
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
            table.validate(full=True)  # Arrow trusts offsets and lengths: a damaged one would read beyond its memory
            yield from ((_lists(batch), batch.num_rows) for batch in table.to_batches(max_chunksize=ROWS))
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({str(error)[:100]})", do="write it again") from None


def _lists(batch: Any) -> dict[str, Any]:
    return {name: batch.column(name).to_pylist() for name in batch.schema.names}


def _beside(part: Any, files: list[str], folder: Path, reading: Reading) -> None:
    """Replace relative paths of images and clips by those beside the file, where there is such a file."""
    for name in files:
        if isinstance(part, list):
            for row in part:
                row[name] = _found(reading.tidy(row.get(name)), folder)
        elif name in part:
            part[name] = [_found(reading.tidy(value), folder) for value in part[name]]


def _found(value: Any, folder: Path) -> Any:
    if isinstance(value, str) and not value.startswith("data:") and (folder / value).is_file():
        return str(folder / value)
    return value


def _write_csv(file: IO[str], model: Model) -> Callable[[Answer, int], None]:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["row", "prediction", *(f"p_{name}" for name in model.classes)])

    def write(answer: Answer, first: int) -> None:
        shown = [";".join(label) if isinstance(label, tuple) else label for label in answer.labels]
        rows = answer.probabilities.tolist() if answer.probabilities is not None else [[] for _ in shown]
        writer.writerows([number, label, *row] for number, (label, row) in enumerate(zip(shown, rows, strict=True), first))

    return write


def _write_lines(file: IO[str], model: Model) -> Callable[[Answer, int], None]:
    def write(answer: Answer, first: int) -> None:
        for number, row in enumerate(answer.to_json(), first):
            file.write(json.dumps({"row": number, **row}, ensure_ascii=False) + "\n")

    return write


READ: dict[str, Callable[[Path, Sequence[str] | None], Iterator[Part]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".txt": _read_csv,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".parquet": _read_columnar,
    ".arrow": _read_columnar,
}
WRITE: dict[str, Callable[[IO[str], Model], Callable[[Answer, int], None]]] = {
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".ndjson": _write_lines,
}
