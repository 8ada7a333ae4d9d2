"""Label values as the disk holds them: JSON in the open, or sealed by the log's vault.

    kept = JSON | "sealed " + base64 of what the vault made of that JSON, filled up with spaces to a whole number of 64 bytes

No JSON begins with "sealed", so a log may hold both: labels that came before there was a key stay as they are until `seal_all`. The
filling hides the length: without it, "yes" and "no" would still be told apart. Whether two labels are equal is asked of opened values, in
memory: nothing lies on the disk by which they could be compared. What is sealed is bound to its table, its id and who said it.

The first label of a vault is preceded by a proof, a value that its key sealed: a log is refused to whom has another key before anything
is read or written, and labels in the open are refused by a log that has a proof. The proof goes on under the key that made it until all
labels do, so that a key which is still needed is missed at the start.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from weighbridge.errors import UsageError, VaultError
from weighbridge.feedback.database import Database
from weighbridge.feedback.journal import Vault
from weighbridge.feedback.tables import proofs

SEALED = "sealed "
FILLED_BYTES = 64
LABEL, EVENT, QUEUED, PROOF = "label", "label event", "queued label", "labels"
DO = "give the key that sealed them: --vault SOURCE"


def kept(vault: Vault | None, place: str, id_: str, who: str, value: str) -> str:
    """Return the JSON `value` as it is to be written into a place."""
    if vault is None:
        return value
    plain = value.encode()
    return SEALED + b64encode(vault.seal(plain + b" " * (-len(plain) % FILLED_BYTES), context(place, id_, who))).decode("ascii")


def opened(vault: Vault | None, place: str, id_: str, who: str, value: str) -> str:
    """Return the JSON of what is kept. Raises UsageError without a vault; VaultError: another key, another place, a changed byte."""
    if not value.startswith(SEALED):
        return value
    if vault is None:
        raise UsageError(f"the label of '{id_}' is sealed", do=DO)
    return vault.open(sealed_bytes(value), context(place, id_, who)).decode().rstrip(" ")


def kept_rows(vault: Vault | None, place: str, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with `id`, `who` and `value` as they are to be written; a value may be None."""
    return [row if row["value"] is None else {**row, "value": kept(vault, place, row["id"], row["who"], row["value"])} for row in rows]


def sealed_bytes(value: str) -> bytes:
    """Return what the vault made. Raises VaultError for what is no base64."""
    try:
        return b64decode(value.removeprefix(SEALED), validate=True)
    except ValueError:
        raise VaultError("a sealed label was changed", do="restore the database from a copy") from None


def context(place: str, id_: str, who: str) -> bytes:
    """Return the context to which the label of an id is sealed."""
    return json.dumps([place, id_, who]).encode()


def is_sealed(connection: Connection) -> bool:
    """Return whether labels of this database are sealed, all or some."""
    return connection.execute(select(proofs.c.value).where(proofs.c.place == PROOF)).scalar() is not None


def check(connection: Connection, vault: Vault | None) -> None:
    """A label may be written. Raises UsageError where others are sealed and this one would lie in the open."""
    if vault is None and is_sealed(connection):
        raise UsageError("the labels of this log are sealed", do=DO)


def prove(database: Database, vault: Vault) -> None:
    """The database has a proof that this vault opens. Raises VaultError when another key made it; then nothing was changed."""
    asked = select(proofs.c.value).where(proofs.c.place == PROOF)
    with database.reading() as connection:
        found = connection.execute(asked).scalar()
    if found is None:
        with database.writing() as connection:
            database.add_new(connection, proofs, [proof(vault)])  # unless another process was first
            found = connection.execute(asked).scalar_one()
    try:
        opened(vault, PROOF, "", "", found)
    except VaultError as error:
        what = f"the labels in {database.name} are sealed and do not open ({error.what})"
        raise VaultError(
            what, do="give the key that sealed them, too; `weigh feedback seal` with both makes the older one needless"
        ) from None


def proof(vault: Vault) -> dict[str, Any]:
    """Return the row that proves a vault."""
    return {"place": PROOF, "value": kept(vault, PROOF, "", "", '"weighbridge"')}
