"""Encoded rows on disk: one array file a block, written as a stream and read as a memory map, without pickle."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np

from weighbridge.errors import RunError
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.preprocessing.feature import Columns, TableLike
from weighbridge.preprocessing.ragged import PAD, Ragged, lengths_of, ragged
from weighbridge.storage import atomic_path, read_json, write_json
from weighbridge.storage.progress import Progress, silent

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Encoded rows of one split, memory-mapped read-only: nothing is in memory until it is indexed. Texts are Ragged."""

    blocks: dict[str, np.ndarray | Ragged]
    target: np.ndarray | None
    stored_ids: np.ndarray

    @property
    def row_ids(self) -> np.ndarray:
        """The row ids as texts [n] (decoded at each call)."""
        return self.stored_ids.astype(str)

    @property
    def row_bytes(self) -> int:
        """Bytes that a row takes in the blocks and the target."""
        return sum(_row_bytes(values) for values in self._learnt())

    def copied(self, rows: np.ndarray) -> Arrays:
        """Return these rows [m], rising, as arrays in memory, without ids. Raises RunError when a file can not be read.

        Neighbouring rows are read at once, past the map: a page fault in a file's large page would map up to 2 MB for one row.
        """
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        runs = [(int(run[0]), int(run[-1]) + 1) for run in np.split(rows, cuts) if len(run)]
        blocks = {
            name: values.subset(rows) if isinstance(values, Ragged) else _copy(values, runs, len(rows))
            for name, values in self.blocks.items()
        }
        target = None if self.target is None else _copy(self.target, runs, len(rows))
        return Arrays(blocks=blocks, target=target, stored_ids=np.empty(len(rows), dtype="S1"))

    def release(self) -> None:
        """The pages of the maps that were read no longer count as this process's memory; reading them again maps them again."""
        for values in self._learnt():
            mapped = getattr(values.tokens if isinstance(values, Ragged) else values, "_mmap", None)
            if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def _learnt(self) -> list[np.ndarray | Ragged]:
        return [*self.blocks.values(), *([] if self.target is None else [self.target])]

    def __len__(self) -> int:
        return len(self.stored_ids)

    def subset(self, rows: np.ndarray | slice) -> Arrays:
        """Return these rows (numbers or a slice), in memory; texts stay Ragged."""
        blocks = {name: part.subset(rows) if isinstance(part, Ragged) else np.asarray(part[rows]) for name, part in self.blocks.items()}
        target = None if self.target is None else np.asarray(self.target[rows])
        return Arrays(blocks=blocks, target=target, stored_ids=self.stored_ids[rows])


def write_arrays(folder: Path, table: TableLike, encoder: Encoder, progress: Progress = silent, *, label: str = "encode rows") -> None:
    """`folder` holds <block>.npy for each block, target.npy, row_id.npy and arrays.json (last, the mark that all is there).

    Of a text <block>.npy holds the tokens of all rows side by side, and <block>.offsets.npy where each row begins.

    Written batch by batch; each file is atomic. Held of all rows are their ids only (16 bytes each where they are hashes).
    A stream of writes, not a memory map: a full disk is then an error (StorageError), while a write to a map would end the process
    (SIGBUS).
    """
    rows, ids = len(table), list[np.ndarray]()
    forms: dict[str, tuple[Any, tuple[int, ...]]] = {
        block.name: (block.dtype, block.shape) for block in encoder.blocks if block.kind != "text"
    }
    target = encoder.target
    if target is not None:
        forms["target"] = (np.int64 if target.kind == "category" else np.float32, (len(target.classes),) if target.kind == "set" else ())
    (folder / "arrays.json").unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(_array_file(block_file(folder, name), dtype, (rows, *shape)))
            for name, (dtype, shape) in forms.items()
        }
        texts = {name: stack.enter_context(_token_file(folder, name)) for name in _text_blocks(encoder)}
        done = 0
        for batch in table.batches():
            arrays = encoder.encode(batch.columns, batch.row_ids)
            if target is not None:
                arrays["target"] = target.encode(batch.columns[target.column])
            ids.append(_stored(batch.row_ids))
            for name, file in files.items():
                file.write(np.ascontiguousarray(arrays[name], dtype=forms[name][0]).data)
            for name, tokens in texts.items():
                tokens.write(arrays[name])
            done += len(batch.row_ids)
            progress(label, done, rows)
        if done != rows:
            raise RunError(f"the table gave {done} rows where it promised {rows}", do="run the data stage again")
        known = np.concatenate([np.empty(0, dtype="S1"), *ids]) if all(part.dtype.kind == "S" for part in ids) else _texts(ids)
        with _array_file(block_file(folder, "row_id"), known.dtype, known.shape) as file:
            file.write(np.ascontiguousarray(known).view(np.uint8).data)
    blocks = [block.name for block in encoder.blocks]
    index = {"format": FORMAT, "rows": rows, "blocks": blocks, "texts": _text_blocks(encoder), "target": target is not None}
    write_json(folder / "arrays.json", index)


