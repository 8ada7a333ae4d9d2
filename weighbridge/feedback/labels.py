"""Accept labels: late, out of order, twice, against each other, for answers that are not known yet. What is acknowledged is durable.

The order of labels is that of their arrival (`label_events.sequence`), so a clock that goes back changes nothing; it is counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, select, update

from weighbridge.errors import DataError
from weighbridge.feedback.database import Database
from weighbridge.feedback.journal import Vault
from weighbridge.feedback.label_values import Said, UnfitLabelError, canonical, loose, said
from weighbridge.feedback.sealing import EVENT, LABEL, check, kept, kept_rows, opened
from weighbridge.feedback.tables import label_events, labels, models, predictions
from weighbridge.storage.hashes import canonical_json

Policy = Literal["hold", "first", "last"]
Clock = Callable[[], int]
CHUNK = 500  # values in one IN (...)
REFUSALS_SHOWN, EVENTS_AN_ID, MOST_WAITING = 100, 20, 200_000


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A label that was not taken: its id, why, and what to do."""

    id: str
    why: str
    do: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of labels; the counts add up to how many came.

    Attributes:
        accepted: labels of known answers that had none.
        duplicate: the same value again.
        conflicting: another value than before; all are kept, and the policy says which holds.
        unknown: kept aside until the answer with that id comes from a journal.
        invalid: not kept; `refusals` name the first hundred.
        queued: safe on the disk and not looked at yet, because the database was away.
    """

    accepted: int = 0
    duplicate: int = 0
    conflicting: int = 0
    unknown: int = 0
    invalid: int = 0
    queued: int = 0
    refusals: tuple[Refusal, ...] = ()

    def __add__(self, other: Outcome) -> Outcome:
        names = ("accepted", "duplicate", "conflicting", "unknown", "invalid", "queued")
        summed = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Outcome(**summed, refusals=(*self.refusals, *other.refusals)[:REFUSALS_SHOWN])

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        told = {name: getattr(self, name) for name in ("accepted", "duplicate", "conflicting", "unknown", "invalid", "queued")}
        return {**told, "refusals": [{"id": one.id, "why": one.why, "do": one.do} for one in self.refusals]}


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the database knows of an id: the model of its answer ("" where there is none), its label, who said what before."""

    kind: str = ""
    classes: tuple[str, ...] = ()
    state: str = ""
    value: str | None = None
    before: frozenset[tuple[str, str]] = frozenset()


@dataclass(kw_only=True)
class _Changes:
    """What a batch writes."""

    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)


def now_us() -> int:
    """Return the server's time."""
    return time.time_ns() // 1000


def accept(
    database: Database,
    records: Iterable[Any],
    who: str,
    *,
    policy: Policy = "hold",
    clock: Clock = now_us,
    most_waiting: int = MOST_WAITING,
    vault: Vault | None = None,
) -> Outcome:
    """The labels are durable when this returns, all of them. Records: objects with `id` and `label`. Raises StorageError: none is.

    policy: which of two different values for an id holds: the `last`, the `first`, or none until a person decides (`hold`).
    vault: seals them. Raises UsageError without one where others are sealed.
    """
    with database.writing() as connection:
        return take(database, connection, records, who, policy=policy, clock=clock, most_waiting=most_waiting, vault=vault)


def take(
    database: Database,
    connection: Connection,
    records: Iterable[Any],
    who: str,
    *,
    policy: Policy = "hold",
    clock: Clock = now_us,
    most_waiting: int = MOST_WAITING,
    vault: Vault | None = None,
) -> Outcome:
    """As `accept`, within a transaction that is open: the labels are durable when it ends."""
    fit, outcome = usable(records)
    check(connection, vault)
    return outcome + _take(database, connection, [(one, who) for one in fit], policy, clock, most_waiting, vault)


def usable(records: Iterable[Any]) -> tuple[list[Said], Outcome]:
    """Return the labels that have an id and a value of a plain type, and the refusals of the others."""
    fit: list[Said] = []
    outcome = Outcome()
    for record in records:
        try:
            fit.append(said(record))
        except UnfitLabelError as error:
            outcome += _refused(record.get("id") if isinstance(record, dict) else "", error)
    return fit, outcome


