"""Remedies against wrong labels: suspected training rows are left out, or given the label that models which did not see them agree on.

Which rows is settled once for a run, over all of its training rows up to MOST, and stands in mitigation/label_errors.json: the remedy's
recipe key names this file, so that who looks at the rows can edit it and run the recipe with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.registry import Patient, Remedy, register
from weighbridge.storage import read_json, write_json

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Encoder

MOST = 30_000  # training rows whose labels are looked at
WATCHES = ("evaluation.accuracy", "evaluation.balanced_accuracy", "evaluation.auroc")
FILE = "label_errors.json"


def named_rows(patient: Patient) -> Path:
    """Return the file that names the suspected rows of a run; made where it is not there, or of other rows.

    Raises RecipeError where the run has no classes, few rows, or no label that is suspected; DependencyError without cleanlab.
    """
    from weighbridge.preprocessing import Encoder, open_arrays

    place, path = patient.folder / "preprocessing", patient.folder / "mitigation" / FILE
    key = str(read_json(place / "stage.json")["key"])
    if patient.kind != "category":
        raise RecipeError(f"labels are mended for classes, and the target is of type {patient.kind}", do="leave this remedy out")
    if patient.recipe.data.clean.labels.file is not None:
        raise RecipeError("the recipe mends labels already (data.clean.labels.file)", do="leave this remedy out")
    if not path.exists() or read_json(path).get("of") != key:
        encoder = Encoder.from_json(read_json(place / "encoder.json"))
        write_json(path, {"of": key, "rows": suspected(encoder, open_arrays(place / "train"), _groups(patient), patient.recipe.seed)})
    if not read_json(path)["rows"]:
        raise RecipeError("no training label is suspected: there is nothing to mend", do="leave this remedy out")
    return path


def suspected(encoder: Encoder, train: Arrays, group: np.ndarray | None, seed: int) -> list[dict[str, Any]]:
    """Return row id, label and better label of the training rows whose label is suspected, the surest first; MOST rows are looked at."""
    from weighbridge.audit import quality_labels
    from weighbridge.audit.quality_rows import points_of
    from weighbridge.audit.quality_sample import flat_parts
    from weighbridge.models.baseline_inputs import fit_inputs
    from weighbridge.storage.seeds import rng

    places = np.sort(rng(seed, "mitigation", "labels").permutation(len(train))[:MOST])
    rows, classes = train.subset(places), [str(name) for name in encoder.learnt.classes]
    if len(rows) < quality_labels.LEAST_ROWS:
        raise RecipeError(f"{len(rows)} training rows are too few to tell which labels are wrong", do="leave this remedy out")
    inputs = fit_inputs(encoder, rows, np.arange(len(rows)), seed=seed)
    points = points_of(inputs, rows, rows.subset(slice(0, 1))).train
    target = np.asarray(rows.target)
    said = quality_labels.out_of_fold(
        flat_parts(inputs, rows, points), target, len(classes), seed, None if group is None else group[places]
    )  # fmt: skip
    ids = rows.row_ids
    return [
        {"row_id": str(ids[row]), "label": classes[target[row]], "better": classes[int(said[row].argmax())]}
        for row in quality_labels.suspects(said, target).tolist()
    ]


def _groups(patient: Patient) -> np.ndarray | None:
    from weighbridge import data

    name = patient.recipe.data.group
    return None if name is None else np.asarray(data.open_data(patient.folder / "data").train.column(name)).astype(str)


def _mended(action: str) -> Callable[[Patient], Mapping[str, Any]]:
    def changes(patient: Patient) -> Mapping[str, Any]:
        return {"data.clean.labels.file": named_rows(patient).as_posix(), "data.clean.labels.action": action}

    return changes


register(
    Remedy(
        name="drop_label_errors", against="quality", title=Message("training rows whose label is suspected are left out"),
        changes=_mended("drop"), watches=WATCHES, less=False, source="Northcutt 2021",
    )
)  # fmt: skip
register(
    Remedy(
        name="relabel", against="quality", title=Message("training rows whose label is suspected are given the label that others say"),
        changes=_mended("relabel"), watches=WATCHES, less=False, source="Northcutt 2021",
    )
)  # fmt: skip
