"""CSV in pieces: every value stays text here, so that types are inferred from all rows and never from the first ones."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from weighbridge.data.sources.files import PEEK, REMARK, Place, blocks, open_file, peek
from weighbridge.errors import DataError

if TYPE_CHECKING:
    from weighbridge.recipe.schema import CsvOptions

BLOCK = 2 << 20  # several are held at once; at 8 MiB reading took 430 MB and no less time (docs/large.md)
MOST_BLOCK = 128 << 20  # a row may be as long
FEW_ROWS, MERGED = 512, 16 << 20  # a block of a table of 5,000 columns holds 50 rows
DELIMITERS = ",;\t|"


def read_csv(place: Place, file: str, options: CsvOptions) -> Iterator[Any]:
    """Yield record batches of strings (missing ones null). Raises DataError that names the file, the row and the rule."""
    import pyarrow as pa
    import pyarrow.csv as pv

    lines, blank = _first_lines(place, file, options)
    csv.field_size_limit(max(csv.field_size_limit(), PEEK))  # Python's limit of 131,072 is below what is looked at
    try:
        delimiter = sniff(lines, options)
        names = column_names(file, lines, delimiter, options)
    except csv.Error as error:
        raise DataError(
            f"{file} is not CSV in its first lines ({error})", do="check its quotes, or say what it is with data.format"
        ) from None
    remark = lines[0] if _comment(lines, delimiter) else None
    skip = options.skip_rows + blank + (0 if options.names else 1) + (remark is not None)
    wrong: list[Any] = []

    def keep(row: Any) -> str:
        wrong.append(row)
        return "error"

    parse = pv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep)
    convert = pv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    read = pv.ReadOptions(column_names=names, skip_rows=skip, block_size=BLOCK, encoding=options.encoding, use_threads=True)
    try:
        for batch in _merged(_in_blocks(place, file, read, parse, convert)):
            yield _marked(_tidy(batch, options), remark)
            remark = None
    except UnicodeDecodeError:
        raise _not_text(place, file, options.encoding) from None
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise _not_text(place, file, options.encoding) from None
        raise _does_not_parse(file, str(error), wrong, len(names)) from None


def _merged(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield the rows in batches of at least FEW_ROWS, or about MERGED bytes: what is done a column and batch costs a wide table dear."""
    import pyarrow as pa

    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= FEW_ROWS or sum(part.nbytes for part in held) >= MERGED:
            yield held[0] if len(held) == 1 else pa.Table.from_batches(held).combine_chunks().to_batches()[0]
            held = []
    if held:
        yield held[0] if len(held) == 1 else pa.Table.from_batches(held).combine_chunks().to_batches()[0]


def _in_blocks(place: Place, file: str, read: Any, parse: Any, convert: Any) -> Iterator[Any]:
    """Yield the record batches; where a row is longer than a block, the file is read again in larger ones, from the row that was not given.

    Raises DataError for a row longer than MOST_BLOCK.
    """
    import pyarrow as pa
    import pyarrow.csv as pv

    given = 0
    for size in (BLOCK, 8 * BLOCK, MOST_BLOCK):
        read.block_size, passed = size, 0
        try:
            with open_file(place, file) as stream:
                for batch in pv.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert):
                    passed += len(batch)
                    if passed > given:
                        yield batch.slice(max(0, len(batch) - (passed - given)))
                        given = passed
            return
        except pa.ArrowInvalid as error:
            if "block size" not in str(error):
                raise
    raise DataError(
        f"{file} has a row of more than {MOST_BLOCK:,} bytes behind row {given}", do="check its quotes; values that large belong in files"
    )


def sniff(lines: list[str], options: CsvOptions) -> str:
    """Return the delimiter: the one given, else the one that cuts the first lines into equally many (and most) fields."""
    if options.delimiter != "auto":
        return options.delimiter
    sample = lines[1:20] if len(lines) > 2 and lines[0].startswith("|") else lines[:20]
    scores = {}
    for mark in DELIMITERS:
        widths = [len(row) for row in csv.reader(sample, delimiter=mark, skipinitialspace=True) if row]
        scores[mark] = (widths.count(max(set(widths), key=widths.count)) / len(widths), widths[0]) if widths and widths[0] > 1 else (0.0, 0)
    best = max(DELIMITERS, key=lambda mark: (scores[mark][0] > 0.9, scores[mark][1]))
    return best if scores[best][1] else ","


