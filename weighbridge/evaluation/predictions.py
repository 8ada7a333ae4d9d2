"""Predictions: what a model said about rows whose truth is known. Evaluation reads these and never a model.

Shapes: n rows, C classes or labels. Rows are kept in the order of their ids, so that no figure depends on the order of a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from weighbridge.errors import DataError
from weighbridge.storage import atomic_path

Array = NDArray[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Kind = Literal["category", "number", "set"]
SUM_TOLERANCE = 1e-3  # probabilities written as float16 or with three digits still pass
FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Rows with truth and output of one model on one split; checked when made, sorted by row id.

    Attributes:
        kind: `category`, `number` or `set`.
        row_id: str [n], unique.
        target: int64 codes [n] into `classes` | float64 [n] | bool [n, C].
        output: float64 probabilities [n, C], rows summing to 1 | values [n] | probabilities [n, C].
        classes: names of the classes or labels; empty for numbers.
        group: str [n], what rows belong to (patient, user); resampling then draws groups.
        hard: only the chosen class is known; `output` then holds 0 and 1, and nothing about probabilities can be measured.
    Raises:
        DataError: no rows, shapes that disagree, NaN, a probability outside [0, 1], rows that do not sum to 1,
            a row id twice, an unknown class.
    """

    kind: Kind
    row_id: Array
    target: Array
    output: Array
    classes: tuple[str, ...] = ()
    model: str = "model"
    split: str = "test"
    group: Array | None = None
    hard: bool = False

    def __post_init__(self) -> None:
        _check_rows(self)
        {"category": _check_category, "number": _check_number, "set": _check_set}[self.kind](self)
        order = np.argsort(self.row_id, kind="stable")
        self._set(order, row_id=str, target={"category": np.int64, "number": np.float64, "set": np.bool_}[self.kind], output=np.float64)
        if self.group is not None:
            self._set(order, group=str)

    def _set(self, order: Array, **types: Any) -> None:
        for name, dtype in types.items():
            object.__setattr__(self, name, np.asarray(getattr(self, name))[order].astype(dtype))

    def __len__(self) -> int:
        return len(self.row_id)

    @property
    def chosen(self) -> Array:
        """int64 [n] the most probable class | values [n] | bool [n, C] labels with probability of at least one half."""
        if self.kind == "category":
            return np.asarray(np.argmax(self.output, axis=1), dtype=np.int64)
        return self.output if self.kind == "number" else np.asarray(self.output >= 0.5)

    def rows(self, which: Array) -> Self:
        """Return these rows, by number or mask."""
        group = None if self.group is None else self.group[which]
        return replace(self, row_id=self.row_id[which], target=self.target[which], output=self.output[which], group=group)

    def on_rows_of(self, other: Predictions) -> Self:
        """Return these predictions for exactly the rows of `other`. Raises DataError when a row is missing or the truth differs."""
        both = f"'{self.model}' and '{other.model}'"
        place = np.searchsorted(self.row_id, other.row_id).clip(max=len(self) - 1)
        missing = self.row_id[place] != other.row_id
        if missing.any():
            what = f"{both} do not predict the same rows: the first has no row '{other.row_id[missing][0]}' ({int(missing.sum())} rows)"
            raise DataError(what, do="compare predictions of the same rows")
        if self.kind != other.kind or self.classes != other.classes or not np.array_equal(self.target[place], other.target):
            raise DataError(f"{both} do not agree on the truth of their rows", do="compare predictions of the same target")
        group = None if self.group is None else self.group[place]
        return replace(self, row_id=other.row_id, target=other.target, output=self.output[place], group=group)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """`path` is a Parquet file with columns row_id, target, output, split, model (and group); atomic. Raises StorageError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = len(predictions)
    columns: dict[str, Any] = {
        "row_id": pa.array(predictions.row_id.tolist(), pa.string()),
        "target": _arrow(predictions.target),
        "output": _arrow(predictions.output),
    }
    columns |= {name: pa.array([getattr(predictions, name)] * n, pa.string()).dictionary_encode() for name in ("split", "model")}
    if predictions.group is not None:
        columns["group"] = pa.array(predictions.group.tolist(), pa.string())
    about = {"format": FORMAT, "kind": predictions.kind, "classes": list(predictions.classes), "hard": predictions.hard}
    table = pa.table(columns).replace_schema_metadata({"weighbridge": json.dumps(about, ensure_ascii=False)})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _arrow(values: Array) -> Any:
    import pyarrow as pa

    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _refused(predictions: Predictions, what: str, do: str) -> DataError:
    return DataError(f"predictions of '{predictions.model}': {what}", do=do)


def _refuse_rows(predictions: Predictions, bad: Any, what: str, do: str) -> None:
    """Raise the DataError that names the first bad row and counts them; nothing where none is bad."""
    if bad.any():
        raise _refused(predictions, f"row '{predictions.row_id[bad][0]}' {what} ({int(bad.sum())} of {len(bad)} rows)", do)


def _check_rows(predictions: Predictions) -> None:
    n = len(predictions.row_id)
    if n == 0:
        raise _refused(predictions, "no rows", "give predictions of at least one row")
    for what in ("target", "output", "group"):
        values = getattr(predictions, what)
        if values is not None and len(values) != n:
            raise _refused(predictions, f"{what} has {len(values)} rows and row_id has {n}", "give one of each per row")
    ids, counts = np.unique(predictions.row_id, return_counts=True)
    if counts.max() > 1:
        raise _refused(predictions, f"row id '{ids[counts.argmax()]}' appears {counts.max()} times", "give each row once")
    finite = np.isfinite(np.asarray(predictions.output, dtype=np.float64).reshape(n, -1)).all(axis=1)
    _refuse_rows(predictions, ~finite, "has an output that is not finite", "predict these rows again or leave them out")


def _check_number(predictions: Predictions) -> None:
    if np.ndim(predictions.output) != 1 or np.ndim(predictions.target) != 1:
        raise _refused(predictions, f"a number has one value a row, not shape {np.shape(predictions.output)}", "give one output a row")
    missing = ~np.isfinite(np.asarray(predictions.target, dtype=np.float64))
    _refuse_rows(predictions, missing, "has no finite target", "leave rows without a known target out")


def _check_category(predictions: Predictions) -> None:
    _check_probabilities(predictions)
    target = np.asarray(predictions.target)
    if target.ndim != 1 or not np.issubdtype(target.dtype, np.integer):
        raise _refused(predictions, f"a target of {target.dtype} holds no class codes", "give whole numbers that point into classes")
    unknown = (target < 0) | (target >= len(predictions.classes))
    shown = target[unknown][0] if unknown.any() else None
    do = "name every class that appears in the target"
    _refuse_rows(predictions, unknown, f"has target {shown}, not a code of one of the {len(predictions.classes)} classes", do)
    sums = np.asarray(predictions.output, dtype=np.float64).sum(axis=1)
    wrong = np.abs(sums - 1) > SUM_TOLERANCE
    shown = sums[wrong][0] if wrong.any() else 1.0
    _refuse_rows(predictions, wrong, f"has probabilities that sum to {shown:.4g}, not 1", "give probabilities, not scores")


def _check_set(predictions: Predictions) -> None:
    _check_probabilities(predictions)
    shapes = np.shape(predictions.target), np.shape(predictions.output)
    if shapes[0] != shapes[1]:
        raise _refused(predictions, f"target has shape {shapes[0]} and output {shapes[1]}", "give one truth and one probability a label")


def _check_probabilities(predictions: Predictions) -> None:
    shape, classes = np.shape(predictions.output), predictions.classes
    if len(set(classes)) != len(classes) or len(classes) < (2 if predictions.kind == "category" else 1):
        raise _refused(predictions, f"{len(classes)} classes {list(classes)[:5]}", "name at least two different classes")
    if shape[1:] != (len(classes),):
        raise _refused(predictions, f"output has shape {shape} for {len(classes)} classes", "give one probability a class")
    output = np.asarray(predictions.output, dtype=np.float64)
    outside = ((output < 0) | (output > 1)).any(axis=1)
    _refuse_rows(predictions, outside, "has a probability outside 0 to 1", "give probabilities, not scores")
