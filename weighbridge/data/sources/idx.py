"""idx files, the form of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist): images beside labels, gzip or plain."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from weighbridge.data.sources.files import Place, open_file
from weighbridge.errors import DataError

PREFIXES = {"train": "train", "t10k": "test", "test": "test", "validation": "validation", "val": "validation"}
BATCH_BYTES = 16 << 20


def is_idx(name: str) -> bool:
    """Say whether a file's name is one of an idx image file."""
    return "idx3-ubyte" in name or "idx4-ubyte" in name


def read_idx(place: Place, target: str) -> Iterator[tuple[str | None, Any]]:
    """Yield (split, batch of image uint8 and target): splits by the names train-* and t10k-* of a folder, else None."""
    images = [file for file in place.files if is_idx(file.rsplit("/", 1)[-1])]
    if not images:
        raise DataError(f"{place.root} holds no idx images", do="for example train-images-idx3-ubyte.gz beside train-labels-idx1-ubyte.gz")
    for file in images:
        split = PREFIXES.get(file.rsplit("/", 1)[-1].split("-")[0]) if place.folder else None
        if place.folder and split is None:
            raise DataError(f"{file}: the name does not begin with train- or t10k-", do="name one file as data.source")
        for batch in _read_pair(place, file, target):
            yield split, batch


def idx_rows(place: Place) -> int:
    """Return how many images the headers declare."""
    total = 0
    for file in (file for file in place.files if is_idx(file.rsplit("/", 1)[-1])):
        with open_file(place, file) as stream:
            total += _header(stream, file)[0]
    return total


def _read_pair(place: Place, file: str, target: str) -> Iterator[Any]:
    labels_file = _labels_file(place, file)
    with open_file(place, file) as images, open_file(place, labels_file) as labels:
        count, *shape = _header(images, file)
        if len(shape) not in (2, 3):
            raise DataError(
                f"{file} declares {1 + len(shape)} dimensions, and images have 3 or 4: count, height, width, depth", do="fetch it again"
            )
        (n_labels,) = _header(labels, labels_file)
        if count != n_labels:
            raise DataError(f"{file} holds {count} images and {labels_file} {n_labels} labels", do="fetch both again")
        size = int(np.prod(shape))
        for start in range(0, count, max(1, BATCH_BYTES // size)):
            rows = min(max(1, BATCH_BYTES // size), count - start)
            pixels = _exactly(images, rows * size, file)
            yield image_batch(pixels.reshape(rows, *shape), _exactly(labels, rows, labels_file).astype(np.int64), target)


def image_batch(images: np.ndarray, labels: Any, target: str, name: str = "image") -> Any:
    """Return a batch of uint8 images [n, H, W] or [n, H, W, C] in one fixed-size list column, and their targets."""
    import pyarrow as pa

    shape = (*images.shape[1:], 1) if images.ndim == 3 else images.shape[1:]
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(images).reshape(-1)), int(np.prod(shape)))
    field = pa.field(name, pixels.type, metadata={b"shape": ",".join(map(str, shape)).encode()})
    values = pa.array(labels)
    return pa.RecordBatch.from_arrays([pixels, values], schema=pa.schema([field, pa.field(target, values.type)]))


def _labels_file(place: Place, file: str) -> str:
    folder, _, name = file.rpartition("/")
    wanted = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    for candidate in (wanted, wanted.removesuffix(".gz"), wanted.removesuffix(".gz") + ".gz"):
        path = f"{folder}/{candidate}" if folder else candidate
        if candidate != name and place.system.exists(path):
            return path
    raise DataError(f"the labels of {file} are missing ({wanted})", do="put them beside the images")


def _header(stream: IO[bytes], file: str) -> tuple[int, ...]:
    """Return the dimensions. Raises DataError unless the magic number says unsigned bytes."""
    magic = _exactly(stream, 4, file)
    if magic[0] or magic[1] or magic[2] != 0x08 or not 1 <= magic[3] <= 4:
        raise DataError(f"{file} is not an idx file of unsigned bytes (it begins with 0x{magic.tobytes().hex()})", do="fetch it again")
    dimensions = struct.unpack(f">{magic[3]}I", _exactly(stream, 4 * int(magic[3]), file).tobytes())
    if 0 in dimensions or int(np.prod(dimensions[1:], dtype=np.float64)) > 1 << 28:
        raise DataError(f"{file} declares the dimensions {dimensions}", do="fetch it again")
    return dimensions


def _exactly(stream: IO[bytes], size: int, file: str) -> np.ndarray:
    import zlib

    try:
        content = stream.read(size)
    except (EOFError, zlib.error) as error:
        raise DataError(f"{file} is damaged ({error})", do="fetch it again") from None
    if len(content) < size:
        raise DataError(f"{file} ends {size - len(content)} bytes too early", do="fetch it again")
    return np.frombuffer(content, dtype=np.uint8)
