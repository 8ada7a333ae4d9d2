"""One search in a process of its own, as a stage runs it: stopped by signals, one line for an error, its exit code.

    python -m tests.faults.search_once RECIPE.yaml RUN [GO]

Where GO is named, the search waits until that file is there: two of them then begin together. Prints what it says and found as JSON lines.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from weighbridge.errors import WeighbridgeError
from weighbridge.optimization.contest import Contest
from weighbridge.optimization.search import search
from weighbridge.recipe import load_recipe
from weighbridge.storage.control import StopRequest, stop_on_signals


def say(label: str, done: int, total: int | None, note: str = "") -> None:
    """Print what is said."""
    print(json.dumps([label, done, total, note]), flush=True)


def main() -> None:
    recipe, folder, *go = sys.argv[1:]
    import torch

    assert torch
    say("ready", 0, None)
    while go and not Path(go[0]).exists():
        time.sleep(0.01)
    try:
        with stop_on_signals(StopRequest()) as stop:
            contest = Contest(recipe=load_recipe(Path(recipe)), folder=Path(folder), progress=say, stop=stop)
            found = search(contest, command="weigh optimize run", key="key")
    except WeighbridgeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    assert found is not None
    print(json.dumps({"number": found.number, "changes": found.changes, "finished": found.finished, "failed": found.failed}))


if __name__ == "__main__":
    main()
