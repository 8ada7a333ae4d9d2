"""Several trials at the same time: each in a worker process, while this one alone speaks with the study.

So an SQLite file has one writer, a password stays here, and a worker that dies costs the trial that it trained and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import weighbridge
from weighbridge.errors import RunError, StorageError
from weighbridge.optimization.search_sitting import KEPT, Sitting
from weighbridge.optimization.search_space import changes_of
from weighbridge.optimization.search_study import Tried, best_of

if TYPE_CHECKING:
    from weighbridge.optimization.search_trial import Watch

LOOK_S = 0.2  # between two looks at whether a stop was asked for
LEAVE_S = 5.0  # that a worker has to end in when the search does
SAVE_S = 60.0  # that workers have to save when a stop was asked for
PROGRAM = ("-P", "-m", "weighbridge.optimization.search_worker")  # -P: no module of the working folder is taken for a library

Event = tuple["Worker", "dict[str, Any] | None"]


def together(sitting: Sitting) -> None:
    """Every trial has ended, as many at a time as the recipe has workers. Raises Stopped, RunError, StorageError."""
    pool = Pool(sitting)
    try:
        pool.run()
    finally:
        pool.close()


class Pool:
    """The workers of a sitting, and what they say."""

    def __init__(self, sitting: Sitting) -> None:
        from weighbridge.training.plan import choose_threads

        self.sitting, self.contest = sitting, sitting.contest
        self.threads = max(1, choose_threads("auto") // sitting.options.workers)
        self.workers: list[Worker] = []
        self._events: queue.Queue[Event] = queue.Queue()
        self._none_left = False

    @property
    def busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.one is not None]

    def run(self) -> None:
        """Trials are handed out and heard until there is none."""
        while True:
            if self.contest.stop:
                self._stop()
            self._hand_out()
            if not self.busy:
                return
            self._hear(LOOK_S)
            self.sitting.sign()

    def close(self) -> None:
        """No worker is left."""
        for worker in self.workers:
            worker.hang_up()
        for worker in self.workers:
            worker.end()

    def _hand_out(self) -> None:
        while not self._none_left and len(self.busy) < self.sitting.options.workers:
            one = self.sitting.next()
            if one is None:
                self._none_left = True
                return
            idle = next((worker for worker in self.workers if worker.one is None), None)
            if idle is None:
                idle = Worker(self._events, self._about(), self.threads)
                self.workers.append(idle)
            idle.give(one, self.sitting)
            self._show()

    def _hear(self, wait_s: float) -> None:
        """What a worker says next has been dealt with; nothing where none speaks in time."""
        try:
            worker, message = self._events.get(timeout=wait_s)
        except queue.Empty:
            return
        if message is None:
            self._died(worker)
        elif message["kind"] == "begun" and worker.one is not None:
            self.sitting.hold(worker.one)  # the clock of the trial starts now, not while the process did
        elif message["kind"] == "epoch":
            assert worker.watch is not None
            worker.send({"end": worker.watch(message["position"], message["epochs"], message["value"])})
        elif message["kind"] == "ended":
            self._settle(worker, message["attempt"])
        elif message["kind"] == "stopped":
            self._release(worker)
        else:
            raise (StorageError if message["error"] == "StorageError" else RunError)(message["what"], do=message["do"])

    def _settle(self, worker: Worker, attempt: dict[str, Any]) -> None:
        from weighbridge.optimization.search_trial import Attempt

        one, worker.one = worker.one, None
        if one is not None:
            self.sitting.settle(one, Attempt(**attempt))
            self._show()

    def _release(self, worker: Worker) -> None:
        """What the worker has begun stays under way."""
        one, worker.one = worker.one, None
        if one is not None:
            self.sitting.let_go(one)

    def _died(self, worker: Worker) -> None:
        """A worker that has ended without a word costs its trial; the rest goes on."""
        self.workers.remove(worker)
        words = worker.end()
        if worker.one is None:
            return
        reason = f"its process ended with exit code {worker.code}{f' ({words})' if words else ''}"
        self.contest.progress(f"{self.sitting.label_of(worker.one)}: {reason}", 0, None)
        self._settle(worker, {"kind": "failed", "reason": reason})

    def _stop(self) -> None:
        """Workers have saved what they train and left, or had their time. Raises Stopped."""
        self._none_left = True
        for worker in self.busy:
            worker.send({"stop": int(self.contest.stop.signal or 2)})
        until = time.monotonic() + SAVE_S
        while self.busy and time.monotonic() < until:
            self._hear(LOOK_S)
        self.contest.stop.check(KEPT)

    def _about(self) -> dict[str, Any]:
        """Return what a worker is told: the recipe without the address of the study."""
        recipe = self.contest.recipe.model_dump(mode="json")
        recipe["optimization"]["search"]["storage"] = None
        return {"recipe": recipe, "folder": str(self.contest.folder), "threads": self.threads}

    def _show(self) -> None:
        tried = self.sitting.store.tried()
        best = best_of(tried, self.sitting.direction)
        ended = sum(one.state != "under way" for one in tried)
        note = f"{len(self.busy)} under way" + (f", best {best.value:.4f}" if best is not None else "")
        self.contest.progress("search", ended, self.sitting.most, note)


class Worker:
    """A worker process, and the trial that it trains."""

    def __init__(self, events: queue.Queue[Event], about: dict[str, Any], threads: int) -> None:
        self.one: Tried | None = None
        self.watch: Watch | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        root = str(Path(weighbridge.__file__).parent.parent)
        paths = [os.environ["PYTHONPATH"], root] if os.environ.get("PYTHONPATH") else [root]
        self._process = subprocess.Popen(
            [sys.executable, *PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self._reader.start()
        self.send(about)

    @property
    def code(self) -> int | None:
        return self._process.returncode

    def give(self, one: Tried, sitting: Sitting) -> None:
        """The worker trains this trial."""
        self.one, self.watch = one, sitting.watch(one)
        changes = changes_of(sitting.variables, one.params)
        self.send({"changes": changes, "place": str(sitting.place_of(one)), "mark": sitting.mark_of(one), "label": sitting.label_of(one)})

    def send(self, message: dict[str, Any]) -> None:
        """The worker hears it, or is gone: its end is an event."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def hang_up(self) -> None:
        """The process is asked to end: its input does."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def end(self) -> str:
        """The process has ended, killed where it does not hear; returns the last line that it wrote to standard error."""
        self.hang_up()
        try:
            self._process.wait(timeout=LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        with self._errors as errors:
            errors.seek(0)
            lines = errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else ""

    def _listen(self, events: queue.Queue[Event]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # a process that is killed may leave a part of a line
                    events.put((self, json.loads(line)))
        events.put((self, None))