def arrays_of(encoder: Encoder, columns: Columns) -> Arrays:
    """Return canonical columns as encoded rows in memory, without target and ids. Raises DataError, InputError."""
    encoded = encoder.encode(columns)
    texts = _text_blocks(encoder)
    blocks = {name: ragged(values) if name in texts else values for name, values in encoded.items()}
    return Arrays(blocks=blocks, target=None, stored_ids=np.empty(len(next(iter(encoded.values()))), dtype="S1"))


def open_arrays(folder: Path) -> Arrays:
    """Return the folder's arrays, mapped read-only. Raises RunError when one is missing, damaged or of another length."""
    index = read_json(folder / "arrays.json")
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise RunError(f"{folder / 'arrays.json'} is of a form that this Weighbridge does not read", do="run the preprocessing again")
    texts = index.get("texts", [])
    arrays: dict[str, Any] = {
        name: _open_text(folder, name, index["rows"]) if name in texts else _map(block_file(folder, name), index["rows"])
        for name in [*index["blocks"], "row_id"]
    }
    target = _map(block_file(folder, "target"), index["rows"]) if index["target"] else None
    ids = arrays.pop("row_id")
    return Arrays(blocks=arrays, target=target, stored_ids=ids)


def block_file(folder: Path, block: str) -> Path:
    """Return the block's file; a column's name can not lead out of the folder or be too long for a file name."""
    name = quote(block, safe=" ")
    if len(name) > 120:
        name = hashlib.sha256(name.encode()).hexdigest()
    return folder / f"{name}.npy"


@contextlib.contextmanager
def _array_file(path: Path, dtype: Any, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, _header(dtype, shape))
        yield file


def _header(dtype: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}


class _Tokens:
    """Writes the tokens of padded rows one after the other and keeps count of their lengths."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.lengths: list[np.ndarray] = []

    def write(self, padded: np.ndarray) -> None:
        self.lengths.append(lengths_of(padded))
        self.file.write(np.ascontiguousarray(padded[padded != PAD], dtype=np.int32).data)


@contextlib.contextmanager
def _token_file(folder: Path, name: str) -> Iterator[_Tokens]:
    """Give a writer of tokens; their number, known at the end only, is put into the room that numpy's header keeps for it."""
    with _array_file(block_file(folder, name), np.int32, (0,)) as file:
        tokens = _Tokens(file)
        yield tokens
        offsets = np.concatenate([[0], *tokens.lengths]).cumsum().astype(np.int64)
        begun = file.tell() - int(offsets[-1]) * 4
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, _header(np.int32, (int(offsets[-1]),)))
        if file.tell() != begun:
            raise RunError(f"the header of {block_file(folder, name)} does not fit its room", do="use a numpy of this project's versions")
    with _array_file(block_file(folder, f"{name}.offsets"), np.int64, offsets.shape) as file:
        file.write(offsets.data)


