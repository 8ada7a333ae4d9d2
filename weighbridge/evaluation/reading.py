"""Predictions from a Parquet file: one that Weighbridge wrote, or one made elsewhere.

Made elsewhere, the file has a column `target` and one of
    output            a list of probabilities in the order of the sorted classes, one probability of the positive class, or a value
    p_<class> ...     one column of probabilities a class (also prob_<class>); one alone is that of the positive class of two
    prediction        the chosen class, or a value
and may have `row_id`, `group`, `split`, `model`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.errors import DataError, did_you_mean
from weighbridge.evaluation.predictions import FORMAT, Array, Kind, Predictions

PREFIXES = ("p_", "prob_")
EACH_CLASS = "add a column p_<class> for each class"
MOST_INTEGER_CLASSES = 100  # whole numbers with more different values than this are numbers


def read_predictions(path: Path, *, split: str | None = None, model: str | None = None) -> Predictions:
    """Return the predictions in `path`; `split` chooses among several splits; `model` names a model that the file does not name.

    Raises DataError: the file is missing or not Parquet, a column is missing, or the rows are not valid predictions.
    """
    table = _chosen_rows(_open(path), split, path)
    if table.num_rows == 0:
        raise DataError(f"{path} holds no rows", do="give predictions of at least one row")
    about = _about(table, path)
    shared: dict[str, Any] = {
        "row_id": _row_ids(table),
        "group": _texts(table, "group"),
        "split": _one(table, "split", path) or "test",
        "model": _one(table, "model", path) or model or path.stem,
    }
    if about is not None:
        classes = tuple(about["classes"])
        return Predictions(
            kind=about["kind"],
            target=_matrix(table["target"], path),
            output=_matrix(table["output"], path),
            classes=classes,
            hard=bool(about.get("hard")),
            **shared,
        )
    return Predictions(**_made_elsewhere(table, path), **shared)


def _open(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing", do="give the path of a Parquet file with predictions") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})", do="write predictions as Parquet"
        ) from None


def _chosen_rows(table: Any, split: str | None, path: Path) -> Any:
    import pyarrow.compute as pc

    for name in ("target",):
        if name not in table.column_names:
            raise DataError(f"{path} has no column '{name}'{did_you_mean(name, table.column_names)}", do="add the true value of each row")
    if split is None or "split" not in table.column_names:
        return table
    known = sorted(str(one) for one in table["split"].unique().to_pylist())
    if split not in known:
        raise DataError(f"{path} has no rows of split '{split}'{did_you_mean(split, known)}", do=f"choose one of {', '.join(known)}")
    return table.filter(pc.equal(table["split"].cast("string"), split))


def _about(table: Any, path: Path) -> dict[str, Any] | None:
    text = (table.schema.metadata or {}).get(b"weighbridge")
    if text is None:
        return None
    try:
        about = json.loads(text)
        valid = about["kind"] in ("category", "number", "set") and isinstance(about["classes"], list) and "output" in table.column_names
    except (ValueError, KeyError, TypeError):
        valid = False
    if not valid:
        raise DataError(f"{path} has damaged Weighbridge metadata", do="write the predictions again")
    if about.get("format", 0) > FORMAT:
        raise DataError(f"{path} has format {about['format']}; this version reads up to {FORMAT}", do="install a newer Weighbridge")
    return dict(about)


def _row_ids(table: Any) -> Array:
    """Return the ids as text; rows without one get their place in the file, with leading zeros so that order is kept."""
    ids = _texts(table, "row_id")
    return np.char.zfill(np.arange(table.num_rows).astype(str), 12) if ids is None else ids


def _texts(table: Any, name: str) -> Array | None:
    if name not in table.column_names:
        return None
    if table[name].null_count:
        raise DataError(f"column '{name}' has {table[name].null_count} missing values", do="fill it in or leave it out")
    return np.array([str(value) for value in table[name].to_pylist()])


def _one(table: Any, name: str, path: Path) -> str | None:
    if name not in table.column_names:
        return None
    values = table[name].unique().to_pylist()
    if len(values) > 1:
        raise DataError(f"{path} holds rows of {len(values)} values of '{name}' {values[:5]}", do=f"keep the rows of one {name}")
    return str(values[0])


def _matrix(column: Any, path: Path) -> Array:
    """Return a column of numbers [n], or of lists of one length [n, C]; NaN where a value is missing."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    lengths = {len(row) if row is not None else None for row in column.to_pylist()}
    if len(lengths) != 1 or None in lengths:
        raise DataError(f"{path}: the lists of one column have {len(lengths)} different lengths", do="give every row one value a class")
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat).reshape(len(column), -1)


