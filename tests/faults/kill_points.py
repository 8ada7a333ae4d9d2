"""Where a child can be ended, and how: hooks that count every point of a run, a fork for each run, and proof of how it died.

The product has no switch for tests. A forked child wraps a few of its functions, hands storage another Disk and training another clock,
and then does what `weigh run` does. It dies by a real signal at the n-th point of a kind; the parent reads the status from the kernel.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from weighbridge.storage import OsDisk, use_disk

KINDS = ("data", "preprocessing", "step", "save", "validation", "edge", "evaluation", "deployment", "run")


@dataclass(frozen=True, kw_only=True)
class Where:
    """The n-th point of a kind, counted from 1."""

    kind: str
    n: int


class Points:
    """Counts the points that a child passes, where the parent can read them; at `where` the child sends itself `sent`."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8 * (len(KINDS) + 1))
        self.where: Where | None = None
        self.sent: int = signal.SIGKILL

    def aim(self, where: Where | None, sent: int = signal.SIGKILL) -> None:
        self.where, self.sent = where, sent
        self._shared[:] = bytes(len(self._shared))

    @property
    def counts(self) -> dict[str, int]:
        return dict(zip(KINDS, struct.unpack(f"{len(KINDS)}q", self._shared[8:]), strict=True))

    @property
    def last(self) -> str:
        """The kind of the last point passed."""
        return KINDS[struct.unpack("q", self._shared[:8])[0]]

    def passed(self, kind: str) -> None:
        place = KINDS.index(kind)
        start = 8 * (place + 1)
        count = struct.unpack("q", self._shared[start : start + 8])[0] + 1
        self._shared[start : start + 8] = struct.pack("q", count)
        self._shared[:8] = struct.pack("q", place)
        if self.where is not None and (kind, count) == (self.where.kind, self.where.n):
            os.kill(os.getpid(), self.sent)


class PointDisk(OsDisk):
    """The real disk, with a point before and after each operation and one in the middle of each write."""

    def __init__(self, points: Points) -> None:
        self.points = points

    @contextlib.contextmanager
    def _around(self, path: Path) -> Iterator[None]:
        kind = next((part for part in Path(path).parts if part in (*KINDS[:-1], "training")), "run")
        kind = "save" if kind == "training" else kind
        self.points.passed(kind)
        yield
        self.points.passed(kind)

    def make_folder(self, path: Path) -> None:
        with self._around(path):
            super().make_folder(path)

    def open(self, path: Path) -> IO[bytes]:
        with self._around(path):
            return super().open(path)

    def write(self, file: IO[bytes], content: bytes) -> None:
        half = len(content) // 2
        file.write(content[:half])
        file.flush()
        with self._around(Path(file.name)):
            file.write(content[half:])

    def sync(self, file: IO[bytes]) -> None:
        with self._around(Path(file.name)):
            super().sync(file)

    def replace(self, source: Path, target: Path) -> None:
        with self._around(target):
            super().replace(source, target)

    def sync_folder(self, folder: Path) -> None:
        with self._around(folder):
            super().sync_folder(folder)

    def remove(self, path: Path) -> None:
        with self._around(path):
            super().remove(path)


class Ticks:
    """A clock for the training loop that goes on by one at each look: the same run saves at the same steps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


def hook(points: Points) -> None:
    """From now on this process passes points: in steps, saves, validation passes, at epochs' edges, and at every disk operation."""
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    from weighbridge.training import loop, plan
    from weighbridge.training.step import Updater

    def wrapped(inner: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def outer(*args: Any, **kwargs: Any) -> Any:
            points.passed(kind)
            result = inner(*args, **kwargs)
            points.passed(kind)
            return result

        return outer

    updater: Any = Updater
    for name in ("_backward", "_move_average"):
        setattr(updater, name, wrapped(getattr(Updater, name), "step"))
    register_optimizer_step_pre_hook(lambda *_: points.passed("step"))
    register_optimizer_step_post_hook(lambda *_: points.passed("step"))
    module: Any = loop
    module.Loop._end_epoch = wrapped(loop.Loop._end_epoch, "edge")
    module.Judge.__call__ = wrapped(loop.Judge.__call__, "validation")
    for name in ("forward_all", "plain_loss", "plain_metric"):
        setattr(module, name, wrapped(getattr(loop, name), "validation"))
    module.time = Ticks()
    plan.TRIAL_S = 0.0  # the trial's length in updates must not vary: points are counted


def in_child(work: Callable[[], object], points: Points, log: Path, *, light: bool = False, kill_after_s: float | None = None) -> int:
    """Do `work` in a fork of this process with hooks set; return its exit code, or minus the signal that ended it, as the kernel says.

    Args: light, hooks on the disk only; kill_after_s, the parent kills the child then, wherever it is.
    """
    pid = os.fork()
    if pid == 0:
        _child(work, points, log, light)
    if kill_after_s is not None:
        _kill_later(pid, kill_after_s)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _kill_later(pid: int, seconds: float) -> None:
    import time

    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)  # the child is not waited for yet, so its number can not be another's


def _child(work: Callable[[], object], points: Points, log: Path, light: bool) -> None:
    code = 70
    try:
        with open(log, "a", encoding="utf-8") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - the process ends with it
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        if not light:
            hook(points)
        with use_disk(PointDisk(points)):
            work()
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
