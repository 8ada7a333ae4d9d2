"""A window: the answers of a time, a model or a key with the labels that hold, as arrays; and the same as `Predictions`.

So the code that judged a model in the laboratory judges it on the road.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from sqlalchemy import Select, func, select

from weighbridge.errors import DataError, UsageError
from weighbridge.evaluation.predictions import Array, Floats, Kind, Predictions
from weighbridge.feedback.answers import EPOCH, MICROSECOND
from weighbridge.feedback.database import Database
from weighbridge.feedback.journal import Vault
from weighbridge.feedback.sealing import LABEL, opened
from weighbridge.feedback.tables import labels, models, predictions, quarantine

CHUNK_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model as it was served: its hash, its package's name, the kind of its target, its classes."""

    model: str
    package: str
    kind: str
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """n answers in the order in which they came.

    Attributes:
        sequence: int64 [n]. id, key: str [n] (object). time_us: int64 [n], microseconds since 1970 UTC.
        model: int64 [n], places in `served`. latency_s: float64 [n], NaN where it is not known.
        outputs: [n] packed float64. kept: [n] the label that holds as the database keeps it, None without one; who: [n] who gave it, "".
        vault: opens those that are sealed, when `label` is read.
    """

    sequence: Array
    id: Array
    time_us: Array
    model: Array
    key: Array
    latency_s: Floats
    outputs: list[bytes]
    kept: Array
    who: Array
    served: tuple[Served, ...]
    vault: Vault | None = None

    def __len__(self) -> int:
        return len(self.sequence)

    @cached_property
    def output(self) -> Floats:
        """float64 [n, C], or [n] where each answer is one value. Raises DataError when models of different widths answered."""
        widths = {len(one) for one in self.outputs}
        if len(widths) > 1:
            raise DataError("the models of this window do not give equally many values", do="choose one model")
        flat = np.frombuffer(b"".join(self.outputs), dtype="<f8")
        return np.asarray(flat if widths <= {8} else flat.reshape(len(self), -1))

    @property
    def labelled(self) -> Array:
        """bool [n]."""
        return np.array([one is not None for one in self.kept], dtype=bool)

    @cached_property
    def label(self) -> Array:
        """[n] JSON of the label that holds, None without one. Raises UsageError for sealed ones without the vault, VaultError."""
        told = zip(self.id.tolist(), self.who.tolist(), self.kept.tolist(), strict=True)
        return np.array([None if one is None else opened(self.vault, LABEL, id_, who, one) for id_, who, one in told], dtype=object)

    def rows(self, which: Array) -> Window:
        """Return these rows, by number or mask."""
        places = np.flatnonzero(which) if which.dtype == bool else which
        names = ("sequence", "id", "time_us", "model", "key", "latency_s", "kept", "who")
        return Window(
            **{name: getattr(self, name)[places] for name in names}, outputs=[self.outputs[place] for place in places],
            served=self.served, vault=self.vault,
        )  # fmt: skip


def window(
    database: Database,
    *,
    start: datetime.datetime | int | None = None,
    end: datetime.datetime | int | None = None,
    model: str | None = None,
    package: str | None = None,
    key: str | None = None,
    ids: Sequence[str] | None = None,
    labelled: bool = False,
    newest: int | None = None,
    after: int | None = None,
    most: int | None = None,
    vault: Vault | None = None,
) -> Window:
    """Return the answers from `start` (included) to `end` (not included), the order of their coming kept. Raises StorageError.

    model: a hash or the beginning of one. labelled: only those with a label that holds. newest: at most so many, the last to come.
    after, most: answers whose sequence is greater, at most so many: for reading piece by piece. Labels of keys in quarantine do not count.
    vault: opens labels that are sealed, once they are read.
    """
    asked = _asked(labelled)
    bounds = (("start", start), ("end", end))
    lowest, highest = (None if bound is None else _moment(bound, name) for name, bound in bounds)
    answers = predictions.c
    for wanted, condition in (
        (lowest is not None, answers.time_us >= (lowest or 0)),
        (highest is not None, answers.time_us < (highest or 0)),
        (model, models.c.model.startswith(model or "", autoescape=True)),
        (package, models.c.package == package),
        (key is not None, answers.key == key),
        (ids is not None, answers.id.in_(list(ids or ()))),
        (after is not None, answers.sequence > (after or 0)),
    ):
        asked = asked.where(condition) if wanted else asked
    order = answers.sequence if newest is None else answers.sequence.desc()
    asked = asked.order_by(order).limit(most if newest is None else newest)
    with database.reading() as connection:
        known = connection.execute(select(models)).all()
        columns = _columns(connection.execution_options(yield_per=CHUNK_ROWS).execute(asked))
    found = _made(columns, known, vault)
    return found.rows(np.arange(len(found))[::-1]) if newest is not None else found


