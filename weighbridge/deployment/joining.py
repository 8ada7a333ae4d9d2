"""Old rows and new labelled rows as one source, each row on its side for ever.

Old rows are those of the champion's run, on the sides on which they were: a test row stays a test row. New rows are answers of the log with
the label that holds; each gets its side by the hash of its inputs, the very rule that parts rows of a first run, and a new row whose inputs
equal an old one's goes to that row's side. So no row of the next test split was ever learnt from, by any model of the circle. Keys in
quarantine give no row; groups and times of old rows are not known of new ones and no longer read (the sides stay what they made of them).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.data.identity import hex_ids, row_digests
from weighbridge.data.rows import SIDES
from weighbridge.data.split import by_hash
from weighbridge.data.table import ROW_ID, Schema, load_schema
from weighbridge.deployment.mlflow_models import beside
from weighbridge.errors import DataError, RunError
from weighbridge.storage import atomic_path, sha256_file

if TYPE_CHECKING:
    from weighbridge.feedback.log import Log
    from weighbridge.feedback.windows import Window
    from weighbridge.recipe import Recipe
    from weighbridge.runtime import Model

ID, SIDE = "weighbridge_id", "weighbridge_side"
ROAD = "road-"  # a row that came from service; after it a hash of its answer's id


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A source that was written.

    Attributes: rows of each side by origin, as `old_train` or `new_test`; unusable: answers without kept inputs, or whose inputs the
        champion can not read; known: new rows that are among the old ones already; sha256: of the file.
    """

    rows: Mapping[str, int]
    unusable: int
    known: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return {"rows": dict(self.rows), "unusable": self.unusable, "known": self.known, "sha256": self.sha256}


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """Labelled answers that can be learnt from: n rows. answer: their ids; who: who labelled them; columns: canonical inputs."""

    answer: np.ndarray
    who: np.ndarray
    label: list[Any]
    columns: Mapping[str, np.ndarray]
    unusable: int = 0

    def __len__(self) -> int:
        return len(self.answer)

    @property
    def row_id(self) -> np.ndarray:
        """str [n]: what the rows are called as data."""
        return np.array([road_id(str(one)) for one in self.answer], dtype=np.str_)


