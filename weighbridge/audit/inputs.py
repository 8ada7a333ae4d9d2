"""What a package does with inputs as no user means them: it answers or refuses in one clear line; it does not die, hang or fill memory."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.audit.inputs_child import FAILED, MOST_CPU_S, MOST_GROWTH, REFUSED
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.findings import Finding, Message
from weighbridge.storage import write_json

START_S, CASE_S = 120.0, 60.0  # on the clock of a machine that may be busy
DEATHS = 5  # after so many the rest is not tried
RUN = "from weighbridge.audit.inputs_child import main; import sys; main(sys.argv[1], sys.argv[2])"
SHOWN = 3
EVIDENCE = "audit/inputs.json"
TITLE = Message("Strange inputs that it neither answers nor refuses")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How a case ended: answered, refused or failed; `what` was said, `seconds` of the processor and bytes beyond what there was before."""

    name: str
    outcome: str
    what: str
    seconds: float = 0.0
    bytes: int = 0


def input_findings(subject: Subject, package: Path) -> list[Finding]:
    """Return the finding about every case that failed. Raises Unmeasured where the package does not start in a process of its own."""
    tried, planned = try_all([sys.executable, "-c", RUN, str(package)], stop=subject.stop.check)
    write_json(subject.folder / EVIDENCE, {"cases": [one.__dict__ for one in tried], "planned": planned})
    return [_finding(subject, tried, planned)]


def _finding(subject: Subject, tried: Sequence[Tried], planned: int) -> Finding:
    from weighbridge.evaluation.intervals import rate_interval

    failed = [one for one in tried if one.outcome == FAILED]
    refused, largest = sum(one.outcome == REFUSED for one in tried), max(tried, key=lambda one: one.bytes)
    low, high = rate_interval(len(failed), len(tried))
    if failed:
        shown = "; ".join(f"{one.name} ({one.what})" for one in failed[:SHOWN])
        reason = (
            Message("{shown}; {rest} more", shown=shown, rest=len(failed) - SHOWN) if len(failed) > SHOWN else Message("{why}", why=shown)
        )
    else:
        reason = Message(
            "{answered} answered, {refused} refused in one line each; at most {memory} MB of memory, for {name}",
            answered=len(tried) - refused, refused=refused, memory=round(largest.bytes / 1e6, 1), name=largest.name,
        )  # fmt: skip
    return Finding(
        key="audit.security.inputs",
        title=TITLE,
        verdict="limitation" if failed else "advantage" if len(tried) == planned else "neutral",
        value=len(failed) / len(tried),
        interval=(low, high),
        unit="share",
        n=len(tried),
        n_of="cases",
        reason=reason,
        method=Message(
            "the package in a process of its own is given one case after the other, and a good row after each; failed: another error than "
            "a refusal in one line, {cpu} s of the processor, {memory} MB of memory, death, silence; interval as of cases drawn like these",
            cpu=round(MOST_CPU_S), memory=MOST_GROWTH >> 20,
        ),
        evidence=(EVIDENCE,),
        command=f"{subject.command} --only security.inputs",
    )  # fmt: skip


def try_all(
    command: Sequence[str], *, stop: Callable[[], None] = lambda: None, start_s: float = START_S, case_s: float = CASE_S
) -> tuple[list[Tried], int]:
    """Return how each case ended and how many there are; a process that dies or falls silent fails its case, and another goes on after it.

    command: what prints the lines of inputs_child.py, without the number of the first case, which is added to it.
    Raises Unmeasured where it does not even start.
    """
    tried, planned, first = list[Tried](), 0, 0
    for _ in range(DEATHS + 1):
        under_way: dict[str, Any] | None = None
        for line in _lines([*command, str(first)], start_s, case_s):
            stop()
            planned = line.get("cases", planned)
            if "begins" in line:
                under_way = line
            elif "ends" in line and under_way is not None:
                about = {name: line[name] for name in ("outcome", "what", "seconds", "bytes")}
                tried.append(Tried(name=under_way["name"], **about))
                under_way, first = None, line["ends"] + 1
            elif "all" in line:
                return tried, planned
            elif "silent" in line or "died" in line:
                break
        if under_way is None:
            raise Unmeasured(Message("the package does not answer in a process of its own"))
        what = "it fell silent" if "silent" in line else f"the process died ({line['died']})"
        tried.append(Tried(name=under_way["name"], outcome=FAILED, what=what))
        first = under_way["begins"] + 1
    return tried, planned


def _lines(command: Sequence[str], start_s: float, case_s: float) -> Iterator[dict[str, Any]]:
    """Yield what the process says, at last {"died": exit code} or {"silent": seconds}; it does not outlive the iteration."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8", env=environment)
    said: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.put(line)
        said.put(None)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        limit = start_s
        while True:
            line = said.get(timeout=limit)
            if line is None:
                yield {"died": process.wait()}
                return
            limit = case_s
            yield json.loads(line)
    except queue.Empty:
        yield {"silent": limit}
    finally:
        process.kill()
        process.wait()
        listener.join()
        assert process.stdout is not None
        process.stdout.close()
