"""A folder of images by class: the folder's name is the label; train, validation and test above it are the splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from weighbridge.data.sources.files import Place, readable
from weighbridge.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Picture:
    file: str
    label: str
    split: str | None


def pictures(place: Place, target: str) -> list[Picture]:
    """Return the folder's images with label and split, sorted by path. Raises DataError when they are not sorted into classes."""
    files = [file for file in place.files if file.lower().endswith(SUFFIXES)]
    parts = {file: place.inner(file).split("/") for file in files}
    if not files:
        raise DataError(f"{place.root} holds no images", do=f"one folder a class with files such as a{SUFFIXES[0]}, or name a file")
    given = all(len(part) > 2 and part[0].lower() in SPLIT_WORDS for part in parts.values())
    depth = 1 if given else 0
    loose = [file for file, part in parts.items() if len(part) < depth + 2]
    if loose:
        raise DataError(
            f"{len(loose)} images are in no class folder, first {loose[0]}", do=f"put each image into a folder named by its {target}"
        )
    return [Picture(file=file, label=part[depth], split=SPLIT_WORDS[part[0].lower()] if given else None) for file, part in parts.items()]


def read_images(place: Place, target: str) -> Iterator[tuple[str | None, Any]]:
    """Yield (split, batch of image and target): the path of a local image, the bytes of a remote one."""
    import pyarrow as pa

    found = pictures(place, target)
    for start in range(0, len(found), ROWS):
        part = found[start : start + ROWS]
        for split in dict.fromkeys(picture.split for picture in part):
            rows = [picture for picture in part if picture.split == split]
            image = pa.array([_image(place, row.file) for row in rows], pa.string() if place.local else pa.binary())
            yield split, pa.RecordBatch.from_arrays([image, pa.array([row.label for row in rows])], names=["image", target])


def _image(place: Place, file: str) -> str | bytes:
    if place.local:
        return file
    with readable(file):
        return bytes(place.system.cat_file(file))
