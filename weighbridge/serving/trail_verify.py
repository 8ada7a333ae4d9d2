"""Is a trail as it was written? Reads the files and the exported anchors, and names the line where it is not.

A line that was changed fails its own hash; one that was changed together with its hash no longer fits the next one; a missing, added or
moved one has the wrong number or follows the wrong hash; a trail that was cut or written anew does not meet its anchors.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import RunError, UsageError
from weighbridge.serving.trail import LINE_BYTES, START, Anchor, trail_files
from weighbridge.storage import canonical_json, sha256_bytes

FIELDS = {"n", "time", "who", "what", "detail", "before", "hash"}


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What is wrong, and where: `line` counts over all files from 1; `file` and `file_line` say where it stands."""

    line: int
    what: str
    file: str = ""
    file_line: int = 0

    def __str__(self) -> str:
        return f"line {self.line}{f' ({self.file}, line {self.file_line})' if self.file else ''}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found: the whole lines that were read, the first damage or None, how many lines the anchors cover, and the end."""

    lines: int
    damage: Damage | None
    anchored: int
    end: Anchor


def verify(folder: Path, anchors: Sequence[Anchor] = ()) -> Verified:
    """Return what is found in the trail of `folder`. A trail that begins later (older files are kept elsewhere) needs an anchor there.

    Raises RunError where there is no trail at all and no anchor says that there was one.
    """
    files = trail_files(folder)
    if not files and not anchors:
        raise RunError(f"{folder} holds no trail", do="give the state folder of a server, --state FOLDER")
    held = sorted(anchors, key=lambda anchor: anchor.count)
    end, first, read = Anchor(count=0, head=START), True, 0
    for file, file_line, line in _lines(files):
        at = end.count + 1
        found = parsed(line)
        if first and isinstance(found, dict) and any(one.count == found["n"] - 1 for one in held):
            end, at = next(one for one in held if one.count == found["n"] - 1), found["n"]
        first = False
        what = found if isinstance(found, str) else _not_next(found, end) or _not_anchored(found, end.count, held)
        if what:
            return Verified(
                lines=read, damage=Damage(line=at, what=what, file=file, file_line=file_line), anchored=_covered(held, end), end=end
            )
        assert isinstance(found, dict)
        end, read = Anchor(count=found["n"], head=found["hash"]), read + 1
    last = held[-1] if held else None
    cut = last is not None and last.count > end.count
    what = f"it is missing: the trail was cut, an anchor says that there were {last.count} lines" if cut and last else ""
    damage = Damage(line=end.count + 1, what=what) if what else None
    return Verified(lines=read, damage=damage, anchored=_covered(held, end), end=end)


def parsed(line: bytes) -> dict[str, Any] | str:
    """Return the record of a line, or what is wrong with the line itself."""
    if not line.endswith(b"\n"):
        return "it is cut" if len(line) < LINE_BYTES else "it is too long"
    try:
        told = json.loads(line)
        whole = isinstance(told, dict) and set(told) == FIELDS and type(told["n"]) is int
        if not whole or canonical_json(told).encode() + b"\n" != line:
            return "it was changed: it is not in the form in which lines are written"
    except (ValueError, RecursionError):
        return "it was changed: it is no line of a trail"
    rest = {name: value for name, value in told.items() if name != "hash"}
    return told if sha256_bytes(canonical_json(rest).encode()) == told["hash"] else "it was changed: it has not the hash that it names"


def read_anchors(text: str) -> list[Anchor]:
    """Return the anchors of `COUNT:HASH`, or of the file that `text` names. Raises UsageError."""
    count, colon, head = text.partition(":")
    if colon and count.isdecimal():
        return [_checked(int(count), head, text)]
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the anchors in {text} can not be read ({type(error).__name__})", do="give COUNT:HASH or a file of anchors"
        ) from None
    return [_anchor(line, f"{text}, line {at}") for at, line in enumerate(lines, start=1)]


def _lines(files: Iterable[Path]) -> Iterator[tuple[str, int, bytes]]:
    """Give every line with its file's name and its number there; a line without an end is given in pieces of bounded size."""
    for path in files:
        with open(path, "rb") as file:
            at = 0
            while line := file.readline(LINE_BYTES):
                at += 1
                yield path.name, at, line


def _not_next(found: dict[str, Any], end: Anchor) -> str:
    """Return why a line does not follow the one before, or an empty string."""
    if found["n"] > end.count + 1:
        return f"it is missing: line {found['n']} stands in its place"
    if found["n"] < end.count + 1:
        return f"line {found['n']} stands here: it was put in, or lines were moved"
    if found["before"] != end.head:
        return "it does not follow the line before: that one was changed together with its hash" if end.count else "it is not the beginning"
    return ""


def _not_anchored(found: dict[str, Any], before: int, held: Sequence[Anchor]) -> str:
    """Return why a line is not the one that an anchor names, or an empty string."""
    if all(one.head == found["hash"] for one in held if one.count == found["n"]):
        return ""
    sound = max((one.count for one in held if one.count <= before), default=0)
    return f"it is not the one that was anchored: the lines from {sound + 1} on were written anew"


def _covered(held: Sequence[Anchor], end: Anchor) -> int:
    return max((one.count for one in held if one.count <= end.count), default=0)


def _anchor(line: str, where: str) -> Anchor:
    try:
        told = json.loads(line)
        return _checked(told["count"], told["head"], where)
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{where} is no anchor", do="give COUNT:HASH or a file of anchors") from None


def _checked(count: object, head: object, where: str) -> Anchor:
    if not isinstance(count, int) or not isinstance(head, str) or len(head) != 64 or set(head) - set("0123456789abcdef"):
        raise UsageError(f"{where[:100]} is no anchor", do="give COUNT:HASH or a file of anchors")
    return Anchor(count=count, head=head)


def tail(folder: Path, last: int) -> list[str]:
    """Return the last lines as text for people: number, time, who, what and the details. Raises RunError where there is no trail."""
    files = trail_files(folder)
    if not files:
        raise RunError(f"{folder} holds no trail", do="give the state folder of a server, --state FOLDER")
    lines = collections.deque((line for _, _, line in _lines(files)), maxlen=last)
    return [_shown(parsed(line)) for line in lines]


def _shown(found: dict[str, Any] | str) -> str:
    if isinstance(found, str):
        return f"(a damaged line: {found})"
    detail = ", ".join(f"{name} {json.dumps(value, ensure_ascii=True)}" for name, value in found["detail"].items())
    who = json.dumps(found["who"], ensure_ascii=True)[1:-1]  # no control character reaches the terminal
    return f"{found['n']:>6}  {str(found['time'])[:19]}Z  {who or '-'}  {found['what']}  {detail}"
