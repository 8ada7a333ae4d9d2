"""How much memory is free, and how freed memory is kept while training, so that the next step does not fault its pages in again.

glibc gives every freed block above 32 MB back to the kernel, and large activations are such blocks: a CNN at batch 1,024 took
60,000 page faults a step and trained 5,800 rows/s; with its memory kept, 9 faults and 10,950 rows/s (docs/notebook.md).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
NEVER = 2**31 - 1
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = (  # of a control group, version 2 and 1: the limit, what is used, and what of it are file pages that can go at once
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def keep_freed_memory() -> bool:
    """Large blocks come from the heap and the heap is not trimmed from now on; returns whether the C library could be told.

    The process holds its peak until it ends. Linux with glibc only; elsewhere nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl has neither that name nor that function
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))


def free_bytes() -> int:
    """Return the memory that this process can still take: what the machine has, or what its control group or its own limit leaves."""
    import psutil

    room = [int(psutil.virtual_memory().available), *_group_room()]
    if sys.platform.startswith("linux"):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        if limit != resource.RLIM_INFINITY:
            room.append(limit - psutil.Process().memory_full_info().data)
    return max(0, min(room))


def _group_room() -> list[int]:
    """Return what each control group above this process leaves it (a container's limit is one); [] where there is none."""
    room = []
    for controller, limit, used, reclaimable in LIMITS:
        for folder in _groups(controller):
            with contextlib.suppress(OSError, ValueError):  # no such file at the root; "max" is no number
                most, taken = int((folder / limit).read_text()), int((folder / used).read_text())
                kinds = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                room.append(most - taken + int(kinds.get(reclaimable, 0)))
    return room


def _groups(controller: str) -> list[Path]:
    """Return the folders of this process's control groups, the innermost first; in a container its own stands at the root."""
    try:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return []
    inner = next((path for _, names, path in lines if controller in names.split(",")), None)
    if inner is None:
        return []
    root = CGROUPS / controller
    place = root / inner.lstrip("/")
    return [folder for folder in (place, *place.parents) if folder == root or root in folder.parents]
