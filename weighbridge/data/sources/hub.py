"""Data sets of the Hugging Face hub, or a local folder in the hub's form; the library is imported only when one is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weighbridge.data.sources.images import SPLIT_WORDS
from weighbridge.errors import DataError, DependencyError

ROWS = 4096


def read_hub(source: str) -> Iterator[tuple[str | None, Any]]:
    """Yield (split, batch) of `hf://OWNER/NAME[:config]` or `hf://FOLDER`: class labels by name, images as bytes or paths.

    Splits are given where the set has a test or validation split; other splits than these three are refused.
    Raises: DependencyError without the library; DataError when the set is not there or not open.
    """
    sets = _load(source)
    given = len(sets) > 1
    for name, rows in sets.items():
        split = SPLIT_WORDS.get(name.lower())
        if split is None:
            raise DataError(
                f"{source} has a split '{name}'", do="known: train, validation, test; export the split that you mean as Parquet"
            )
        for table in rows.with_format("arrow").iter(batch_size=ROWS):
            for batch in _named(table, rows.features).to_batches():
                yield (split if given else None), batch


def _load(source: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise DependencyError(f"{source} needs the library datasets", do="pip install datasets") from None
    name, _, config = source.removeprefix("hf://").partition(":")
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(name, config or None)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(
            f"{source} can not be loaded ({reason})", do="check owner, name and config, and that the hub or the folder is within reach"
        ) from None


def _named(table: Any, features: Any) -> Any:
    """Return the table with class labels as their names."""
    import datasets
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, name in enumerate(table.column_names):
        feature = features[name]
        if isinstance(feature, datasets.ClassLabel):
            codes = table.column(name)
            codes = pc.if_else(pc.less(codes, 0), pa.scalar(None, codes.type), codes)
            names = pc.take(pa.array(feature.names, pa.string()), codes)
            table = table.set_column(position, name, names)
    return table
