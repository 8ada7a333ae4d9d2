"""Freed memory is kept by the process while it trains on the CPU, so that the next step does not fault its pages in again.

glibc gives every freed block above 32 MB back to the kernel, and large activations are such blocks: a CNN at batch 1,024 took
60,000 page faults a step and trained 5,800 rows/s; with its memory kept, 9 faults and 10,950 rows/s (docs/notebook.md).
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
NEVER = 2**31 - 1


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
