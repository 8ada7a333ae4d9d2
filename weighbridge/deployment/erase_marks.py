"""By what a row is known again in a file: its ids, the values that no other row has, the bytes that it is encoded as."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from weighbridge.data.erase_rows import Found, Source
from weighbridge.preprocessing.ragged import Ragged

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays

LEAST_TEXT, LEAST_DIGITS, LEAST_BYTES = 6, 5, 8  # shorter ones stand in other places by chance
BLOCK = 8 << 20
ID_KEYS = frozenset({"row_id", "row_ids", "id", "ids", "row", "rows", "other", "first", "second", "pair", "near"})


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What is looked for. ids: as the run writes them; texts: values in words; raw: bytes; golden: canonical values by column, as JSON.

    within: those of the ids that are part of another row's id (`row1` of `row12`): a text that holds one may be about that row.
    """

    ids: frozenset[str]
    within: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    raw: tuple[bytes, ...] = ()
    golden: tuple[dict[str, Any], ...] = ()

    @property
    def telling(self) -> frozenset[str]:
        """The ids that stand nowhere by chance: `17` may be any number."""
        return frozenset(
            one for one in self.ids - self.within if (len(one) >= LEAST_TEXT and not one.isdigit()) or len(one) >= 2 * LEAST_TEXT
        )

    @property
    def words(self) -> tuple[str, ...]:
        """What no text of a file may hold."""
        return tuple(dict.fromkeys([*sorted(self.telling), *self.texts]))

    @property
    def needles(self) -> tuple[bytes, ...]:
        """The same as bytes, in each spelling that JSON and HTML have for them, with what the row is encoded as."""
        spelled = [spelling for word in self.words for spelling in _spellings(word)]
        return tuple(dict.fromkeys([*(one.encode("utf-8") for one in spelled), *self.raw]))

    def to_json(self) -> dict[str, Any]:
        raw = [base64.b64encode(one).decode() for one in self.raw]
        ids = {"ids": sorted(self.ids), "within": sorted(self.within)}
        return {**ids, "texts": list(self.texts), "raw": raw, "golden": list(self.golden)}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        raw = tuple(base64.b64decode(one) for one in told["raw"])
        return cls(
            ids=frozenset(told["ids"]), within=frozenset(told["within"]), texts=tuple(told["texts"]), raw=raw, golden=tuple(told["golden"])
        )


def marks_of(found: Found, source: Source | None, types: dict[str, str]) -> Marks:
    """Return the marks of the rows, from the source and from what the run holds of them; those of the encoded rows come apart."""
    from weighbridge.runtime.golden import value_json

    texts, raw, golden = dict[str, None](), dict[bytes, None](), list[dict[str, Any]]()
    for value in _source_values(found, source):
        _add(value, texts, raw)
    for batch in found.held.values():
        for place in range(len(batch)):
            row = {name: values[place] for name, values in batch.columns.items()}
            golden.append({name: _golden(value_json, value, types[name]) for name, value in row.items() if name in types})
            for name, value in row.items():
                if types.get(name) in ("image", "audio"):
                    _image(value, raw)
    ids = found.written | frozenset(found.names)
    return Marks(ids=ids, within=_within(ids, source), texts=tuple(texts), raw=tuple(raw), golden=tuple(golden))


def _within(ids: frozenset[str], source: Source | None) -> frozenset[str]:
    """Return the ids that are part of another row's."""
    if source is None:
        return frozenset()
    others = np.unique(source.rows.ids[~np.isin(source.rows.ids, sorted(ids))])
    return frozenset(one for one in ids if len(others) and bool((np.char.find(others, one) >= 0).any()))


