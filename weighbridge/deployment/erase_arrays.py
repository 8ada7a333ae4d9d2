"""Encoded rows without some of them: a folder's array files are written anew one by one, the ids and the index last.

Killed between two files, the folder holds files of two lengths and is refused by whoever opens it; the same call again goes on from there:
a file that already has the new length is left as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.errors import RunError
from weighbridge.preprocessing.store import block_file
from weighbridge.storage import atomic_path, read_json, write_json

INDEX = "arrays.json"
PART = 4096  # rows


def erase_arrays(folder: Path, ids: frozenset[str]) -> bool:
    """The folder's arrays hold no row of these ids; return whether they did. Raises RunError for damaged files, StorageError."""
    index = read_json(folder / INDEX)
    known = _load(block_file(folder, "row_id"))
    rows, gone = int(index["rows"]), np.isin(known.astype(str), sorted(ids))
    if not gone.any():
        if len(known) == rows:
            return False
        write_json(folder / INDEX, {**index, "rows": len(known)})  # killed just before
        return True
    stay = ~gone
    for name in index["blocks"]:
        if name in index.get("texts", []):
            _texts(folder, name, stay)
        else:
            _rows(block_file(folder, name), stay)
    if index["target"]:
        _rows(block_file(folder, "target"), stay)
    _rows(block_file(folder, "row_id"), stay)
    write_json(folder / INDEX, {**index, "rows": int(stay.sum())})
    return True


def _rows(path: Path, stay: np.ndarray) -> None:
    values = _load(path)
    if len(values) == int(stay.sum()) != len(stay):
        return
    if len(values) != len(stay):
        raise RunError(f"{path} has {len(values)} rows where {len(stay)} are expected", do="remove the stage's folder and run again")
    _save(path, values, stay)


def _texts(folder: Path, name: str, stay: np.ndarray) -> None:
    """The offsets are written last: while they are the old ones, the tokens are the old ones or, told by their number, the new ones."""
    tokens_path, offsets_path = block_file(folder, name), block_file(folder, f"{name}.offsets")
    offsets, tokens = _load(offsets_path), _load(tokens_path)
    if len(offsets) == int(stay.sum()) + 1 != len(stay) + 1:
        return
    lengths = np.diff(offsets)
    made = np.concatenate([[0], lengths[stay].cumsum()]).astype(np.int64)
    if len(tokens) == int(offsets[-1]):
        _save(tokens_path, tokens, np.repeat(stay, lengths))
    _save(offsets_path, made, np.ones(len(made), dtype=bool))


def _load(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        try:
            return np.load(path, allow_pickle=False)  # an empty array can not be mapped
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"{path} is missing or damaged ({error})", do="remove the stage's folder and run the recipe again") from None


def _save(path: Path, values: np.ndarray, stay: np.ndarray) -> None:
    """`path` holds the values [n, ...] that stay (bool [n]), copied PART at a time: the file may be larger than memory."""
    shape = (int(stay.sum()), *values.shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(values), PART):
            part = np.ascontiguousarray(values[start : start + PART][stay[start : start + PART]])
            file.write(part.view(np.uint8).data if part.size else b"")