def column_names(file: str, lines: list[str], delimiter: str, options: CsvOptions) -> list[str]:
    """Return the names given, or those of the header line; an empty one becomes `unnamed_<position>`."""
    if options.names:
        return list(options.names)
    header = next(csv.reader(lines[_comment(lines, delimiter) :], delimiter=delimiter, skipinitialspace=True), [])
    names = [name.strip() or f"unnamed_{position}" for position, name in enumerate(header, 1)]
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise DataError(f"{file} has more than one column '{twice[0]}'", do="rename one of them, or give data.csv.names with skip_rows: 1")
    return names


def _first_lines(place: Place, file: str, options: CsvOptions) -> tuple[list[str], int]:
    """Return the first lines from the header on, and how many blank ones stand before it."""
    head = peek(place, file)
    if head[:4] in (b"PK\x03\x04", b"PAR1") or (b"\0" in head[:1024] and not options.encoding.lower().startswith("utf-16")):
        raise DataError(f"{file} is not a text file", do="give CSV, or say what it is with data.format")
    try:
        text = codecs.getincrementaldecoder(options.encoding)().decode(head)
    except LookupError:
        raise DataError(f"data.csv.encoding '{options.encoding}' is not known", do="for example utf-8, latin-1, gb18030") from None
    except UnicodeDecodeError:
        raise _not_text(place, file, options.encoding) from None
    lines = text.removeprefix("\ufeff").splitlines()[options.skip_rows :]
    blank = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    if not lines[blank:]:
        raise DataError(f"{file} ends before its header (data.csv.skip_rows: {options.skip_rows})", do="skip fewer lines")
    return lines[blank:], blank


def _comment(lines: list[str], delimiter: str) -> int:
    """Return 1 where the first line is a remark as UCI's files carry it (`|1x3 Cross validator`), else 0."""
    return int(lines[0].startswith("|") and delimiter != "|")


def _marked(batch: Any, remark: str | None) -> Any:
    """Return the batch with the remark that was skipped before it in its metadata, so that it is counted."""
    return batch if remark is None else batch.replace_schema_metadata({REMARK: remark[:60].encode()})


def _tidy(batch: Any, options: CsvOptions) -> Any:
    """Return the batch with spaces around values removed and the texts that mean missing as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pa.array(options.missing, pa.string())
    columns = []
    for column in batch.columns:
        text = pc.utf8_trim_whitespace(column) if options.strip else column
        columns.append(pc.if_else(pc.is_in(text, value_set=missing), pa.scalar(None, pa.string()), text))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _not_text(place: Place, file: str, encoding: str) -> DataError:
    """Return the error that names the first byte and line that do not fit the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    done, line = 0, 1
    with open_file(place, file) as stream:
        for piece in blocks(stream, BLOCK):
            held = decoder.getstate()[0]
            try:
                decoder.decode(piece)
            except UnicodeDecodeError as error:
                at = done - len(held) + error.start
                line += piece[: max(0, error.start - len(held))].count(b"\n")
                what = f"{file} is not {encoding} text: byte {at} (line {line}) is 0x{(held + piece)[error.start]:02x}"
                return DataError(what, do="save it as UTF-8, or name its encoding with data.csv.encoding (latin-1, gb18030, ...)")
            done += len(piece)
            line += piece.count(b"\n")
    return DataError(f"{file} is not {encoding} text: it ends inside a character", do="save it as UTF-8, or name its encoding")


def _does_not_parse(file: str, message: str, wrong: list[Any], width: int) -> DataError:
    if wrong:
        row = wrong[0]
        text = row.text if len(row.text) <= 60 else row.text[:57] + "..."
        where = f"row {row.number} " if row.number is not None else ""
        return DataError(
            f"{file}: {where}has {row.actual_columns} fields where {width} are expected: {text!r}",
            do="mend that line, or check data.csv.delimiter, names and skip_rows",
        )
    return DataError(f"{file} is not CSV as data.csv says ({message})", do="check data.csv.delimiter, names and skip_rows")
