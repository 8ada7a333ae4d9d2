"""What is served under a name, and what ever was: the registry of models in service.

STATE/models/NAME/<hash12>/        packages, copied and verified: a folder is there whole or not at all
STATE/models/NAME/<hash12>.json    where it came from: run, recipe, data
STATE/models/NAME/current.json     champion, challenger, share: the one switch, replaced whole
STATE/models/NAME/history.jsonl    every turn of the switch: when, what, why, on which evidence

The switch holds its own last line of history. Killed between the switch and the history, the line is written with the next turn and is
given by `history` meanwhile: a turn is never without its line and never has two.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from weighbridge.errors import PackageError, RunError, UsageError
from weighbridge.storage import make_folder, move, read_json, remove, write_json
from weighbridge.storage.lines import append_line, read_lines

MODELS, CURRENT, HISTORY = "models", "current.json", "history.jsonl"
DIGITS = 12  # of the package's SHA-256, in the name of its folder
NAME = re.compile(r"[\w][\w.\-]{0,99}")
LOCK_WAIT_S = 60.0
Turn = Literal["released", "challenged", "promoted", "withdrawn", "rolled_back"]


@dataclass(frozen=True, kw_only=True)
class Current:
    """The switch of a name. Packages are SHA-256.

    Attributes:
        number: of the turn that made it so, 1 for the first.
        before: what answered before the champion and may come back; None where nothing may.
        since: when the champion became it, UTC; `turned`: when the switch was turned last.
    """

    number: int
    champion: str
    challenger: str | None = None
    share: float = 0.0
    before: str | None = None
    since: str = ""
    turned: str = ""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The registry of one name in a state folder."""

    state: Path
    name: str

    @classmethod
    def open(cls, state: Path, name: str) -> Self:
        """Raises UsageError for a name that is no model's."""
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name of a model", do="give letters, digits, dots and dashes")
        return cls(state=state, name=name)

    @property
    def folder(self) -> Path:
        return self.state / MODELS / self.name

    def current(self) -> Current | None:
        """Return the switch, None where nothing was released. Raises RunError for one that can not be read."""
        found = self._stored()
        return None if found is None else _read_switch(found, self.folder / CURRENT)

    def path(self, package: str) -> Path:
        """Return where a package of this registry lies."""
        return self.folder / package[:DIGITS]

    def about(self, package: str) -> dict[str, Any]:
        """Return where a package came from: package, model, run, recipe, data. Raises RunError."""
        found: dict[str, Any] = read_json(self.folder / f"{package[:DIGITS]}.json")
        return found

    def install(self, package: Path, **about: Any) -> str:
        """The package is in the registry, every byte of it what its manifest lists; return its SHA-256. Raises PackageError."""
        from weighbridge.runtime import verify

        info = verify(package)
        place = self.path(info.package_sha256)
        told = {"package": info.package_sha256, "model": info.model_sha256, "kind": info.kind, "classes": len(info.classes)}
        if not (place.is_dir() and _is_whole(place, info.package_sha256)):
            remove(place)
            part = self.folder / f".{place.name}.part"
            remove(part)
            make_folder(self.folder)
            shutil.copytree(package, part)
            verify(part)
            move(part, place)
        if not (self.folder / f"{place.name}.json").exists():
            write_json(self.folder / f"{place.name}.json", {**told, **about})
        return info.package_sha256

    def release(self, package: str, why: str, **evidence: Any) -> Current:
        """The package answers every request; nothing is compared. Raises RunError for one that is not installed."""
        return self._turn("released", why, evidence, lambda now: self._champion(now, package))

    def challenge(self, package: str, share: float, why: str, **evidence: Any) -> Current:
        """The package answers a share of the requests. Raises UsageError for a share outside (0, 1), RunError without a champion."""
        if not 0 < share < 1:
            raise UsageError(f"a share of {share:g} is not between 0 and 1", do="give for example 0.1")

        def turned(now: Current | None) -> Current | None:
            champion = self._needed(now)
            if package == champion.champion or (champion.challenger, champion.share) == (package, share):
                return None
            self._installed(package)
            return replace(champion, challenger=package, share=share)

        return self._turn("challenged", why, evidence, turned)

    def promote(self, package: str, why: str, **evidence: Any) -> Current:
        """The challenger `package` is the champion; nothing happens where it is already. Raises RunError for another challenger."""

        def turned(now: Current | None) -> Current | None:
            current = self._needed(now)
            if current.champion == package:
                return None
            if current.challenger != package:
                raise RunError(f"{package[:DIGITS]} does not challenge {self.name}", do="see `weigh feedback history`")
            return self._champion(current, package)

        return self._turn("promoted", why, evidence, turned)

    def withdraw(self, why: str, **evidence: Any) -> Current:
        """The champion answers every request; nothing happens where it does already."""

        def turned(now: Current | None) -> Current | None:
            current = self._needed(now)
            return None if current.challenger is None else replace(current, challenger=None, share=0.0)

        return self._turn("withdrawn", why, evidence, turned)

    def roll_back(self, champion: str, why: str, **evidence: Any) -> Current:
        """What answered before `champion` answers again; nothing happens where another is champion by now. Raises RunError: none before.

        It is done once: what was rolled back does not come back by another rollback.
        """

        def turned(now: Current | None) -> Current | None:
            current = self._needed(now)
            if current.champion != champion:
                return None
            if current.before is None:
                raise RunError(f"nothing answered as {self.name} before {champion[:DIGITS]}", do="release another package")
            self._installed(current.before)
            return replace(self._champion(current, current.before) or current, before=None)

        return self._turn("rolled_back", why, evidence, turned)

    def history(self) -> list[dict[str, Any]]:
        """Return every turn of the switch, the newest last. Raises RunError."""
        lines, stored = read_lines(self.folder / HISTORY), self._stored()
        if stored is not None and (not lines or lines[-1]["number"] < stored["entry"]["number"]):
            lines.append(stored["entry"])
        return lines

    def _champion(self, now: Current | None, package: str) -> Current | None:
        self._installed(package)
        if now is not None and now.champion == package and now.challenger is None:
            return None
        before = None if now is None or now.champion == package else now.champion
        return Current(number=0, champion=package, before=before, since=moment())

    def _turn(self, what: Turn, why: str, evidence: dict[str, Any], turned: Any) -> Current:
        """Turn the switch once; the history has the line before this one. Raises RunError, StorageError: nothing was turned."""
        with self._alone():
            stored = self._stored()
            now = None if stored is None else _read_switch(stored, self.folder / CURRENT)
            after: Current | None = turned(now)
            if after is None:
                assert now is not None
                return now
            self._catch_up(stored)
            after = replace(after, number=1 if now is None else now.number + 1, turned=moment())
            entry = {**asdict(after), "name": self.name, "what": what, "why": why, "evidence": evidence}
            entry["was"] = None if now is None else {"champion": now.champion, "challenger": now.challenger}
            write_json(self.folder / CURRENT, {**asdict(after), "entry": entry})
            append_line(self.folder / HISTORY, entry)
            return after

    def _catch_up(self, stored: dict[str, Any] | None) -> None:
        lines = read_lines(self.folder / HISTORY)
        if stored is not None and (not lines or lines[-1]["number"] < stored["entry"]["number"]):
            append_line(self.folder / HISTORY, stored["entry"])

    def _stored(self) -> dict[str, Any] | None:
        path = self.folder / CURRENT
        found: dict[str, Any] | None = read_json(path) if path.exists() else None
        return found

    def _installed(self, package: str) -> None:
        if not _is_whole(self.path(package), package):
            raise RunError(f"the package {package[:DIGITS]} is not in {self.folder}, or not whole", do="install it again")

    def _needed(self, now: Current | None) -> Current:
        if now is None:
            raise RunError(f"nothing is served as {self.name}", do="release a package first")
        return now

    @contextmanager
    def _alone(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        make_folder(self.folder)
        try:
            with FileLock(self.folder / ".switch.lock", timeout=LOCK_WAIT_S):
                yield
        except Timeout:
            raise RunError(f"another process turns the switch of {self.name}", do="wait for it to end and try again") from None


def names(state: Path) -> list[str]:
    """Return the names under which something is served, sorted."""
    return sorted(path.parent.name for path in (state / MODELS).glob(f"*/{CURRENT}"))


def moment() -> str:
    """Return the time as ISO 8601 UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _read_switch(found: dict[str, Any], path: Path) -> Current:
    try:
        return Current(**{name: value for name, value in found.items() if name != "entry"})
    except TypeError:
        raise RunError(f"{path} is not the switch of a model", do="restore it from the last line of history.jsonl") from None


def _is_whole(place: Path, package: str) -> bool:
    from weighbridge.runtime import verify

    try:
        return verify(place).package_sha256 == package
    except PackageError:
        return False
