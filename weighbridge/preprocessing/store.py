"""Encoded rows on disk: one array file a block, written as a stream and read as a memory map, without pickle."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np

from weighbridge.errors import RunError
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.preprocessing.feature import TableLike
from weighbridge.storage import atomic_path, read_json, write_json
from weighbridge.storage.progress import Progress, silent

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Encoded rows of one split, memory-mapped read-only: nothing is in memory until it is indexed."""

    blocks: dict[str, np.ndarray]
    target: np.ndarray | None
    stored_ids: np.ndarray

    @property
    def row_ids(self) -> np.ndarray:
        """The row ids as texts [n] (decoded at each call)."""
        return self.stored_ids.astype(str)

    def __len__(self) -> int:
        return len(self.stored_ids)


def write_arrays(folder: Path, table: TableLike, encoder: Encoder, progress: Progress = silent, *, label: str = "encode rows") -> None:
    """`folder` holds <block>.npy for each block, target.npy, row_id.npy and arrays.json (last, the mark that all is there).

    Written batch by batch; each file is atomic. A stream of writes, not a memory map: a full disk is then an error
    (StorageError), while a write to a map would end the process (SIGBUS).
    """
    rows, ids = len(table), _stored(table.row_ids)
    forms: dict[str, tuple[Any, tuple[int, ...]]] = {block.name: (block.dtype, block.shape) for block in encoder.blocks}
    target = encoder.target
    if target is not None:
        forms["target"] = (np.int64 if target.kind == "category" else np.float32, (len(target.classes),) if target.kind == "set" else ())
    forms["row_id"] = (ids.dtype, ())
    (folder / "arrays.json").unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(_array_file(_path(folder, name), dtype, (rows, *shape))) for name, (dtype, shape) in forms.items()
        }
        done = 0
        for batch in table.batches():
            arrays = encoder.encode(batch.columns, batch.row_ids)
            if target is not None:
                arrays["target"] = target.encode(batch.columns[target.column])
            arrays["row_id"] = ids[done : done + len(batch.row_ids)]
            for name, file in files.items():
                file.write(np.ascontiguousarray(arrays[name], dtype=forms[name][0]).data)
            done += len(batch.row_ids)
            progress(label, done, rows)
        if done != rows:
            raise RunError(f"the table gave {done} rows where it promised {rows}", do="run the data stage again")
    blocks = [block.name for block in encoder.blocks]
    write_json(folder / "arrays.json", {"format": FORMAT, "rows": rows, "blocks": blocks, "target": target is not None})


def open_arrays(folder: Path) -> Arrays:
    """Return the folder's arrays, mapped read-only. Raises RunError when one is missing, damaged or of another length."""
    index = read_json(folder / "arrays.json")
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise RunError(f"{folder / 'arrays.json'} is of a form that this Weighbridge does not read", do="run the preprocessing again")
    arrays = {name: _map(_path(folder, name), index["rows"]) for name in [*index["blocks"], "row_id"]}
    target = _map(_path(folder, "target"), index["rows"]) if index["target"] else None
    ids = arrays.pop("row_id")
    return Arrays(blocks=arrays, target=target, stored_ids=ids)


def _path(folder: Path, block: str) -> Path:
    """Return the block's file; a column's name can not lead out of the folder or be too long for a file name."""
    name = quote(block, safe=" ")
    if len(name) > 120:
        name = hashlib.sha256(name.encode()).hexdigest()
    return folder / f"{name}.npy"


@contextlib.contextmanager
def _array_file(path: Path, dtype: Any, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def _stored(row_ids: np.ndarray) -> np.ndarray:
    """Return the ids as fixed-width bytes where they are ASCII (a quarter of the room), else as texts."""
    texts = np.asarray(row_ids).astype(str)
    try:
        stored = texts.astype(np.bytes_)
    except UnicodeEncodeError:
        return texts
    return stored if stored.dtype.itemsize else stored.astype("S1")


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
