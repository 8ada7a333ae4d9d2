"""Which rows train and which judge: the run's own split, and the folds of cross-validation. The test rows are never among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import DataError, RecipeError
from weighbridge.storage import read_json, remove, sha256_json, write_json
from weighbridge.storage.seeds import seed31

if TYPE_CHECKING:
    from weighbridge.data import Batch, Schema, Splits, Table
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.recipe import Recipe
    from weighbridge.storage.progress import Progress

OWN = "own"
DONE = "ground.json"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Rows that train and rows that judge, encoded; `arrays` holds encoder.json, train/ and validation/.

    Attributes:
        name: `own` for the run's split, `fold-1` and so on.
        identity: hash of what its encoded rows follow from.
        group: what each judging row belongs to, where the recipe names a group.
    """

    name: str
    arrays: Path
    identity: str
    group: np.ndarray | None = None

    @cached_property
    def encoder(self) -> Encoder:
        from weighbridge import preprocessing

        return preprocessing.Encoder.from_json(read_json(self.arrays / "encoder.json"))

    @cached_property
    def train(self) -> Arrays:
        from weighbridge import preprocessing

        return preprocessing.open_arrays(self.arrays / "train")

    @cached_property
    def validation(self) -> Arrays:
        from weighbridge import preprocessing

        return preprocessing.open_arrays(self.arrays / "validation")


class Part:
    """Some rows of several tables, in their order, as preprocessing reads a table."""

    def __init__(self, tables: Sequence[Table], chosen: np.ndarray) -> None:
        self.tables, self.chosen = tables, chosen

    def __len__(self) -> int:
        return int(self.chosen.sum())

    @property
    def row_ids(self) -> np.ndarray:
        return np.asarray(np.concatenate([table.row_ids for table in self.tables])[self.chosen])

    def batches(self, size: int = 4096) -> Iterator[Batch]:
        """Yield the chosen rows, a batch for each of the tables' own that holds any."""
        from weighbridge.data import Batch

        start = 0
        for table in self.tables:
            for batch in table.batches(size):
                held = np.flatnonzero(self.chosen[start : start + len(batch)])
                start += len(batch)
                if len(held):
                    yield Batch(row_ids=batch.row_ids[held], columns={name: values[held] for name, values in batch.columns.items()})


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The rows of one fold as preprocessing reads splits."""

    schema: Schema
    train: Part
    validation: Part


def own_ground(recipe: Recipe, folder: Path, variant: Recipe, progress: Progress) -> Ground:
    """Return the run's own split under the variant's preprocessing; what the run has encoded is not encoded again."""
    from weighbridge import data

    splits = data.open_data(folder / "data")
    group = None if recipe.data.group is None else np.asarray(splits.validation.column(recipe.data.group)).astype(str)
    if variant.preprocessing == recipe.preprocessing:
        return Ground(name=OWN, arrays=folder / "preprocessing", identity=_key_of(folder, "preprocessing"), group=group)
    arrays, identity = _encoded(folder, variant, OWN, splits, progress)
    return Ground(name=OWN, arrays=arrays, identity=identity, group=group)


def fold_grounds(recipe: Recipe, folder: Path, variant: Recipe, progress: Progress) -> list[Ground]:
    """Return a ground for each fold, each encoder fitted on its own training rows only; [] where the recipe asks for no folds.

    Raises RecipeError where the rows do not allow so many folds, DataError for rows that can not be encoded.
    """
    from weighbridge import data

    count = recipe.optimization.cross_validation.folds
    if not count:
        return []
    splits = data.open_data(folder / "data")
    tables = (splits.train, splits.validation)
    grounds = []
    for number, judged in enumerate(assign_folds(recipe, tables, count), 1):
        group = None
        if recipe.data.group is not None:
            group = np.concatenate([np.asarray(table.column(recipe.data.group)).astype(str) for table in tables])[judged.judges]
        fold = Fold(schema=splits.schema, train=Part(tables, judged.trains), validation=Part(tables, judged.judges))
        arrays, identity = _encoded(folder, variant, f"fold-{number}", fold, progress, of=count)
        grounds.append(Ground(name=f"fold-{number}", arrays=arrays, identity=identity, group=group))
    return grounds


@dataclass(frozen=True, kw_only=True)
class Sides:
    """bool [n] over training rows, then validation rows: which train and which judge in one fold."""

    trains: np.ndarray
    judges: np.ndarray


def assign_folds(recipe: Recipe, tables: Sequence[Table], count: int) -> list[Sides]:
    """Return the sides of each fold: by time where the recipe splits by time, by group where it names one, else stratified by class.

    By time each fold is judged on the rows that follow those that train (forward chaining), so the oldest rows judge nowhere.
    Raises RecipeError where groups, classes or rows are too few.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

    schema, seed = tables[0].schema, seed31(recipe.seed, "folds")
    rows = sum(len(table) for table in tables)

    def column(name: str) -> np.ndarray:
        return np.concatenate([np.asarray(table.column(name)) for table in tables])

    target = column(schema.target.name).astype(str) if schema.target.type == "category" else None
    places = np.arange(rows)
    cut: Any
    given: dict[str, Any] = {}
    if recipe.data.time is not None and recipe.data.split.method in ("auto", "time"):
        places, cut = np.argsort(column(recipe.data.time), kind="stable"), TimeSeriesSplit(count)
    elif recipe.data.group is not None:
        given = {"groups": column(recipe.data.group).astype(str)}
        cut = GroupKFold(count, shuffle=True, random_state=seed)
        cut = cut if target is None else StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    else:
        cut = (KFold if target is None else StratifiedKFold)(count, shuffle=True, random_state=seed)
    if target is not None and not isinstance(cut, TimeSeriesSplit):
        rarest = int(np.unique(target, return_counts=True)[1].min())
        target = target if rarest >= count else np.where(np.isin(target, _rare(target, count)), "", target)
    try:
        sides = [(places[trains], places[judges]) for trains, judges in cut.split(places, target, **given)]
    except ValueError as error:
        raise RecipeError(
            f"optimization.cross_validation.folds: {count} folds can not be cut from {rows} rows ({' '.join(str(error).split())})",
            do="ask for fewer folds",
        ) from None
    return [Sides(trains=np.isin(np.arange(rows), trains), judges=np.isin(np.arange(rows), judges)) for trains, judges in sides]