def encoded_marks(arrays: Arrays, ids: frozenset[str]) -> Iterator[bytes]:
    """Yield the bytes that rows are encoded as, a block each, where they are enough and no other row has the same."""
    from weighbridge.audit.explain_pictures import small_picture
    from weighbridge.audit.robustness import MOST_SIDE

    row_ids = arrays.row_ids
    for place in np.flatnonzero(np.isin(row_ids, sorted(ids))).tolist():
        for values in arrays.blocks.values():
            if isinstance(values, Ragged):
                yield from _enough(np.asarray(values.tokens[values.offsets[place] : values.offsets[place + 1]]).tobytes())
                continue
            one = np.asarray(values[place])
            yield from _enough(one.tobytes())
            if one.dtype == np.uint8 and one.ndim == 3:
                yield small_picture(one).encode("ascii")
                step = -(-max(one.shape[:2]) // MOST_SIDE)
                yield np.ascontiguousarray(one[::step, ::step]).tobytes()


def holds(path: Path, needles: Sequence[bytes]) -> bool:
    """Whether one of these stands in the file. Read in blocks that overlap."""
    if not needles:
        return False
    longest, rest = max(map(len, needles)), b""
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            part = rest + block
            if any(one in part for one in needles):
                return True
            rest = part[-longest + 1 :] if longest > 1 else b""
    return False


def _source_values(found: Found, source: Source | None) -> Iterator[Any]:
    """Yield the values of the rows that no other row of the source has, or of the run where the source is not read."""
    if source is None or found.places is None or not len(found.places):
        for batch in found.held.values():
            yield from (value for values in batch.columns.values() for value in values)
        return
    mine = np.zeros(source.raw.rows, dtype=bool)
    mine[found.places] = True
    rows = source.values(found.places)
    elsewhere = _elsewhere(source, mine, rows)
    for name in source.raw.schema.names:
        others = _others(source, name, mine)
        yield from (
            row[name] for row in rows if row[name] is not None and not _stands(row[name], others) and not _is_of(row[name], elsewhere)
        )


def _others(source: Source, name: str, mine: np.ndarray) -> Any:
    import pyarrow as pa

    return source.raw.column(name).filter(pa.array(~mine))


def _elsewhere(source: Source, mine: np.ndarray, rows: Sequence[dict[str, Any]]) -> frozenset[float | str]:
    """Return the numbers and texts of these rows that other rows have in whatever column: a file of numbers does not say which it is of."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    values = [value for row in rows for value in row.values()]
    numbers = pa.array({float(one) for one in values if isinstance(one, int | float) and not isinstance(one, bool)}, pa.float64())
    texts = pa.array({one for one in values if isinstance(one, str)}, pa.string())
    found = set[float | str]()
    for name in source.raw.schema.names:
        others = _others(source, name, mine)
        if pt.is_floating(others.type) or pt.is_integer(others.type):
            others = others.cast(pa.float64())
            found |= set(others.filter(pc.is_in(others, value_set=numbers)).unique().to_pylist())
        elif pt.is_string(others.type):
            found |= set(others.filter(pc.is_in(others, value_set=texts)).unique().to_pylist())
    return frozenset(found)


def _is_of(value: Any, known: frozenset[float | str]) -> bool:
    return isinstance(value, int | float | str) and value in known


def _stands(value: Any, others: Any) -> bool:
    """Whether another row has this value, or a text that it is part of."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if pt.is_string(others.type):
        return bool(pc.any(pc.match_substring(others, value)).as_py())
    if pt.is_nested(others.type):
        return value in others.to_pylist()
    return bool(pc.any(pc.equal(others, pa.scalar(value, others.type))).as_py())


def _add(value: Any, texts: dict[str, None], raw: dict[bytes, None]) -> None:
    """Add the marks of one raw value."""
    if isinstance(value, str) and _is_number(value):
        value = float(value)
    if isinstance(value, bytes):
        _image(value, raw)
    elif isinstance(value, str) and len(value) >= LEAST_TEXT:
        texts[value] = None
    elif isinstance(value, float | np.floating) and np.isfinite(value):
        word = repr(float(value))
        if sum(one.isdigit() for one in word.split("e")[0].strip("0.")) >= LEAST_DIGITS:
            texts[word] = None
            raw[np.float64(value).tobytes()] = None
    elif isinstance(value, list | tuple | set):
        for one in value:
            _add(one, texts, raw)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _image(value: Any, raw: dict[bytes, None]) -> None:
    """Add an image's or a clip's file, as bytes and in base64, or its pixels."""
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value).tobytes()
    elif isinstance(value, bytes):
        content = value
    elif isinstance(value, str) and Path(value).is_file():
        content = Path(value).read_bytes()
    else:
        return
    for one in (content, base64.b64encode(content)):
        if len(one) >= LEAST_BYTES:
            raw[one] = None


def _golden(value_json: Any, value: Any, kind: str) -> Any:
    try:
        return value_json(value, kind)
    except OSError:  # an image that is gone already
        return None


def _enough(content: bytes) -> Iterator[bytes]:
    if len(content) >= LEAST_BYTES and len(set(content)) > 3:
        yield content


def _spellings(word: str) -> set[str]:
    import html

    plain, ascii_only = json.dumps(word, ensure_ascii=False)[1:-1], json.dumps(word)[1:-1]
    return {word, plain, ascii_only, html.escape(word), html.escape(word, quote=False)}
