"""The data sets that scikit-learn brings along, so that a first run needs no download."""

from __future__ import annotations

from typing import Any

import numpy as np

from weighbridge.data.sources.idx import image_batch
from weighbridge.errors import DataError, did_you_mean

NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def bundled_name(source: str) -> str:
    """Return NAME of `sklearn://NAME`. Raises DataError with the nearest known name."""
    name = source.removeprefix("sklearn://").strip("/")
    if name not in NAMES:
        raise DataError(f"there is no sklearn://{name}{did_you_mean(name, NAMES)}", do=f"known: {', '.join(NAMES)}")
    return name


def read_bundled(source: str) -> Any:
    """Return the whole set as one batch: digits as uint8 images [8, 8] (0..16 scaled to 0..255), tables by feature names.

    The target column is `target`; classes stand there by their names.
    """

    import pyarrow as pa
    from sklearn import datasets

    name = bundled_name(source)
    data = getattr(datasets, f"load_{name}")()
    if name == "digits":
        images = np.rint(data.images * (255 / 16)).astype(np.uint8)
        return image_batch(images, data.target.astype(np.int64), "target")
    labels = np.asarray(data.target_names)[data.target].astype(str) if name != "diabetes" else data.target
    columns = [*(np.ascontiguousarray(column) for column in data.data.T), labels]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], names=[*map(str, data.feature_names), "target"])
