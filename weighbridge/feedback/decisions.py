"""STATE/decisions.jsonl: every decision about a model in service with its evidence, what a person said to it, and what was done.

Lines of three kinds: a decision (`number`, `name`, `action`, ...), an answer to one that waits (`of`, `answer`, `who`) and an outcome
(`of`, `done`). A decision that repeats the last one of its name, on the same grounds, is not written again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from weighbridge.errors import UsageError
from weighbridge.feedback.decide import Decision
from weighbridge.feedback.registry import moment
from weighbridge.storage.lines import append_line, read_lines

DECISIONS = "decisions.jsonl"
STANDING = ("keep", "labels", "recalibrate")  # they hold until something else does
Answer = Literal["approved", "refused"]
Trail = Callable[[str, str, dict[str, Any]], Any]  # serving.trail.Trail.add


@dataclass(frozen=True, kw_only=True)
class Noted:
    """A decision as it stands in the file. `answer`: what a person said; `done`: what came of it, None where nothing did yet."""

    number: int
    name: str
    time: str
    decision: Decision
    about: dict[str, Any]
    answer: Answer | None = None
    who: str = ""
    done: str | None = None

    @property
    def waits(self) -> bool:
        """Whether a person is to say something."""
        return not self.decision.automatic and self.decision.allowed and self.answer is None and self.done is None

    @property
    def may_begin(self) -> bool:
        """Whether it is to be carried out: allowed, and by itself or approved."""
        return self.decision.allowed and self.done is None and (self.decision.automatic or self.answer == "approved")


def decisions(state: Path, name: str | None = None) -> list[Noted]:
    """Return the decisions, oldest first, with what became of each. Raises RunError."""
    found: dict[int, Noted] = {}
    for line in read_lines(state / DECISIONS):
        if "of" not in line:
            found[line["number"]] = Noted(
                number=line["number"], name=line["name"], time=line["time"], decision=Decision.from_json(line), about=line["about"]
            )
        elif line["of"] in found:
            known = found[line["of"]]
            found[line["of"]] = Noted(
                number=known.number, name=known.name, time=known.time, decision=known.decision, about=known.about,
                answer=line.get("answer", known.answer), who=line.get("who", known.who), done=line.get("done", known.done),
            )  # fmt: skip
    return [one for one in found.values() if name is None or one.name == name]


def note(state: Path, name: str, decision: Decision, about: dict[str, Any], *, trail: Trail | None = None) -> Noted:
    """The decision is in the file, or was the last one of this name already, about the same and not carried out; return it.

    about: which packages and training it is about, so that the same decision about another is another one.
    """
    known = decisions(state)
    last = next((one for one in reversed(known) if one.name == name), None)
    if last is not None and (last.done is None or decision.action in STANDING) and _same(last, decision, about):
        return last
    number = max((one.number for one in known), default=0) + 1
    noted = Noted(number=number, name=name, time=moment(), decision=decision, about=about)
    append_line(state / DECISIONS, {"number": number, "name": name, "time": noted.time, "about": about, **decision.to_json()})
    if trail is not None:
        told = {"number": number, "name": name, "action": decision.action, "automatic": decision.automatic, "reason": str(decision.reason)}
        trail("feedback.decided", "loop", told)
    return noted


def _same(last: Noted, decision: Decision, about: dict[str, Any]) -> bool:
    ours, theirs = last.decision, decision
    grounds = [[one.key for one in made.evidence] for made in (ours, theirs)]
    return (ours.action, ours.automatic, ours.allowed, last.about) == (theirs.action, theirs.automatic, theirs.allowed, about) and (
        grounds[0] == grounds[1]
    )


def answer(state: Path, number: int, said: Answer, who: str, *, trail: Trail | None = None) -> Noted:
    """A person said something to a decision that waits. Raises UsageError for one that is not there or does not wait."""
    noted = next((one for one in decisions(state) if one.number == number), None)
    if noted is None:
        raise UsageError(f"there is no decision {number}", do="see `weigh feedback decisions`")
    if not noted.waits:
        raise UsageError(f"decision {number} ({noted.decision.action}) does not wait for anybody", do="see `weigh feedback decisions`")
    append_line(state / DECISIONS, {"of": number, "answer": said, "who": who, "time": moment()})
    if trail is not None:
        trail(f"feedback.{said}", who, {"number": number, "name": noted.name, "action": noted.decision.action})
    return next(one for one in decisions(state) if one.number == number)


def carried_out(state: Path, number: int, done: str, *, trail: Trail | None = None) -> None:
    """It stands in the file what came of a decision."""
    append_line(state / DECISIONS, {"of": number, "done": done, "time": moment()})
    if trail is not None:
        trail("feedback.done", "loop", {"number": number, "done": done})
