"""The form that the optimization chose stands before the test rows beside the model that it stands in for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.evaluation.answers import predictions_of
from weighbridge.findings import Finding
from weighbridge.storage import read_json, sha256_json

if TYPE_CHECKING:
    from weighbridge.data import Table
    from weighbridge.evaluation import Predictions
    from weighbridge.optimization import Chosen
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.recipe import Recipe
    from weighbridge.storage.progress import Progress

GAP_ROWS = 20_000  # training rows that are answered for the gap: more would not narrow its interval by a visible amount
CHAMPION = "champion.parquet"
OWN = "preprocessing"


class EncodedRows:
    """The rows of each split as a model reads them, training rows thinned; test rows are encoded when they are first asked for.

    `test` None: they are those that the evaluation has encoded.
    """

    def __init__(self, folder: Path, test: Table | None, progress: Progress) -> None:
        self.folder, self.test, self.progress = folder, test, progress
        self._known: dict[str, dict[str, Arrays]] = {}

    def encoder(self, arrays: str) -> Encoder:
        """Return the fitted columns of a folder of encoded rows (relative to the run)."""
        from weighbridge import preprocessing

        return preprocessing.Encoder.from_json(read_json(self.folder / arrays / "encoder.json"))

    def of(self, arrays: str) -> dict[str, Arrays]:
        """Return the encoded rows by split. Raises DataError, RunError, StorageError."""
        from weighbridge import preprocessing

        if arrays not in self._known:
            place = self.folder / "evaluation" / ("test" if arrays == OWN else f"test-{sha256_json(arrays)[:8]}")
            if self.test is not None:
                preprocessing.write_arrays(place, self.test, self.encoder(arrays), self.progress, label="encode test rows")
            self._known[arrays] = {
                "train": some(preprocessing.open_arrays(self.folder / arrays / "train"), GAP_ROWS),
                "validation": preprocessing.open_arrays(self.folder / arrays / "validation"),
                "test": preprocessing.open_arrays(place),
            }
        return self._known[arrays]


def some(arrays: Arrays, most: int) -> Arrays:
    """Return evenly spaced rows, at most `most`."""
    return arrays if len(arrays) <= most else arrays.subset(spaced(len(arrays), most))


def spaced(count: int, most: int) -> np.ndarray:
    """Return at most `most` row numbers of `count`, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def answer_beside(folder: Path, chosen: Chosen, recipe: Recipe, rows: EncodedRows, made: dict[str, Predictions]) -> None:
    """champion.parquet holds what the most capable model says about the test rows where another form was chosen, and seeds/1-SPLIT.parquet
    what the recipe's own network says where its seeds are compared and it is not the model. `made`: the model's answers by split.
    """
    from weighbridge import evaluation, optimization, training

    place = folder / "evaluation"
    if chosen.champion != chosen.form:
        kept = chosen.champion
        known, encoder = rows.of(kept.arrays)["test"], rows.encoder(kept.arrays)
        said = predictions_of(optimization.answers(folder, kept, encoder)(known), known, encoder, model=kept.name, split="test")
        evaluation.write_predictions(place / CHAMPION, replace(said, group=made["test"].group))
    if recipe.training.seeds > 1 and not chosen.form.is_recipe:
        encoder = rows.encoder(OWN)
        answer = training.network_answers(folder / "training", encoder)
        for split in ("validation", "test"):
            known = rows.of(OWN)[split]
            said = predictions_of(answer(known), known, encoder, model="seed 1", split=split)
            evaluation.write_predictions(place / "seeds" / f"1-{split}.parquet", replace(said, group=made[split].group))


def choice_findings(recipe: Recipe, folder: Path, command: str) -> list[Finding]:
    """Return the one statement about the chosen form on the test rows, from stored answers; [] where the most capable model is packaged."""
    from weighbridge import evaluation
    from weighbridge.evaluation.choice import confirm
    from weighbridge.evaluation.choice_verdict import confirmed_finding
    from weighbridge.optimization import read_chosen

    path = folder / "evaluation" / CHAMPION
    chosen = read_chosen(folder)
    if chosen.champion == chosen.form or not path.exists() or chosen.margin is None or chosen.confidence is None:
        return []
    how = evaluation.resampling_of(recipe.evaluation.resamples, recipe.seed)
    form, champion = evaluation.read_predictions(folder / "evaluation" / "test.parquet"), evaluation.read_predictions(path)
    found = confirm(replace(form, model=chosen.form.name), champion, margin=chosen.margin, confidence=chosen.confidence, how=how)
    return [confirmed_finding(found, command=f"{command} --only choice")]
