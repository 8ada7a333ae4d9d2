"""Labels that are known to be wrong are mended before anything learns from them: rows named by a file are left out or given another label.

Only training rows: a test set whose labels are changed by what a model says of them judges nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.data.rows import Rows
from weighbridge.data.split import TRAIN
from weighbridge.errors import DataError, did_you_mean
from weighbridge.findings import Finding, Message
from weighbridge.storage import sha256_file

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection

MOST_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Mended:
    """The rows after their labels were mended.

    Attributes:
        side: int8 [n], -1 also for rows that are left out; rows: with the targets as they are now.
        labels: new label by row number.
        dropped, elsewhere: how many rows were left out, and how many named ones are no training rows and stay as they are.
    """

    side: np.ndarray
    rows: Rows
    labels: Mapping[int, str]
    dropped: int
    elsewhere: int

    def column(self, values: Any, first: int) -> Any:
        """Return the target's Arrow array of consecutive rows, the first one numbered `first`, with the new labels."""
        import pyarrow as pa

        here = {row - first: label for row, label in self.labels.items() if first <= row < first + len(values)}
        if not here:
            return values
        known = values.to_pylist()
        for place, label in here.items():
            known[place] = label
        return pa.array(known, values.type)


def mend(section: DataSection, rows: Rows, side: np.ndarray, ids: np.ndarray) -> Mended | None:
    """Return the mended rows; None where the recipe names no file. `ids` are the row ids as they are written.

    Raises DataError: a file that can not be read, that names no row of this data or a label that it has not; a target without classes.
    """
    options = section.clean.labels
    if options.file is None:
        return None
    if not rows.classes:
        raise DataError("data.clean.labels mends classes, and the target has none", do="leave data.clean.labels out")
    named = read_labels(Path(options.file))
    places = np.flatnonzero(np.isin(ids, np.array(list(named), dtype=np.str_)))
    if not len(places):
        raise DataError(
            f"{options.file} names no row of this data", do="name the file of an audit of the same data, by the same anonymising"
        )
    training = places[side[places] == TRAIN]
    keys = {name: key for key, name in rows.classes.items()}
    side, targets, labels = side.copy(), rows.targets.copy(), dict[int, str]()
    for row in training.tolist():
        better = named[str(ids[row])]
        if options.action == "relabel" and better:
            if better not in keys:
                raise DataError(
                    f"{options.file} names the label '{better}', which no row has{did_you_mean(better, keys)}", do="mend the file"
                )
            labels[row], targets[row] = better, keys[better]
        else:
            side[row] = -1
    if len(np.unique(targets[side == TRAIN])) < 2:
        raise DataError(f"{options.file} leaves training rows of fewer than two classes", do="name fewer rows in it")
    elsewhere = int((side[places] > TRAIN).sum())
    return Mended(
        side=side, rows=replace(rows, targets=targets), labels=labels, dropped=len(training) - len(labels), elsewhere=elsewhere
    )  # fmt: skip


def read_labels(path: Path) -> dict[str, str]:
    """Return the better label ("" for none) by row id. Raises DataError where the file is missing or of another form."""
    do = "give JSON as an audit leaves it in label_errors.json, or CSV with the columns row_id and better"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"data.clean.labels.file: {path} is larger than {MOST_BYTES >> 20} MB", do=do)
        text = path.read_text(encoding="utf-8")
        found = list(csv.DictReader(text.splitlines())) if path.suffix.lower() == ".csv" else json.loads(text)["rows"]
        return {str(row["row_id"]): str(row.get("better") or "") for row in found}
    except FileNotFoundError:
        raise DataError(f"data.clean.labels.file: {path} is missing", do="run the audit first, or leave data.clean.labels out") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise DataError(f"data.clean.labels.file: {path} can not be read ({type(error).__name__}: {error})", do=do) from None


def labels_sha256(section: DataSection) -> str | None:
    """Return the hash of the file that names the rows; None where none is named, or it is not there."""
    file = section.clean.labels.file
    return None if file is None or not Path(file).is_file() else sha256_file(Path(file))


def label_findings(mended: Mended | None, section: DataSection, command: str) -> list[Finding]:
    """Return how many training rows were mended; nothing where the recipe does not ask for it."""
    if mended is None:
        return []
    return [
        Finding(
            key="data.labels_mended",
            title=Message("Training rows whose label was mended"),
            value=mended.dropped + len(mended.labels),
            unit="rows",
            n=int((mended.side == TRAIN).sum()) + mended.dropped,
            reason=Message(
                "left out: {dropped}, given another label: {relabelled}; {elsewhere} named rows are no training rows and stay as they are",
                dropped=mended.dropped, relabelled=len(mended.labels), elsewhere=mended.elsewhere,
            ),
            method=Message("named by {file}; validation and test rows are never mended", file=Path(section.clean.labels.file or "").name),
            command=f"{command} --only labels_mended" if command else "",
        )
    ]  # fmt: skip
