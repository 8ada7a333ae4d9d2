"""A command under a memory limit that the system itself enforces.

On Linux a control group of its own (version 2, else 1) holds the command: all that it takes counts, file pages too, and the kernel
takes those back before it kills. Where no control group can be made, the limit is on private memory (RLIMIT_DATA), and the peak of
resident memory is what the system counted at the end.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Group:
    """A control group: its folder, its version, the names of its files."""

    folder: Path
    version: int

    @property
    def limit_file(self) -> Path:
        return self.folder / ("memory.max" if self.version == 2 else "memory.limit_in_bytes")

    @property
    def peak_file(self) -> Path:
        return self.folder / ("memory.peak" if self.version == 2 else "memory.max_usage_in_bytes")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the command ended: its code (negative: the signal), what it printed, the most memory it held.

    Attributes: charged_bytes, all that was counted against the limit, file pages included (None without a control group);
        resident_bytes, the most that stood in the process at once, mapped files included; by, how it was limited.
    """

    code: int
    out: str
    err: str
    charged_bytes: int | None
    resident_bytes: int
    by: str

    @property
    def ran_out(self) -> bool:
        """Whether memory was why it ended: killed by the kernel, or refused an allocation."""
        words = ("MemoryError", "bad_alloc", "out of memory", "Cannot allocate memory")
        return self.code in (-9, 137) or (self.code != 0 and any(word in self.err for word in words))


@contextlib.contextmanager
def group(limit_bytes: int) -> Iterator[Group | None]:
    """Give a new control group with this limit, removed at the end; None where none can be made."""
    made = _made(limit_bytes)
    try:
        yield made
    finally:
        if made is not None:
            with contextlib.suppress(OSError):
                made.folder.rmdir()


def _made(limit_bytes: int) -> Group | None:
    name = f"weighbridge-{os.getpid()}-{os.urandom(4).hex()}"
    for version, parent in ((2, ROOT), (1, ROOT / "memory")):
        made = Group(folder=parent / name, version=version)
        if not (parent / "cgroup.procs").exists():  # version 2 stands elsewhere beside version 1: here is but a folder
            continue
        try:
            made.folder.mkdir()
        except OSError:
            continue
        if made.limit_file.exists():
            made.limit_file.write_text(str(limit_bytes))
            return made
        made.folder.rmdir()  # memory is not handed down to it
    return None


def wrapped(command: list[str], limit_bytes: int | None, made: Group | None) -> list[str]:
    """Return the command that first steps under the limit."""
    if limit_bytes is None:
        return command
    if made is not None:
        return ["sh", "-c", f'echo $$ > "{made.folder}/cgroup.procs" && exec "$@"', "sh", *command]
    return ["sh", "-c", f'ulimit -d {limit_bytes // 1024} && exec "$@"', "sh", *command]


def run(command: list[str], limit_bytes: int | None, *, timeout_s: float = 600.0) -> Ended:
    """Run the command to its end under the limit (None: none). Raises TimeoutExpired after `timeout_s`; it is then killed."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(group(limit_bytes)) if limit_bytes is not None else None
        report = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "resident"
        # a parent of its own: the system reports the largest child of a process, not the last one
        watcher = [sys.executable, "-c", WATCH, str(report), *wrapped(command, limit_bytes, made)]
        ended = subprocess.run(watcher, capture_output=True, text=True, timeout=timeout_s, check=False)
        code, resident = (int(word) for word in report.read_text().split())
        charged = int(made.peak_file.read_text()) if made is not None and made.peak_file.exists() else None
        by = "no limit" if limit_bytes is None else f"control group, version {made.version}" if made is not None else "RLIMIT_DATA"
    return Ended(code=code, out=ended.stdout, err=ended.stderr, charged_bytes=charged, resident_bytes=resident, by=by)


WATCH = """
import resource, subprocess, sys
from pathlib import Path
code = subprocess.run(sys.argv[2:]).returncode
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
Path(sys.argv[1]).write_text(f"{code} {most}")
"""
