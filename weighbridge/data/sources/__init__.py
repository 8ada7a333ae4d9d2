"""Every kind of source becomes the same thing: (split or None, record batch), one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from weighbridge.data.sources.bundled import bundled_name, read_bundled
from weighbridge.data.sources.columnar import parquet_rows, read_arrow, read_jsonl, read_parquet
from weighbridge.data.sources.files import Meter, Place, compression, locate, peek
from weighbridge.data.sources.hub import read_hub
from weighbridge.data.sources.idx import idx_rows, is_idx, read_idx
from weighbridge.data.sources.images import KINDS, pictures, read_images
from weighbridge.data.sources.sql import read_sql, shown
from weighbridge.data.sources.text_csv import read_csv
from weighbridge.errors import DataError

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection

ENDINGS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".tab": "csv", ".data": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
DATABASE = re.compile(r"^(sqlite|postgres(ql)?|mysql|mariadb|oracle|mssql|duckdb|snowflake|bigquery|redshift|trino)(\+\w+)?://")
LABEL = "label"


def pieces(section: DataSection, meter: Meter | None = None) -> Iterator[tuple[str | None, Any]]:
    """Yield (split, record batch) of the section's source; the split is None where the source does not give one.

    Raises: DataError, DependencyError.
    """
    meter = Meter() if meter is None else meter
    if isinstance(section.source, str):
        yield from _pieces(section.source, section, meter)
        return
    for split in ("train", "validation", "test"):
        if split in section.source:
            for _, batch in _pieces(section.source[split], section, meter):
                yield split, batch


def meter_of(section: DataSection) -> Meter:
    """Return a meter that knows how much there is to read: rows where the files say so, else their bytes, else nothing."""
    sources = list(sources_of(section).values())
    kinds = {kind_of(source, section) for source in sources}
    if kinds == {"parquet"}:
        return Meter(total_rows=sum(known_rows(source, section) or 0 for source in sources))
    if not kinds <= {"csv", "jsonl", "arrow"}:
        return Meter()
    sizes = [place.system.size(file) for source in sources for place in [files_of(source, section)] for file in place.files]
    return Meter() if None in sizes else Meter(total_bytes=sum(map(int, sizes)))


def sources_of(section: DataSection) -> dict[str, str]:
    """Return the sources by split; the key is "" where one source holds all rows."""
    return {"": section.source} if isinstance(section.source, str) else {str(split): source for split, source in section.source.items()}


def kind_of(source: str, section: DataSection) -> str:
    """Return how the source is read: data.format, or by its scheme, its ending, then its first bytes. Raises DataError."""
    if section.format != "auto":
        return section.format
    for scheme, kind in (("sklearn://", "sklearn"), ("hf://", "hf")):
        if source.startswith(scheme):
            return kind
    if section.query is not None or DATABASE.match(source):
        return "sql"
    place = locate(source)
    if place.folder:
        return _kind_of_folder(place)
    return _kind_of_file(place, place.files[0])


def known_rows(source: str, section: DataSection) -> int | None:
    """Return how many rows the source holds where that costs nothing to know, else None."""
    kind = kind_of(source, section)
    if kind == "parquet":
        place = locate(source)
        return sum(parquet_rows(place, file) for file in _fitting(place, kind))
    if kind in KINDS:
        return len(pictures(locate(source), LABEL, kind))
    if kind == "idx":
        return idx_rows(locate(source))
    return len(read_bundled(source)) if kind == "sklearn" else None


def text_size(source: str, section: DataSection) -> int | None:
    """Return the bytes of an uncompressed CSV or JSON lines source, else None."""
    kind = kind_of(source, section)
    if kind not in ("csv", "jsonl"):
        return None
    place = locate(source)
    files = _fitting(place, kind)
    return None if any(compression(file) for file in files) else sum(int(place.system.size(file)) for file in files)


def base_of(source: str, section: DataSection) -> str:
    """Return the local folder that relative image paths of the source start from ("" for none)."""
    if kind_of(source, section) in ("sklearn", "hf", "sql"):
        return ""
    place = locate(source)
    if not place.local:
        return ""
    return place.root if place.folder else place.files[0].rsplit("/", 1)[0]


def files_of(source: str, section: DataSection) -> Place:
    """Return the place with the files that are read of it, labels of idx files included."""
    kind = kind_of(source, section)
    place = locate(source)
    if kind == "idx":
        folder = place if place.folder else locate(place.files[0].rsplit("/", 1)[0] if place.local else source.rsplit("/", 1)[0])
        found = tuple(file for file in folder.files if "-ubyte" in file.rsplit("/", 1)[-1])
    elif kind in KINDS:
        found = tuple(picture.file for picture in pictures(place, LABEL, kind))
    else:
        found = tuple(_fitting(place, kind))
    return Place(system=place.system, root=place.root, files=found, folder=place.folder)


def _pieces(source: str, section: DataSection, meter: Meter) -> Iterator[tuple[str | None, Any]]:
    kind = kind_of(source, section)
    if kind == "sklearn":
        yield None, read_bundled(source)
    elif kind == "hf":
        yield from read_hub(source)
    elif kind == "sql":
        yield from ((None, batch) for batch in read_sql(source, section.query))
    elif kind in KINDS:
        yield from read_images(_folder(source, kind), LABEL, kind)
    elif kind == "idx":
        yield from read_idx(locate(source), LABEL)
    else:
        place = replace(locate(source), meter=meter)
        for file in _fitting(place, kind):
            yield from ((None, batch) for batch in _read_file(place, file, kind, section))
            meter.end(int(place.system.size(file) or 0))


def _read_file(place: Place, file: str, kind: str, section: DataSection) -> Iterator[Any]:
    if kind == "csv":
        return read_csv(place, file, section.csv)
    if kind == "parquet":
        return read_parquet(place, file)
    return read_arrow(place, file) if kind == "arrow" else read_jsonl(place, file)


def _folder(source: str, kind: str) -> Place:
    place = locate(source)
    if not place.folder:
        raise DataError(f"{source} is a file; data.format: {kind} reads a folder", do="give the folder that holds one folder a class")
    return place


def _kind_of_folder(place: Place) -> str:
    names = [file.rsplit("/", 1)[-1] for file in place.files]
    if any(is_idx(name) for name in names):
        return "idx"
    kinds = sorted({kind for name in names if (kind := _kind_by_ending(name))})
    has_images = any("/" in place.inner(file) for file in place.files) and not kinds
    if has_images or not kinds:
        return max(KINDS, key=lambda kind: sum(name.lower().endswith(KINDS[kind].suffixes) for name in names))
    if len(kinds) > 1:
        raise DataError(f"{place.root} holds files of the kinds {', '.join(kinds)}", do="say which with data.format, or name one file")
    return kinds[0]


def _kind_of_file(place: Place, file: str) -> str:
    name = file.rsplit("/", 1)[-1]
    if is_idx(name):
        return "idx"
    if kind := _kind_by_ending(name):
        return kind
    head = peek(place, file)
    for magic, kind in ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"\0\0\x08\x03", "idx"), (b"{", "jsonl")):
        if head.startswith(magic):
            return kind
    if b"\0" in head[:1024]:
        raise DataError(
            f"{file} is of no kind that is known here", do="say what it is with data.format: csv, parquet, jsonl, arrow, images, audio, idx"
        )
    return "csv"


def _kind_by_ending(name: str) -> str | None:
    plain = re.sub(r"\.(gz|bz2|xz|zip|zst)$", "", name.lower())
    return next((kind for ending, kind in ENDINGS.items() if plain.endswith(ending)), None)


def _fitting(place: Place, kind: str) -> list[str]:
    """Return the files to read: all of a pattern, those of the kind in a folder."""
    found = [file for file in place.files if not place.folder or _kind_by_ending(file) == kind]
    if not found:
        raise DataError(f"{place.root} holds no {kind} files", do="check data.source and data.format")
    return found


__all__ = [
    "LABEL",
    "Meter",
    "base_of",
    "bundled_name",
    "files_of",
    "kind_of",
    "known_rows",
    "meter_of",
    "pieces",
    "shown",
    "sources_of",
    "text_size",
]
