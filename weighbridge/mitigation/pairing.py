"""The rows of a run and of its remedy are the same under other names where the remedy hides what names them (data.anonymize)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions

TEST = "test.arrow"


def under_first_names(now: Predictions, before: Predictions, folder: Path, treated: Path) -> Predictions:
    """Return what the remedy's model said under the row ids of the run in `folder`: the test rows of both stand in the order of the source.

    As it is where the names agree already, or the rows are not the same: not as many, or of another truth.
    """
    from weighbridge.data.table import Table, load_schema

    if np.array_equal(now.row_id, before.row_id):
        return now
    first, other = (Table(place / "data" / TEST, load_schema(place / "data" / "schema.json")).row_ids for place in (folder, treated))
    if len(first) != len(other) or len(now) != len(first) or len(before) != len(first):
        return now
    names = dict(zip(other.tolist(), first.tolist(), strict=True))
    if set(names) != set(now.row_id.tolist()):
        return now
    named = replace(now, row_id=np.array([names[name] for name in now.row_id.tolist()], dtype=np.str_))
    same = np.array_equal(named.row_id, before.row_id) and np.array_equal(named.target, before.target) and named.classes == before.classes
    return named if same else now
