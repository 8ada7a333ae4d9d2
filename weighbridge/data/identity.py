"""A row's identity is a hash of its values, so a row keeps its id, and its side of the split, wherever and among whatever it stands.

Values are hashed as they came (text as text, numbers as float64), not as they are understood: an inferred type may change when
the data grows, a row's id must not. Hash: BLAKE2b (RFC 7693), 128 bits a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from weighbridge.storage.seeds import key_of

NOTHING = 0x6E6F7468696E6700  # a missing value


def row_digests(batch: Any, names: Sequence[str], contents: dict[str, list[bytes]] | None = None) -> np.ndarray:
    """Return a uint64 array [n, 2] of row hashes over the named columns, whatever their order.

    `contents` replaces a column's values by digests of what they stand for (an image file's bytes instead of its path).
    """
    ordered = sorted(names)
    key = blake2b(json.dumps(ordered).encode(), digest_size=16).digest()
    matrix = np.empty((len(batch), len(ordered)), dtype="<u8")
    for position, name in enumerate(ordered):
        given = (contents or {}).get(name)
        matrix[:, position] = _bytes_cells(given) if given is not None else cells(batch.column(name))
    width, flat = 8 * len(ordered), matrix.tobytes()
    digests = b"".join(
        [blake2b(flat[start : start + width], digest_size=16, key=key).digest() for start in range(0, width * len(batch), width or 1)]
    )
    if not width:
        digests = blake2b(b"", digest_size=16, key=key).digest() * len(batch)
    return np.frombuffer(digests, dtype="<u8").reshape(len(batch), 2).copy()


def hex_ids(digests: np.ndarray) -> np.ndarray:
    """Return 16 hex digits a row."""
    text = np.ascontiguousarray(digests[:, 0]).astype("<u8").tobytes().hex()
    return np.frombuffer(text.encode("ascii"), dtype="S16").astype("U16") if text else np.empty(0, dtype="U16")


def number_repeats(ids: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """Return ids with `-k` behind the k-th repeat of a row (k from 1 on), so that all differ."""
    if not repeats.any():
        return ids
    again = np.flatnonzero(repeats)
    names = np.array([f"{ids[row]}-{repeats[row]}" for row in again], dtype=np.str_)
    numbered = ids.astype(np.promote_types(ids.dtype, names.dtype))
    numbered[again] = names
    return numbered


def units(names: Iterable[str], seed: int, purpose: str) -> np.ndarray:
    """Return a number in [0, 1) for each name that depends on (seed, purpose, name) alone. float64 [n]; 16 bytes a row are held."""
    key = key_of(seed, purpose).to_bytes(16, "little")
    digests = bytearray()
    for name in names:
        digests += blake2b(str(name).encode("utf-8"), digest_size=8, key=key).digest()
    return (np.frombuffer(digests, dtype="<u8") >> 11).astype(np.float64) / float(1 << 53)


def group_rows(digests: np.ndarray, priority: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row the number of its group of equal digests [n, k], and how many of that group stand before it. int64 [n] each.

    Within a group the rows stand by `priority` (low first), then in their order.
    """
    keys = [digests[:, column] for column in range(digests.shape[1])]
    order = np.lexsort(keys if priority is None else [priority, *keys])
    ordered = digests[order]
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    groups, before = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    groups[order] = group
    before[order] = np.arange(len(order)) - starts[group]
    return groups, before


def cells(column: Any) -> np.ndarray:
    """Return one uint64 a value."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if pt.is_fixed_size_list(column.type):
        size = column.type.list_size
        pixels = column.values.to_numpy(zero_copy_only=False)[column.offset * size : (column.offset + len(column)) * size].tobytes()
        return _bytes_cells([pixels[start : start + size] for start in range(0, len(pixels), size)])
    if pt.is_list(column.type):
        return _bytes_cells([b"" if value is None else json.dumps(value).encode() for value in column.to_pylist()])
    if pt.is_string(column.type) or pt.is_binary(column.type):
        encoded = column.dictionary_encode()
        known = np.append(_bytes_cells(encoded.dictionary.cast(pa.binary()).to_pylist()), np.uint64(NOTHING))
        return np.asarray(known[encoded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)])
    if pt.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if pt.is_integer(column.type):
        return _whole_cells(column)
    numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0
    return np.where(np.isnan(numbers), np.uint64(NOTHING), numbers.view(np.uint64))


def _whole_cells(column: Any) -> np.ndarray:
    """Return the bits of the equal float64, so that 3 and 3.0 are one; beyond 2^53, where floats have gaps, the integer's own."""
    whole = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    bits = np.where(np.abs(whole) > 1 << 53, whole.view(np.uint64), whole.astype(np.float64).view(np.uint64))
    return np.where(column.is_null().to_numpy(zero_copy_only=False), np.uint64(NOTHING), bits)


def _bytes_cells(values: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join([blake2b(value, digest_size=8).digest() for value in values]), dtype="<u8")
