"""Training speed side by side in one run: weigh, a hand-written PyTorch loop, a Keras program. Medians and ratios with their range.

    python bench/training.py [--repeats 20] [--seconds 2] [--only hand-bf16,keras-fp32]

Each contestant is one process that runs only while it has the turn (A B C A B C ...), so that a drift of the machine falls
on all of them. A ratio is taken within each turn, and its median, smallest and largest value over the turns are printed.
A machine that others use gives a wide range: believe a ratio only when its whole range is on one side.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
KERAS_PYTHON = Path(".venv-bench/bin/python")
CONTESTANTS = {
    "weigh-bf16": ("ours.py", "bf16"),
    "hand-bf16": ("hand_loop.py", "bf16"),
    "hand-fp32": ("hand_loop.py", "fp32"),
    "keras-fp32": ("keras_program.py", "fp32"),
    "keras-bf16": ("keras_program.py", "bf16"),
}
RATIOS = [
    ("weigh-bf16", "hand-bf16"),
    ("weigh-bf16", "keras-fp32"),
    ("hand-bf16", "keras-fp32"),
    ("hand-bf16", "keras-bf16"),
    ("hand-fp32", "keras-fp32"),
]


def start(name: str, options: argparse.Namespace) -> subprocess.Popen[str] | None:
    """Return the contestant as a process that waits for its turn; None when its Python is missing."""
    program, precision = CONTESTANTS[name]
    python = str(KERAS_PYTHON) if program == "keras_program.py" else sys.executable
    if not Path(python).exists():
        print(f"  {name}: {python} is missing; `make bench` makes it", file=sys.stderr)
        return None
    command = [python, str(HERE / program), "--batch-size", str(options.batch_size), "--seconds", str(options.seconds)]
    command += ["--precision", precision, "--padding", options.padding]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def turn(name: str, process: subprocess.Popen[str]) -> float | None:
    """Give the contestant a turn and return its rows a second; None when it ended (its last line is printed)."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("go\n")
        process.stdin.flush()
        return float(process.stdout.readline())
    except (BrokenPipeError, ValueError):
        _, said = process.communicate()
        print(f"  {name}: {(said.strip().splitlines() or ['no message'])[-1]}", file=sys.stderr)
        return None


def turns(names: list[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the rates of each contestant, one a turn; a turn at its start warms each up and is not counted."""
    running: dict[str, subprocess.Popen[str]] = {}
    for name in names:  # one after the other: a contestant that measures its machine must not see another one start
        process = start(name, options)
        if process is not None and turn(name, process) is not None:
            running[name] = process
    rates: dict[str, list[float]] = {name: [] for name in running}
    for number in range(1, options.repeats + 1):
        for name in list(rates):
            rate = turn(name, running[name])
            if rate is None:
                del rates[name]
            else:
                rates[name].append(rate)
        said = "  ".join(f"{name} {values[-1]:,.0f}" for name, values in rates.items() if values)
        print(f"  turn {number}  {said}  load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    for process in running.values():
        process.communicate()
    return rates


def spread(values: list[float], form: str) -> str:
    """Return `median (smallest-largest)`."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def table(rates: dict[str, list[float]], options: argparse.Namespace) -> str:
    """Return the result as Markdown."""
    lines = [f"{machine()}; padding {options.padding}, batch {options.batch_size}, {options.repeats} turns of {options.seconds:g} s", ""]
    lines += ["| contestant | rows/s: median (min-max) |", "| --- | --- |"]
    lines += [f"| {name} | {spread(values, ',.0f')} |" for name, values in rates.items()]
    lines += ["", "| ratio | median (min-max) over turns |", "| --- | --- |"]
    for over, under in RATIOS:
        if over in rates and under in rates:
            ratios = [a / b for a, b in zip(rates[over], rates[under], strict=True)]
            lines.append(f"| {over} / {under} | {spread(ratios, '.2f')} |")
    return "\n".join(lines)


def machine() -> str:
    """Return the processor, its cores and the Python."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0] if models else cpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu}, {cores} cores, Python {platform.python_version()}"


def main() -> int:
    """Print the table. Exit code 1 when no contestant could run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--padding", choices=["same", "valid"], default="same")
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="contestants, separated by commas")
    options = parser.parse_args()
    if options.repeats < 3:
        parser.error("--repeats must be at least 3: with fewer there is no range to judge by")
    names = options.only.split(",")
    if unknown := [name for name in names if name not in CONTESTANTS]:
        parser.error(f"unknown contestant {', '.join(unknown)}; known: {', '.join(CONTESTANTS)}")
    rates = turns(names, options)
    print(table(rates, options))
    return 0 if rates else 1


if __name__ == "__main__":
    sys.exit(main())
