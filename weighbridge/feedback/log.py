"""The log of a model on the road: its state folder, what goes in, what comes out.

STATE/feedback.db       answers and labels (or a PostgreSQL database by URL)
STATE/journal/          what serving processes wrote and nobody has moved yet
STATE/labels/journal/   labels that were acknowledged while the database was away
"""

from __future__ import annotations

import contextlib
import datetime
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, func, select

from weighbridge.errors import StorageError, UsageError
from weighbridge.feedback import labels as taking
from weighbridge.feedback.answers import describe
from weighbridge.feedback.database import Database
from weighbridge.feedback.journal import FOLDER, Bounds, Journal, Vault, input_context
from weighbridge.feedback.journal_reading import DAMAGED_FOLDER, journal_files, waiting_bytes
from weighbridge.feedback.label_values import Said
from weighbridge.feedback.labels import Outcome, Policy
from weighbridge.feedback.moving import Moved, move_journals
from weighbridge.feedback.sealing import DO, QUEUED, SEALED, is_sealed, kept, opened, prove
from weighbridge.feedback.tables import inputs, label_events, labels, models, predictions, quarantine
from weighbridge.feedback.windows import Window, window
from weighbridge.storage.hashes import canonical_json

DATABASE, LABEL_JOURNAL = "feedback.db", "labels/journal"
MOST_QUEUED_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Log:
    """Answers and labels of one state folder; safe to use from several threads and processes at once.

    policy: which of two different labels of one answer holds, see `labels.accept`. vault: seals labels, and opens sealed labels and inputs.
        sealed: whether labels were sealed when it was opened; without the vault what needs none of them still works.
    """

    folder: Path
    database: Database
    policy: Policy = "hold"
    vault: Vault | None = None
    sealed: bool = False
    clock: Callable[[], int] = field(default=taking.now_us)

    @classmethod
    def open(cls, folder: Path, *, url: str | None = None, policy: Policy = "hold", vault: Vault | None = None, make: bool = True) -> Self:
        """Return the log of a state folder; its database is made where there is none, unless `make` is False.

        Raises StorageError; VaultError when its labels are sealed with another key.
        """
        if not make and not folder.is_dir():
            raise UsageError(f"there is no state folder {folder}", do="give the folder that `weigh serve` was started with")
        database = Database(folder / DATABASE if url is None else url)
        with contextlib.ExitStack() as refused:
            refused.callback(database.close)
            if vault is not None:
                prove(database, vault)
            with database.reading() as connection:
                log = cls(folder=folder, database=database, policy=policy, vault=vault, sealed=is_sealed(connection))
            refused.pop_all()
        return log

    @property
    def journals(self) -> Path:
        return self.folder / FOLDER

    def journal(self, **options: Any) -> Journal:
        """Return a journal for this process; `options` as of `Journal`."""
        return Journal(self.journals, self.vault, **options)

    def know(self, *, model: str, package: str, kind: str, classes: Sequence[str]) -> None:
        """The database knows what this model answers, so labels can be checked. Journals tell it, too."""
        with self.database.writing() as connection:
            describe(self.database, connection, {"model": model, "package": package, "kind": kind, "classes": list(classes)})

    def ingest(self, *, batch_lines: int = 2000) -> Moved:
        """What journals held when this began is in the database, once; labels that had waited for it are joined.

        Raises StorageError when the database is away: journals wait, and the next call goes on. Labels that are sealed wait for who has
        the key.
        """
        moved = move_journals(self.database, self.journals, batch_lines=batch_lines)
        if self.locked:
            return moved
        if (self.folder / LABEL_JOURNAL).is_dir():
            moved += move_journals(self.database, self.folder / LABEL_JOURNAL, take=self._take_labels, batch_lines=batch_lines)
        taking.settle(self.database, self.vault)
        return moved

    @property
    def locked(self) -> bool:
        """Whether labels are sealed, and the key is not here."""
        return self.sealed and self.vault is None

    def _take_labels(self, database: Database, connection: Connection, records: Sequence[dict[str, Any]]) -> Counter[str]:
        found = Outcome()
        for one in records:
            who = str(one.get("who", ""))
            label = {"id": one.get("of"), "label": self._unqueued(one, who)}
            found += taking.take(database, connection, [label], who, policy=self.policy, clock=self.clock, vault=self.vault)
        return Counter(new=found.accepted + found.conflicting + found.unknown, repeated=found.duplicate, invalid=found.invalid)

    def _unqueued(self, record: dict[str, Any], who: str) -> Any:
        sealed = record.get("sealed_label")
        if not isinstance(sealed, str):
            return record.get("label")
        return json.loads(opened(self.vault, QUEUED, str(record.get("of")), who, SEALED + sealed))

    def _queued(self, one: Said, who: str) -> dict[str, Any]:
        if self.vault is None:
            return {"label": one.value}
        return {"sealed_label": kept(self.vault, QUEUED, one.id, who, canonical_json(one.value)).removeprefix(SEALED)}

    def accept(self, records: Iterable[Any], who: str) -> Outcome:
        """The labels are durable, in the database or, while it is away, in a synced journal (`queued`). Raises StorageError: none is."""
        return self.accept_each([(list(records), who)])[0]

    def accept_each(self, calls: Sequence[tuple[Sequence[Any], str]]) -> list[Outcome]:
        """As `accept`, for several callers at once, in one transaction."""
        try:
            with self.database.writing() as connection:
                kinds: dict[str, Any] = {"policy": self.policy, "clock": self.clock, "vault": self.vault}
                return [taking.take(self.database, connection, records, who, **kinds) for records, who in calls]
        except StorageError as away:
            try:
                return self._queue(calls)
            except StorageError:
                raise away from None

    def _queue(self, calls: Sequence[tuple[Sequence[Any], str]]) -> list[Outcome]:
        if self.locked:
            raise StorageError("the labels of this log are sealed", do=DO)
        read = [(*taking.usable(records), who) for records, who in calls]
        time = datetime.datetime.now(datetime.UTC).isoformat()
        queue = Journal(self.folder / LABEL_JOURNAL, bounds=Bounds(sync_s=0, most_bytes=MOST_QUEUED_BYTES), strict=True)
        try:
            queue.append(
                {"id": uuid.uuid4().hex, "time": time, "of": one.id, "who": who, **self._queued(one, who)}
                for fit, _, who in read
                for one in fit
            )
        finally:
            queue.close()
        return [refused + Outcome(queued=len(fit)) for fit, refused, _ in read]

    def window(self, **which: Any) -> Window:
        """Return a window of answers, see `windows.window`."""
        return window(self.database, vault=self.vault, **which)

    def inputs(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return the inputs of these answers as JSON values, opened by the vault where they are sealed; without those that nobody kept.

        Raises UsageError for sealed inputs and no vault.
        """
        import orjson

        told = {}
        with self.database.reading() as connection:
            for part in taking.chunks(ids):
                asked = select(predictions.c.id, inputs.c.content, inputs.c.sealed).join(
                    inputs, inputs.c.sequence == predictions.c.sequence
                )
                for id_, content, sealed in connection.execute(asked.where(predictions.c.id.in_(part))):
                    told[id_] = orjson.loads(self._opened(id_, content) if sealed else content)
        return told

    def _opened(self, id_: str, content: bytes) -> bytes:
        if self.vault is None:
            raise UsageError(f"the inputs of '{id_}' are sealed", do="give the key of the vault")
        return self.vault.open(bytes(content), input_context(id_))

    def status(self) -> dict[str, Any]:
        """Return what is known by number: answers, labels by state, keys in quarantine, journals that wait, all that went wrong."""
        with self.database.reading() as connection:
            count = func.count()
            states = connection.execute(select(labels.c.state, count).group_by(labels.c.state)).all()
            first, last = connection.execute(select(func.min(predictions.c.time_us), func.max(predictions.c.time_us))).one()
            served = [
                {"model": row.model, "package": row.package, "kind": row.kind or "", "answers": row.answers}
                for row in connection.execute(
                    select(models.c.model, models.c.package, models.c.kind, count.label("answers"))
                    .join(predictions, predictions.c.model == models.c.number)
                    .group_by(models.c.number, models.c.model, models.c.package, models.c.kind)
                )
            ]
            shut = [{"who": row.who, "since_us": row.since_us, "reason": row.reason} for row in connection.execute(select(quarantine))]
        return {
            "answers": sum(one["answers"] for one in served), "first_us": first, "last_us": last, "models": served,
            "labels": {state: int(n) for state, n in states}, "quarantine": shut, "waiting_bytes": waiting_bytes(self.journals),
            "damaged_files": len(journal_files(self.journals / DAMAGED_FOLDER)), "counts": self.database.counts(),
        }  # fmt: skip

    def shut_out(self, who: str, reason: str) -> None:
        """Labels of this key are kept and not used until `let_in`."""
        row = {"who": who, "since_us": self.clock(), "reason": reason}
        with self.database.writing() as connection:
            self.database.put(connection, quarantine, [row])

    def let_in(self, who: str) -> None:
        """Labels of this key count again."""
        with self.database.writing() as connection:
            connection.execute(quarantine.delete().where(quarantine.c.who == who))

    def events(self, *, after: int = 0, most: int | None = None) -> list[dict[str, Any]]:
        """Return what was said of answers after event number `after`: sequence, id, who, time_us, outcome, value as it is kept."""
        asked = select(label_events).where(label_events.c.sequence > after).order_by(label_events.c.sequence).limit(most)
        with self.database.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(asked)]

    def close(self) -> None:
        """Nothing is open."""
        self.database.close()
