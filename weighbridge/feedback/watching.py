"""Pick up files of labels from a folder: taken ones go to `done/`, others to `refused/`, each with a note of what was done.

A file is taken when nobody has written to it since the last look, so that it is whole. Killed between, the next look takes it again:
labels that are there already count as duplicates.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.errors import DataError, RunError, StorageError
from weighbridge.feedback.label_files import FORMATS, read_labels, without
from weighbridge.feedback.labels import Outcome
from weighbridge.feedback.log import Log
from weighbridge.storage.files import make_folder, move, read_json, write_json

DONE, REFUSED = "done", "refused"
WATCHED = "labels/watched.json"  # so that an erasure finds these folders
Look = tuple[int, int]  # size and time of change of a file


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of one file: `reason` says why it was refused, "" for one that was taken."""

    path: Path
    outcome: Outcome
    reason: str = ""


@dataclass(kw_only=True)
class FolderWatch:
    """Looks into one folder again and again; `who` is noted as the giver of its labels."""

    log: Log
    folder: Path
    who: str = "watch"
    _seen: dict[Path, Look] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make_folder(self.folder)
        _remember(self.log, self.folder)

    def look(self) -> list[Taken]:
        """Take the files that have not changed since the last look. Raises StorageError: what was not taken stays where it is."""
        now = _files(self.folder)
        ready = [path for path, look in now.items() if self._seen.get(path) == look]
        self._seen = now
        return [taken for path in ready if (taken := self._take(path)) is not None]

    def _take(self, path: Path) -> Taken | None:
        try:
            outcome = add_file(self.log, path, self.who)
        except DataError as error:
            if not path.exists():
                return None
            return self._put(path, REFUSED, Taken(path=path, outcome=Outcome(), reason=str(error)))
        return self._put(path, DONE, Taken(path=path, outcome=outcome))

    def _put(self, path: Path, place: str, taken: Taken) -> Taken:
        """The file lies under its place with what was done beside it; the note comes first, so a moved file always has one."""
        target = _free(self.folder / place / path.name)
        told: dict[str, Any] = {"who": self.who, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **taken.outcome.to_json()}
        write_json(target.with_name(f"{target.name}.json"), {**told, "reason": taken.reason} if taken.reason else told)
        move(path, target)
        self._seen.pop(path, None)
        return Taken(path=target, outcome=taken.outcome, reason=taken.reason)


def add_file(log: Log, path: Path, who: str) -> Outcome:
    """The labels of a file are taken; return what became of them.

    Raises DataError, StorageError: give the file again; what was taken before counts as duplicate then.
    """
    total = Outcome()
    for batch in read_labels(path):
        total += log.accept(batch, who)
    return total


def _files(folder: Path) -> dict[Path, Look]:
    found = {}
    for path in sorted(folder.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink() and not path.name.startswith(".") and path.suffix.lower() in FORMATS:
                stat = path.stat()
                found[path] = stat.st_size, stat.st_mtime_ns
    return found


def _free(path: Path) -> Path:
    number = 1
    free = path
    while free.exists() or free.with_name(f"{free.name}.json").exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _remember(log: Log, folder: Path) -> None:
    known = watched(log)
    if folder.resolve() not in known:
        write_json(log.folder / WATCHED, [str(one) for one in (*known, folder.resolve())])


def watched(log: Log) -> list[Path]:
    """Return the folders that were ever watched for this log."""
    try:
        return [Path(one) for one in read_json(log.folder / WATCHED)]
    except RunError:
        return []


def erase_from_files(log: Log, ids: Iterable[str]) -> int:
    """No file of labels that was picked up, and no note beside one, names these ids; return how many rows did. Raises StorageError."""
    wanted, rows = set(ids), 0
    for folder in watched(log):
        for path in [*folder.glob(f"{DONE}/*"), *folder.glob(f"{REFUSED}/*"), *_present(folder)]:
            try:
                rows += without(path, wanted) if path.is_file() else 0
            except OSError as error:
                raise StorageError(f"{path} can not be read ({error.strerror})", do="see who may read it") from None
    return rows


def _present(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in FORMATS] if folder.is_dir() else []
