"""One look of the watch: what came into the log since the last look moves drift and quality on, each answer and each label once.

The state is JSON beside the log and can be thrown away: from a cursor of 0 the log gives it again. Killed in the middle of a look, the next
look begins where the last whole one ended. Labels of a key that came into quarantine must leave the sequence, so quality is then counted
again from the first label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from sqlalchemy import select

from weighbridge.evaluation.metrics import row_f1
from weighbridge.evaluation.predictions import Array, Floats, Kind
from weighbridge.feedback.drift import Drift
from weighbridge.feedback.pace import Pace
from weighbridge.feedback.sequences import Fall, Mean
from weighbridge.feedback.streams import NONE, answer_traits, bins_of, embedding_traits, input_traits, streams_of
from weighbridge.feedback.tables import quarantine
from weighbridge.feedback.windows import Window, predictions_of
from weighbridge.runtime.contract import Contract
from weighbridge.runtime.inner import Inner
from weighbridge.storage import read_json, write_json

if TYPE_CHECKING:
    from weighbridge.feedback.log import Log
    from weighbridge.runtime import Model

ROWS, EVENTS, MOST_PENDING = 1000, 1000, 10_000
COUNTED = ("accepted", "waiting")  # events that bring a label; the others repeat or dispute one
ALPHA_QUALITY, ALPHA_DRIFT = 0.025, 0.05


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What is known of a served model after the answer number `answers` and the label event number `labels` of the log.

    `fall` is None where the contract gives no bound that outcomes can be held to (labels of a set); `pending`: ids whose label was told
    before their answer was there; `shut`: keys in quarantine; `gap`: the sequence of (1 + right - stated confidence) / 2, for categories;
    `pace` is None where the contract says nothing of a server.
    """

    model: str
    drift: Drift
    mean: Mean
    fall: Fall | None
    gap: Mean = field(default_factory=Mean)
    answers: int = 0
    labels: int = 0
    pending: tuple[str, ...] = ()
    shut: tuple[str, ...] = ()
    pace: Pace | None = None

    @classmethod
    def start(cls, contract: Contract, *, seed: int = 0, answers: int = 0, labels: int = 0) -> Self:
        """Return the watch of a model before its first answer; also after an acknowledged alarm, with the log's cursors of that moment."""
        bound = quality_bound(contract)
        drift = Drift.start(streams_of(contract), seed=seed, alpha=ALPHA_DRIFT)
        fall = None if bound is None else Fall(bound=bound, alpha=ALPHA_QUALITY)
        return cls(
            model=contract.model_sha256, drift=drift, mean=Mean(), fall=fall, answers=answers, labels=labels, pace=Pace.of(contract)
        )  # fmt: skip

    def restarted(self, contract: Contract) -> Watch:
        """Return the watch after somebody acknowledged its alarms: from here on, at the same rates."""
        return Watch.start(contract, seed=self.drift.seed + 1, answers=self.answers, labels=self.labels)

    @property
    def alarm(self) -> bool:
        return self.drift.alarm or (self.fall is not None and self.fall.since is not None)

    def save(self, path: Path) -> None:
        """`path` holds the state. Raises StorageError."""
        fall = None if self.fall is None else self.fall.to_json()
        told: dict[str, Any] = {name: getattr(self, name) for name in ("model", "answers", "labels", "pending", "shut")}
        told["pace"] = None if self.pace is None else self.pace.to_json()
        write_json(path, {**told, "drift": self.drift.to_json(), "mean": self.mean.to_json(), "gap": self.gap.to_json(), "fall": fall})

    @classmethod
    def read(cls, path: Path, contract: Contract) -> Self | None:
        """Return the state of a file; None where there is none, or it is of another model or form. Raises RunError, StorageError."""
        value = read_json(path) if path.exists() else None
        if value is None or value["model"] != contract.model_sha256 or "pace" not in value:
            return None
        fall = None if value["fall"] is None else Fall.from_json(value["fall"])
        lists: dict[str, Any] = {name: tuple(value[name]) for name in ("pending", "shut")}
        drift, mean = Drift.from_json(value["drift"], streams_of(contract)), Mean.from_json(value["mean"])
        gap, read = Mean.from_json(value["gap"]), {name: value[name] for name in ("model", "answers", "labels")}
        pace = None if value["pace"] is None else Pace.from_json(value["pace"])
        return cls(drift=drift, mean=mean, fall=fall, gap=gap, pace=pace, **read, **lists)


def quality_bound(contract: Contract) -> float | None:
    """Return the share of outcomes below which the promise is broken: the lower end of the contract's 95 % interval.

    The promise itself is wrong on this side with a probability of 2.5 %, the alarm with another 2.5 %: together at most 5 %. Outcomes are
    whether the class is right; for a number, whether the error is within the contract's conformal limit, which holds in a share that is
    Beta-distributed over draws of the rows that it was fitted on (Vovk 2012). Of labels of a set it is each row's F1, whose mean over
    rows stands in the contract beside the F1 of all, which is no mean; None where it does not.
    """
    if contract.kind == "set":
        return None if contract.of_rows is None or contract.of_rows.interval is None else contract.of_rows.interval[0]
    if contract.kind == "category":
        interval = contract.promise.interval
        return None if contract.headline != "accuracy" or interval is None else interval[0]
    if contract.kind == "number" and contract.conformal is not None:
        from scipy.stats import beta

        within = min(int(np.ceil((contract.conformal.rows + 1) * contract.conformal.level)), contract.conformal.rows)
        return float(beta.ppf(0.025, within, contract.conformal.rows + 1 - within))
    return None