def _take(
    database: Database,
    connection: Connection,
    given: list[tuple[Said, str]],
    policy: Policy,
    clock: Clock,
    most_waiting: int,
    vault: Vault | None,
) -> Outcome:
    known = _known(connection, [one.id for one, _ in given], vault)
    room = most_waiting - (_waiting(connection) if any(not known[one.id].kind for one, _ in given) else 0)
    moment, changes, outcome = _moment(database, connection, clock), _Changes(), Outcome()
    for one, who in given:
        if not known[one.id].kind and not known[one.id].state and room <= outcome.unknown:
            full = UnfitLabelError(f"there is no answer with this id, and {most_waiting:,} labels wait already", "check the ids")
            outcome += _refused(one.id, full)
            continue
        try:
            told, known[one.id] = _one(changes, one, who, known[one.id], policy, moment)
        except UnfitLabelError as error:
            outcome += _refused(one.id, error)
            continue
        outcome += told
    database.put(connection, labels, kept_rows(vault, LABEL, changes.labels.values()))
    if changes.events:
        connection.execute(label_events.insert(), kept_rows(vault, EVENT, changes.events))
    database.count(
        connection, labels_duplicate=outcome.duplicate, labels_conflicting=outcome.conflicting, labels_invalid=outcome.invalid
    )  # fmt: skip
    return outcome


def _one(changes: _Changes, one: Said, who: str, known: _Known, policy: Policy, moment: int) -> tuple[Outcome, _Known]:
    """Return what becomes of one label, and what is known of its id now; `changes` hold what is to be written."""
    value = canonical(one.value, known.kind, known.classes) if known.kind else _as_said(one, known)
    new = (who, value) not in known.before and len(known.before) < EVENTS_AN_ID
    told, state, holds = _verdict(value, known, policy)
    if new:
        outcome = "duplicate" if told.duplicate else "conflict" if told.conflicting else "accepted" if known.kind else "waiting"
        changes.events.append({"id": one.id, "value": value, "who": who, "time_us": moment, "outcome": outcome})
    if (state, holds) != (known.state, known.value):
        changes.labels[one.id] = {"id": one.id, "state": state, "value": holds, "who": who, "time_us": moment}
    return told, replace(known, state=state, value=holds, before=known.before | {(who, value)} if new else known.before)


def _as_said(one: Said, known: _Known) -> str:
    """Return the JSON of a label whose model is not known yet; the same label in another spelling is the one that is there."""
    if known.value is not None and loose(json.loads(known.value)) == loose(one.value):
        return known.value
    return canonical_json(one.value)


def _verdict(value: str, known: _Known, policy: Policy) -> tuple[Outcome, str, str | None]:
    """Return the outcome, and the state and value that hold from now on."""
    if known.state in ("", "invalid"):
        return (Outcome(accepted=1), "labelled", value) if known.kind else (Outcome(unknown=1), "waiting", value)
    if known.state == "held":
        again = any(value == before for _, before in known.before)
        return (Outcome(duplicate=1) if again else Outcome(conflicting=1)), "held", None
    if value == known.value:
        return Outcome(duplicate=1), known.state, known.value
    if policy == "hold":
        return Outcome(conflicting=1), "held", None
    return Outcome(conflicting=1), known.state, value if policy == "last" else known.value


def _refused(id_: Any, error: UnfitLabelError) -> Outcome:
    return Outcome(invalid=1, refusals=(Refusal(id=id_ if isinstance(id_, str) else "", why=error.why, do=error.do),))


def _moment(database: Database, connection: Connection, clock: Clock) -> int:
    """Return the server's time; that it went back since the last label is counted."""
    now = clock()
    last = connection.execute(select(label_events.c.time_us).order_by(label_events.c.sequence.desc()).limit(1)).scalar()
    database.count(connection, labels_clock_back=int(last is not None and now < last))
    return now


def _waiting(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(labels).where(labels.c.state == "waiting")).scalar_one())


def chunks(values: Iterable[str]) -> Iterator[list[str]]:
    """Give the different values in parts that fit into one IN (...)."""
    each = iter(dict.fromkeys(values))
    while part := list(islice(each, CHUNK)):
        yield part


def _known(connection: Connection, ids: Sequence[str], vault: Vault | None) -> dict[str, _Known]:
    found: dict[str, _Known] = {}
    read: dict[str, tuple[str, ...]] = {}
    for part in chunks(ids):
        asked = select(predictions.c.id, models.c.kind, models.c.classes).join(models, models.c.number == predictions.c.model)
        for id_, kind, classes in connection.execute(asked.where(predictions.c.id.in_(part), models.c.kind.is_not(None))):
            read.setdefault(classes, tuple(json.loads(classes)))
            found[id_] = _Known(kind=kind, classes=read[classes])
        for row in connection.execute(select(labels).where(labels.c.id.in_(part))):
            value = None if row.value is None else opened(vault, LABEL, row.id, row.who, row.value)
            found[row.id] = replace(found.get(row.id, _Known()), state=row.state, value=value)
        events = select(label_events.c.id, label_events.c.who, label_events.c.value).where(label_events.c.id.in_(part))
        for id_, who, value in connection.execute(events):
            one = found.get(id_, _Known())
            found[id_] = replace(one, before=one.before | {(who, opened(vault, EVENT, id_, who, value))})
    return {id_: found.get(id_, _Known()) for id_ in ids}


