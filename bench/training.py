"""Training speed side by side in one run: weigh, a hand-written PyTorch loop, a Keras program. Medians and ratios with their range.

    python bench/training.py [--repeats 20] [--seconds 2] [--only hand-bf16,keras-fp32]

Each contestant is one process that runs only while it has the turn (A B C A B C ...), so that a drift of the machine falls
on all of them. A ratio is taken within each turn, and its median, smallest and largest value over the turns are printed.
A machine that others use gives a wide range: believe a ratio only when its whole range is on one side.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contest import Command, contest, machine, table

HERE = Path(__file__).parent
KERAS_PYTHON = Path(".venv-bench/bin/python")
CONTESTANTS = {
    "weigh-bf16": ("ours.py", "bf16"),
    "weigh-fp32": ("ours.py", "fp32"),
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
    ("weigh-fp32", "keras-fp32"),
    ("weigh-fp32", "hand-fp32"),
]


def command(name: str, options: argparse.Namespace) -> Command | None:
    """Return how the contestant is started; None when its Python is missing."""
    program, precision = CONTESTANTS[name]
    python = str(KERAS_PYTHON) if program == "keras_program.py" else sys.executable
    if not Path(python).exists():
        print(f"  {name}: {python} is missing; `make bench` makes it", file=sys.stderr)
        return None
    found = [python, str(HERE / program), "--batch-size", str(options.batch_size), "--seconds", str(options.seconds)]
    found += ["--precision", precision, "--padding", options.padding]
    return found if options.device == "cpu" else [*found, "--device", options.device]


def main() -> int:
    """Print the table. Exit code 1 when no contestant could run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--padding", choices=["same", "valid"], default="same")
    parser.add_argument("--device", default="cpu", help="cuda: on a GPU; the Keras program is left out by --only there")
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="contestants, separated by commas")
    options = parser.parse_args()
    if options.repeats < 3:
        parser.error("--repeats must be at least 3: with fewer there is no range to judge by")
    names = options.only.split(",")
    if unknown := [name for name in names if name not in CONTESTANTS]:
        parser.error(f"unknown contestant {', '.join(unknown)}; known: {', '.join(CONTESTANTS)}")
    commands = {name: found for name in names if (found := command(name, options))}
    rates = contest(commands, options.repeats)
    said = f"padding {options.padding}, batch {options.batch_size}, {options.repeats} turns of {options.seconds:g} s"
    print("\n".join([f"{machine()}; {said}", "", *table(rates, RATIOS, "rows")]))
    return 0 if rates else 1


if __name__ == "__main__":
    sys.exit(main())
