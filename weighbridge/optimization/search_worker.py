"""A worker of a search: a process of its own that trains trials as it is told, line by line in JSON, and never touches the study.

    in:   {"recipe", "folder", "threads"}, then for each trial {"changes", "place", "mark", "label"}; {"end": reason or null} after an epoch
    out:  {"kind": "begun" | "epoch" | "ended" | "stopped" | "refused", ...}

It leaves when its input ends, so a search that was killed leaves no process behind. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from weighbridge.errors import RunError, Stopped, StorageError
from weighbridge.optimization.contest import Contest
from weighbridge.optimization.ground import Ground
from weighbridge.storage import make_folder
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Curve, silent, unwatched

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe
    from weighbridge.training import Course, Plan

LEAVE_S = 20.0  # after the search has died, for what can not be left at once


@dataclass(frozen=True, kw_only=True)
class Share(Contest):
    """The contest as one of several workers has it: a share of the threads, and encodings that no other worker is making."""

    threads: int

    @cached_property
    def base_plan(self) -> Plan:
        plan = super().base_plan
        return replace(plan, threads=min(plan.threads, self.threads))

    def grounds(self, variant: Recipe) -> list[Ground]:
        from filelock import FileLock

        make_folder(self.place / "search")
        with FileLock(self.place / "search" / ".arrays.lock"):
            return super().grounds(variant)

    def train(self, course: Course, ground: Ground, label: str, *, curve: Curve = unwatched) -> Path:
        if not self._resembles(course):  # it measures a plan of its own, which must not take all cores
            course = replace(course, section=course.section.model_copy(update={"threads": self.threads}))
        return super().train(course, ground, label, curve=curve)


class Line:
    """The worker's line to the search. What libraries print goes to standard error instead."""

    def __init__(self) -> None:
        self._out: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._told: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.stop = StopRequest()

    def listen(self) -> None:
        """Hear what the search says, from another thread."""
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, **message: Any) -> None:
        """The search has heard it, or is gone."""
        with contextlib.suppress(BrokenPipeError):
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()

    def hear(self) -> dict[str, Any] | None:
        """Return what is said next; None where the search is gone."""
        return self._told.get()

    def orders(self) -> Iterator[dict[str, Any]]:
        """Give each trial, until there is none."""
        while (order := self.hear()) is not None:
            yield order

    def _listen(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "stop" in message:
                self.stop.signal = signal.Signals(message["stop"])
            else:
                self._told.put(message)
        self.stop.signal = self.stop.signal or signal.SIGTERM
        self._told.put(None)
        leave = threading.Timer(LEAVE_S, os._exit, (1,))
        leave.daemon = True
        leave.start()


def main() -> None:
    """Train each trial that is ordered, until the input ends or a stop is asked for."""
    from weighbridge.recipe import parse_recipe

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the search says when to stop
    line = Line()
    line.listen()
    about = line.hear()
    if about is None:
        return
    contest = Share(
        recipe=parse_recipe(about["recipe"]), folder=Path(about["folder"]), progress=silent, stop=line.stop, threads=about["threads"]
    )
    for order in line.orders():
        try:
            _train(contest, order, line)
        except Stopped:
            line.say(kind="stopped")
            return
        except (RunError, StorageError) as error:
            line.say(kind="refused", error=type(error).__name__, what=error.what, do=error.do)
            return


def _train(contest: Share, order: dict[str, Any], line: Line) -> None:
    from weighbridge.optimization.search_trial import attempt

    def watch(position: int, epochs: int, value: float) -> str | None:
        line.say(kind="epoch", position=position, epochs=epochs, value=value)
        answer = line.hear()
        if answer is None:
            raise contest.stop.error("the search is gone")
        reason: str | None = answer["end"]
        return reason

    line.say(kind="begun")
    ended = attempt(contest, order["changes"], Path(order["place"]), order["mark"], label=order["label"], watch=watch)
    line.say(kind="ended", **{"attempt": asdict(ended)})


if __name__ == "__main__":
    main()
