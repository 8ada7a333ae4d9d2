"""How long `weigh --help` and `import weighbridge` take in a fresh process, beside a Python that does nothing.

    python bench/startup.py [--repeats 10] [--proof-folder FOLDER]

The three take turns; printed are medians with their range, and what is left after the bare interpreter is taken off.
The promise is under 0.2 s for each, interpreter included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import weighbridge": [sys.executable, "-c", "import weighbridge"],
    "weigh --help": [sys.executable, "-c", "import sys; sys.argv = ['weigh', '--help']; from weighbridge.cli import main; main()"],
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one fresh process. Raises CalledProcessError when it fails."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - start


def main() -> int:
    """Print one line a command. Exit code 1 when one can not run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--proof-folder", type=Path, help="where startup.json is written for scripts/proof.py")
    options = parser.parse_args()
    repeats: int = options.repeats
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    try:
        for turn in range(repeats + 1):
            for name, command in COMMANDS.items():
                spent = seconds(command)
                if turn:  # the first turn warms the file cache and writes the .pyc files
                    times[name].append(spent)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        print(f"error: {error.cmd[-1]!r} failed: {last}", file=sys.stderr)
        return 1
    bare = statistics.median(times["python -c pass"])
    print(f"| fresh process, {repeats} turns | median (min-max), s | beyond the interpreter, s |\n| --- | --- | --- |")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| `{name}` | {median:.3f} ({min(values):.3f}-{max(values):.3f}) | {median - bare:.3f} |")
    if options.proof_folder is not None:
        options.proof_folder.mkdir(parents=True, exist_ok=True)
        medians = {name: statistics.median(values) for name, values in times.items()}
        (options.proof_folder / "startup.json").write_text(json.dumps({"medians": medians, "n": repeats}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
