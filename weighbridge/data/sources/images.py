"""A folder of images or clips by class: the folder's name is the label; train, validation and test above it are the splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from weighbridge.data.sources.files import Place, readable
from weighbridge.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the files of a folder are: their name in messages, their endings, the column that they become."""

    noun: str
    suffixes: tuple[str, ...]
    column: str


KINDS = {
    "images": Kind(noun="images", suffixes=SUFFIXES, column="image"),
    "audio": Kind(noun="clips", suffixes=SOUND_SUFFIXES, column="audio"),
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    file: str
    label: str
    split: str | None


def pictures(place: Place, target: str, kind: str = "images") -> list[Picture]:
    """Return the folder's images or clips with label and split, by path. Raises DataError when they are not sorted into classes."""
    wanted = KINDS[kind]
    files = [file for file in place.files if file.lower().endswith(wanted.suffixes)]
    parts = {file: place.inner(file).split("/") for file in files}
    if not files:
        raise DataError(
            f"{place.root} holds no {wanted.noun}", do=f"one folder a class with files such as a{wanted.suffixes[0]}, or name a file"
        )
    given = all(len(part) > 2 and part[0].lower() in SPLIT_WORDS for part in parts.values())
    depth = 1 if given else 0
    loose = [file for file, part in parts.items() if len(part) < depth + 2]
    if loose:
        raise DataError(
            f"{len(loose)} {wanted.noun} are in no class folder, first {loose[0]}", do=f"put each into a folder named by its {target}"
        )
    return [Picture(file=file, label=part[depth], split=SPLIT_WORDS[part[0].lower()] if given else None) for file, part in parts.items()]


def read_images(place: Place, target: str, kind: str = "images") -> Iterator[tuple[str | None, Any]]:
    """Yield (split, batch of image or clip and target): the path of a local file, the bytes of a remote one."""
    import pyarrow as pa

    found = pictures(place, target, kind)
    for start in range(0, len(found), ROWS):
        part = found[start : start + ROWS]
        for split in dict.fromkeys(picture.split for picture in part):
            rows = [picture for picture in part if picture.split == split]
            image = pa.array([_image(place, row.file) for row in rows], pa.string() if place.local else pa.binary())
            yield split, pa.RecordBatch.from_arrays([image, pa.array([row.label for row in rows])], names=[KINDS[kind].column, target])


def _image(place: Place, file: str) -> str | bytes:
    if place.local:
        return file
    with readable(file):
        return bytes(place.system.cat_file(file))
