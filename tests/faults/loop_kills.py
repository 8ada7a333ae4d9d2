"""A retraining and a promotion that end at the n-th write to the disk, in a child that dies by SIGKILL and leaves what a kill leaves."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from weighbridge.storage import OsDisk, use_disk

SOUND, FAILED = 0, 70


class Killing(OsDisk):
    """At the n-th operation that changes something on the disk, this process is no more."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, file: IO[bytes], content: bytes) -> None:
        self._count()
        super().write(file, content)

    def replace(self, source: Path, target: Path) -> None:
        self._count()
        super().replace(source, target)

    def remove(self, path: Path) -> None:
        self._count()
        super().remove(path)


def in_child(work: Callable[[], Any], *, at: int = 0) -> bool:
    """Do the work in a forked child, killed at its n-th operation (0: never); return whether it ended by itself. A failure is raised."""
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            with use_disk(Killing(at)):
                work()
            code = SOUND
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == SOUND, "the child failed, see its output"
    return True