def _text_blocks(encoder: Encoder) -> list[str]:
    return [block.name for block in encoder.blocks if block.kind == "text"]


def _open_text(folder: Path, name: str, rows: int) -> Ragged:
    path = block_file(folder, f"{name}.offsets")
    offsets = np.array(_map(path, rows + 1))
    if offsets.dtype != np.int64 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise RunError(f"{path} is damaged (offsets do not rise)", do="remove it and run the preprocessing again")
    return Ragged(_map(block_file(folder, name), int(offsets[-1])), offsets)


def _stored(row_ids: np.ndarray) -> np.ndarray:
    """Return the ids as fixed-width bytes where they are ASCII (a quarter of the room), else as texts."""
    texts = np.asarray(row_ids).astype(str)
    try:
        stored = texts.astype(np.bytes_)
    except UnicodeEncodeError:
        return texts
    return stored if stored.dtype.itemsize else stored.astype("S1")


def _row_bytes(values: np.ndarray | Ragged) -> int:
    if isinstance(values, Ragged):
        return values.dtype.itemsize * -(-len(values.tokens) // max(1, len(values)))
    return values.itemsize * int(np.prod(values.shape[1:]))


def _copy(values: np.ndarray, runs: list[tuple[int, int]], rows: int) -> np.ndarray:
    copy, done = _room((rows, *values.shape[1:]), values.dtype), 0
    if not isinstance(values, np.memmap) or values.filename is None or not hasattr(os, "preadv"):
        for start, stop in runs:
            copy[done : done + stop - start] = values[start:stop]
            done += stop - start
        return copy
    width, flat = _row_bytes(values), copy.reshape(-1).view(np.uint8).data
    with _opened(values.filename) as file:
        _announce(file, [(values.offset + start * width, (stop - start) * width) for start, stop in runs])
        for start, stop in runs:
            _fill(file, flat[done * width : (done + stop - start) * width], values.offset + start * width, values.filename)
            done += stop - start
    return copy


def _room(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array with pages of its own, which go back to the system with it: a heap that keeps freed memory would keep windows."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, size), dtype=dtype).reshape(shape) if size else np.empty(shape, dtype=dtype)


@contextlib.contextmanager
def _opened(path: Any) -> Iterator[int]:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise RunError(f"{path} can not be read ({error.strerror})", do="run the preprocessing again") from None
    try:
        yield file
    finally:
        os.close(file)


def _announce(file: int, places: list[tuple[int, int]]) -> None:
    """Tell the system of all that will be read, so that a disk works on many places at a time and reads no more than these."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        for offset, length in places:
            os.posix_fadvise(file, offset, length, os.POSIX_FADV_WILLNEED)


def _fill(file: int, into: memoryview, offset: int, path: Any) -> None:
    """`into` holds the file's bytes from `offset` on. Raises RunError when they end before or can not be read."""
    while len(into):
        try:
            count = os.preadv(file, [into], offset)
        except OSError as error:
            raise RunError(f"{path} can not be read ({error.strerror})", do="check the disk, then run the recipe again") from None
        if not count:
            raise RunError(f"{path} ends before its last row", do="run the preprocessing again")
        into, offset = into[count:], offset + count


def _texts(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([part.astype(np.str_) for part in parts])


def _map(path: Path, rows: int) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r" if rows else None, allow_pickle=False)
    except FileNotFoundError:
        raise RunError(f"{path} is missing", do="run the preprocessing again") from None
    except (ValueError, OSError, EOFError) as error:
        raise RunError(f"{path} is damaged ({error})", do="remove it and run the preprocessing again") from None
    if len(array) != rows:
        raise RunError(f"{path} has {len(array)} rows where {rows} are expected", do="run the preprocessing again")
    return array
