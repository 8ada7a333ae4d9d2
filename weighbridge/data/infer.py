"""What a column is, decided on its values; every decision keeps its reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from weighbridge.data.sources.images import SOUND_SUFFIXES, SUFFIXES
from weighbridge.data.spool import NESTED
from weighbridge.errors import DataError
from weighbridge.findings import EMPTY, Message
from weighbridge.sound import is_sound

CAP = 100_000  # distinct values that are kept; beyond it a column is "many"
FEW_INPUT, FEW_TARGET = 10, 20
SMALL = 20  # with fewer rows, "all values differ" says nothing
ID_NAME = re.compile(r"(?i:(^|[_\s.\-])(id|idx|index|uuid|guid|rownames?|row|nr|no)$)|^unnamed|[a-z]I[dD]$")
NUMBER_TEXT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%Y年%m月%d日",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d.%m.%Y %H:%M",
)
# What a part of a pattern looks like. strptime alone takes 1/2/26 as the year 26 and 2/30/2026 as the second of March.
TWO = r"\d{1,2}"
SHAPES = {"%Y": r"[12]\d{3}", "%m": TWO, "%d": rf"(?P<day>{TWO})", "%H": TWO, "%M": TWO, "%S": r"[0-5]?\d", " ": r"\s+"}
IMAGE_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"P5", b"P6")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a column is read: its type, why, and what was counted on the way.

    Attributes: pattern (dates: "iso", "iso-utc" or a strptime format), numeric (text that parses as numbers), distinct (at most
    CAP), missing (rows), unique (no value twice), odd (values that keep a column of mostly numbers from being one), odd_rows.
    """

    name: str
    type: str
    why: Message
    pattern: str = ""
    numeric: bool = False
    distinct: int = 0
    missing: int = 0
    unique: bool = False
    odd: tuple[str, ...] = ()
    odd_share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The distinct values of a column (at most CAP of them, then `capped`), how many rows have one, and whether none comes twice."""

    values: Any
    present: int
    missing: int
    capped: bool
    unique: bool


def count_values(column: Any) -> Counted:
    """Return the distinct values of a chunked array; NaN counts as missing. Reading stops to collect at CAP, not to count."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    distinct = pa.array([], column.type)
    missing = seen = 0
    capped, unique = False, True
    for chunk in column.chunks:
        if pt.is_floating(chunk.type):
            chunk = pc.if_else(pc.is_finite(chunk), chunk, pa.scalar(None, chunk.type))
        missing += chunk.null_count
        if not capped:
            distinct = pc.unique(pa.concat_arrays([distinct, pc.unique(chunk.drop_null())]))
            seen += len(chunk) - chunk.null_count
            unique = len(distinct) == seen  # beyond CAP it rests on the rows until then
            capped = len(distinct) > CAP
    return Counted(values=distinct[:CAP], present=len(column) - missing, missing=missing, capped=capped, unique=unique)


def infer(name: str, column: Any, metadata: dict[bytes, bytes] | None, *, target: bool, wanted: str | None) -> Reading:
    """Return how the column is read; `wanted` is the type that the recipe names."""
    import pyarrow.types as pt

    kind = column.type
    if metadata and b"shape" in metadata:
        shape = metadata[b"shape"].decode().replace(",", " x ")
        return Reading(
            name=name, type="image", why=Message("the source holds images of {shape} pixels", shape=shape), missing=column.null_count
        )
    if metadata and NESTED in metadata:
        return Reading(name=name, type="nested", why=Message("nested values ({kind}) are not read", kind=metadata[NESTED].decode()))
    if pt.is_list(kind) and wanted == "audio":
        what = f"column '{name}' holds lists without the rate that their samples were taken at"
        raise DataError(what, do='give {"array": samples, "sampling_rate": hertz}, or the bytes of a file')
    if pt.is_list(kind):
        return Reading(name=name, type="set", why=Message("the values are lists"), missing=column.null_count)
    counted = count_values(column)
    reading = _by_kind(kind)(name, column, counted, target)
    reading = replace(reading, distinct=len(counted.values), missing=counted.missing, unique=counted.unique and counted.present > 1)
    if wanted and wanted != "ignore":
        reading = replace(reading, type=wanted, why=Message("named in data.columns"), odd=())
    return _with_date_pattern(reading, column, counted)


