"""Take rows out of the state folder of a server: answers, inputs, labels, journals, label files, golden rows of served packages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from weighbridge.deployment.erase_files import cleaned
from weighbridge.deployment.erase_marks import Marks
from weighbridge.deployment.erase_package import erase_package, packages_in
from weighbridge.errors import StorageError
from weighbridge.feedback.keeping import erase as erase_answers
from weighbridge.feedback.labels import chunks
from weighbridge.feedback.log import DATABASE, Log
from weighbridge.feedback.tables import inputs, labels, predictions
from weighbridge.serving.trail import Trail, trail_files
from weighbridge.storage import write_text

READ_TOGETHER = 2000
LABEL_FILES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt", ".json", ".md")


@dataclass(frozen=True, kw_only=True)
class StateErased:
    """What went from a state folder, by number; `remains`: where bytes may still be; `unsigned`: packages whose signature went."""

    answers: int = 0
    labels: int = 0
    journal_lines: int = 0
    files: int = 0
    packages: int = 0
    unsigned: int = 0
    sealed: int = 0
    remains: tuple[str, ...] = ()


def known_answers(state: Path, ids: Sequence[str], url: str | None = None) -> set[str]:
    """Return which of these ids are those of served answers, or of labels that wait for one; `url`: of the log's database."""
    log = Log.open(state, url=url, make=False)
    try:
        log.ingest()
        with log.database.reading() as connection:
            found = set[str]()
            for part in chunks(ids):
                for table in (predictions, labels):
                    found |= set(connection.execute(select(table.c.id).where(table.c.id.in_(part))).scalars())
            return found
    finally:
        log.close()


def equal_answers(state: Path, marks: Marks, url: str | None = None) -> set[str]:
    """Return the answers whose input is one of the rows, as far as it can be looked into."""
    if not _has_log(state, url):
        return set()
    log = Log.open(state, url=url, make=False)
    try:
        log.ingest()
        return set(_equal_inputs(log, marks)[0])
    finally:
        log.close()


def _has_log(state: Path, url: str | None) -> bool:
    return url is not None or (state / DATABASE).exists() or (state / "journal").is_dir()


def erase_state(state: Path, ids: Sequence[str], marks: Marks, url: str | None = None) -> StateErased:
    """No answer of these ids is in the state folder, and none whose input is one of the rows. Repeated safely. Raises StorageError."""
    gone = erased = None
    sealed = 0
    if _has_log(state, url):
        log = Log.open(state, url=url, make=False)
        try:
            log.ingest()
            equal, sealed = _equal_inputs(log, marks)
            gone = sorted({*ids, *equal})
            erased = erase_answers(log, gone)
        finally:
            log.close()
    files = sum(_lines(path, [*(gone or ids), *marks.words]) for path in sorted((state / "labels").rglob("*")) if _is_labels(path))
    asked = replace(marks, ids=marks.ids | set(gone or ids))
    files += sum(cleaned(path, asked) for path in sorted(state.glob("models/*/queue*.json*")))
    packages = [found for package in packages_in(state / "models") if (found := erase_package(package, marks, None)) is not None]
    return StateErased(
        answers=erased.answers if erased else 0, labels=erased.labels if erased else 0, sealed=sealed, files=files,
        journal_lines=erased.journal_lines if erased else 0, packages=len(packages), unsigned=packages.count("unsigned"),
        remains=erased.remains if erased else (),
    )  # fmt: skip


def add_to_trail(state: Path, who: str, receipt: dict[str, object]) -> None:
    """The trail of the state folder, where it has one, holds the receipt's hash, once. Raises StorageError."""
    files = trail_files(state / "trail") if (state / "trail").is_dir() else []
    if not files or any(str(receipt["sha256"]) in path.read_text(encoding="utf-8", errors="replace") for path in files[-2:]):
        return
    detail = {"receipt": receipt["sha256"], "entry": receipt["entry"], "rows": len(receipt["rows"])}  # type: ignore[arg-type]
    Trail(state / "trail").add("data.erased", who, detail)


def _equal_inputs(log: Log, marks: Marks) -> tuple[list[str], int]:
    """Return the answers whose input holds what only the rows have, and how many inputs are sealed and could not be looked into."""
    needles, found, sealed, after = [one for one in marks.needles if len(one) > 8], list[str](), 0, 0
    while True:
        asked = (
            select(predictions.c.sequence, predictions.c.id, inputs.c.content, inputs.c.sealed)
            .join(inputs, inputs.c.sequence == predictions.c.sequence)
            .where(predictions.c.sequence > after).order_by(predictions.c.sequence).limit(READ_TOGETHER)
        )  # fmt: skip
        with log.database.reading() as connection:
            part = connection.execute(asked).all()
        for row in part:
            sealed += bool(row.sealed)
            if not row.sealed and any(needle in bytes(row.content) for needle in needles):
                found.append(row.id)
        if len(part) < READ_TOGETHER:
            return found, sealed
        after = part[-1].sequence


def _is_labels(path: Path) -> bool:
    return path.is_file() and path.suffix in LABEL_FILES and "journal" not in path.parts


def _lines(path: Path, words: Sequence[str]) -> bool:
    """The file has no line that holds one of these words as a whole field; return whether it had."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} can not be looked into ({error})", do="remove it, then run the erasure again") from None
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not _names(line, words)]
    if len(kept) == len(lines):
        return False
    write_text(path, "".join(kept))
    return True


def _names(line: str, words: Sequence[str]) -> bool:
    import re

    return any(re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", line) for word in words)