def _made_elsewhere(table: Any, path: Path) -> dict[str, Any]:
    if table["target"].null_count:
        raise DataError(f"{path}: {table['target'].null_count} rows have no target", do="leave rows without a known target out")
    columns = _probability_columns(table)
    if columns:
        output = np.stack([_matrix(table[column], path) for column in columns.values()], axis=1)
        return _category(_words(table["target"]), output, list(columns), path)
    name = next((name for name in ("output", "prediction") if name in table.column_names), None)
    if name is None:
        raise DataError(
            f"{path} has no column 'output', 'prediction' or 'p_<class>'{did_you_mean('prediction', table.column_names)}",
            do="add what the model said",
        )
    output = _matrix(table[name], path)
    if output.ndim == 2:
        return _from_lists(table, output, path)
    if name == "prediction" and _kind_of(table) == "category":
        return _from_choices(_words(table["target"]), _words(table[name]))
    return _from_scalars(table, output, path)


def _from_lists(table: Any, output: Array, path: Path) -> dict[str, Any]:
    target = _matrix(table["target"], path)
    if target.ndim == 2:
        return {"kind": "set", "target": target.astype(bool), "output": output, "classes": tuple(map(str, range(output.shape[1])))}
    words = _words(table["target"])
    whole = all(word.isdigit() for word in words)
    return _category(words, output, [str(code) for code in range(output.shape[1])] if whole else sorted(set(words)), path)


def _from_scalars(table: Any, output: Array, path: Path) -> dict[str, Any]:
    words = _words(table["target"])
    known = sorted(set(words))
    if known in (["0", "1"], ["false", "true"], ["0"], ["1"]) or not _is_numeric(table["target"]):
        classes = ["0", "1"] if set(known) <= {"0", "1"} else known
        if len(classes) != 2:
            raise DataError(f"{path} gives one probability a row for {len(classes)} classes", do=EACH_CLASS)
        positive = output.astype(np.float64)
        return _category(words, np.stack([1 - positive, positive], axis=1), classes, path)
    return {"kind": "number", "target": _matrix(table["target"], path).astype(np.float64), "output": output.astype(np.float64)}


def _from_choices(truth: list[str], choice: list[str]) -> dict[str, Any]:
    classes = sorted(set(truth) | set(choice), key=_natural)
    codes = {name: code for code, name in enumerate(classes)}
    return {
        "kind": "category",
        "target": np.array([codes[word] for word in truth]),
        "classes": tuple(classes),
        "hard": True,
        "output": np.eye(len(classes))[[codes[word] for word in choice]],
    }


def _category(words: list[str], output: Array, classes: list[str], path: Path) -> dict[str, Any]:
    if len(classes) == 1:
        others = sorted(set(words) - set(classes))
        if len(others) != 1:
            raise DataError(f"{path} gives one probability a row for {len(others) + 1} classes", do=EACH_CLASS)
        classes, output = [*others, *classes], np.concatenate([1 - output, output], axis=1)
    codes = {name: code for code, name in enumerate(classes)}
    unknown = sorted(set(words) - set(codes))
    if unknown:
        raise DataError(f"{path}: target '{unknown[0]}' has no probability{did_you_mean(unknown[0], codes)}", do=EACH_CLASS)
    return {"kind": "category", "target": np.array([codes[word] for word in words]), "output": output, "classes": tuple(classes)}


def _probability_columns(table: Any) -> dict[str, str]:
    """Return class name -> column name, in natural order of the classes."""
    found = {name.removeprefix(prefix): name for name in table.column_names for prefix in PREFIXES if name.startswith(prefix)}
    return {name: found[name] for name in sorted(found, key=_natural)}


def _kind_of(table: Any) -> Kind:
    """Whole numbers, words and true/false on both sides are classes; anything with fractions is a number."""
    import pyarrow as pa

    sides = [table[name] for name in ("target", "prediction")]
    if any(not _is_numeric(side) for side in sides):
        return "category"
    whole = all(pa.types.is_integer(side.type) for side in sides)
    return "category" if whole and len(table["target"].unique()) <= MOST_INTEGER_CLASSES else "number"


def _is_numeric(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def _words(column: Any) -> list[str]:
    """Return category names as the data stage writes them: 3.0 as "3", True as "true"."""
    return [_word(value) for value in column.to_pylist()]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _natural(word: str) -> tuple[int, float, str]:
    try:
        return (0, float(word), word)
    except ValueError:
        return (1, 0.0, word)