def _by_kind(kind: Any) -> Callable[[str, Any, Counted, bool], Reading]:
    import pyarrow.types as pt

    if pt.is_null(kind):
        return _empty
    if pt.is_boolean(kind):
        return lambda name, column, counted, target: Reading(name=name, type="category", why=Message("true or false"))
    if pt.is_timestamp(kind):
        return lambda name, column, counted, target: Reading(name=name, type="date", why=Message("the source says that these are times"))
    if pt.is_integer(kind) or pt.is_floating(kind):
        return _number
    return _bytes if pt.is_binary(kind) else _text


def _empty(name: str, column: Any, counted: Counted, target: bool) -> Reading:
    return Reading(name=name, type="category", why=Message("no row has a value"))


def _bytes(name: str, column: Any, counted: Counted, target: bool) -> Reading:
    first = counted.values[0].as_py() if len(counted.values) else b""
    if is_sound(first):
        return Reading(name=name, type="audio", why=Message("the bytes begin as a clip of sound does"))
    if first.startswith(IMAGE_MAGIC):
        return Reading(name=name, type="image", why=Message("the bytes begin as an image file does"))
    return Reading(name=name, type="nested", why=Message("bytes that are no image and no clip are not read"))


def _number(name: str, column: Any, counted: Counted, target: bool) -> Reading:
    """Numbers: whole ones of few values are classes; unique whole ones named like an id are ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = counted.values
    if not len(values):
        return _empty(name, column, counted, target)
    whole = pa.types.is_integer(values.type) or bool(pc.all(pc.equal(values, pc.floor(values))).as_py())
    distinct, rows = len(values), counted.present
    if not whole:
        return Reading(name=name, type="number", why=Message("all values are numbers, some with a fraction"))
    if not target and ID_NAME.search(name) and counted.unique and rows > 1:
        return Reading(name=name, type="id", why=Message("whole numbers, none twice, under a name that ids have"))
    few = distinct <= FEW_TARGET and distinct <= max(2, rows // 5) if target else distinct <= FEW_INPUT and distinct < 0.05 * rows
    if few:
        return Reading(
            name=name,
            type="category",
            why=Message("whole numbers with {distinct} different values in {rows} rows", distinct=distinct, rows=rows),
        )
    return Reading(name=name, type="number", why=Message("whole numbers with many different values"))


def _text(name: str, column: Any, counted: Counted, target: bool) -> Reading:
    """Text: numbers or dates where all values parse, then image files and clips, ids, prose, and categories for the rest."""
    import pyarrow.compute as pc

    values = counted.values
    if not len(values):
        return _empty(name, column, counted, target)
    if pc.any(pc.match_substring_regex(values, r"^[+-]?0\d")).as_py() and pc.all(pc.match_substring_regex(values, r"^\d+$")).as_py():
        return _words(name, counted, target, Message("codes with leading zeros"))
    numbers = as_numbers(values)
    if numbers is not None and as_numbers(column) is not None:
        reading = _number(name, column, replace(counted, values=numbers), target)
        return replace(reading, numeric=True)
    parse = pc.fill_null(pc.match_substring_regex(values, NUMBER_TEXT), False)
    share = pc.sum(parse).as_py() / len(values)
    odd = tuple(pc.filter(values, pc.invert(parse))[:3].to_pylist()) if len(values) > 20 and share >= 0.8 else ()
    return replace(_words(name, counted, target, EMPTY), odd=odd, odd_share=share)


def _words(name: str, counted: Counted, target: bool, why: Message) -> Reading:
    import pyarrow.compute as pc

    values, distinct, rows = counted.values, len(counted.values), counted.present
    if not target and name_images(values):
        return Reading(name=name, type="image", why=Message("the values end as image files do"))
    if not target and name_clips(values):
        return Reading(name=name, type="audio", why=Message("the values end as clips of sound do"))
    if why.template or target:
        reason = why if why.template else Message("{distinct} different texts in {rows} rows", distinct=distinct, rows=rows)
        return Reading(name=name, type="category", why=reason)
    length = float(pc.mean(pc.utf8_length(values)).as_py())
    spaced = float(pc.mean(pc.cast(pc.match_substring(values, " "), "float64")).as_py())
    if rows >= SMALL and counted.unique and spaced < 0.05 and length <= 64 and _one_script(values):
        return Reading(name=name, type="id", why=Message("texts without spaces, none twice in {rows} rows", rows=rows))
    prose = length > 100 or (distinct > max(SMALL, 0.2 * rows) and length > 20 and (spaced > 0.5 or not _one_script(values)))
    if prose:
        return Reading(
            name=name,
            type="text",
            why=Message("long texts, on average {length} characters, {distinct} different", length=length, distinct=distinct),
        )
    return Reading(name=name, type="category", why=Message("{distinct} different texts in {rows} rows", distinct=distinct, rows=rows))


def name_images(values: Any) -> bool:
    """Say whether the first 100 of these texts all end as image files do."""
    return all(value.lower().endswith(SUFFIXES) for value in values[:100].to_pylist())


def name_clips(values: Any) -> bool:
    """Say whether the first 100 of these texts all end as clips of sound do."""
    return all(value.lower().endswith(SOUND_SUFFIXES) for value in values[:100].to_pylist())


def _one_script(values: Any) -> bool:
    """Say whether the first values are of the scripts that put spaces between words (Chinese and Japanese do not)."""
    return not any(character >= "\u3040" for value in values[:50].to_pylist() for character in value[:50])


def as_numbers(values: Any) -> Any | None:
    """Return text as float64, or None where a value is not a number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(values, pa.float64())
    except pa.ArrowInvalid:
        return None


