"""A Finding is one measured statement. Everything a report says is a rendering of findings; nothing else reaches it.

Human words are `Message`s: an English template with named values, so that a report can speak another language and a
test can list every template that has no translation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from weighbridge.errors import RunError
from weighbridge.storage import write_text

Verdict = Literal["advantage", "limitation", "neutral", "unmeasured"]
Scalar = float | int | str | bool | None
VERDICTS: tuple[Verdict, ...] = ("advantage", "limitation", "neutral", "unmeasured")


@dataclass(frozen=True)
class Message:
    """Text with named values: `Message("n more rows", n=5)` is kept as template and values until a report renders it."""

    template: str
    values: dict[str, Scalar] = field(default_factory=dict)

    def __init__(self, template: str, **values: Scalar) -> None:
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "values", values)

    def __str__(self) -> str:
        return self.render(self.template)

    def render(self, template: str) -> str:
        """Return `template` (this message's own or its translation) with the values filled in."""
        return template.format_map({name: _words(value) for name, value in self.values.items()})

    def to_json(self) -> dict[str, Any]:
        return {"template": self.template, "values": self.values}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(value["template"], **value["values"])


EMPTY = Message("")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a value is compared with: its name, its value in the same unit, and the paired difference where one was taken."""

    name: Message
    value: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    p_value: float | None = None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        interval = value.get("difference_interval")
        return cls(**{**value, "name": Message.from_json(value["name"]),
                      "difference_interval": tuple(interval) if interval else None})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One measured statement, or one that stands there as not measured.

    Attributes:
        key: `stage.name` or `stage.name.detail`, unique in a run; its first word is the stage that measured it.
        title: what is measured, in a few words ("Accuracy on unseen rows").
        verdict: `advantage`, `limitation`, `neutral` or `unmeasured`.
        value, interval, unit: the number in `unit`, its two-sided 95 % interval in the same unit (None where there is none).
            Units: "" (a plain number), "share" (0..1, shown as is), "rows", "s", "bytes", "W h", "rows/s", ...
        n: how many rows (or runs, where `n_of` says so) the number rests on.
        reference: what it is compared with.
        reason: why this verdict; for `unmeasured`, why it was not measured. Never empty there.
        method, source: how it was measured, and the paper or standard followed.
        evidence: files of the run folder that hold the raw material (relative, posix).
        command: the shell command that measures it again.
        headline: True for the few that a reader must see first.
    Raises:
        ValueError: an unmeasured finding without a reason, a measured one without value, a number that is not finite,
            an interval that is not ordered.
    """

    key: str
    title: Message
    verdict: Verdict = "neutral"
    value: float | int | str | None = None
    interval: tuple[float, float] | None = None
    unit: str = ""
    n: int | None = None
    n_of: str = "rows"
    reference: Reference | None = None
    reason: Message = EMPTY
    method: Message = EMPTY
    source: str = ""
    evidence: tuple[str, ...] = ()
    command: str = ""
    headline: bool = False

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"{self.key}: verdict {self.verdict!r} is not one of {VERDICTS}")
        if self.verdict == "unmeasured" and not self.reason.template:
            raise ValueError(f"{self.key}: an unmeasured finding says why")
        if self.verdict != "unmeasured" and self.value is None:
            raise ValueError(f"{self.key}: a measured finding has a value")
        numbers = [self.value, *(self.interval or ())]
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise ValueError(f"{self.key}: {numbers} holds a number that is not finite")
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"{self.key}: the interval {self.interval} is not ordered")

    @property
    def stage(self) -> str:
        """The stage that measured it: the first word of the key."""
        return self.key.split(".", 1)[0]

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        for name in ("title", "reason", "method"):
            value[name] = getattr(self, name).to_json()
        if self.reference is not None:
            value["reference"]["name"] = self.reference.name.to_json()
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        known = dict(value)
        for name in ("title", "reason", "method"):
            known[name] = Message.from_json(value[name])
        known["reference"] = Reference.from_json(value["reference"]) if value.get("reference") else None
        known["interval"] = tuple(value["interval"]) if value.get("interval") else None
        known["evidence"] = tuple(value.get("evidence", ()))
        return cls(**known)


def write_findings(path: Path, findings: Iterable[Finding]) -> None:
    """`path` holds one finding a line as JSON; atomic. Raises ValueError when a key appears twice."""
    items = list(findings)
    keys = [finding.key for finding in items]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"findings with the same key: {sorted(twice)}")
    lines = [json.dumps(item.to_json(), ensure_ascii=False, sort_keys=True, allow_nan=False) for item in items]
    write_text(path, "".join(line + "\n" for line in lines))


def read_findings(path: Path) -> list[Finding]:
    """Return the findings of a file. Raises RunError when it is missing or a line is damaged (names the line)."""
    try:
        lines = [text for text in path.read_text(encoding="utf-8").split("\n") if text]  # not splitlines: a label may hold U+2028
    except FileNotFoundError:
        raise RunError(f"{path} is missing", do="give the folder of a run that has ended, or run `weigh run` first") from None
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is damaged (byte {error.start} is not UTF-8)", do="run the recipe again") from None
    findings = []
    for number, line in enumerate(lines, 1):
        try:
            findings.append(Finding.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(f"{path} line {number} is damaged ({error})", do="run the recipe again") from None
    return findings


def by_key(findings: Sequence[Finding], key: str) -> Finding | None:
    """Return the finding with this key, or None."""
    return next((finding for finding in findings if finding.key == key), None)


def _words(value: Scalar) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"{value:.4g}"