def count_labelled(database: Database, *, package: str, model: str) -> int:
    """Return how many answers of a package and a model have a label that holds, without reading them. Raises StorageError."""
    wanted = _asked(labelled=True).where(models.c.package == package, models.c.model == model).subquery()
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(wanted)).scalar_one())


def _asked(labelled: bool) -> Select[Any]:
    answers, quarantined = predictions.c, select(quarantine.c.who)
    holds = (labels.c.id == answers.id) & (labels.c.state == "labelled") & labels.c.who.not_in(quarantined)
    joined = predictions.join(models, models.c.number == answers.model).join(labels, holds, isouter=not labelled)
    return select(
        answers.sequence, answers.id, answers.time_us, answers.model, answers.key, answers.latency_s, answers.output,
        labels.c.value, labels.c.who,
    ).select_from(joined)  # fmt: skip


def _moment(bound: datetime.datetime | int, name: str) -> int:
    if isinstance(bound, int):
        return bound
    if bound.tzinfo is None:
        raise UsageError(f"{name} {bound.isoformat()} names no time zone", do="give one, for example +00:00")
    return (bound - EPOCH) // MICROSECOND


def _columns(result: Any) -> list[list[Any]]:
    columns: list[list[Any]] = [[] for _ in range(9)]
    for part in result.partitions():
        for column, values in zip(columns, zip(*part, strict=True), strict=True):
            column.extend(values)
    return columns


def _made(columns: list[list[Any]], known: Sequence[Any], vault: Vault | None) -> Window:
    sequence, ids, times, numbers, keys, latencies, outputs, values, who = columns
    present = sorted(set(numbers))
    rows = {row.number: row for row in known}
    served = tuple(
        Served(model=row.model, package=row.package, kind=row.kind or "", classes=tuple(json.loads(row.classes or "[]")))
        for row in (rows[number] for number in present)
    )
    places = {number: place for place, number in enumerate(present)}
    return Window(
        sequence=np.array(sequence, dtype=np.int64), id=np.array(ids, dtype=object), time_us=np.array(times, dtype=np.int64),
        model=np.array([places[number] for number in numbers], dtype=np.int64), key=np.array(keys, dtype=object),
        latency_s=np.array(latencies, dtype=np.float64), outputs=outputs, kept=np.array(values, dtype=object),
        who=np.array([one or "" for one in who], dtype=object), served=served, vault=vault,
    )  # fmt: skip


def predictions_of(found: Window, *, split: str = "road") -> Predictions:
    """Return the labelled answers of a window, which evaluation judges like those of a test split; one row an answer's id.

    Raises DataError: no labelled answer, or models of different kinds or classes.
    """
    rows = found.rows(found.labelled)
    if not len(rows):
        raise DataError(f"none of the {len(found):,} answers of this window has a label", do="give labels: weigh feedback add LABELS.csv")
    served = [rows.served[place] for place in np.unique(rows.model)]
    if len({(one.kind, one.classes) for one in served}) > 1 or not served[0].kind:
        shown = ", ".join(one.model[:12] for one in served)
        raise DataError(f"the models of this window ({shown}) do not answer the same question", do="choose one model")
    kind, classes = served[0].kind, served[0].classes
    return Predictions(
        kind=cast(Kind, kind), row_id=rows.id.astype(str), target=targets([json.loads(one) for one in rows.label], kind, classes),
        output=_shaped(rows.output, kind), classes=classes, model=" ".join(one.model[:12] for one in served), split=split,
    )  # fmt: skip


def targets(values: Sequence[Any], kind: str, classes: Sequence[str]) -> Array:
    """Return int64 [n] codes | float64 [n] | bool [n, C] of canonical labels."""
    if kind == "number":
        return np.array(values, dtype=np.float64)
    codes = {name: code for code, name in enumerate(classes)}
    if kind == "category":
        return np.array([codes[value] for value in values], dtype=np.int64)
    marked = np.zeros((len(values), len(classes)), dtype=bool)
    for row, value in enumerate(values):
        marked[row, [codes[one] for one in value]] = True
    return marked


def _shaped(output: Floats, kind: str) -> Floats:
    return output if kind == "number" or output.ndim == 2 else output[:, None]
