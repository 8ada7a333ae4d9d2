"""Parquet, Arrow/Feather and JSON lines in pieces."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from weighbridge.data.sources.files import Place, open_file
from weighbridge.errors import DataError

ROWS = 1 << 16
BLOCK = 2 << 20
MOST_LINE = 64 << 20
BATCH = 8 << 20  # decoded bytes of a Parquet batch
BUFFER = 1 << 16  # read ahead in each column of a Parquet file
NO_OBJECT = re.compile(rb"^[ \t]*[^{\s]", re.MULTILINE)


def read_parquet(place: Place, file: str) -> Iterator[Any]:
    """Yield the record batches of a Parquet file, of about BATCH bytes each and never a whole row group in memory, however large it is.

    pyarrow would read all column chunks of a group ahead; a buffered stream for each column reads them page by page instead.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_file(place, file) as stream:
            source = pq.ParquetFile(stream, pre_buffer=False, buffer_size=BUFFER)
            yield from source.iter_batches(batch_size=_rows_of_a_batch(source.metadata), use_threads=False)
    except pa.ArrowInvalid as error:
        raise DataError(f"{file} is not a whole Parquet file ({error})", do="fetch it again, or say what it is with data.format") from None


def _rows_of_a_batch(metadata: Any) -> int:
    size = sum(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
    return max(256, min(ROWS, int(BATCH * metadata.num_rows // max(1, size))))


def parquet_rows(place: Place, file: str) -> int:
    """Return how many rows a Parquet file holds, by its footer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_file(place, file) as stream:
            return int(pq.ParquetFile(stream).metadata.num_rows)
    except pa.ArrowInvalid as error:
        raise DataError(f"{file} is not a whole Parquet file ({error})", do="fetch it again, or say what it is with data.format") from None


def read_arrow(place: Place, file: str) -> Iterator[Any]:
    """Yield the record batches of an Arrow IPC file or stream (Feather 2 is the file form)."""
    import pyarrow as pa

    try:
        with open_file(place, file) as stream:
            head = stream.read(6)
            stream.seek(0)
            if head != b"ARROW1":
                yield from map(_sound, pa.ipc.open_stream(stream))
                return
            reader = pa.ipc.open_file(stream)
            for number in range(reader.num_record_batches):
                yield _sound(reader.get_batch(number))
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(f"{file} is not a whole Arrow file ({error})", do="fetch it again, or say what it is with data.format") from None


def _sound(batch: Any) -> Any:
    """Return the batch, its offsets, lengths and texts checked: Arrow trusts them, and a damaged one would read beyond its memory."""
    batch.validate(full=True)
    return batch


def read_jsonl(place: Place, file: str) -> Iterator[Any]:
    """Yield record batches of a file with one JSON object a line. Raises DataError that names the line."""
    import pyarrow as pa
    import pyarrow.json as pj

    line = 1
    with open_file(place, file) as stream:
        for block in _whole_lines(stream, file):
            _check_text(file, block, line)
            if NO_OBJECT.search(block):  # pyarrow 25 ends the process on a file whose lines are all `null`
                raise _json_error(file, block, line, "not a JSON object")
            try:
                table = pj.read_json(io.BytesIO(block), read_options=pj.ReadOptions(block_size=len(block) + 1))
            except pa.ArrowInvalid as error:
                raise _json_error(file, block, line, str(error)) from None
            yield from table.to_batches(max_chunksize=ROWS)
            line += block.count(b"\n")


def _whole_lines(stream: IO[bytes], file: str) -> Iterator[bytes]:
    """Yield pieces of about BLOCK bytes that end with a line; blank ones are left out. Raises DataError for a line above MOST_LINE."""
    rest = b""
    while piece := stream.read(BLOCK):
        whole, newline, tail = (rest + piece).rpartition(b"\n")
        if newline and whole.strip():
            yield whole + newline
        rest = tail
        if len(rest) > MOST_LINE:
            raise DataError(
                f"{file} has a line of more than {MOST_LINE:,} bytes", do="give one object a line; large values belong in files"
            )
    if rest.strip():
        yield rest


def _check_text(file: str, block: bytes, line: int) -> None:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        at = line + block[: error.start].count(b"\n")
        raise DataError(f"{file} is not UTF-8 text: line {at} holds the byte 0x{block[error.start]:02x}", do="save it as UTF-8") from None


def _json_error(file: str, block: bytes, line: int, message: str) -> DataError:
    """Return the error that names the first line that is not a JSON object, or the column whose type changes."""
    for number, text in enumerate(block.splitlines(), line):
        try:
            read = json.loads(text) if text.strip() else {}
            json.dumps(read, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            half = ord(error.object[error.start])
            return DataError(
                f"{file} line {number} holds an unpaired surrogate (U+{half:04X})", do="write the whole character, or leave it out"
            )
        except (ValueError, RecursionError):
            read = None
        if not isinstance(read, dict):
            return DataError(f"{file} line {number} is not a JSON object", do='give one object a line, such as {"x": 1, "y": "a"}')
    return DataError(f"{file} from line {line}: {message.removeprefix('JSON parse error: ')}", do="give a column values of one type")
