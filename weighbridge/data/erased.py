"""Rows that were erased stay out: a run's data folder keeps a keyed hash of each one's id, never the id, and no reading brings it back.

data/erased.jsonl   the receipts, one a line, each chained to the one before; `rows` are the keyed hashes
data/erased.key     the key, 32 random bytes, mode 0600: without it nobody can try contents or names against the list

Whoever has both files can try: the hash of a row that is guessed whole is found in the list. Keep the key as secret as the rows were.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.data.plan import make_plan
from weighbridge.data.rows import scan
from weighbridge.data.sources import pieces
from weighbridge.data.spool import Spool, fill
from weighbridge.errors import RunError
from weighbridge.findings import Finding, Message
from weighbridge.storage import make_folder, sha256_json, write_text
from weighbridge.storage.files import write_private
from weighbridge.storage.progress import Progress, silent

if TYPE_CHECKING:
    from weighbridge.recipe.schema import DataSection

RECEIPTS, KEY = "erased.jsonl", "erased.key"
PENDING = ".erasing.json"  # in the run folder while an erasure is under way
KEY_BYTES, HASH_BYTES = 32, 16
START = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Erased:
    """The rows that must not come back: keyed BLAKE2b (RFC 7693) of their ids, 32 hex digits each."""

    key: bytes
    rows: frozenset[str]

    def name(self, row_id: str) -> str:
        """Return the keyed hash of a row's id."""
        return blake2b(row_id.encode("utf-8"), digest_size=HASH_BYTES, key=self.key).hexdigest()

    def places(self, ids: np.ndarray) -> np.ndarray:
        """Return where the ids of erased rows stand, int64 [k], rising."""
        return np.array([place for place, one in enumerate(ids.tolist()) if self.name(one) in self.rows], dtype=np.int64)


def read_erased(folder: Path) -> Erased | None:
    """Return the rows that were erased from the run of this data folder, None where none was.

    Raises RunError where a receipt was changed or the key is gone: the rows would come back unseen.
    """
    receipts = read_receipts(folder)
    if not receipts:
        return None
    return Erased(key=_key(folder), rows=frozenset(str(name) for one in receipts for name in one["rows"]))


def erasing(folder: Path) -> Erased:
    """Return what `read_erased` does, with a new key and no rows where nothing was erased yet."""
    if (known := read_erased(folder)) is not None:
        return known
    if not (folder / KEY).exists():
        make_folder(folder)
        write_private(folder / KEY, secrets.token_bytes(KEY_BYTES).hex().encode("ascii"))
    return Erased(key=_key(folder), rows=frozenset())


def erased_version(folder: Path) -> str | None:
    """Return a hash of which rows are left out, which stage keys follow; None where none was erased. Raises RunError."""
    known = read_erased(folder)
    return None if known is None else sha256_json(sorted(known.rows))


def read_receipts(folder: Path) -> list[dict[str, Any]]:
    """Return the receipts, oldest first. Raises RunError where a line was changed, removed or inserted."""
    path = folder / RECEIPTS
    if not path.exists():
        return []
    found, before = list[dict[str, Any]](), START
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            before = _link(before, line)
            intact = line["sha256"] == before and line["entry"] == number and isinstance(line["rows"], list)
        except (ValueError, KeyError, TypeError, AttributeError):
            intact = False
        if not intact:
            raise RunError(f"{path} line {number} was changed after it was written", do="restore it from a copy: rows would come back")
        found.append(line)
    return found


def refuse_erasing(run: Path) -> None:
    """Raise RunError while an erasure of this run has begun and not ended: some of its files still hold the rows."""
    if (run / PENDING).exists():
        raise RunError(f"rows of {run} are being erased, and that was stopped before its end", do=f"end it: weigh data erase {run}")