def settle(database: Database, vault: Vault | None = None) -> int:
    """Labels that waited for an answer that is known by now are held against its model; return how many were. Raises StorageError."""
    with database.reading() as connection:
        ready = connection.execute(_ready().limit(1)).first()
    if ready is None:
        return 0
    with database.writing() as connection:
        rows = connection.execute(_ready()).all()
        for row in rows:
            _settle_one(database, connection, row, vault)
    return len(rows)


def _ready() -> Any:
    joined = labels.join(predictions, predictions.c.id == labels.c.id).join(models, models.c.number == predictions.c.model)
    wanted = (labels.c.state == "waiting") & models.c.kind.is_not(None)
    return select(labels.c.id, labels.c.value, labels.c.who, models.c.kind, models.c.classes).select_from(joined).where(wanted)


def _settle_one(database: Database, connection: Connection, row: Any, vault: Vault | None) -> None:
    """The label of a known answer is labelled, or invalid and counted; what was said of it before is in canonical form, too."""
    id_, classes = row.id, tuple(json.loads(row.classes))
    for event in connection.execute(select(label_events).where(label_events.c.id == id_)).all():
        try:
            plain = canonical(json.loads(opened(vault, EVENT, id_, event.who, event.value)), row.kind, classes)
        except UnfitLabelError:
            continue
        value = kept(vault, EVENT, id_, event.who, plain)
        connection.execute(update(label_events).where(label_events.c.sequence == event.sequence).values(value=value))
    try:
        plain = canonical(json.loads(opened(vault, LABEL, id_, row.who, row.value)), row.kind, classes)
        new = {"state": "labelled", "value": kept(vault, LABEL, id_, row.who, plain)}
    except UnfitLabelError:
        new = {"state": "invalid", "value": row.value}
        database.count(connection, labels_invalid=1)
    connection.execute(update(labels).where(labels.c.id == id_).values(**new))


def conflicts(database: Database, *, most: int = 1000, vault: Vault | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return, for each id that waits for a person, every value with who said it and when (microseconds), in the order of arrival."""
    held = select(labels.c.id).where(labels.c.state == "held").order_by(labels.c.time_us).limit(most)
    told: dict[str, list[dict[str, Any]]] = {}
    with database.reading() as connection:
        for part in chunks(connection.execute(held).scalars()):
            events = select(label_events).where(label_events.c.id.in_(part)).order_by(label_events.c.sequence)
            for row in connection.execute(events):
                value = json.loads(opened(vault, EVENT, row.id, row.who, row.value))
                told.setdefault(row.id, []).append({"value": value, "who": row.who, "time_us": row.time_us})
    return told


def decide(database: Database, id_: str, value: Any, who: str, *, clock: Clock = now_us, vault: Vault | None = None) -> None:
    """This value holds for the id from now on, whatever was said before. Raises DataError: an unknown id, a label that does not fit."""
    with database.writing() as connection:
        check(connection, vault)
        known = _known(connection, [id_], vault)[id_]
        if not known.kind:
            raise DataError(f"there is no answer with id '{id_}'", do="give an id of `weigh feedback status`, or wait for its journal")
        try:
            plain = canonical(value, known.kind, known.classes)
        except UnfitLabelError as error:
            raise DataError(f"'{id_}': {error.why}", do=error.do) from None
        moment = _moment(database, connection, clock)
        holds = {"id": id_, "value": plain, "who": who, "time_us": moment}
        database.put(connection, labels, kept_rows(vault, LABEL, [{**holds, "state": "labelled"}]))
        connection.execute(label_events.insert(), kept_rows(vault, EVENT, [{**holds, "outcome": "decided"}]))


def forget_waiting(database: Database, before_us: int) -> int:
    """Labels that have waited for their answer since before this moment are gone; return how many."""
    old = (labels.c.state.in_(("waiting", "invalid"))) & (labels.c.time_us < before_us)
    with database.writing() as connection:
        gone = select(labels.c.id).where(old)
        connection.execute(delete(label_events).where(label_events.c.id.in_(gone)))
        count = int(connection.execute(delete(labels).where(old)).rowcount)
        database.count(connection, labels_forgotten=count)
    return count
