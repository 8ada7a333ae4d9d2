"""Kill saves, and race starts, from a process that forks: `python -m tests.faults.saves kills|races|dead-lock FOLDER`. Prints JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.kill_points import Points, Where, in_child
from weighbridge.errors import RunError
from weighbridge.storage import FolderLock
from weighbridge.storage.seeds import rng
from weighbridge.storage.tensors import load_tensors, save_tensors

KILLS, CONTROLS, RACERS = 300, 100, 20
VALUES = 100_000  # of float32: 400 kB, a small checkpoint
Save = Callable[[Path, int], None]


def save(path: Path, version: int) -> None:
    import torch

    save_tensors(path, {"w": torch.full((VALUES,), float(version))}, meta={"version": version})


def in_place(folder: Path) -> Save:
    """The naive way: the same bytes, ready in memory, written over the old file in pieces, as a plain `open(path, "wb")` does."""
    contents = []
    for version in (2, 3):
        save(folder / "whole", version)
        contents.append((folder / "whole").read_bytes())

    def save_in_place(path: Path, version: int) -> None:
        content = contents[version % 2]
        with open(path, "wb", buffering=0) as file:
            for start in range(0, len(content), 1 << 14):
                file.write(content[start : start + (1 << 14)])

    return save_in_place


def version_of(path: Path) -> int:
    """Return which version the file holds whole, -1 for neither."""
    try:
        tensors, meta = load_tensors(path)
    except RunError:
        return -1
    version = int(meta["version"])
    return version if tensors["w"].numel() == VALUES and bool((tensors["w"] == version).all()) else -1


def kills(home: Path) -> dict[str, Any]:
    """Each child replaces version 1 by version 2 and dies at a counted point of it; every third at a random moment of many saves."""
    points, random = Points(), rng(0, "faults", "saves")
    path = home / "training" / "state.safetensors"
    path.parent.mkdir(parents=True)
    save(path, 1)
    in_child(lambda: save(path, 2), points, home / "log.txt", light=True)
    passed = points.counts["save"]
    found: dict[str, list[int]] = {"at points": [], "at moments": [], "in place": []}
    deaths = []
    for number in range(KILLS):
        save(path, 1)
        if number % 3:
            points.aim(Where(kind="save", n=int(random.integers(1, passed + 1))))
            code = in_child(lambda: save(path, 2), points, home / "log.txt", light=True)
            found["at points"].append(version_of(path))
        else:
            code = at_a_moment(save, path, float(random.uniform(0.002, 0.03)), home)
            found["at moments"].append(version_of(path))
        deaths.append(code)
    naive = in_place(home)
    for _ in range(CONTROLS):
        save(path, 1)
        deaths.append(at_a_moment(naive, path, float(random.uniform(0.002, 0.03)), home))
        found["in place"].append(version_of(path))
    left = [one.name for one in path.parent.iterdir() if one.name.endswith(".part")]
    return {"points": passed, "found": found, "deaths": deaths, "left": len(left)}


def at_a_moment(way: Save, path: Path, seconds: float, home: Path) -> int:
    """Kill a child that saves version after version, some time after its first save."""
    ready, told = os.pipe()

    def forever() -> None:
        way(path, 2)
        os.write(told, b"x")
        version = 3
        while True:
            way(path, version)
            version += 1

    pid = os.fork()
    if pid == 0:
        forever()
    os.read(ready, 1)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.close(ready)
    os.close(told)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def races(home: Path) -> dict[str, Any]:
    """Twenty children wait at a gate and start the same run; one trains, the others say who holds the folder."""
    from tests.faults import resume, small_runs
    from weighbridge import lifecycle

    resume.import_all()
    recipe = small_runs.table(home)
    return {
        "runs": race(home, lambda: lifecycle.run(recipe, home / "run", until="training")),
        "naive": race(home, lambda: naive_lock(home / "naive.lock")),
        "weights": (home / "run" / "training" / "model.safetensors").exists(),
    }


def naive_lock(path: Path) -> None:
    """The naive way: look whether the file is there, then write it."""
    if path.exists():
        raise RunError(f"in use by process {path.read_text(encoding='utf-8')}")
    time.sleep(0.5)  # what stands between a look and a write, long enough to be met on a busy machine
    path.write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(0.5)


def race(home: Path, work: Callable[[], object]) -> list[dict[str, Any]]:
    gate, opened = os.pipe()
    pids = []
    for _ in range(RACERS):
        pid = os.fork()
        if pid == 0:
            os.close(opened)
            os.read(gate, 1)  # ends when the parent closes the other side
            code, said = 0, ""
            try:
                work()
            except RunError as error:
                code, said = error.exit_code, str(error)
            (home / f"said-{os.getpid()}").write_text(said, encoding="utf-8")
            os._exit(code)
        pids.append(pid)
    os.close(opened)
    ends = [(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) for pid in pids]
    return [{"pid": pid, "code": code, "said": (home / f"said-{pid}").read_text(encoding="utf-8")} for pid, code in ends]


def dead_lock(home: Path) -> dict[str, Any]:
    """A child takes the lock and is killed while it holds it; the next one takes it at once."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        with FolderLock(home):
            os.write(told, b"x")
            time.sleep(60)
    os.read(ready, 1)
    held = ""
    try:
        with FolderLock(home):
            pass
    except RunError as error:
        held = str(error)
    os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    started = time.monotonic()
    with FolderLock(home):
        holder = json.loads((home / ".lock-holder.json").read_text(encoding="utf-8"))
    return {"pid": pid, "code": code, "held": held, "new": holder["pid"], "own": os.getpid(), "seconds": time.monotonic() - started}


if __name__ == "__main__":
    place = Path(sys.argv[2])
    print(json.dumps({"kills": kills, "races": races, "dead-lock": dead_lock}[sys.argv[1]](place)))