def add_receipt(folder: Path, receipt: dict[str, Any]) -> dict[str, Any]:
    """The receipt is the last line of the folder's receipts; return it with its number and its hash, chained to the line before."""
    past = read_receipts(folder)
    line = {"entry": len(past) + 1, **receipt}
    line["sha256"] = _link(str(past[-1]["sha256"]) if past else START, line)
    write_text(folder / RECEIPTS, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in [*past, line]))
    return line


def inherit(folder: Path, origin: Path) -> None:
    """What was erased from the run of `origin` stays out of `folder`, whose rows come from there: its list and key are the same.

    A list of its own that `origin` does not hold the whole of stays. Raises RunError, StorageError.
    """
    theirs, ours = read_receipts(origin), read_receipts(folder)
    if not theirs and not (origin / KEY).exists():
        return
    key = _key(origin)
    if ours and (
        _key(folder) != key or not {name for one in ours for name in one["rows"]} <= {name for one in theirs for name in one["rows"]}
    ):
        return
    make_folder(folder)
    write_private(folder / KEY, key.hex().encode("ascii"))
    if theirs and theirs != ours:
        write_text(folder / RECEIPTS, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in theirs))


def leave_out(section: DataSection, raw: Spool, erased: Erased, separator: str, progress: Progress = silent) -> tuple[Spool, int]:
    """Return the source's rows without those that were erased, and how many these are.

    The source is read again where it holds one, past its rows: so types are inferred, and `data.limit` is filled, as if it had never
    been there. Raises DataError, StorageError.
    """
    asked, places = section.limit, erased_places(section, raw, erased, separator)
    while asked is not None and raw.rows == asked and raw.rows - len(places) < (section.limit or 0):
        asked = (section.limit or 0) + len(places)
        raw = _filled(raw.folder / "more", pieces(section), asked, progress)
        places = erased_places(section, raw, erased, separator)
    if not len(places):
        return raw, 0
    return _filled(raw.folder / "kept", _past(pieces(section), places), section.limit, progress), len(places)


def erased_places(section: DataSection, raw: Spool, erased: Erased, separator: str) -> np.ndarray:
    """Return where rows that were erased stand in what was read, int64 [k], rising."""
    return erased.places(scan(raw, make_plan(section, raw, separator)).ids)


def erased_finding(erased: Erased, left: int, command: str) -> Finding:
    """Return that the rows which were erased are kept out, and how many the source still holds."""
    return Finding(
        key="data.erased",
        title=Message("Erased rows"),
        value=len(erased.rows),
        unit="rows",
        reason=Message("kept out by a list of keyed hashes; the source still held {left} of its rows", left=left),
        method=Message("BLAKE2b of the row id, keyed with a secret of the run"),
        source="RFC 7693",
        evidence=(f"data/{RECEIPTS}",),
        command=f"{command} --only erased" if command else "",
    )


def _filled(place: Path, source: Iterator[tuple[str | None, Any]], limit: int | None, progress: Progress) -> Spool:
    make_folder(place)
    spool = Spool(place)
    fill(spool, source, limit, progress)
    return spool


def _past(source: Iterable[tuple[str | None, Any]], places: np.ndarray) -> Iterator[tuple[str | None, Any]]:
    """Yield the batches without the rows at these places; none that is empty."""
    import pyarrow as pa

    begun = 0
    for split, batch in source:
        stay = np.ones(len(batch), dtype=bool)
        stay[places[(places >= begun) & (places < begun + len(batch))] - begun] = False
        begun += len(batch)
        if stay.all():
            yield split, batch
        elif stay.any():
            yield split, batch.filter(pa.array(stay))


def _key(folder: Path) -> bytes:
    try:
        return bytes.fromhex((folder / KEY).read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise RunError(f"{folder / KEY} is gone or damaged", do="restore it from a copy: without it erased rows would come back") from None


def _link(before: str, line: dict[str, Any]) -> str:
    return sha256_json([before, {name: value for name, value in line.items() if name != "sha256"}])