def as_dates(values: Any, pattern: str) -> Any | None:
    """Return text as timestamp[us] by a pattern ("iso", "iso-utc" or strptime), or None where a value does not fit."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        if pattern == "iso":
            return pc.cast(values, pa.timestamp("us"))
        if pattern == "iso-utc":
            return pc.cast(pc.cast(values, pa.timestamp("us", "UTC")), pa.int64()).cast(pa.timestamp("us"))
        return _real_dates(values, pattern)
    except pa.ArrowInvalid:
        return None


def _real_dates(values: Any, pattern: str) -> Any | None:
    """Return text as timestamp[us] by a strptime pattern, or None where one has not its shape or is no day of the calendar."""
    import pyarrow.compute as pc

    shape = re.sub(r"%[YmdHMS]|.", lambda part: SHAPES.get(part[0], re.escape(part[0])), pattern)
    parts = pc.extract_regex(values, rf"^\s*{shape}$")
    if parts.null_count > values.null_count:
        return None
    dates = pc.strptime(values, format=pattern, unit="us")
    same = pc.equal(pc.day(dates), pc.cast(pc.struct_field(parts, "day"), "int64"))
    return dates if pc.all(same).as_py() in (True, None) else None


def _with_date_pattern(reading: Reading, column: Any, counted: Counted) -> Reading:
    """Return the reading with the pattern of its dates; text that no other rule took and that parses as dates becomes one."""
    import pyarrow.types as pt

    named = reading.type == "date"
    if (
        not pt.is_string(column.type)
        or reading.numeric
        or not len(counted.values)
        or not (named or reading.type in ("category", "id", "text"))
    ):
        return reading
    if not named and (reading.why.template == "named in data.columns" or not any(mark in counted.values[0].as_py() for mark in "-/.年:")):
        return reading
    fits = [pattern for pattern in ("iso", "iso-utc", *DATE_FORMATS) if as_dates(counted.values, pattern) is not None]
    pattern = next((pattern for pattern in fits if not counted.capped or as_dates(column, pattern) is not None), None)
    if pattern is None:
        return reading
    if named:
        return replace(reading, pattern=pattern)
    if {"%m/%d/%Y", "%d/%m/%Y"} <= set(fits):
        return replace(
            reading, type="date", pattern=pattern, why=Message("all values are dates, read as month/day/year (day/month/year fits as well)")
        )
    return replace(reading, type="date", pattern=pattern, why=Message("all values are dates"))
