"""Contestants side by side: each is a process that runs only in its turns (A B C A B C ...), and ratios are taken within a turn.

A contestant is stopped (SIGSTOP) while others have the turn: threads of a pool that spin for some time after its turn would take the
cores of the next one.

A contestant answers a turn with two rates: by the clock on the wall, and by the processor time that it used. Where other programs use the
machine, the second is the steadier one: it does not count the time that a contestant waited for a core.
"""

from __future__ import annotations

import os
import platform
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

Command = list[str]


@dataclass(frozen=True)
class Rate:
    """What a contestant did in a turn, a second of the wall clock and a second of processor time."""

    wall: float
    cpu: float


def turn(name: str, process: subprocess.Popen[str]) -> Rate | None:
    """Give the contestant a turn and return its rate; None when it ended (its last line is printed)."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.send_signal(signal.SIGCONT)
        process.stdin.write("go\n")
        process.stdin.flush()
        rate = Rate(*map(float, process.stdout.readline().split()))
        process.send_signal(signal.SIGSTOP)
        return rate
    except (BrokenPipeError, ValueError, TypeError):
        _, said = process.communicate()
        print(f"  {name}: {(said.strip().splitlines() or ['no message'])[-1]}", file=sys.stderr)
        return None


def contest(commands: dict[str, Command], repeats: int) -> dict[str, list[Rate]]:
    """Return the rates of each contestant, one a turn; a turn at its start warms each up and is not counted."""
    running: dict[str, subprocess.Popen[str]] = {}
    for name, command in commands.items():  # one after the other: one that measures its machine must not see another one start
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if turn(name, process) is not None:
            running[name] = process
    rates: dict[str, list[Rate]] = {name: [] for name in running}
    for number in range(1, repeats + 1):
        for name in list(rates):
            rate = turn(name, running[name])
            if rate is None:
                del rates[name]
            else:
                rates[name].append(rate)
        said = "  ".join(f"{name} {values[-1].wall:,.0f}" for name, values in rates.items() if values)
        print(f"  turn {number}  {said}  load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    for process in running.values():
        process.send_signal(signal.SIGCONT)
        process.communicate()
    return rates


def table(rates: dict[str, list[Rate]], ratios: list[tuple[str, str]], unit: str) -> list[str]:
    """Return the rates and the ratios as lines of Markdown."""
    lines = [f"| contestant | {unit}/s: median (min-max) | {unit} a CPU second |", "| --- | --- | --- |"]
    for name, values in rates.items():
        lines.append(f"| {name} | {spread([one.wall for one in values], ',.0f')} | {spread([one.cpu for one in values], ',.0f')} |")
    lines += ["", "| ratio | wall clock: median (min-max) over turns | CPU time |", "| --- | --- | --- |"]
    for over, under in ratios:
        if rates.get(over) and rates.get(under):
            pairs = list(zip(rates[over], rates[under], strict=True))
            wall, cpu = [a.wall / b.wall for a, b in pairs], [a.cpu / b.cpu for a, b in pairs]
            lines.append(f"| {over} / {under} | {spread(wall, '.2f')} | {spread(cpu, '.2f')} |")
    return lines


def spread(values: list[float], form: str) -> str:
    """Return `median (smallest-largest)`."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def machine() -> str:
    """Return the processor, its cores and the Python."""
    cpu = platform.processor() or platform.machine()
    info, flags = Path("/proc/cpuinfo"), ""
    if info.exists():
        lines = info.read_text().splitlines()
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        words = next((line.split() for line in lines if line.startswith("flags")), [])
        flags = next((f" with {word}" for word in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if word in words), "")
        cpu = models[0] if models else cpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu}{flags}, {cores} cores, Python {platform.python_version()}"
