"""The hash of what a source holds, so that a stage runs again when its data changed and only then."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from weighbridge.data.sources import bundled_name, files_of, kind_of, pieces, sources_of
from weighbridge.data.sources.files import blocks, readable
from weighbridge.storage import sha256_json

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection

BLOCK = 1 << 20


def fingerprint(section: DataSection) -> str:
    """Return the SHA-256 of the source's content: bytes of files with their names inside the source, name and version of a
    scikit-learn set, rows of a database or of the hub. Raises DataError when it is not there.
    """
    return sha256_json({split: _of(source, section) for split, source in sources_of(section).items()})


def _of(source: str, section: DataSection) -> list[list[str]]:
    kind = kind_of(source, section)
    if kind == "sklearn":
        import sklearn

        return [[bundled_name(source), str(sklearn.__version__)]]
    if kind in ("sql", "hf"):
        return [[kind, _of_rows(source, section)]]
    place = files_of(source, section)
    return [[place.inner(file) if place.folder else file.rsplit("/", 1)[-1], _of_file(place.system, file)] for file in place.files]


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