def road_id(answer: str) -> str:
    """Return what the row of an answer is called as data."""
    return ROAD + hashlib.blake2b(answer.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def new_rows(log: Log, model: Model, *, name: str, before: int | None = None) -> NewRows:
    """Return the labelled answers of a name with their inputs. before: only answers whose sequence is not larger. Raises UsageError."""
    from weighbridge.runtime import to_columns
    from weighbridge.runtime.columns import Reading

    found = log.window(package=name, labelled=True)
    found = found.rows(found.sequence <= (before if before is not None else np.iinfo(np.int64).max))
    kept = log.inputs(found.id.tolist())
    places = [place for place, id_ in enumerate(found.id.tolist()) if _fits(kept.get(id_), model) and _answers_like(found, place, model)]
    taken = found.rows(np.array(places, dtype=np.int64))
    rows = [kept[id_] for id_ in taken.id.tolist()]
    columns = to_columns(rows, model.inputs, Reading(paths=False))[0] if rows else {}
    return NewRows(
        answer=taken.id.astype(str), who=taken.who.astype(str), label=[json.loads(one) for one in taken.label], columns=columns,
        unusable=len(found) - len(taken),
    )  # fmt: skip


def _fits(row: Any, model: Model) -> bool:
    from weighbridge.errors import InputError
    from weighbridge.runtime import to_columns
    from weighbridge.runtime.columns import Reading

    if row is None:
        return False
    try:
        to_columns([row], model.inputs, Reading(paths=False))
    except InputError:
        return False
    return True


def _answers_like(found: Window, place: int, model: Model) -> bool:
    served = found.served[int(found.model[place])]
    return served.kind == model.info.kind and set(served.classes) == set(model.classes)


def join(run: Path, new: NewRows, recipe: Recipe, path: Path) -> Joined:
    """`path` is an Arrow file of the rows of `run` and the new ones, with the columns ID and SIDE; atomic.

    Raises DataError: the recipe anonymizes (what was treated before it was stored can not stand beside what was not), RunError.
    """
    import pyarrow as pa

    if recipe.data.anonymize != type(recipe.data.anonymize)():
        raise DataError(
            "data.anonymize is set, and answers in the log are not anonymized", do="retrain from a source of your own: weigh run"
        )
    schema = load_schema(run / "data" / "schema.json")
    tables = {side: _old(run / "data" / f"{side}.arrow") for side in SIDES}
    old = pa.concat_tables(list(tables.values()))
    ids = old.column(ROW_ID).to_pylist()
    sides = [side for side in SIDES for _ in range(tables[side].num_rows)]
    fresh = np.array([one not in set(ids) for one in new.row_id], dtype=bool) if len(new) else np.zeros(0, dtype=bool)
    old, added = _as_one(old.drop_columns([ROW_ID]), _arrow(new, fresh, old.schema, schema), schema)
    joined = pa.concat_tables([old, added])
    placed = _sides_of_new(joined, len(ids), np.array(sides), schema, recipe)
    every = [*ids, *new.row_id[fresh].tolist()]
    joined = joined.append_column(ID, pa.array(every, pa.string())).append_column(SIDE, pa.array([*sides, *placed], pa.string()))
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), joined.schema) as writer:
        writer.write_table(joined.combine_chunks(), max_chunksize=4096)
    counts = Counter(f"old_{side}" for side in sides) + Counter(f"new_{side}" for side in placed)
    return Joined(rows=counts, unusable=new.unusable, known=int((~fresh).sum()), sha256=sha256_file(path))


def check_sides(run: Path, challenger: Path) -> None:
    """Every test row of `run` is one of the challenger's run, and none of its other old rows is. Raises RunError."""
    old = {side: set(_old(run / "data" / f"{side}.arrow").column(ROW_ID).to_pylist()) for side in SIDES}
    new = {side: set(_old(challenger / "data" / f"{side}.arrow").column(ROW_ID).to_pylist()) for side in SIDES}
    lost, learnt = old["test"] - new["test"], (new["train"] | new["validation"]) & old["test"]
    moved = new["test"] & (old["train"] | old["validation"])
    if lost or learnt or moved:
        what = (
            f"{len(lost)} old test rows are lost, {len(learnt)} would be learnt from, {len(moved)} rows that were learnt from would judge"
        )
        raise RunError(f"{challenger}: {what}", do="remove this folder and retrain again")


def ids_of_test_rows(run: Path) -> np.ndarray:
    """Return the ids of a run's test rows, str [n]."""
    return np.array(_old(run / "data" / "test.arrow").column(ROW_ID).to_pylist(), dtype=np.str_)


def _old(path: Path) -> Any:
    import pyarrow as pa

    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(f"{path} can not be read ({error})", do="the champion's run folder is needed to retrain: restore it") from None


def _arrow(new: NewRows, which: np.ndarray, stored: Any, schema: Schema) -> Any:
    """Return the new rows with the columns of the stored ones; what is not known of them is null, a weight is 1."""
    import pyarrow as pa

    arrays = {}
    for field in stored:
        if field.name == ROW_ID:
            continue
        column = schema[field.name]
        if column.role == "target":
            arrays[field.name] = pa.array([one for one, wanted in zip(new.label, which, strict=True) if wanted], field.type)
        elif column.role == "weight":
            arrays[field.name] = pa.array([1.0] * int(which.sum()), field.type)
        elif field.name in new.columns:
            arrays[field.name] = _values(new.columns[field.name][which], column.type, field)
        else:
            arrays[field.name] = pa.nulls(int(which.sum()), field.type)
    return pa.table(arrays)


