"""The hash of what a source holds, so that a stage runs again when its data changed and only then."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from weighbridge.data.convert import resolved
from weighbridge.data.infer import name_clips, name_images
from weighbridge.data.labels import labels_sha256
from weighbridge.data.pictures import THREADS
from weighbridge.data.sources import base_of, bundled_name, files_of, kind_of, pieces, sources_of
from weighbridge.data.sources.files import blocks, readable
from weighbridge.data.spool import plain
from weighbridge.storage import sha256_json

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection

BLOCK = 1 << 20


def fingerprint(section: DataSection) -> str:
    """Return the SHA-256 of the source's content: bytes of files with their names inside the source, and of the images and clips that their
    columns point to; name and version of a scikit-learn set, rows of a database or of the hub. Raises DataError when it is not there.
    """
    found: dict[str, Any] = {split: _of(source, section) for split, source in sources_of(section).items()}
    mending = labels_sha256(section)
    return sha256_json(found if mending is None else {**found, "labels": mending})


def _of(source: str, section: DataSection) -> list[list[str]]:
    kind = kind_of(source, section)
    if kind == "sklearn":
        import sklearn

        return [[bundled_name(source), str(sklearn.__version__)]]
    if kind in ("sql", "hf"):
        return [[kind, _of_rows(source, section)], *(_of_images(source, section) if kind == "sql" else [])]
    place = files_of(source, section)
    files = [[place.inner(file) if place.folder else file.rsplit("/", 1)[-1], _of_file(place.system, file)] for file in place.files]
    return files if kind in ("images", "audio", "idx") else [*files, *_of_images(source, section)]


def _of_file(system: object, file: str) -> str:
    digest = hashlib.sha256()
    with readable(file), system.open(file, "rb") as stream:  # type: ignore[attr-defined]  # fsspec is not typed
        for block in blocks(stream, BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _of_rows(source: str, section: DataSection) -> str:
    """Hash the rows as they come, cell by cell in JSON-like text."""
    digest = hashlib.sha256()
    alone = section.model_copy(update={"source": source})
    for split, batch in pieces(alone):
        digest.update(repr((split, batch.schema.names)).encode())
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(repr(row).encode())
    return digest.hexdigest()


def _of_images(source: str, section: DataSection) -> list[list[str]]:
    """Return the hash of the image files and clips that the source's rows name, in the order in which they are first named; [] for none."""
    base, digest, seen = base_of(source, section), hashlib.sha256(), set[str]()
    with ThreadPoolExecutor(THREADS) as pool:
        for column in _image_columns(source, section):
            paths = [path for path in column.unique().to_pylist() if path and path not in seen]
            seen.update(paths)
            for content in pool.map(_of_image, [str(resolved(path, base)) for path in paths]):
                digest.update(content)
    return [["images", digest.hexdigest()]] if seen else []


def _image_columns(source: str, section: DataSection) -> Iterator[Any]:
    """Yield batch by batch the columns that name images or clips; reading ends where the first rows show that there is none.

    A column is taken for images by the rule of `infer` on its first values: one too many costs time, none is forgotten.
    """
    import pyarrow.types as pt

    left, pointing = section.limit or sys.maxsize, dict[str, bool]()
    for _, batch in pieces(section.model_copy(update={"source": source})):
        part = plain(batch).slice(0, left)
        texts = {name: part.column(name) for name in part.schema.names if pt.is_string(part.column(name).type) and name != section.target}
        for name, column in texts.items():
            if not pointing.get(name) and column.null_count < len(column):
                values = column.drop_null().unique()
                pointing[name] = section.columns.get(name) in ("image", "audio") or name_images(values) or name_clips(values)
        yield from (texts[name] for name in texts if pointing.get(name))
        left -= len(part)
        if not left or not any(pointing.get(name, True) for name in texts):
            return


def _of_image(path: str) -> bytes:
    """Return the hash of a file's content, read as a stream; of nothing where it can not be read, which the stage itself names."""
    import fsspec

    digest = hashlib.sha256()
    try:
        with fsspec.open(path, "rb") if "://" in path else open(path, "rb") as stream:
            for block in blocks(stream, BLOCK):
                digest.update(block)
    except OSError:
        return b"unreadable"
    return digest.digest()
