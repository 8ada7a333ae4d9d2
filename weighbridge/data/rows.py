"""One pass over all rows that keeps a few numbers of each: who it is, what its target is, what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weighbridge.data.clips import check_clips
from weighbridge.data.convert import convert
from weighbridge.data.identity import cells, hex_ids, row_digests
from weighbridge.data.pictures import check_images, shown
from weighbridge.data.plan import Plan
from weighbridge.data.sources.images import SPLIT_WORDS
from weighbridge.data.spool import SPLIT, Spool, has
from weighbridge.errors import DataError
from weighbridge.storage.progress import Progress, silent

SIDES = ("train", "validation", "test")
CHECKS = {"image": check_images, "audio": check_clips}


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Which labels rows hold: `keys` uint64 [m] stand in the rows numbered `rows` int64 [m], none twice in a row; `names` by key."""

    names: dict[int, str]
    keys: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What is known of each row, in the order read; n rows.

    Attributes: digests uint64 [n, 2] of the inputs; ids str [n] (hashed_ids: of the inputs, else data.id);
        targets uint64 [n], equal for equal targets; classes: names by target value (categories); labels: of sets, else None;
        no_target, unreadable bool [n]; problems: the first unreadable files in words; files: what they are; missing: values missing
        by input column;
        given int8 [n]: 0 train, 1 validation, 2 test (None: not given); groups uint64 [n]; times float64 [n].
    """

    digests: np.ndarray
    ids: np.ndarray
    targets: np.ndarray
    classes: dict[int, str]
    no_target: np.ndarray
    unreadable: np.ndarray
    problems: tuple[str, ...] = ()
    files: str = "images"
    missing: dict[str, int] = field(default_factory=dict)
    given: np.ndarray | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    hashed_ids: bool = True
    labels: Labels | None = None

    def __len__(self) -> int:
        return len(self.targets)


def scan(raw: Spool, plan: Plan, progress: Progress = silent) -> Rows:
    """Return what is known of each row. Raises DataError for values that do not fit, ids that are missing or come twice."""
    scanner = _Scanner(plan)
    for batch in raw.batches():
        scanner.take(batch, progress)
        progress("rows hashed", scanner.row, raw.rows)
    return scanner.rows()


class _Scanner:
    """Collects arrays batch by batch."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.row = 0
        self.parts: dict[str, list[np.ndarray]] = {}
        self.classes: dict[int, str] = {}
        self.labels: dict[int, str] = {}
        self.problems: list[str] = []
        self.damaged: set[str] = set()
        self.missing: dict[str, int] = {column.name: 0 for column in plan.schema.inputs}

    def take(self, batch: Any, progress: Progress) -> None:
        contents, unreadable = self._files(batch, progress)
        self._keep("digests", row_digests(batch, self.plan.hashed, contents))
        self._keep("unreadable", unreadable)
        self._target(batch)
        self._sides(batch)
        for name in self.missing:
            column = batch.column(name)
            self.missing[name] += column.null_count + _not_finite(column)
        self.row += len(batch)

    def rows(self) -> Rows:
        arrays = {name: np.concatenate(parts) for name, parts in self.parts.items()}
        ids = arrays["ids"] if "ids" in arrays else hex_ids(arrays["digests"])
        return Rows(
            digests=arrays["digests"],
            ids=ids,
            targets=arrays["targets"],
            classes=self.classes,
            no_target=arrays["no_target"],
            unreadable=arrays["unreadable"],
            problems=tuple(self.problems),
            files=" or ".join(sorted(self.damaged)) or "images",
            missing=self.missing,
            given=arrays.get("given"),
            groups=arrays.get("groups"),
            times=arrays.get("times"),
            hashed_ids="ids" not in arrays,
            labels=Labels(names=self.labels, keys=arrays["labels"], rows=arrays["label_rows"]) if "labels" in arrays else None,
        )

    def _keep(self, name: str, values: np.ndarray) -> None:
        self.parts.setdefault(name, []).append(values)

    def _converted(self, batch: Any, name: str) -> Any:
        splits = batch.column(SPLIT) if has(batch.schema, SPLIT) else None
        return convert(batch.column(name), self.plan.conversions[name], row=self.row, splits=splits)

    def _files(self, batch: Any, progress: Progress) -> tuple[dict[str, list[bytes]], np.ndarray]:
        """Return the digests of image files and clips by column, and which rows hold one that can not be opened."""
        import pyarrow.types as pt

        contents, unreadable = {}, np.zeros(len(batch), dtype=bool)
        for column in self.plan.schema.inputs:
            if column.type not in CHECKS or pt.is_fixed_size_list(batch.column(column.name).type):
                continue
            values = self._converted(batch, column.name).to_pylist()
            answers = list(CHECKS[column.type](values, progress))
            contents[column.name] = [digest for digest, _ in answers]
            for position, (_, problem) in enumerate(answers):
                unreadable[position] |= bool(problem)
                if problem:
                    self.damaged.add("images" if column.type == "image" else "clips")
                if problem and len(self.problems) < 3:
                    self.problems.append(f"{shown(values[position], column.type)} ({problem})")
        return contents, unreadable

    def _target(self, batch: Any) -> None:
        import pyarrow.compute as pc

        target = self.plan.schema.target
        values = self._converted(batch, target.name)
        keys = cells(values)
        self._keep("targets", keys)
        self._keep("no_target", pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False))
        if target.type == "category":
            known = values.dictionary_encode().dictionary
            self.classes.update(zip(cells(known).tolist(), known.to_pylist(), strict=True))
        if target.type == "set":
            self._labels(values)

    def _labels(self, values: Any) -> None:
        """Keep the labels of each row's set, each once."""
        import pyarrow.compute as pc

        flat, rows = values.flatten(), pc.list_parent_indices(values).to_numpy()
        keys = cells(flat)
        _, first = np.unique(np.column_stack([rows.astype(np.uint64), keys]), axis=0, return_index=True)
        self._keep("labels", keys[first])
        self._keep("label_rows", rows[first] + self.row)
        known = flat.unique()
        self.labels.update(zip(cells(known).tolist(), known.to_pylist(), strict=True))

    def _sides(self, batch: Any) -> None:
        """Keep what a split goes by: the side given, the group, the time, the id."""
        plan = self.plan
        if plan.split is not None:
            sides = batch.column(SPLIT) if plan.split == SPLIT else self._converted(batch, plan.split)
            self._keep("given", _given(sides.to_pylist(), plan.split, self.row))
        for column in plan.schema.columns:
            if column.role == "group":
                self._keep("groups", cells(_present(self._converted(batch, column.name), column.name, "group", self.row)))
            if column.role == "time":
                self._keep("times", self._times(batch, column.name))
        if plan.id is not None:
            self._keep("ids", np.array(_present(self._converted(batch, plan.id), plan.id, "id", self.row).to_pylist(), dtype=np.str_))

    def _times(self, batch: Any, name: str) -> np.ndarray:
        import pyarrow as pa

        values = _present(self._converted(batch, name), name, "time", self.row)
        numbers = values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values
        return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _not_finite(column: Any) -> int:
    import pyarrow.compute as pc
    import pyarrow.types as pt

    return int(pc.sum(pc.invert(pc.is_finite(column))).as_py() or 0) if pt.is_floating(column.type) else 0


def _present(values: Any, name: str, what: str, row: int) -> Any:
    import pyarrow.compute as pc

    absent = pc.is_null(values, nan_is_null=True)
    if pc.any(absent).as_py():
        first = row + absent.index(True).as_py() + 1
        raise DataError(f"data.{what} '{name}' has no value in row {first}", do=f"give every row a {what}, or leave data.{what} out")
    return values


def _given(words: Sequence[str | None], name: str, row: int) -> np.ndarray:
    codes = {word: _side(word, name, row + words.index(word) + 1) for word in dict.fromkeys(words)}
    return np.array([codes[word] for word in words], dtype=np.int8)


def _side(word: str | None, name: str, row: int) -> int:
    side = SPLIT_WORDS.get((word or "").strip().lower())
    if side is None:
        raise DataError(f"column '{name}' says {word!r} in row {row}, which is no split", do="known: train, validation, test")
    return SIDES.index(side)