def _values(values: np.ndarray, kind: str, field: Any) -> Any:
    import pyarrow as pa

    if kind in ("image", "audio"):
        return pa.array([_encoded(one) for one in values], pa.binary())
    if kind == "set":
        return pa.array([None if one is None else list(one) for one in values], field.type)
    if kind in ("number", "date"):
        return pa.array(values, field.type)
    return pa.array(list(values), field.type)


def _as_one(old: Any, added: Any, schema: Schema) -> tuple[Any, Any]:
    """Return both tables with equal types: images and clips as files in memory (PNG keeps every pixel), because those of new rows are."""
    import pyarrow as pa

    for place, field in enumerate(old.schema):
        if schema[field.name].type in ("image", "audio"):
            files = pa.array(_files(old.column(field.name), field, schema[field.name].type), pa.binary())
            old = old.set_column(place, pa.field(field.name, pa.binary()), files)
    return old.replace_schema_metadata(None), added.cast(old.schema)


def _files(column: Any, field: Any, kind: str) -> list[bytes | None]:
    from weighbridge.data.table import canonical

    return [_encoded(one) for one in canonical(column, field, kind)]


def _encoded(image: Any) -> bytes | None:
    """Return an image or a clip as the bytes of a file."""
    if image is None or isinstance(image, bytes):
        return image
    if isinstance(image, str):
        return Path(image).read_bytes()
    from PIL import Image

    if isinstance(image, np.ndarray):
        image = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _sides_of_new(joined: Any, old: int, sides: np.ndarray, schema: Schema, recipe: Recipe) -> list[str]:
    """Return the side of each new row: that of an old row with the same inputs, else by the hash of its own inputs."""
    import pyarrow as pa

    names = [column.name for column in schema.inputs if column.name in joined.schema.names]
    digests = np.concatenate([row_digests(batch, names) for batch in joined.combine_chunks().to_batches()])
    identity = hex_ids(digests)
    known = dict(zip(identity[:old].tolist(), sides.tolist(), strict=True))
    codes = by_hash(identity[old:], recipe.data.split, recipe.seed) if len(identity) > old else np.zeros(0, dtype=np.int8)
    assert isinstance(joined, pa.Table)
    return [known.get(name, SIDES[code]) for name, code in zip(identity[old:].tolist(), codes.tolist(), strict=True)]


def joined_recipe(recipe: Recipe, source: Path, run: Path, *, name: str, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a challenger: the champion's on the joined source, columns read as they were, no remedy tried."""
    from weighbridge.recipe import changed

    schema, section = load_schema(run / "data" / "schema.json"), recipe.data.model_dump(mode="json")
    types = {column.name: column.type for column in schema.columns if column.role in ("input", "target")}
    stored = _old(run / "data" / "test.arrow").schema.names
    types |= {column.name: "ignore" for column in schema.columns if column.role in ("group", "time", "id") and column.name in stored}
    default = type(recipe.data)(source="x").model_dump(mode="json")
    section |= {
        "source": str(source.absolute()), "format": "arrow", "query": None, "id": ID, "group": None, "time": None, "limit": None,
        "columns": types, "csv": default["csv"], "split": {**section["split"], "method": "given", "column": SIDE, "train_rows": None},
        "protected": [one for one in section["protected"] if one in stored],
    }  # fmt: skip
    training, preprocessing = recipe.training.model_dump(mode="json"), recipe.preprocessing.model_dump(mode="json")
    training["model"]["start"], preprocessing["like"] = None, None
    sections = {"data": section, "training": training, "preprocessing": preprocessing, "mitigation": {}, "name": name}
    if recipe.tracking.mlflow.enabled and recipe.tracking.mlflow.url is None:  # all runs and versions of a name stand in one store
        tracking = recipe.tracking.model_dump(mode="json")
        sections["tracking"] = {**tracking, "mlflow": {**tracking["mlflow"], "url": beside(run)}}
    return changed(recipe, changes, sections, where="retraining")