def outcomes(contract: Contract, rows: Window) -> Floats:
    """Return float64 [n] in [0, 1] of labelled rows, in their order: right, within the limit, the F1 of the row's labels."""
    found = predictions_of(rows)
    back = np.searchsorted(found.row_id, rows.id.astype(str))  # predictions are sorted by id
    if found.kind == "number":
        limit = np.inf if contract.conformal is None else contract.conformal.limit
        return np.asarray(np.abs(found.output - found.target) <= limit, dtype=np.float64)[back]
    return (row_f1(found) if found.kind == "set" else np.asarray(found.chosen == found.target, dtype=np.float64))[back]


def look(log: Log, contract: Contract, model: Model, watch: Watch, *, keep: Callable[[Watch], None] = lambda watch: None) -> Watch:
    """Return the watch after all that the log holds now; `keep` gets it after every thousand answers on the way.

    Raises StorageError when the database is away; DataError: an unreadable image.
    """
    while len(rows := log.window(after=watch.answers, most=ROWS, model=contract.model_sha256)):
        bins = row_bins(log, contract, model, rows)
        watch = replace(watch, drift=watch.drift.add(bins), answers=int(rows.sequence[-1]), pace=watch.pace and watch.pace.add(rows))
        keep(watch)
    return _labels(log, contract, _same_keys(log, watch))


def _same_keys(log: Log, watch: Watch) -> Watch:
    with log.database.reading() as connection:
        shut = tuple(sorted(connection.execute(select(quarantine.c.who)).scalars()))
    if shut == watch.shut:
        return watch
    fall = None if watch.fall is None else Fall(bound=watch.fall.bound, alpha=watch.fall.alpha)
    return replace(watch, shut=shut, labels=0, pending=(), mean=Mean(alpha=watch.mean.alpha), gap=Mean(), fall=fall)


def _labels(log: Log, contract: Contract, watch: Watch) -> Watch:
    """Return the watch after the labels that were told since; each answer's first label counts, once."""
    watch = _count(log, contract, replace(watch, pending=()), watch.pending)
    while events := log.events(after=watch.labels, most=EVENTS):
        told = [event["id"] for event in events if event["outcome"] in COUNTED]
        watch = replace(_count(log, contract, watch, told), labels=int(events[-1]["sequence"]))
    return watch


def _count(log: Log, contract: Contract, watch: Watch, ids: Sequence[str]) -> Watch:
    asked = tuple(dict.fromkeys(ids))
    for start in range(0, len(asked), ROWS):
        part = asked[start : start + ROWS]
        found = log.window(ids=part)
        known = found.rows(found.labelled)
        late = [one for one in part if one not in set(found.id.tolist())]
        own = known.rows(np.array([known.served[place].model == contract.model_sha256 for place in known.model], dtype=bool))
        if len(own):
            order = {one: place for place, one in enumerate(part)}
            ordered = own.rows(np.argsort([order[one] for one in own.id]))
            values = outcomes(contract, ordered)
            gap = watch.gap.add((1 + values - ordered.output.max(axis=1)) / 2) if contract.kind == "category" else watch.gap
            watch = replace(watch, mean=watch.mean.add(values), gap=gap, fall=watch.fall and watch.fall.add(values))
        watch = replace(watch, pending=(*watch.pending, *late)[-MOST_PENDING:])
    return watch


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Canonical columns of the rows of a window whose inputs are kept, as the encoder's steps leave them; `places` [k] in the window."""

    places: Array
    columns: dict[str, Array] = field(default_factory=dict)


def kept_rows(log: Log, model: Model, rows: Window) -> Rows:
    """Return the inputs of a window. Rows that the model can not read any more (none: it answered them) are left out."""
    from weighbridge.runtime.columns import to_columns

    kept = log.inputs(rows.id.tolist())
    places = [place for place, one in enumerate(rows.id) if isinstance(kept.get(one), dict)]
    if not places:
        return Rows(places=np.zeros(0, dtype=np.int64))
    names = [one.name for one in model.inputs]
    told: list[dict[str, Any]] = [{name: kept[rows.id[place]].get(name) for name in names} for place in places]
    columns, _, _ = to_columns(told, model.inputs, replace(model.reading, paths=False))
    for name, step in model.encoder.steps.items():
        columns[name] = step.apply(columns[name])
    return Rows(places=np.array(places, dtype=np.int64), columns=columns)


def row_bins(log: Log, contract: Contract, model: Model, rows: Window) -> Array:
    """Return int64 [n, S]: the bin of each answer in each stream of the contract; -1 for the inputs of those whose inputs nobody kept."""
    streams, served = streams_of(contract), rows.served[0]
    found = bins_of(streams, answer_traits(cast(Kind, served.kind), served.classes, rows.output), len(rows))
    kept = kept_rows(log, model, rows)
    if len(kept.places):
        n, traits = len(kept.places), input_traits(streams, model.encoder.features, kept.columns)
        if contract.embedding is not None:
            inner = _inner(model.info.folder, model.info.package_sha256, contract.embedding.tensor)
            traits |= embedding_traits(contract.embedding, inner, model.encoder, kept.columns, n)
        own = bins_of(streams, traits, n)
        found[kept.places] = np.where(own == NONE, found[kept.places], own)
    return found


@lru_cache(maxsize=2)
def _inner(package: Path, package_sha256: str, tensor: str) -> Inner:
    """Return the graph of a package with its embedding given out; kept, since looks come again and again."""
    return Inner.of(package, tensor)
