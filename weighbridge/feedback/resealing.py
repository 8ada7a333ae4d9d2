"""All that a log keeps of inputs and labels lies under the newest key of its vault: for a log that was begun without one, and to rotate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Table, select, update

from weighbridge.errors import UsageError
from weighbridge.feedback.journal import input_context
from weighbridge.feedback.keeping import scrub
from weighbridge.feedback.log import Log
from weighbridge.feedback.sealing import DO, EVENT, LABEL, SEALED, kept, opened, proof, sealed_bytes
from weighbridge.feedback.tables import inputs, label_events, labels, predictions, proofs
from weighbridge.storage.vault import Vault

SEALED_TOGETHER = 2000  # rows of one transaction


def seal_all(log: Log) -> dict[str, int]:
    """Every input and label of the database is sealed with the newest key; return how many were not, by table.

    Bytes of what lay in the open are overwritten, as by an erasure. Killed between, the next call goes on. What running servers still
    append to is not moved by this. Raises UsageError without a vault, VaultError for a value that does not open, StorageError.
    """
    vault = log.vault
    if not isinstance(vault, Vault):
        raise UsageError("there is no key to seal with", do=DO)
    log.ingest()
    told = {
        "inputs": _each(log, _inputs(vault), predictions.c.sequence),
        "labels": _each(log, _labels(vault, labels, LABEL), labels.c.id),
        "label_events": _each(log, _labels(vault, label_events, EVENT), label_events.c.sequence),
    }
    with log.database.writing() as connection:  # from now on, older keys are not asked for
        log.database.put(connection, proofs, [proof(vault)])
    if any(told.values()):
        scrub(log)
    return told


Step = Callable[[Connection, Any, Any], tuple[int, Any]]  # rows after the one with this order -> how many changed, the last one's order


def _each(log: Log, step: Step, order: Any) -> int:
    changed, after = 0, None
    while True:
        with log.database.writing() as connection:
            more, after = step(connection, after, order)
        changed += more
        if after is None:
            return changed


def _labels(vault: Vault, table: Table, place: str) -> Step:
    def step(connection: Connection, after: Any, order: Any) -> tuple[int, Any]:
        changed, rows = 0, _part(connection, select(table), after, order)
        for row in rows:
            if row.value is None or (row.value.startswith(SEALED) and not vault.stale(sealed_bytes(row.value))):
                continue
            value = kept(vault, place, row.id, row.who, opened(vault, place, row.id, row.who, row.value))
            connection.execute(update(table).where(order == getattr(row, order.name)).values(value=value))
            changed += 1
        return changed, getattr(rows[-1], order.name) if len(rows) == SEALED_TOGETHER else None

    return step


def _inputs(vault: Vault) -> Step:
    def step(connection: Connection, after: Any, order: Any) -> tuple[int, Any]:
        joined = select(predictions.c.sequence, predictions.c.id, inputs.c.content, inputs.c.sealed).join(
            inputs, inputs.c.sequence == predictions.c.sequence
        )
        changed, rows = 0, _part(connection, joined, after, order)
        for row in rows:
            content, context = bytes(row.content), input_context(row.id)
            if row.sealed and not vault.stale(content):
                continue
            new = vault.reseal(content, context) if row.sealed else vault.seal(content, context)
            connection.execute(update(inputs).where(inputs.c.sequence == row.sequence).values(content=new, sealed=True))
            changed += 1
        return changed, rows[-1].sequence if len(rows) == SEALED_TOGETHER else None

    return step


def _part(connection: Connection, asked: Any, after: Any, order: Any) -> list[Any]:
    asked = asked if after is None else asked.where(order > after)
    return list(connection.execute(asked.order_by(order).limit(SEALED_TOGETHER)).all())