def _rare(target: np.ndarray, count: int) -> np.ndarray:
    """Return the classes with fewer rows than folds: they are spread as one."""
    names, counts = np.unique(target, return_counts=True)
    return np.asarray(names[counts < count])


def _encoded(folder: Path, variant: Recipe, name: str, splits: Splits | Fold, progress: Progress, *, of: int = 0) -> tuple[Path, str]:
    """Return where the rows of a ground are encoded under a variant's preprocessing, and the hash of what they follow from.

    `of`: how many folds there are. Done once, and again when it was killed or the data are other ones.
    """
    from weighbridge import preprocessing

    section = variant.preprocessing
    identity = sha256_json({"section": section.model_dump(mode="json"), "data": _key_of(folder, "data"), "ground": name, "of": of})
    place = folder / "optimization" / "arrays" / identity[:12] / name
    if not (place / DONE).exists():
        if not len(splits.train) or not len(splits.validation):
            raise DataError(f"{name} has no rows on one side", do="ask for fewer folds")
        preprocessing.prepare(section, data=splits, folder=place, command="", progress=progress, seed=variant.seed)
        write_json(place / DONE, {"rows": len(splits.train), "judges": len(splits.validation), "data": _key_of(folder, "data")})
    return place, identity


def forget_other_data(folder: Path) -> None:
    """Of encoded rows only those of the run's own data are left: what an earlier recipe read may be what this one hides."""
    known = _key_of(folder, "data")
    for place in sorted((folder / "optimization" / "arrays").glob("*")):
        marks = list(place.glob(f"*/{DONE}"))
        if not marks or any(read_json(mark).get("data") != known for mark in marks):
            remove(place)


def _key_of(folder: Path, stage: str) -> str:
    """Return the key of a finished stage of the run: it covers the recipe, the data and the code."""
    return str(read_json(folder / stage / "stage.json")["core"])
