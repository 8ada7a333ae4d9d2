"""Reads the form of Dockerfile that `weigh deploy container` writes: one instruction a line, its words as JSON or plain."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Step:
    """One instruction: its name, its flags (--from=build), its words."""

    name: str
    flags: dict[str, str]
    words: tuple[str, ...]


def steps_of(text: str) -> list[Step]:
    """Return the instructions. Raises ValueError for a line that is not of the form."""
    return [_step(line) for line in text.splitlines() if line and not line.startswith("#")]


def _step(line: str) -> Step:
    name, _, rest = line.partition(" ")
    if not re.fullmatch(r"[A-Z]+", name) or not rest:
        raise ValueError(line)
    flags: dict[str, str] = {}
    while found := re.match(r"--([a-z-]+)=(\S+) +", rest):
        flags[found[1]] = found[2]
        rest = rest[found.end() :]
    if name == "HEALTHCHECK":
        rest = rest.removeprefix("CMD ")
    if name == "LABEL":
        return Step(name=name, flags=flags, words=_label(rest))
    words = json.loads(rest) if rest.startswith("[") else rest.split(" ")
    if not all(isinstance(word, str) for word in words):
        raise ValueError(line)
    return Step(name=name, flags=flags, words=tuple(words))


def _label(rest: str) -> tuple[str, str]:
    """Return key and value of `key="value"`, as a builder reads it. Raises ValueError when something else is on the line."""
    found = re.fullmatch(r'([a-z0-9.]+)="((?:[^"\\$]|\\["\\$])*)"', rest)
    if found is None:
        raise ValueError(rest)
    return found[1], re.sub(r'\\(["\\$])', r"\1", found[2])
